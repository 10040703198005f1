"""Cards as files: rendered, saved beside what people wrote, made ready for a repo."""

from __future__ import annotations

import re

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.config import LinkerConfig
from knowledge_plugin.hub import card as card_module
from knowledge_plugin.hub.card import publish_card, render_card, sealed, write_card
from knowledge_plugin.hub.seal import Parts
from knowledge_plugin.results import EvaluationResult, Score
from tests import tiny
from tests.hub.card_snapshots import FOLDER, kb_config, plugin_config, snapshots

SEAL = re.split(" [0-9a-f]{64}", sealed(""))[0]  # up to the sums


def front_matter(card):
    start, head, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head)


@pytest.mark.parametrize("name", snapshots())
def test_whole_cards(name):
    expected = (FOLDER / name).read_text(encoding="utf-8")
    assert snapshots()[name] == expected, "if it is meant to look like that: python -m tests.hub.card_snapshots"


def test_there_is_no_snapshot_of_nothing():
    assert {path.name for path in FOLDER.iterdir()} == set(snapshots())


def test_the_card_of_a_knowledge_base():
    card = render_card("knowledge_base.md.j2", config=kb_config(license="cc-by-4.0", version="2026-01"))
    assert front_matter(card)["license"] == "cc-by-4.0"
    assert "5 entities" in card
    assert "2026-01" in card


@pytest.mark.parametrize("template", ["plugin.md.j2", "knowledge_base.md.j2"])
def test_sections_without_a_value_vanish(template):
    values = (
        {"config": kb_config()}
        if "base" in template
        else {"config": plugin_config(None), "knowledge_base": kb_config()}
    )
    card = render_card(template, **values)
    assert "None" not in card
    assert "\n\n\n" not in card
    for section in ("Evaluation", "Training", "Licence", "Measured with", "<details>"):
        assert section not in card
    assert {"license", "language", "datasets", "metrics", "model-index", "base_model"}.isdisjoint(front_matter(card))


def test_a_forgotten_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render_card("knowledge_base.md.j2")


# ---- what strangers wrote ------------------------------------------------------------------------------------------

FRAGMENTS = [
    "\n", "\r", "\n---\n", "---\nlicense: stolen\n---\n", "|", "`", "```", "\n```python\n", "<!--", "-->", SEAL,
    f"{SEAL} {'0' * 64} {'0' * 64} -->\n", "{{ 7 * 7 }}", "{% raw %}", "{#", "# ", "## Evaluation", "[a](b)", "![a](b)",
    "<script>", "<details>", "*", "**", "_", "~~", "\\", "\u202e", "\u2028", "\x85", "\x00", "\ufeff", ": ", "- ",
    "1. ", "> ", "=", "'", '"', "&", "&lt;", "$", "é", "x", " ", "\t", "    ", "%", "@", "!", "&a",
    "*a", "?", '"""', "#",
]  # fmt: skip
HOSTILE = st.one_of(
    st.text(), st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=12).map("".join)
).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))


def everything(value: str) -> dict[str, str]:
    """Cards with a value wherever a stranger's can stand."""
    kb = kb_config(name=value, version=value, license=value, id_scheme=value)
    config = plugin_config(value, linker=LinkerConfig(stop_words=[value]))
    result = EvaluationResult(
        f"t{value}", f"d{value}", f"m{value}", Score(0.5), {"none": Score(0.25)}, model=value, note=value,
        interval=value, dataset_id=value, dataset_revision=value, split=value,
    )  # fmt: skip
    known = {"names": [value, value], "language": [value]}
    return {
        "plugin": render_card(
            "plugin.md.j2", config=config, knowledge_base=kb, results=[result], training={value: value},
            license=value, datasets=[value], **known,
        ),
        "knowledge base": render_card("knowledge_base.md.j2", config=kb, **known),
        "plugins": render_card(
            "plugins.md.j2", repo_id=value, configs={value: config}, base_models=[value], license=value
        ),
    }  # fmt: skip


def structure(card: str) -> list[tuple[str, str]]:
    """What a Markdown parser makes of a card, words aside."""
    body = card.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    flat = [inner for token in tokens for inner in [token, *(token.children or [])]]
    return [
        (token.type, token.tag, token.content if token.type.startswith("html") else "")
        for token in flat
        if token.type not in ("text", "text_special", "softbreak")
    ]


