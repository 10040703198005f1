from __future__ import annotations

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from knowledge_plugin import DictionaryLinker
from knowledge_plugin.errors import TrainingError
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
    expected = [last[row, [first, final]] for row, first, final in places.tolist()]
    assert torch.equal(states_at(outputs, places, batch["input_ids"]), torch.stack(expected))
    assert any(first < final for _, first, final in places.tolist())
    loss, elsewhere = added(outputs), torch.ones(last.shape[:2], dtype=torch.bool)
    for row, first, final in places.tolist():
        elsewhere[row, [first, final]] = False
    other = {"hidden_states": [last.masked_fill(elsewhere[..., None], 7.0)]}
    assert torch.equal(added(other), loss)
    assert not torch.equal(added({"hidden_states": [last + torch.randn_like(last)]}), loss)
    assert labels.shape[0] == 3


def test_to_tell_leaves_everything_in_its_mode(collator):
    model, side = build("bert-masked-lm").train(), Describing.of(build("bert-masked-lm"))
    model.bert.encoder.eval()
    modes = [module.training for module in (*model.modules(), *side.modules())]
    told = side.tell(model, collator, [{"text": "she saw Berlin"}, {"text": "the river"}, {"text": ""}], "in")
    assert [[mention.entity_id for mention, _ in row] for row in told] == [["geo:berlin"], [], []]
    assert told == side.tell(model, collator, [{"text": "she saw Berlin"}, {"text": "the river"}, {"text": ""}], "in")
    assert modes == [module.training for module in (*model.modules(), *side.modules())]


def test_to_tell_goes_on_from_the_prompt_that_was_learned_and_up_to_the_end(collator, wordpiece, monkeypatch):
    model, asked = build("bert-masked-lm"), []
    side, relation = Describing.of(model), "the river and " * 30
    batch = collator([{"text": "in Berlin", "triples": [["geo:berlin", relation, "spring"]]}])
    learned = batch["written"][0][batch["labels"][0] == -100].tolist()

    def write(states, prompts, words, end, **options):
        asked.append(prompts)
        return [[20] * 30 for _ in prompts]

    monkeypatch.setattr(side.decoder, "write", write)
    side.tell(model, collator, [{"text": "in Berlin"}], relation)
    assert asked == [[learned]]


def test_states_that_are_not_those_of_the_tokens_are_refused(collator):
    peft = pytest.importorskip("peft")
    options = peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=5)
    model = peft.get_peft_model(build("bert-masked-lm"), options)
    batch, side = collator(ROWS), Describing.of(model)
    with side.step(model, None, batch) as added, NoLoss().scoring(model, batch["labels"]):
        del batch["labels"]
        outputs = model(**batch)
    with pytest.raises(TrainingError, match=r"a state for each of 10 tokens, found 15"):
        added(outputs)
    with pytest.raises(TrainingError, match="a state for each"):
        side.tell(model, collator, ROWS)


def test_a_model_that_projects_its_last_states(collator):
    config = OPTConfig(
        vocab_size=400, hidden_size=32, word_embed_proj_dim=16, num_hidden_layers=1, num_attention_heads=2,
        ffn_dim=32, max_position_embeddings=64, do_layer_norm_before=False,
    )  # fmt: skip
    model = OPTForCausalLM(config).eval()
    assert len(Describing.of(model).tell(model, collator, ROWS)) == 2


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
