from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.embedding_hook import EmbeddingHook
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds

V = 400


@pytest.fixture
def plugin(model, kb):
    return KnowledgePlugin.for_model(model, kb)


@pytest.fixture
def hook(model, plugin):
    ids = VirtualIds(V, len(plugin.knowledge_base))
    hook = EmbeddingHook(PlacedIndex(plugin.knowledge_base), plugin.mapping, ids, V)
    hook.attach(model)
    yield hook
    hook.detach(model)


def test_virtual_ids_have_room_to_grow():
    ids = VirtualIds(V, 10)
    assert V in ids
    assert V - 1 not in ids
    assert V + 1000 in ids
    assert ids.stop not in ids


def test_words_are_looked_up_and_virtual_ids_are_mapped(model, plugin, hook):
    embedding = model.get_input_embeddings()
    found = embedding(torch.tensor([[5, V + 2, 7], [V, V + 2, 0]]))
    rows = plugin.word_embeddings([plugin.knowledge_base.entity_id(i) for i in (2, 0, 2)])
    assert torch.equal(found[0, [0, 2]], embedding.weight[[5, 7]])
    assert torch.equal(torch.stack([found[0, 1], found[1, 0], found[1, 1]]), rows)


def test_ids_given_by_name_work_too(model, hook):
    embedding = model.get_input_embeddings()
    assert torch.equal(embedding(input=torch.tensor([5, V])), embedding(torch.tensor([5, V])))


def test_a_forward_that_fails_leaves_nothing_behind(model, hook):
    embedding = model.get_input_embeddings()
    with pytest.raises(IndexError):
        embedding(torch.tensor([V, hook.ids.stop + 5]))
    assert torch.equal(embedding(torch.tensor([5])), embedding.weight[[5]])


def test_resized_embeddings_are_noticed(model, hook):
    model.resize_token_embeddings(410, mean_resizing=False)
    with pytest.raises(AttachmentError, match="resized"):
        model(torch.tensor([[5, V]]))


def test_threads_do_not_mix(model, hook):
    batches = [torch.randint(0, V + 5, (2, 6)) for _ in range(32)]
    with torch.no_grad():
        expected = [model(batch).logits for batch in batches]

        def forward(batch):
            with torch.no_grad():
                return model(batch).logits

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(forward, batches))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_a_copied_model_shares_the_plugin_and_works(model, hook):
    copied = copy.deepcopy(model)
    ids = torch.tensor([[5, V, 7]])
    assert torch.equal(copied(ids).logits, model(ids).logits)
    assert find_hooks(copied)[0].mapping is find_hooks(model)[0].mapping


def test_a_pickled_model_works(model, hook):
    ids = torch.tensor([[5, V, 7]])
    assert torch.equal(pickle.loads(pickle.dumps(model))(ids).logits, model(ids).logits)


def test_labels_never_hold_virtual_ids(hook, model):
    seen = {}
    model.register_forward_pre_hook(lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True)
    model(torch.tensor([[5, V]]), labels=torch.tensor([1]))
    assert seen["labels"].tolist() == [1]
    _, kwargs = hook._before_model(model, (), {"labels": torch.tensor([[5, V + 1]])})
    assert kwargs["labels"].tolist() == [[5, -100]]