# With words, without, and with what a repo can be called, which becomes a link.
EXPECTED = [
    {name: structure(card) for name, card in everything(value).items()}
    for value in ("a value, of words", " ", "a-valid/name", "a-valid-name")
]


@given(HOSTILE)
def test_no_value_changes_what_a_card_consists_of(value):
    for name, card in everything(value).items():
        assert structure(card) in [expected[name] for expected in EXPECTED]
        assert "\n\n\n" not in card


@given(HOSTILE)
def test_no_value_changes_the_keys_of_the_metadata(value):
    for card in everything(value).values():
        head = card.split("\n---\n", 1)[0]
        data = yaml.safe_load(head.removeprefix("---\n"))
        allowed = {
            "library_name", "base_model", "base_model_relation", "license", "license_name", "language", "datasets",
            "tags", "knowledge_base", "metrics", "model-index", "configs",
        }  # fmt: skip
        assert set(data) <= allowed
        assert data["tags"][0] == "knowledge-plugin"
        assert all(isinstance(tag, str) for tag in data["tags"])
        assert head.count("\n---") == 0
        assert yaml.safe_load(yaml.safe_dump(data)) == data


@given(HOSTILE)
def test_no_value_forges_the_seal(value):
    for card in everything(value).values():
        parts = Parts(sealed(card))
        assert parts.head_is_ours
        assert parts.text_is_ours
        assert parts.below == ""
        assert SEAL not in card.split("\n---\n", 1)[1]


@given(HOSTILE)
def test_code_stays_code(value):
    for name, card in everything(value).items():
        tokens = MarkdownIt("commonmark").parse(card.split("\n---\n", 1)[1])
        for token in tokens:
            if token.type == "fence" and token.info == "python":
                compile(token.content, name, "exec")


def test_braces_of_a_value_are_no_template():
    assert "49" not in everything("{{ 7 * 7 }}")["plugin"]


# ---- saved beside what people wrote --------------------------------------------------------------------------------


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
    assert head["tags"] == ["mine", "knowledge-plugin", "knowledge-base", "cities"]
    assert "6 entities" in text


def test_a_readme_that_is_no_utf8_is_a_persons(saved):
    card = saved()
    card.write_bytes(mine := "Städte".encode("latin-1"))
    assert saved(rows=6).read_bytes() == mine


def test_the_last_line_of_a_card_is_not_shown(saved):
    *_, last = saved().read_text(encoding="utf-8").splitlines()
    assert last.startswith("<!--")
    assert last.endswith("-->")


def test_bytes_below_the_seal_come_back_as_they_were(saved):
    card = saved()
    card.write_bytes(card.read_bytes() + "Städte".encode("latin-1"))
    renewed = saved(rows=6).read_bytes()
    assert b"6 entities" in renewed
    assert renewed.endswith("-->\nStädte".encode("latin-1"))


# ---- trouble -------------------------------------------------------------------------------------------------------


def test_a_template_that_is_not_there_stops_no_save(tmp_path, kb, monkeypatch):
    monkeypatch.setattr(card_module, "_FOLDERS", [str(tmp_path / "nowhere")])
    with pytest.warns(UserWarning, match=r"README\.md.*TemplateNotFound"):
        kb.save_pretrained(tmp_path / "kb")
    assert not (tmp_path / "kb" / "README.md").exists()
    assert len(KnowledgeBase.from_pretrained(tmp_path / "kb")) == len(kb)


def test_a_value_that_cannot_be_shown_stops_no_save(tmp_path):
    with pytest.warns(UserWarning, match="the card was not renewed"):
        write_card(tmp_path, tmp_path, "knowledge_base.md.j2", config=object())
    assert not (tmp_path / "README.md").exists()


def test_names_that_cannot_be_read_stop_no_save(tmp_path):
    with pytest.warns(UserWarning, match="no names"):
        write_card(tmp_path, tmp_path, "knowledge_base.md.j2", config=kb_config(), names=iter(NoNames()))


class NoNames:
    def __iter__(self):
        yield "one"
        raise RuntimeError("no names")


