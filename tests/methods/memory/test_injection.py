from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import AttachmentError, ConfigError, MappingError
from knowledge_plugin.injection.lookup import Found
from tests import tiny


@torch.no_grad()
def test_what_was_found_is_read_by_attention(model, kb):
    network = KnowledgePlugin.for_model(model, kb, method="memory", key_dim=3).mapping
    network.readers[0].output.weight.normal_()
    reader = network.readers[0]
    hidden, vectors, scores = torch.randn(2, 4, 16), torch.randn(2, 4, 5, 8), torch.rand(2, 4, 5)
    term = network(0, hidden, Found(vectors, scores))
    b, t = 1, 2
    query = reader.query(hidden[b, t]).view(2, 8)
    keys, values = (layer(vectors[b, t, :, 3:]).view(5, 2, 8) for layer in (reader.key, reader.value))
    logits = torch.einsum("hd,mhd->hm", query, keys) / 8**0.5 + reader.beta[:, None] * scores[b, t]
    read = torch.einsum("hm,mhd->hd", logits.softmax(-1), values)
    torch.testing.assert_close(term[b, t], reader.output(read.flatten()), atol=1e-5, rtol=1e-4)


def test_heads_divide_the_width(model, kb):
    with pytest.raises(ConfigError, match="divisor of the width 16"):
        KnowledgePlugin.for_model(model, kb, method="memory", heads=3)


def _plugin(model, kb):
    plugin = KnowledgePlugin.for_model(model, kb, method="memory")
    with torch.no_grad():
        plugin.mapping.readers[0].output.weight.normal_()
    return plugin


@torch.no_grad()
def test_the_memory_is_exchanged_under_the_attached_model(model, kb, wordpiece):
    other = tiny.knowledge_base(seed=7)
    batch = wordpiece(["the mayor of York"], return_tensors="pt")
    plugin = _plugin(model, kb)
    with plugin.attach(model, wordpiece):
        before = model(**batch).logits
        plugin.swap(other)
        after = model(**batch).logits
    assert plugin.knowledge_base is other
    assert not torch.equal(before, after)
    with plugin.attach(model, wordpiece):
        assert torch.equal(model(**batch).logits, after)
        plugin.swap(kb)
        assert torch.equal(model(**batch).logits, before)


def test_a_memory_of_another_width_is_refused(model, kb):
    plugin = _plugin(model, kb)
    with pytest.raises(MappingError, match="takes vectors of width 8"):
        plugin.swap(tiny.knowledge_base(dim=9))
    assert plugin.knowledge_base is kb


def test_entities_that_are_tokens_are_not_exchanged_under_an_attached_model(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, wordpiece), pytest.raises(AttachmentError, match="swap"):
        plugin.swap(tiny.knowledge_base(seed=7))
    plugin.swap(tiny.knowledge_base(seed=7))


def _only(name, id):
    return KnowledgeBase.from_entities([Entity(id, name)], torch.ones(1, 8), name="others")


def test_rows_are_linked_to_the_new_knowledge_base(model, kb, wordpiece):
    plugin = _plugin(model, kb)
    with plugin.attach(model, wordpiece) as attachment:
        plugin.swap(_only("Vienna", "geo:vienna"))
        ((mention,),) = attachment.source.linker(["the mayor of Vienna"])
        assert mention.entity_id == "geo:vienna"


def test_a_linker_that_was_given_stays(model, kb, wordpiece):
    def linker(texts):
        return [[] for _ in texts]

    plugin = _plugin(model, kb)
    with plugin.attach(model, wordpiece, linker=linker) as attachment:
        plugin.swap(_only("Vienna", "geo:vienna"))
        assert attachment.source.linker is linker


def test_its_card_says_which_layers_were_chosen(model, kb, tmp_path):
    KnowledgePlugin.for_model(model, kb, method="memory", layers=[0], key_dim=3).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "in layer 0;" in card
    assert "last layer" not in card
