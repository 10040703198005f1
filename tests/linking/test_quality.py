from __future__ import annotations

import pytest

from knowledge_plugin import Mention
from knowledge_plugin.errors import LinkingError, MentionError
from knowledge_plugin.linking import GoldText, read_gold, score_linker
from knowledge_plugin.linking.quality import Agreement

GOLD = [
    GoldText("York and Paris", [Mention(0, 4, "x:york"), Mention(9, 14, "x:paris")]),
    GoldText("Rome", [Mention(0, 4, "x:rome")]),
    GoldText("nothing", []),
]
LINE = b'{"text": "York", "mentions": [{"start": 0, "end": 4, "entity_id": "x:york"}]}\n'


def test_counts_of_spans_and_of_entities():
    found = {"York and Paris": [Mention(0, 4, "x:york"), Mention(9, 14, "x:texas")], "nothing": [Mention(0, 3, "x:no")]}
    quality = score_linker(lambda texts: [found.get(text, []) for text in texts], GOLD)
    assert quality.texts == 3
    assert quality.spans == Agreement(found=3, gold=3, right=2)
    assert quality.entities == Agreement(found=3, gold=3, right=1)


def test_precision_recall_and_f1():
    agreement = Agreement(found=4, gold=2, right=1)
    assert (agreement.precision, agreement.recall) == (0.25, 0.5)
    assert agreement.f1 == pytest.approx(2 * 0.25 * 0.5 / 0.75)
    assert Agreement(0, 5, 0).precision == Agreement(0, 5, 0).f1 == 0


def test_more_texts_than_one_batch():
    gold = [GoldText("York", [Mention(0, 4, "x:york")])] * 600
    quality = score_linker(lambda texts: [[Mention(0, 4, "x:york")] for _ in texts], gold)
    assert quality.entities == Agreement(600, 600, 600)


@pytest.mark.parametrize("gold", [[], [GoldText("York", [])]])
def test_nothing_to_measure_by(gold):
    with pytest.raises(LinkingError, match="nothing to measure by"):
        score_linker(lambda texts: [[] for _ in texts], gold)


def test_a_gold_mention_outside_its_text():
    with pytest.raises(MentionError, match="does not fit"):
        score_linker(lambda texts: [[] for _ in texts], [GoldText("York", [Mention(0, 9, "x:york")])])


def test_read_gold(tmp_path):
    path = tmp_path / "gold.jsonl"
    more = b'{"text": "\xc3\xa9 x", "mentions": [{"start": 2, "end": 3, "entity_id": "x", "by": "me"}], "more": 1}'
    path.write_bytes(b"\xef\xbb\xbf" + LINE + b"\n" + more)
    assert read_gold(path) == [
        GoldText("York", [Mention(0, 4, "x:york")]),
        GoldText("\u00e9 x", [Mention(2, 3, "x")]),
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "Expecting"),
        (b"[1]", "a list of mentions"),
        (b'{"text": "York"}', "a list of mentions"),
        (b'{"text": "York", "mentions": [{"start": 0, "end": 9, "entity_id": "x"}]}', "does not fit"),
        (b'{"text": "York", "mentions": [{"start": 0}]}', "expected Mention"),
        (b'{"text": "York", "mentions": [[0, 3, "x"], [2, 4, "x"]]}', "overlap"),
        (b"\xff", "utf-8"),
        (b"[" * 200_000, ""),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line, what):
    path = tmp_path / "gold.jsonl"
    path.write_bytes(LINE + line + b"\n")
    with pytest.raises(LinkingError, match=rf"gold\.jsonl, line 2: .*{what}"):
        read_gold(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(LinkingError, match="No such file"):
        read_gold(tmp_path / "no.jsonl")
