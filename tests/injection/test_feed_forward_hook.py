from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import IncompatibleModelError
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny


@pytest.fixture
def attached(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb, method="kformer", key_dim=3, layers=[1], top=2)
    with torch.no_grad():
        for parameter in plugin.mapping.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    with plugin.attach(model, wordpiece) as (model, tokenizer):
        yield plugin, model, tokenizer(["the mayor of York", "Berlin"], return_tensors="pt", padding=True)


@torch.no_grad()
def test_the_term_is_added_to_what_the_feed_forward_gives(attached):
    plugin, model, batch = attached
    seen = {}
    layer = model.bert.encoder.layer[1]
    layer.intermediate.dense.register_forward_pre_hook(lambda m, args: seen.update(hidden=args[0]))
    layer.output.dense.register_forward_hook(lambda m, args, out: seen.update(out=out, inner=args[0]))
    model(**batch)
    base = functional.linear(seen["inner"], layer.output.dense.weight, layer.output.dense.bias)
    lookup, kb = plugin.mapping.lookup(0), plugin.knowledge_base
    vectors = kb.vectors(range(len(kb)))
    cosines = lookup.queries(seen["hidden"], batch["attention_mask"].bool())[:, 0] @ lookup.keys(vectors[:, :3]).T
    for i, best in enumerate(cosines.topk(2).indices):
        keys = plugin.mapping.keys[0](vectors[best, :3])
        values = plugin.mapping.values[0](vectors[best, 3:])
        term = functional.gelu(seen["hidden"][i] @ keys.T) @ values
        torch.testing.assert_close(seen["out"][i] - base[i], term, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_all_that_are_shown_and_all_that_there_are_give_the_same(attached):
    plugin, model, batch = attached
    searched = model(**batch).logits
    with find_hooks(model)[0].showing(torch.arange(len(plugin.knowledge_base))):
        torch.testing.assert_close(model(**batch).logits, searched)


@torch.no_grad()
def test_weights_that_have_learned_make_a_new_index(attached):
    plugin, model, batch = attached
    hook = find_hooks(model)[0]
    with hook.logging() as before:
        model(**batch)
    plugin.mapping.lookup(0).key.weight.mul_(-1)
    plugin.mapping.lookup(0).key.bias.mul_(-1)
    with hook.logging() as after:
        model(**batch)
    assert not torch.equal(before[0].rows[0], after[0].rows[0])


def test_a_layer_that_is_not_there_is_refused(kb, wordpiece):
    plugin = KnowledgePlugin.for_model(tiny.classifier(), kb, method="kformer")
    shallow = tiny.classifier()
    del shallow.bert.encoder.layer[1]
    with pytest.raises(IncompatibleModelError, match="layers are 0 to 0"):
        plugin.attach(shallow, wordpiece)
