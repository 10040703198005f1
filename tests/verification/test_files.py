from __future__ import annotations

import pytest

from knowledge_plugin.config import KnowledgePluginConfig
from knowledge_plugin.errors import ArtifactError
from knowledge_plugin.hub.folder import describe_files
from knowledge_plugin.verification.files import check_card, check_files, check_strangers, read
from knowledge_plugin.verification.findings import Findings
from tests.attacks import hostile


@pytest.fixture
def findings(tmp_path):
    return Findings(tmp_path)


def found(findings, severity):
    return {finding.where: finding.message for finding in findings.found if finding.severity == severity}


class TestRead:
    def test_a_config(self, tmp_path, findings):
        hostile.save_plugin(tmp_path)
        assert read(tmp_path, KnowledgePluginConfig, findings).mapping.kind == "affine"
        assert findings.found == []

    def test_what_is_wrong_with_it(self, tmp_path, findings):
        hostile.save_plugin(tmp_path)
        hostile.edit_config(tmp_path, format_version="9.0")
        assert read(tmp_path, KnowledgePluginConfig, findings) is None
        assert "pip install --upgrade" in found(findings, "error")["config.json"]

    def test_unknown_keys_are_a_warning(self, tmp_path, findings):
        hostile.save_plugin(tmp_path)
        hostile.edit_config(tmp_path, surprise=1)
        assert read(tmp_path, KnowledgePluginConfig, findings) is not None
        assert "surprise" in found(findings, "warning")["config.json"]

    def test_the_config_of_something_else(self, tmp_path, findings):
        hostile.save_kb(tmp_path)
        with pytest.raises(ArtifactError, match="holds a knowledge-base"):
            read(tmp_path, KnowledgePluginConfig, findings)
        assert findings.found == []


def test_every_file_is_looked_at(tmp_path, findings):
    for name in "abcd":
        (tmp_path / name).write_text(name * 100)
    files = describe_files(tmp_path, list("abcd"))
    files["../e"] = files["a"]
    (tmp_path / "b").unlink()
    hostile.truncate(tmp_path / "c")
    hostile.flip(tmp_path / "d")
    assert check_files(tmp_path, files, findings) == {"a", "d"}
    errors = found(findings, "error")
    assert set(errors) == {"b", "c", "d", "../e"}
    assert "is missing" in errors["b"]
    assert "truncated" in errors["c"]
    assert "checksum" in errors["d"]
    assert "outside the folder" in errors["../e"]


class TestCard:
    WHOLE = "---\nlibrary_name: knowledge-plugin\nbase_model: org/base\nlicense: mit\n---\n# Title\n"

    def check(self, findings, text, **kwargs):
        (findings.folder / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
        check_card(findings.folder, "org/base", findings, **kwargs)
        return findings.found

    @pytest.mark.parametrize("text", [WHOLE, WHOLE.replace("org/base", "[org/other, org/base]"), "\ufeff" + WHOLE])
    def test_a_whole_one(self, findings, text):
        assert self.check(findings, text) == []

    def test_none(self, findings):
        check_card(findings.folder, "org/base", findings)
        assert "there is none" in found(findings, "warning")["README.md"]

    @pytest.mark.parametrize("text", ["# Title\n", "", "---\n---\n"])
    def test_no_metadata(self, findings, text):
        (finding,) = self.check(findings, text)
        assert (finding.severity, finding.where) == ("warning", "README.md")
        assert "no metadata" in finding.message

    @pytest.mark.parametrize("key", ["library_name", "base_model", "license"])
    def test_a_key_that_is_missing(self, findings, key):
        text = "".join(line for line in self.WHOLE.splitlines(True) if not line.startswith(key))
        (finding,) = self.check(findings, text)
        assert finding.severity == "warning"
        assert key.removesuffix("se") in finding.message

    def test_a_knowledge_base_is_no_model_of_a_library(self, findings):
        assert self.check(findings, "---\nlicense: mit\nbase_model: org/base\n---\n", library=False) == []

    @pytest.mark.parametrize("text", ["---\na: [\n---\n", "---\n- 1\n- 2\n---\n", b"\xff\xfe\x00", "---\na: *b\n---\n"])
    def test_metadata_that_cannot_be_read(self, findings, text):
        (finding,) = self.check(findings, text)
        assert (finding.severity, finding.where) == ("error", "README.md")

    def test_a_huge_one_is_not_read(self, findings):
        with open(findings.folder / "README.md", "wb") as file:
            file.truncate(2**30)
        check_card(findings.folder, None, findings)
        assert "at most" in found(findings, "error")["README.md"]


def test_strangers(tmp_path, findings):
    (tmp_path / "inner").mkdir()
    for name in ("adapter_config.json", "inner/mapping.bin", "run.py", "README.md", "config.json", "plot.png"):
        (tmp_path / name).touch()
    check_strangers(tmp_path, findings)
    warnings = found(findings, "warning")
    assert set(warnings) == {"adapter_config.json", "inner/mapping.bin", "run.py"}
    assert "PEFT" in warnings["adapter_config.json"]
