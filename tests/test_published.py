"""A mapping network of the published code, and a plugin that does the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from knowledge_plugin import KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.building.published import convert_published_vectors
from knowledge_plugin.errors import ArtifactError, MappingError
from knowledge_plugin.published import convert_published_mapping
from tests import tiny
from tests.published_files import IDS, write_files


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def convert(files) -> KnowledgeBase:
    names = files / "entity_map.txt"
    return convert_published_vectors(
        files / "transe.npy", files / "entity2id.txt", files / "kb", entity_map=names, name="cities"
    )


def test_word_embeddings_are_those_of_the_published_code(files, model, wordpiece):
    state = torch.load(files / "Affine_5.bin", weights_only=True)
    plugin = convert_published_mapping(files / "Affine_5.bin", model, convert(files), wordpiece, allow_pickle=True)
    table = torch.from_numpy(np.load(files / "transe.npy"))
    expected = torch.nn.functional.linear(table, state["model.weight"], state["model.bias"])
    ids = [f"wikidata:{qid}" for qid in IDS]
    assert torch.allclose(plugin.word_embeddings(ids), expected, rtol=0, atol=1e-6)
    plugin.save_pretrained(files / "plugin")
    again = KnowledgePlugin.from_pretrained(files / "plugin")
    assert again.word_embeddings(ids).equal(plugin.word_embeddings(ids))
    with again.attach(model, wordpiece) as attachment:
        assert attachment.explain("a train to Vienna") == [Mention(11, 17, "wikidata:Q1741", 1.0)]


def test_a_mapping_of_another_width(files, model):
    torch.save({"model.weight": torch.zeros(16, 9), "model.bias": torch.zeros(16)}, files / "Affine_5.bin")
    with pytest.raises(MappingError, match="leads from width 9 to 16"):
        convert_published_mapping(files / "Affine_5.bin", model, convert(files), allow_pickle=True)


def test_a_pickle_is_opened_only_if_that_is_said(files, model):
    with pytest.raises(ArtifactError, match="allow_pickle=True"):
        convert_published_mapping(files / "Affine_5.bin", model, tiny.knowledge_base())
