from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.objectives.descriptions import DescribingCollator
from tests import tiny
from tests.contract.architectures import build

TOKENIZER, KB = tiny.tokenizer("wordpiece"), tiny.knowledge_base()
ROWS = [
    {"text": "the mayor of New York came to Paris", "mentions": [[13, 21, "geo:new-york"], [30, 35, "geo:paris"]]},
    {"text": "she saw Berlin", "mentions": [[8, 14, "geo:berlin"]]},
]
TRIPLES = [
    ROWS[0]
    | {
        "triples": [
            ["geo:paris", "near", "the river"],
            ["geo:new-york", None, "old town"],
            ["geo:paris", "in", "spring"],
        ]
    },
    ROWS[1] | {"triples": [["geo:york", "in", "spring"]]},
]


@pytest.fixture(params=["attached", "alone"])
def collator(request, wordpiece):
    kb, collator = tiny.knowledge_base(), DescribingCollator()
    if request.param == "alone":
        return collator.read_alone(wordpiece, kb, DictionaryLinker(kb))
    model = build("bert-masked-lm")
    collator.use(KnowledgePlugin.for_model(model, kb).attach(model, wordpiece))
    return collator


def wanted(collator, rows):
    """Return of each thing that is wanted the mention, the prompt and the text, as words."""
    batch, found = collator(rows), []
    for (row, first, last), ids, labels in zip(
        batch["places"].tolist(), batch["written"], batch["labels"], strict=True
    ):
        scored = labels != -100
        mention = TOKENIZER.decode(batch["input_ids"][row, first : last + 1])
        prompt = ids[: int(scored.int().argmax())]
        assert torch.equal(ids[scored], labels[scored])
        texts = [TOKENIZER.decode(each) for each in (prompt, labels[scored])]
        found.append((row, mention, *texts))
    return found


def test_of_triples_the_object_is_wanted_at_the_mention_of_its_head(collator):
    assert wanted(collator, TRIPLES) == [
        (0, "new york", "", "old town [SEP]"),
        (0, "paris", "near", "the river [SEP]"),
        (0, "paris", "in", "spring [SEP]"),
    ]


def test_without_triples_the_description_is_wanted(collator):
    assert wanted(collator, ROWS) == [(0, "new york", "", "a city. [SEP]")]  # the others have none
    found = [{"text": row["text"]} for row in ROWS]
    assert wanted(collator, found) == wanted(collator, ROWS)


def test_nothing_that_is_wanted_is_linked(collator):
    rows = [{"text": "she saw Berlin", "triples": [["geo:berlin", "from Paris", "to New York"]]}]
    vocabulary = len(TOKENIZER)
    assert int(collator(rows)["written"].max()) < vocabulary
    linked = int(collator(rows)["input_ids"].max()) >= vocabulary
    assert linked is collator.linked


@settings(max_examples=50)
@given(st.text(max_size=40), st.text(max_size=20), st.text(min_size=1, max_size=200))
def test_whatever_texts_say_prompts_and_objects_fit(text, relation, said):
    collator = DescribingCollator().read_alone(TOKENIZER, KB, None)
    row = {"text": f"paris {text}", "mentions": [[0, 5, "geo:paris"]], "triples": [["geo:paris", relation, said]]}
    batch = collator([row])
    assert batch["written"].shape[1] <= 64
    for scored in batch["labels"] != -100:
        assert bool(scored.any())


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"input_ids": [1]}, "columns"),
        ({"text": "she saw Berlin", "triples": [["geo:berlin", "in"]]}, "triples"),
        ({"text": "she saw Berlin", "triples": [["geo:berlin", 3, "in"]]}, "triples"),
        ({"text": "she saw Berlin", "triples": [["geo:berlin", "in", None]]}, "triples"),
    ],
)
def test_rows_that_say_nothing_are_refused(row, match, collator):
    with pytest.raises(TrainingError, match=match):
        collator([row])


def test_without_a_linker_mentions_must_be_given(wordpiece):
    collator = DescribingCollator().read_alone(wordpiece, tiny.knowledge_base(), None)
    with pytest.raises(TrainingError, match="linker"):
        collator([{"text": "she saw Berlin"}])


def test_an_entity_without_a_name_is_no_matter(wordpiece):
    kb = KnowledgeBase.from_entities([Entity("x:1", "x", description="  the river")], torch.zeros(1, 2), name="toy")
    collator = DescribingCollator().read_alone(wordpiece, kb, None)
    assert wanted(collator, [{"text": "she saw Berlin", "mentions": [[0, 3, "x:1"]]}]) == [
        (0, "she", "", "the river [SEP]")
    ]
