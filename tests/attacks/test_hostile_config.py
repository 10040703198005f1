from __future__ import annotations

import json

import pytest

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import ArtifactError, ConfigError, FormatVersionError, KnowledgePluginError
from tests.attacks.hostile import contents, edit_config, read_json, save_kb, save_plugin

KINDS = {"kb": (save_kb, KnowledgeBase), "plugin": (save_plugin, KnowledgePlugin)}


@pytest.fixture(params=KINDS)
def artifact(request, tmp_path):
    """A folder and what opens it."""
    save, cls = KINDS[request.param]
    return save(tmp_path / "artifact"), cls.from_pretrained


def refused(artifact, error=ConfigError):
    folder, from_pretrained = artifact
    before = contents(folder.parent)
    with pytest.raises(error) as caught:
        from_pretrained(folder)
    assert contents(folder.parent) == before
    assert len(str(caught.value)) < 2000
    return caught.value


@pytest.mark.parametrize("version", ["2.0", "3", "1000000.0"])
def test_a_newer_format(artifact, version):
    edit_config(artifact[0], format_version=version)
    assert "pip install --upgrade" in str(refused(artifact, FormatVersionError))


@pytest.mark.parametrize("version", [None, 2, [], {}, "", "x", "9" * 5000])
def test_a_format_that_is_none(artifact, version):
    edit_config(artifact[0], format_version=version)
    refused(artifact)


def test_unknown_keys_warn(artifact):
    edit_config(artifact[0], **{"unknown": {"a": [1]}, "auto_map": "evil.Model"})
    with pytest.warns(UserWarning, match="auto_map, unknown"):
        artifact[1](artifact[0])


TEXTS = {
    "empty": "",
    "not json": "{",
    "trailing": "{} {}",
    "duplicate keys": '{"library_name": "knowledge-plugin", "library_name": "knowledge-plugin"}',
    "nested duplicate keys": '{"library_name": "knowledge-plugin", "files": {"a": 1, "a": 2}}',
    "NaN": '{"library_name": NaN}',
    "Infinity": '{"library_name": -Infinity}',
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a long number": '{"rows": ' + "9" * 100_000 + "}",
    "python": "__import__('os').system('true')",
    "many keys, one of them twice": "{" + ",".join(f'"{i}": 0' for i in range(200_000)) + ',"199999": 0}',
}


@pytest.mark.parametrize("text", TEXTS)
def test_json_that_this_package_never_writes(artifact, text):
    (artifact[0] / "config.json").write_text(TEXTS[text], encoding="utf-8")
    refused(artifact)


@pytest.mark.parametrize("data", [b"\xff\xfe\xfd", b"\x80\x04\x95", b"\x00" * 100, '{"a": "ä"}'.encode("latin-1")])
def test_bytes_that_are_no_json(artifact, data):
    (artifact[0] / "config.json").write_bytes(data)
    refused(artifact)


def test_100_megabytes_of_blanks(artifact):
    with open(artifact[0] / "config.json", "wb") as file:
        file.truncate(100_000_000)
    assert "100000000 bytes" in str(refused(artifact))


@pytest.mark.parametrize("value", [[], "text", 5, None, True, 1.5, [{}]])
def test_json_that_is_no_object(artifact, value):
    (artifact[0] / "config.json").write_text(json.dumps(value))
    refused(artifact, ArtifactError)


WRONG = [None, True, -1, 0, 1.5, 2**31, 2**63, 10**100, "5", [], {}, [5], {"a": 1}, "a" * 100_000]