def test_a_readme_too_large_to_read_stops_no_save_and_stays(tmp_path, kb, model):
    kb.save_pretrained(tmp_path)
    with open(tmp_path / "README.md", "r+b") as file:
        file.truncate(2**25)
    with pytest.warns(UserWarning, match=f"{2**25} bytes"):
        kb.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").stat().st_size == 2**25
    plugin = KnowledgePlugin.for_model(model, kb)
    plugin.save_pretrained(tmp_path / "plugin")
    (tmp_path / "README.md").replace(tmp_path / "plugin" / "knowledge_base" / "README.md")
    with pytest.warns(UserWarning, match=r"knowledge_base/README\.md"):
        plugin.save_pretrained(tmp_path / "plugin")
    KnowledgePlugin.from_pretrained(tmp_path / "plugin")


@pytest.mark.parametrize("text", ["---\na: [\n---\n", "---\n" + "[" * 5000 + "\n---\n", "---\n- a\n---\n"])
def test_metadata_that_cannot_be_read_stop_no_save(tmp_path, kb, text):
    kb.save_pretrained(tmp_path)
    card = tmp_path / "README.md"
    card.write_text(text + card.read_text(encoding="utf-8").split("---\n", 2)[2], encoding="utf-8")
    kb.upsert([tiny.ENTITIES[0], tiny.Entity("geo:new", "New Town")], [[0.0] * 8] * 2)
    kb.save_pretrained(tmp_path)
    assert card.read_text(encoding="utf-8").startswith(text)
    assert "6 entities" in card.read_text(encoding="utf-8")


# ---- made ready for a repo -----------------------------------------------------------------------------------------


class TestPublishing:
    @pytest.fixture
    def card(self, tmp_path):
        write_card(tmp_path, tmp_path, "plugin.md.j2", config=plugin_config("org/base"), knowledge_base=kb_config())
        return tmp_path / "README.md"

    def standing(self, card, text):
        path = card.with_name("standing.md")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_the_code_names_the_repo(self, card):
        publish_card(card, None, "user/name")
        text = card.read_text(encoding="utf-8")
        assert 'KnowledgePlugin.from_pretrained("user/name")' in text
        assert "path/to/this" not in text
        assert Parts(text).head_is_ours
        assert Parts(text).text_is_ours

    def test_the_code_names_the_subfolder(self, card):
        publish_card(card, None, "user/name", "bert-base")
        assert 'from_pretrained("user/name", subfolder="bert-base")' in card.read_text(encoding="utf-8")

    def test_what_is_part_of_another_names_no_repo(self, card):
        before = card.read_bytes()
        publish_card(card, None, None, "knowledge_base")
        assert card.read_bytes() == before

    def test_a_second_time_nothing_changes(self, card):
        publish_card(card, None, "user/name")
        first = card.read_bytes()
        fresh = card.with_name("fresh")
        fresh.mkdir()
        write_card(fresh, fresh, "plugin.md.j2", config=plugin_config("org/base"), knowledge_base=kb_config())
        publish_card(fresh / "README.md", card, "user/name")
        assert (fresh / "README.md").read_bytes() == first

    def test_what_people_wrote_stays(self, card):
        mine = "---\nlanguage: no\nlicense: mit\n---\n# Mine\n"
        publish_card(card, self.standing(card, mine), "user/name")
        text = card.read_text(encoding="utf-8")
        assert text.endswith("---\n# Mine\n")
        assert "language: no\nlicense: mit\n" in text
        assert "base_model: org/base\n" in text

    @pytest.mark.parametrize("text", ["Städte".encode("latin-1"), b"---\na: [\n---\n# Mine \xff\n", b"\xff\xfe"])
    def test_bytes_that_are_no_text_stay(self, card, text):
        with pytest.warns(UserWarning, match="UnicodeDecodeError"):
            publish_card(card, self.standing(card, text), "user/name")
        assert card.read_bytes() == text

    def test_what_is_too_large_to_read_stays(self, card):
        standing = self.standing(card, b"")
        with open(standing, "wb") as file:
            file.truncate(2**25)
        with pytest.warns(UserWarning, match="the card was not renewed"):
            publish_card(card, standing, "user/name")
        assert card.stat().st_size == 2**25
