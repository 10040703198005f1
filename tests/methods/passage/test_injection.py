from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import MappingError
from tests.contract.architectures import build


@torch.no_grad()
@pytest.mark.parametrize("tokens", [1, 3])
def test_entities_become_about_as_long_as_words(kb, tokens):
    model = build("llama")
    plugin = KnowledgePlugin.for_model(model, kb, method="passage", tokens=tokens)
    unit = torch.nn.functional.normalize(torch.randn(200, 8), dim=-1)
    rows = plugin.mapping(unit).view(200 * tokens, -1).norm(dim=-1).mean()
    words = model.get_input_embeddings().weight.norm(dim=-1).mean()
    assert 0.8 < float(rows / words) < 1.25


def test_the_bridge_is_as_wide_between_as_words_are(kb):
    config = KnowledgePlugin.for_model(build("llama"), kb, method="passage", tokens=3).config
    assert config.mapping.widths == [8, 16, 48]


def test_no_other_kind_of_mapping(kb):
    with pytest.raises(MappingError, match="'mlp' or 'affine'"):
        KnowledgePlugin.for_model(build("llama"), kb, mapping="deep", method="passage")
