"""A real GLiNER model, tiny and untrained, and models with other methods."""

from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin, Mention
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.linking import SpanLinker
from tests import tiny

TEXTS = ["Berlin", "", "  ", "From the Big Apple to York, não é 🗽?"]


@pytest.fixture(scope="module")
def gliner():
    pytest.importorskip("gliner")
    from gliner.config import UniEncoderSpanConfig
    from gliner.model import UniEncoderSpanGLiNER

    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.add_tokens(["<<ENT>>", "<<SEP>>"])
    encoder = {"model_type": "bert", "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1}
    encoder |= {"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 128}
    torch.manual_seed(0)
    config = UniEncoderSpanConfig(
        encoder_config=encoder,
        hidden_size=16,
        max_width=4,
        vocab_size=len(tokenizer),
        class_token_index=len(tokenizer) - 2,
        num_rnn_layers=0,
    )
    return UniEncoderSpanGLiNER(config, tokenizer=tokenizer).eval()


class Finder:
    """Finds given words, one text at a time."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def predict_entities(self, text: str, labels: list[str], threshold: float) -> list[dict]:
        return [
            {"start": text.index(w), "end": text.index(w) + len(w), "text": w, "label": labels[0], "score": 0.75}
            for w in self.words
            if w in text
        ]


def test_gliner(gliner, kb):
    linker = SpanLinker(gliner, ["city"], kb, threshold=0.0)
    found = linker(TEXTS)
    spans = gliner.inference(TEXTS[:1], ["city"], threshold=0.0)[0]
    # Of a text of one word every span is that word, and the knowledge base knows it.
    assert found[0] == [Mention(0, 6, "geo:berlin", pytest.approx(spans[0]["score"]))]
    assert found[1] == found[2] == []
    assert SpanLinker(gliner, ["city"], kb, threshold=0.99)(TEXTS) == [[], [], [], []]


def test_gliner_attached(gliner, model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, wordpiece, linker=SpanLinker(gliner, ["city"], kb, threshold=0.0)) as attachment:
        assert [m.entity_id for m in attachment.explain("Berlin")] == ["geo:berlin"]
        assert len(attachment.tokenizer("Berlin")["input_ids"]) == len(wordpiece("Berlin")["input_ids"]) + 2


def test_a_name_means_the_entity_with_the_highest_prior(kb):
    (mention,) = SpanLinker(Finder("Paris"), ["city"], kb)(["In Paris"])[0]
    prior = kb.best_entity("Paris")[1]
    assert mention == Mention(3, 8, "geo:paris", 0.75 * prior)


def test_what_is_no_name_is_not_linked_and_offsets_are_characters(kb):
    found = SpanLinker(Finder("From", "Big Apple", "York"), ["city"], kb)(TEXTS)
    assert [(TEXTS[3][m.start : m.end], m.entity_id) for m in found[3]] == [
        ("Big Apple", "geo:new-york"),
        ("York", "geo:york"),
    ]


def test_a_model_of_another_kind_is_refused(kb):
    with pytest.raises(LinkingError, match="inference"):
        SpanLinker(str.split, ["city"], kb)
