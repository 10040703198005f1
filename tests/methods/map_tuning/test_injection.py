from __future__ import annotations

import pytest

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import MappingError


@pytest.mark.parametrize(("mapping", "kind"), [(None, "mlp"), ("mlp", "mlp"), ("affine", "affine")])
def test_the_kind_of_mapping_that_is_asked_for(model, kb, mapping, kind):
    plugin = KnowledgePlugin.for_model(model, kb, mapping=mapping)
    assert (plugin.config.mapping.kind, plugin.config.injection.method) == (kind, "map-tuning")
    assert plugin.mapping.config == plugin.config.mapping


def test_no_other_kind(model, kb):
    with pytest.raises(MappingError, match="'mlp' or 'affine'"):
        KnowledgePlugin.for_model(model, kb, mapping="deep")