@pytest.mark.parametrize("value", WRONG, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("key", ["rows", "dim"])
def test_numbers_of_a_knowledge_base(tmp_path, key, value):
    folder = save_kb(tmp_path / "artifact")
    edit_config(folder, **{key: value})
    refused((folder, KnowledgeBase.from_pretrained))


@pytest.mark.parametrize("value", WRONG, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize(
    "key",
    [
        "mapping__input_dim",
        "mapping__output_dim",
        "base_model__vocab_size",
        "base_model__embedding_dim",
        "linker__min_length",
    ],
)
def test_numbers_of_a_plugin(tmp_path, key, value):
    folder = save_plugin(tmp_path / "artifact")
    edit_config(folder, **{key: value})
    refused((folder, KnowledgePlugin.from_pretrained))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 5},
        {"name": None},
        {"dtype": "float64"},
        {"dtype": ["float32"]},
        {"linker": "spacy"},
        {"license": ["mit"]},
        {"files": []},
        {"files": {"a": None}},
        {"files": {"a": {"size": 1}}},
        {"files": {"a": {"size": -1, "sha256": "0" * 64}}},
        {"files": {"a": {"size": 2**60, "sha256": "0" * 64}}},
        {"files": {"a": {"size": 1, "sha256": "zz"}}},
        {"files": {f"f{i}": {"size": 0, "sha256": "0" * 64} for i in range(10_001)}},
    ],
    ids=lambda c: str(c)[:40],
)
def test_values_of_a_knowledge_base(tmp_path, changes):
    folder = save_kb(tmp_path / "artifact")
    edit_config(folder, **changes)
    refused((folder, KnowledgeBase.from_pretrained))


@pytest.mark.parametrize(
    "changes",
    [
        {"mapping": None},
        {"mapping": []},
        {"mapping__kind": "transformer"},
        {"mapping__kind": "mlp"},
        {"mapping__hidden_dim": 8},
        {"mapping__input_dim": 65_536, "mapping__output_dim": 65_536, "base_model__embedding_dim": 65_536},
        {"base_model": {}},
        {"base_model__name": 5},
        {"base_model__fingerprint": None},
        {"base_model__fingerprint__token_ids": []},
        {"base_model__fingerprint__token_ids": list(range(2000))},
        {"base_model__fingerprint__token_ids": ["0"]},
        {"injection__form": "append"},
        {"injection__method": "../../evil"},
        {"injection__separator": "/" * 65},
        {"linker__case": "mixed"},
        {"linker__stop_words": "the"},
        {"linker__stop_words": [1]},
        {"linker__stop_words": ["a"] * 100_001},
    ],
    ids=lambda c: str(c)[:40],
)
def test_values_of_a_plugin(tmp_path, changes):
    folder = save_plugin(tmp_path / "artifact")
    edit_config(folder, **changes)
    refused((folder, KnowledgePlugin.from_pretrained))


@pytest.mark.parametrize("vectors", ["", "!!!", "AAAA", "A" * 1_000_000, "\u00e4", "\x00"])
def test_a_fingerprint_that_is_none_is_refused_before_the_model_is_touched(tmp_path, vectors):
    from tests import tiny

    folder = save_plugin(tmp_path / "artifact")
    edit_config(folder, base_model__fingerprint__vectors=vectors)
    model = tiny.classifier()
    with pytest.raises(ConfigError, match="fingerprint"):
        KnowledgePlugin.from_pretrained(folder).attach(model, tiny.tokenizer("wordpiece"))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("ids", [[-1], [400], [2**40], [10**30]])
def test_a_fingerprint_of_words_that_are_not_there(tmp_path, ids):
    from tests import tiny

    folder = save_plugin(tmp_path / "artifact")
    data = read_json(folder)["base_model"]["fingerprint"]
    edit_config(folder, base_model__fingerprint__token_ids=ids * len(data["token_ids"]))
    with pytest.raises(KnowledgePluginError):
        KnowledgePlugin.from_pretrained(folder).attach(tiny.classifier(), tiny.tokenizer("wordpiece"))


def test_every_key_that_is_required(tmp_path):
    optional = {"dtype", "id_scheme", "license", "version", "linker", "library_version", "revision", "hidden_dim"}
    optional |= {"knowledge_base", "embedder", "history", "training"}
    for save, cls in KINDS.values():
        folder = save(tmp_path / cls.__name__)
        whole = read_json(folder)
        for key in set(whole) - optional - {"injection"}:
            (folder / "config.json").write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
            with pytest.raises(KnowledgePluginError):
                cls.from_pretrained(folder)
