from __future__ import annotations

import pytest
import torch

from knowledge_plugin import DictionaryLinker
from knowledge_plugin.objectives.describing import Describing, nothing_to_describe, states_at
from knowledge_plugin.objectives.descriptions import DescribingCollator
from knowledge_plugin.objectives.scoring import NoLoss
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


@pytest.fixture
def collator(wordpiece):
    return DescribingCollator().read_alone(wordpiece, tiny.knowledge_base(), DictionaryLinker(tiny.knowledge_base()))


def test_rows_of_which_nothing_is_known_have_no_part_in_the_loss(collator):
    batch = collator([{"text": "a train stops every morning", "mentions": []}])
    assert batch["places"].shape == (0, 3)
    model = build("bert-masked-lm")
    with Describing.of(model).step(model, None, batch) as added:
        labels = batch.pop("labels")
        assert labels.numel() == 0
        assert added(model(**batch)).item() == 0


@pytest.mark.parametrize("name", ["bert-masked-lm", "albert", "llama", "gpt2-classification"])
def test_the_decoder_sees_the_states_of_the_mention_and_nothing_else(name, wordpiece):
    model = build(name)
    collator = DescribingCollator().read_alone(wordpiece, tiny.knowledge_base(), None)
    batch, side = collator(TRIPLES), Describing.of(model).eval()
    batch.pop("token_type_ids", None)
    places = batch["places"]
    with side.step(model, None, batch) as added, NoLoss().scoring(model, batch["labels"]):
        labels = batch.pop("labels")
        outputs = model(**batch)
    last = outputs["hidden_states"][-1]
    assert states_at(outputs, places).shape == (3, 2, last.shape[-1])
    loss, elsewhere = added(outputs), torch.ones(last.shape[:2], dtype=torch.bool)
    for row, first, final in places.tolist():
        elsewhere[row, [first, final]] = False
    other = {"hidden_states": [last.masked_fill(elsewhere[..., None], 7.0)]}
    assert torch.equal(added(other), loss)
    assert not torch.equal(added({"hidden_states": [last + torch.randn_like(last)]}), loss)
    assert labels.shape[0] == 3


@pytest.mark.parametrize(
    ("name", "form", "lacks"),
    [
        ("bert-masked-lm", "concat", False),
        ("bert-masked-lm", "replace", True),
        ("llama", "concat", False),
        ("t5", "concat", True),
    ],
)
def test_what_can_be_described(name, form, lacks, wordpiece):
    assert (nothing_to_describe(build(name), wordpiece, form) is not None) is lacks
