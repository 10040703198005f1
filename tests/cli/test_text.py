from __future__ import annotations

import json
from dataclasses import replace

import pytest

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.config import LinkerConfig
from tests import tiny
from tests.cli.common import as_json, run


@pytest.mark.parametrize("folder", ["kb_folder", "plugin_folder"])
def test_link(folder, request):
    folder = request.getfixturevalue(folder)
    result = run("link", folder, "From New York to Berlin", "nowhere")
    assert result.exit_code == 0
    assert "New York -> geo:new-york (New York, 1.00)" in result.stdout
    assert "Berlin -> geo:berlin" in result.stdout
    assert "no mention" in result.stdout


def test_link_json_prints_a_line_for_each_line_of_standard_input(kb_folder):
    result = run("link", kb_folder, "--json", input="in York\n\nZu\u0308rich\n")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["in York", "", "Zu\u0308rich"]
    assert lines[0]["mentions"] == [{"start": 3, "end": 7, "entity_id": "geo:york", "score": 1.0}]
    assert lines[1]["mentions"] == lines[2]["mentions"] == []


def test_link_of_a_plugin_uses_the_settings_that_it_was_made_with(tmp_path):
    plugin = KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base())
    plugin.config = replace(plugin.config, linker=LinkerConfig(case="sensitive", stop_words=["Berlin"]))
    plugin.save_pretrained(tmp_path)
    assert "no mention" in run("link", tmp_path, "in paris and Berlin").stdout
    assert "geo:paris" in run("link", tmp_path, "in Paris").stdout


@pytest.mark.parametrize("method", ["memory", "passage"])
def test_link_says_where_nothing_is_put_into_a_text(method, tmp_path):
    settings = {"key_dim": 3} if method == "memory" else {}
    plugin = KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base(), method=method, **settings)
    plugin.save_pretrained(tmp_path)
    result = run("link", tmp_path, "in Berlin", "--json")
    assert json.loads(result.stdout)["mentions"][0]["entity_id"] == "geo:berlin"
    assert ("memory puts nothing into a text" in result.stderr) is (method == "memory")


@pytest.mark.parametrize("kind", ["kb", "plugin"])
def test_linking_where_mentions_come_from_elsewhere_exits_with_1(tmp_path, kind):
    kb = KnowledgeBase.from_entities([Entity("x:1", "")], [[1.0]], name="t", linker="external")
    (kb if kind == "kb" else KnowledgePlugin.for_model(tiny.classifier(), kb)).save_pretrained(tmp_path)
    result = run("link", tmp_path, "text")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "LinkingError" in result.stderr


def test_standard_input_that_is_no_utf8_exits_with_1(kb_folder):
    result = run("link", kb_folder, "--json", input=b"in York\nin Z\xfcrich\nin York\n")
    assert result.exit_code == 1
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["in York"]
    assert "line 2 of standard input is not UTF-8" in result.stderr
    assert "iconv" in result.stderr
    assert "Traceback" not in result.stderr


def test_line_ends_of_another_system_are_no_text(kb_folder):
    result = run("link", kb_folder, "--json", input=b"in York\r\n")
    assert json.loads(result.stdout)["text"] == "in York"


GOLD = [
    {"text": "From York", "mentions": [{"start": 5, "end": 9, "entity_id": "geo:york"}]},
    {"text": "to Berlin", "mentions": [{"start": 3, "end": 9, "entity_id": "geo:other"}]},
    {"text": "and home", "mentions": [{"start": 4, "end": 8, "entity_id": "geo:home"}]},
]


def write_gold(path, rows=GOLD):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_link_measures_on_marked_texts(kb_folder, tmp_path):
    values = as_json("link", kb_folder, "--gold", write_gold(tmp_path / "gold.jsonl"))
    assert values["texts"] == 3
    assert values["spans"] == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "found": 2, "gold": 3, "right": 2}
    )
    assert values["spans and entities"]["right"] == 1
    shown = run("link", kb_folder, "--gold", tmp_path / "gold.jsonl").stdout
    assert "3 texts, 3 marked mentions, 2 found" in shown
    assert "66.7 %" in shown


def test_marked_texts_of_another_knowledge_base(kb_folder, tmp_path):
    result = run("link", kb_folder, "--gold", write_gold(tmp_path / "gold.jsonl", GOLD[2:]))
    assert result.exit_code == 1
    assert "none of its entities" in result.stderr
    assert "geo:home" in result.stderr


def test_a_marked_text_that_cannot_be_read(kb_folder, tmp_path):
    (tmp_path / "gold.jsonl").write_text('{"text": "x"}\n')
    result = run("link", kb_folder, "--gold", tmp_path / "gold.jsonl")
    assert result.exit_code == 1
    assert "gold.jsonl, line 1:" in result.stderr


def test_texts_and_marked_texts_at_once_is_wrong_use(kb_folder, tmp_path):
    assert run("link", kb_folder, "York", "--gold", write_gold(tmp_path / "gold.jsonl")).exit_code == 2


def test_link_shows_which_facts_a_model_generated(tmp_path):
    types = ["generated", "generated by tiny-t5, plausibility 0.80: trade: baker"]
    entities = [Entity("x:1", "Zorva", types=types), Entity("x:2", "Melin")]
    KnowledgeBase.from_entities(entities, [[1.0], [2.0]], name="t").save_pretrained(tmp_path)
    assert f"\n    {types[1]}\n" in run("link", tmp_path, "Zorva and Melin").stdout
    found = json.loads(run("link", tmp_path, "--json", "Zorva and Melin").stdout)["mentions"]
    assert found[0]["generated"] == types[1:]
    assert "generated" not in found[1]
    assert as_json("kb", "info", tmp_path)["entities with generated facts"] == 1
