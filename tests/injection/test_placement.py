from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Entity, KnowledgePlugin
from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.placement import PlacedIndex, choose_gpu
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex
from tests import tiny

GPU = torch.device("cuda", 1)
FREE = {0: 10_000, 1: 1_000}


@pytest.fixture(autouse=True)
def _memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (FREE[device.index], 10**6))


@pytest.mark.parametrize(
    ("nbytes", "wanted", "device", "expected"),
    [
        (500, "auto", GPU, GPU),
        (501, "auto", GPU, None),
        (501, "auto", torch.device("cuda", 0), torch.device("cuda", 0)),
        (1, "auto", torch.device("cpu"), None),
        (1, "cpu", GPU, None),
        (1, "disk", GPU, None),
        (10**9, "cuda", GPU, GPU),
    ],
)
def test_the_index_goes_to_the_gpu_of_the_embeddings_if_half_of_its_memory_holds_it(nbytes, wanted, device, expected):
    assert choose_gpu(nbytes, wanted, device) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(model, kb, wordpiece, tmp_path):
    with pytest.raises(AttachmentError, match="found no GPU"):
        choose_gpu(1, "cuda", torch.device("cpu"))
    KnowledgePlugin.for_model(model, kb).save_pretrained(tmp_path)
    with pytest.raises(AttachmentError, match="found no GPU"):
        KnowledgePlugin.from_pretrained(tmp_path, index_device="cuda")


def test_rows_come_from_the_knowledge_base_as_it_is_now(kb):
    placed = PlacedIndex(kb)
    assert torch.equal(placed(torch.tensor([4, 0, 4])), kb.vectors([4, 0, 4]))
    kb.upsert([Entity("geo:vienna", "Vienna")], torch.ones(1, 8))
    assert torch.equal(placed(torch.tensor([5])), torch.ones(1, 8))


def test_a_copy_follows_the_knowledge_base_too(kb):
    placed = PlacedIndex(kb, torch.device("cpu"))  # any device makes a copy
    assert placed.index is not kb.index
    assert placed.index is placed.index
    kb.upsert([Entity("geo:vienna", "Vienna")], torch.ones(1, 8))
    assert torch.equal(placed(torch.tensor([5])), torch.ones(1, 8))


def test_a_row_that_is_not_there_is_an_error(kb):
    with pytest.raises(AttachmentError, match="row 5"):
        PlacedIndex(kb)(torch.tensor([2, 5]))
    assert PlacedIndex(kb)(torch.tensor([], dtype=torch.int64)).shape == (0, 8)


def test_it_says_where_the_vectors_are(model, kb, tmp_path):
    assert PlacedIndex(kb).where == "cpu"
    KnowledgePlugin.for_model(model, kb).save_pretrained(tmp_path)
    for wanted, where in (("auto", "disk"), ("disk", "disk"), ("cpu", "cpu")):
        plugin = KnowledgePlugin.from_pretrained(tmp_path, index_device=wanted)
        with plugin.attach(model, tiny.tokenizer("wordpiece")) as attachment:
            assert attachment.status()[0].index_device == where


def test_a_copy_that_failed_is_made_again(kb, monkeypatch):
    placed = PlacedIndex(kb, torch.device("cpu"))
    kb.upsert([Entity("geo:paris", "Paris")], torch.full((1, 8), 7.0))
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingIndex, "to", lambda self, device: (_ for _ in ()).throw(RuntimeError("out of memory")))
        with pytest.raises(RuntimeError):
            placed(kb.rows(["geo:paris"]))
    assert torch.equal(placed(kb.rows(["geo:paris"])), torch.full((1, 8), 7.0))
