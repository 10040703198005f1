from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.corpus.batch import EmbedDescriptions, LinkTexts
from knowledge_plugin import DictionaryLinker, KnowledgeBase
from tests import tiny
from tests.contract.architectures import build

ROOT = Path(__file__).parents[2]
TEXTS = ["From New York to Berlin", "nowhere", "", None, "Paris, Zu\u0308rich"] * 8


@pytest.fixture
def folder(tmp_path):
    tiny.knowledge_base().save_pretrained(tmp_path / "kb")
    return tmp_path / "kb"


def expected(folder):
    linker = DictionaryLinker(KnowledgeBase.from_pretrained(folder))
    return [[mention[:3] for mention in row] for row in linker([text or "" for text in TEXTS])]


def found(table):
    return [[(m["start"], m["end"], m["entity_id"]) for m in row] for row in table["mentions"].to_pylist()]


@pytest.mark.parametrize("disambiguate", ["prior", "context"])
def test_a_batch_is_linked_also_by_a_copy_in_another_process(folder, disambiguate):
    function = LinkTexts(str(folder), disambiguate)
    batch = pa.table({"text": TEXTS, "id": range(len(TEXTS))})
    first = function(batch)
    assert found(first) == expected(folder)
    assert len(pickle.dumps(function)) < 1000  # a path, and not a knowledge base
    assert pickle.loads(pickle.dumps(function))(batch).equals(first)


@pytest.mark.parametrize("on", ["machine", "cluster"])
def test_a_corpus_is_linked_by_two_workers(folder, tmp_path, on):
    if on == "cluster":
        pytest.importorskip("ray", reason="needs pip install 'knowledge-plugin[ray]'")
    source, target = tmp_path / "corpus.parquet", tmp_path / "linked"
    pq.write_table(pa.table({"text": TEXTS, "id": range(len(TEXTS))}), source, row_group_size=10)
    arguments = ["link", source, target, "--knowledge-base", folder, "--on", on, "--workers", 2, "--batch-size", 5]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "examples.corpus", *map(str, arguments)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = pa.concat_tables(map(pq.read_table, sorted(target.glob("*.parquet")))).sort_by("id")
    assert table["text"].to_pylist() == TEXTS
    assert found(table) == expected(folder)


def test_descriptions_are_embedded(tmp_path):
    transformers_of = pytest.importorskip("sentence_transformers")
    modules = transformers_of.sentence_transformer.modules
    build("bert-classification").bert.save_pretrained(tmp_path / "base")
    tiny.tokenizer("wordpiece").save_pretrained(tmp_path / "base")
    transformer = modules.Transformer(str(tmp_path / "base"))
    pooling = modules.Pooling(transformer.get_embedding_dimension())
    encoder = transformers_of.SentenceTransformer(modules=[transformer, pooling], device="cpu")
    encoder.save_pretrained(str(tmp_path / "encoder"))
    batch = pa.table({"label": ["Paris", "York"], "description": ["a town", None]})
    vectors = EmbedDescriptions(str(tmp_path / "encoder"))(batch)["embedding"].to_pylist()
    np.testing.assert_allclose(vectors, encoder.encode(["Paris: a town", "York"]), rtol=1e-5)
