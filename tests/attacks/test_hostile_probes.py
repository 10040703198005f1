"""Files of probes that were made to do harm, or got damaged: every one is an error with file, line and field."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge_plugin.errors import ReaderError
from knowledge_plugin.evaluation.propagation import read_probes
from tests.evaluation.propagation import counting

GOOD = {
    "ecbd": counting.row_of(counting.spans().probes[0]),
    "entity-inferences": counting.row_of(counting.inferences().probes[0]),
}
LONG = "x" * 30_000


def changed(row, path, value):
    """Return a row with another value at a place, or without it."""
    row = json.loads(json.dumps(row))
    *way, last = path.split(".")
    place = row
    for step in way:
        place = place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return row


def refuse(tmp_path, text, task, *parts):
    path = tmp_path / "rows.json"
    good = json.dumps(GOOD[task])
    path.write_bytes(f"{good}\n\n".encode() + (text if isinstance(text, bytes) else text.encode()))
    with pytest.raises(ReaderError) as raised:
        read_probes(path, task)
    message = str(raised.value)
    assert "rows.json:3" in message
    assert len(message) < 600
    for part in parts:
        assert part in message


FIELDS = ("ex_id", "ent_str", "definition", "def_target", "probe_sentences.template_0.probe_sentence")


@pytest.mark.parametrize("task", GOOD)
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [None, 3, True, ["x"], {"x": "y"}, "", "  ", LONG, "a\0b", "\ud800", KeyError])
def test_a_field_that_is_no_text(tmp_path, task, field, value):
    refuse(tmp_path, json.dumps(changed(GOOD[task], field, value)), task, field.split(".")[-1])


ASKED = "probe_sentences.template_0"


@pytest.mark.parametrize(
    ("task", "field", "value", "part"),
    [
        ("ecbd", "probe_sentences", None, "probe_sentences: expected an object"),
        ("ecbd", "probe_sentences", {}, "probe_sentences.template_0: expected an object"),
        ("ecbd", ASKED, [], "probe_sentences.template_0: expected an object"),
        ("ecbd", ASKED + ".label", KeyError, "expected 'label' in a row of ecbd"),
        ("ecbd", ASKED + ".label", "<extra_id_0>  <extra_id_1>", "label: expected a text that is not blank"),
        ("ecbd", ASKED + ".label", "<extra_id_0> x", "label: expected '<extra_id_0> words <extra_id_1>'"),
        ("ecbd", ASKED + ".label", "<extra_id_0> <extra_id_0> x <extra_id_1>", "label: expected"),
        ("ecbd", ASKED + ".probe_sentence", "no blank", "probe_sentence: expected <extra_id_0> in it once"),
        ("ecbd", ASKED + ".probe_sentence", "<extra_id_0> <extra_id_0>", "probe_sentence: expected <extra_id_0>"),
        ("ecbd", "definition", "<extra_id_0> and <extra_id_0>", "definition: expected <extra_id_0> in it once at most"),
        ("ecbd", "ex_id", "Zorva", "ex_id: expected a title and numbers"),
        ("entity-inferences", ASKED + ".labels", "drama", "labels: expected a list of texts"),
        ("entity-inferences", ASKED + ".labels", [], "labels: expected two texts or more, found none"),
        ("entity-inferences", ASKED + ".labels", ["drama"], "options: expected two texts or more"),
        ("entity-inferences", ASKED + ".labels", ["drama", "drama"], "options: expected two texts or more, each once"),
        ("entity-inferences", ASKED + ".labels", ["drama", 3], "labels: expected a text, found 3"),
        ("entity-inferences", ASKED + ".labels", ["drama", ["a"]], "labels: expected a text"),
        ("entity-inferences", ASKED + ".labels", [str(i) for i in range(1001)], "options: expected a list of at most"),
        ("entity-inferences", "label", "opera", "gold: expected one of the options"),
        ("entity-inferences", "label", KeyError, "label: expected a text, found nothing"),
    ],
)
def test_a_row_of_another_form(tmp_path, task, field, value, part):
    refuse(tmp_path, json.dumps(changed(GOOD[task], field, value)), task, part)


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "3", "null", '"text"', "not json", '{"a": 1}}', '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": -Infinity}',
        "[" * 100_000, '{"a":' * 50_000, "1" * 5_000, b"\xff\xfe{}", b"{\0}", b"{" + b" " * 2**20 + b"}",
    ],
    ids=range(16),
)  # fmt: skip
def test_a_line_that_is_no_object(tmp_path, text):
    refuse(tmp_path, text, "ecbd")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    field=st.sampled_from((*FIELDS, "label", "probe_sentences", ASKED, ASKED + ".labels", ASKED + ".label")),
    task=st.sampled_from(sorted(GOOD)),
)
def test_whatever_stands_in_a_field_is_read_or_refused(tmp_path, value, field, task):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(changed(GOOD[task], field, value)), encoding="utf-8")
    probe = read(path, task)
    if isinstance(probe, ReaderError):
        assert "rows.json:1" in str(probe)
    else:
        assert probe.gold.strip()
        assert not probe.options or probe.gold in probe.options


def read(path, task):
    try:
        return read_probes(path, task).probes[0]
    except ReaderError as error:
        return error


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")  # whoever opens it waits for ever
    with pytest.raises(ReaderError, match="there is none"):
        read_probes(tmp_path / "pipe.json", "ecbd")
    with pytest.raises(ReaderError, match="found no such file"):
        read_probes(tmp_path, "ecbd")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ReaderError, match="found no such file"):
        read_probes(tmp_path, "ecbd")


def test_more_files_than_anyone_has(tmp_path):
    for i in range(1001):
        (tmp_path / f"{i}.json").touch()
    with pytest.raises(ReaderError, match="at most 1000 files"):
        read_probes(tmp_path, "ecbd")


def test_an_empty_file(tmp_path):
    (tmp_path / "rows.json").write_text("\n\n")
    with pytest.raises(ReaderError, match=r"rows.json: expected a row of ecbd on each line, found none"):
        read_probes(tmp_path, "ecbd")
