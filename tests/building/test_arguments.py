from __future__ import annotations

import numpy as np
import pytest
import torch

from knowledge_plugin import Entity
from knowledge_plugin.building import build_knowledge_base
from knowledge_plugin.building.embedders import GraphEmbedder, TextEmbedder
from knowledge_plugin.errors import KnowledgeBaseError


class Model(torch.nn.Module):
    """As SentenceTransformer is: it can be called, too."""

    def encode(self, texts):
        return torch.zeros(len(texts), 2)


def build(tmp_path, **more):
    (tmp_path / "e.csv").write_text("id,label\n1,a\n")
    return build_knowledge_base(
        tmp_path / "kb", **{"entities": tmp_path / "e.csv", "name": "t", "progress": False} | more
    )


@pytest.mark.parametrize(
    ("embedder", "message"),
    [
        (Model().encode, r"found Model\.encode, which takes texts\. Type: embedder=TextEmbedder\(model\)"),
        (Model(), r"found a model \(Model\)\. Type: embedder=TextEmbedder\(model\)"),
        ("text", r"found the text 'text'\. Type: embedder=TextEmbedder\(\)"),
        ("transe", r"Type: embedder=GraphEmbedder\('TransE'\), with triples=PATH"),
        ("all-MiniLM-L6-v2", r"Type: embedder=TextEmbedder\('all-MiniLM-L6-v2'\)"),
        (TextEmbedder, r"found the class TextEmbedder\. Type: embedder=TextEmbedder\(\.\.\.\)"),
        (torch.nn.Linear(1, 1), r"found Linear\. Type: embedder=TextEmbedder\(\), or a function"),
        (5, "found int"),
    ],
)
def test_what_is_no_embedder(tmp_path, embedder, message):
    with pytest.raises(KnowledgeBaseError, match=rf"embedder: expected .*{message}"):
        build(tmp_path, embedder=embedder)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"entities": [Entity("1", "a")], "vectors": np.ones((1, 2))}, "entities: .*found list.*from_entities"),
        ({"entities": {"id": ["1"]}}, r"entities: .*found dict.*from_entities.*or of a data frame .*from_table"),
        ({"vectors": np.ones((1, 2)), "embedder": None}, r"vectors: .*found ndarray.*from_entities.*v\.txt"),
        ({"triples": [("1", "r", "1")]}, r"triples: .*found list.*triples='t\.tsv'"),
    ],
)
def test_what_is_in_memory_and_not_in_a_file(tmp_path, more, message):
    embedder = {} if "vectors" in more else {"embedder": GraphEmbedder()}
    with pytest.raises(KnowledgeBaseError, match=message):
        build(tmp_path, **embedder | more)
