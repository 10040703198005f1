"""sentence-transformers: the plugin goes to the transformer, its tokenizer to the processor."""

from __future__ import annotations

import numpy as np
import pytest

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import IncompatibleModelError
from tests import tiny
from tests.contract.architectures import build
from tests.contract.common import PLAIN, TEXTS, make_plugin, way

sentence_transformers = pytest.importorskip("sentence_transformers")


@pytest.fixture
def encoder(tmp_path, wordpiece):
    build("bert-classification").bert.save_pretrained(tmp_path / "bert")
    wordpiece.save_pretrained(tmp_path / "bert")
    modules = sentence_transformers.sentence_transformer.modules
    transformer = modules.Transformer(str(tmp_path / "bert"))
    pooling = modules.Pooling(transformer.get_embedding_dimension())
    return sentence_transformers.SentenceTransformer(modules=[transformer, pooling], device="cpu")


@way("sentence-transformers", "encode")
def test_encode(encoder):
    before, plain = encoder.encode(TEXTS), encoder.encode(PLAIN)
    base = encoder[0].processor
    with make_plugin(encoder[0].model).attach(encoder[0].model, encoder.tokenizer) as attachment:
        encoder[0].processor = attachment.tokenizer
        found = encoder.encode(TEXTS)
        assert attachment.mentions_linked == 5
        assert not any(np.array_equal(a, b) for a, b in zip(found, before, strict=True))
        assert np.array_equal(encoder.encode(PLAIN), plain)
    assert np.array_equal(encoder.encode(TEXTS), before)
    encoder[0].processor = base
    assert np.array_equal(encoder.encode(TEXTS), before)


def test_given_whole_it_says_which_part_to_give(encoder, wordpiece):
    with pytest.raises(IncompatibleModelError, match=r"st\[0\]\.model"):
        KnowledgePlugin.for_model(encoder, tiny.knowledge_base())
