from __future__ import annotations

import jinja2
import pytest
import yaml

from knowledge_plugin.config import (
    BaseModelConfig,
    FingerprintConfig,
    KnowledgeBaseConfig,
    KnowledgePluginConfig,
    MappingConfig,
)
from knowledge_plugin.hub.card import merged, render_card, sealed, write_card

NASTY = 'a"b: [c]\n---\nlicense: stolen {{ 7 * 7 }}'


def kb_config(**changes):
    return KnowledgeBaseConfig(**{"name": "cities", "rows": 5, "dim": 8, "aliases": 7} | changes)


def plugin_config(name):
    return KnowledgePluginConfig(
        BaseModelConfig(name, 100, 16, FingerprintConfig([0], "AA")), MappingConfig("affine", 8, 16)
    )


def front_matter(card):
    start, head, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head)


def test_the_card_of_a_knowledge_base():
    card = render_card("knowledge_base.md.j2", config=kb_config(license="cc-by-4.0", version="2026-01"))
    assert front_matter(card)["license"] == "cc-by-4.0"
    assert "5 entities" in card
    assert "2026-01" in card


def test_sections_without_a_value_vanish():
    card = render_card("knowledge_base.md.j2", config=kb_config())
    assert "license" not in front_matter(card)
    assert "None" not in card


def test_the_card_of_a_plugin_names_its_base_model():
    card = render_card("plugin.md.j2", config=plugin_config("user/base"), knowledge_base=kb_config())
    head = front_matter(card)
    assert head["base_model"] == "user/base"
    assert "base_model:adapter:user/base" in head["tags"]
    assert head["library_name"] == "knowledge-plugin"


def test_a_base_model_without_a_name():
    card = render_card("plugin.md.j2", config=plugin_config(None), knowledge_base=kb_config())
    assert "base_model" not in front_matter(card)
    assert "None" not in card


def test_values_cannot_break_out_of_the_front_matter():
    kb = render_card("knowledge_base.md.j2", config=kb_config(license=NASTY))
    plugin = render_card("plugin.md.j2", config=plugin_config(NASTY), knowledge_base=kb_config(license=NASTY))
    assert front_matter(kb)["license"] == NASTY
    assert front_matter(plugin)["base_model"] == NASTY
    assert "49" not in kb


def test_a_forgotten_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render_card("knowledge_base.md.j2")


@pytest.fixture
def saved(tmp_path):
    """Saves a card as an artifact is saved, and returns the README.md that stands in the folder then."""

    def save(**changes):
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "final").mkdir(exist_ok=True)
        write_card(tmp_path / "new", tmp_path / "final", "knowledge_base.md.j2", config=kb_config(**changes))
        if (tmp_path / "new" / "README.md").exists():
            (tmp_path / "new" / "README.md").replace(tmp_path / "final" / "README.md")
        return tmp_path / "final" / "README.md"

    return save


def test_a_readme_that_nobody_edited_does_not_go_stale(saved):
    assert "5 entities" in saved().read_text(encoding="utf-8")
    for rows in (6, 7):
        assert f"{rows} entities" in saved(rows=rows, name="Städte").read_text(encoding="utf-8")


def test_line_ends_of_another_system_are_no_edit(saved):
    card = saved()
    card.write_bytes(card.read_bytes().replace(b"\n", b"\r\n"))
    assert "6 entities" in saved(rows=6).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("5 entities", "five entities"),
        lambda text: "Mine.\n" + text,
        lambda text: text.rsplit("<!--", 1)[0],
        lambda text: "Mine, and nothing else.",
        lambda text: "",
    ],
)
def test_a_readme_that_a_person_wrote_or_edited_is_kept(saved, edit):
    card = saved()
    card.write_text(mine := edit(card.read_text(encoding="utf-8")), encoding="utf-8")
    for rows in (5, 6):
        assert saved(rows=rows).read_text(encoding="utf-8") == mine


def test_words_below_the_seal_stay_while_the_rest_is_renewed(saved):
    card = saved()
    card.write_text(card.read_text(encoding="utf-8") + "\n## From me\n\nOne more line.\n", encoding="utf-8")
    for rows in (6, 7):
        text = saved(rows=rows).read_text(encoding="utf-8")
        assert f"{rows} entities" in text
        assert text.endswith("-->\n\n## From me\n\nOne more line.\n")


def test_metadata_of_a_persons_own_stay_while_the_rest_is_renewed(saved):
    card = saved(license="cc0-1.0")
    text = card.read_text(encoding="utf-8").replace("license: ", "language: de\nlicense: mit # ")
    card.write_text(text.replace("tags:", "tags:\n- mine"), encoding="utf-8")
    text = saved(rows=6, license="cc0-1.0").read_text(encoding="utf-8")
    head = front_matter(text)
    assert (head["language"], head["license"]) == ("de", "mit")
    assert head["tags"] == ["mine", "knowledge-plugin", "knowledge-base"]
    assert "6 entities" in text


MINE = "---\nlicense: mit\n---\n# Mine\n"


@pytest.mark.parametrize(
    ("standing", "expected_head", "expected_body"),
    [
        (MINE, {"license": "mit", "tags": ["knowledge-plugin"], "library_name": "ours"}, "# Mine\n"),
        ("# Mine\n", {"license": "cc0", "tags": ["knowledge-plugin"], "library_name": "ours"}, "# Mine\n"),
        ("", {"license": "cc0", "tags": ["knowledge-plugin"], "library_name": "ours"}, ""),
        ("---\n---\nx", {"license": "cc0", "tags": ["knowledge-plugin"], "library_name": "ours"}, "x"),
    ],
)
def test_a_pushed_card_gets_our_metadata_and_keeps_their_text(standing, expected_head, expected_body):
    fresh = sealed("---\nlicense: cc0\nlibrary_name: ours\ntags: [knowledge-plugin]\n---\n# Ours\n")
    text = merged(standing, fresh)
    assert front_matter(text) == expected_head
    assert text.split("---\n", 2)[2] == expected_body
    assert merged(text, fresh) == text


def test_metadata_that_are_no_yaml_stay():
    broken = "---\na: [\n---\n# Mine\n"
    assert merged(broken, sealed("---\nlicense: cc0\n---\n# Ours\n")) == broken


def test_a_readme_that_is_no_utf8_is_a_persons(saved):
    card = saved()
    card.write_bytes(mine := "Städte".encode("latin-1"))
    assert saved(rows=6).read_bytes() == mine


def test_the_last_line_of_a_card_is_not_shown(saved):
    *_, last = saved().read_text(encoding="utf-8").splitlines()
    assert last.startswith("<!--")
    assert last.endswith("-->")
