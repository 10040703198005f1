from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.building import builder
from knowledge_plugin.building.builder import build_knowledge_base
from knowledge_plugin.building.embedders import CombinedEmbedder, Embedding, GraphEmbedder, TextEmbedder
from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError, ReaderError, SaveError

CSV = """id,label,aliases,description,popularity
x:1,Aspirin,ASA|Acetyl,a painkiller,5
x:2,Ibuprofen,Advil,,9
x:3,ASA,,,1
"""
runs: list[str] = []


@dataclass(frozen=True)
class Counted:
    """Vectors that say which entity they are of; counts how often it runs."""

    fails: bool = False
    without: str = ""

    def __call__(self, source):
        runs.append(str(self))
        ids = [i for i in source.entities["id"].to_pylist() if i != self.without]
        (source.folder / "kept").touch()
        if self.fails:
            raise KeyboardInterrupt
        return Embedding(ids, np.array([[float(i[2:]), 1.0] for i in ids], np.float32), {"quality": 0.5})


def stop(*args):
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _no_runs():
    runs.clear()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "drugs.csv"
    path.write_text(CSV)
    return path


def build(table, output=None, **more):
    return build_knowledge_base(
        output or table.parent / "kb", table, **{"embedder": Counted(), "name": "drugs", "progress": False} | more
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_from_a_table_to_a_folder(table, tmp_path):
    summary = build(table, version="2026-11", license="cc0-1.0", id_scheme="x")
    kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
    kb.verify()
    assert [e.id for e in kb] == ["x:2", "x:1", "x:3"]
    assert kb["x:1"] == Entity("x:1", "Aspirin", aliases=["ASA", "Acetyl"], description="a painkiller", popularity=5)
    assert torch.equal(kb.vectors(kb.rows(["x:3", "x:1"])), torch.tensor([[3.0, 1.0], [1.0, 1.0]]))
    assert (kb.config.version, kb.config.license, kb.config.id_scheme) == ("2026-11", "cc0-1.0", "x")
    assert kb.config.embedder.measures == {"quality": 0.5}
    assert (summary.entities, summary.aliases, summary.names, summary.ambiguous) == (3, 6, 5, 1)
    assert (summary.other_names, summary.described) == (3, 1)
    assert summary.most_ambiguous == (("asa", 2),)
    assert summary.size == sum(file.size for file in kb.config.files.values())
    assert not (tmp_path / "kb.building").exists()
    assert "| ambiguous names | 1 of 5 (20.0 %): asa (2) |" in str(summary)
    assert "| aliases | 6, of which 3 besides labels |\n| descriptions | of 1 entities |" in str(summary)
    assert "quality 0.5" in str(summary)
    json.dumps(summary.to_dict())


def test_given_vectors_in_any_order_and_more_than_needed(table, tmp_path):
    np.save(tmp_path / "v.npy", np.array([[3.0], [9.0], [1.0], [2.0]], np.float32))
    (tmp_path / "v.txt").write_text("x:3\nx:9\nx:1\nx:2\n")
    build(table, embedder=None, vectors=tmp_path / "v.npy")
    kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
    assert kb.vectors(kb.rows(["x:1", "x:2", "x:3"])).flatten().tolist() == [1.0, 2.0, 3.0]
    assert str(tmp_path) not in (tmp_path / "kb" / "config.json").read_text()


def test_entities_without_a_vector_stay_out_and_are_counted(table, tmp_path):
    summary = build(table, embedder=Counted(without="x:2"))
    assert (summary.entities, summary.without_vector) == (2, 1)
    assert "x:2" not in KnowledgeBase.from_pretrained(tmp_path / "kb")


@pytest.mark.parametrize("rows", [1, 1_000])
def test_order_and_pieces_do_not_matter(tmp_path, monkeypatch, rows):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(builder, "_BATCH", rows)
    ids = [f"x:{i}" for i in range(40)]
    vectors = rng.standard_normal((40, 3)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "v.txt").write_text("\n".join(ids))
    shuffled = rng.permutation(40)[:30]
    columns = {"id": [ids[i] for i in shuffled], "label": [f"n{i}" for i in shuffled], "popularity": rng.random(30)}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    build(tmp_path / "e.parquet", embedder=None, vectors=tmp_path / "v.npy")
    kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
    assert torch.equal(kb.vectors(kb.rows(columns["id"])), torch.tensor(vectors[shuffled]))


def test_an_interrupted_stage_is_begun_again_and_those_before_are_not(table, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        build(table, embedder=Counted(fails=True))
    assert not (tmp_path / "kb").exists()
    monkeypatch.setattr(builder, "_read", stop)  # which would show if it were called again
    for stage in ("_index", "_aliases"):
        with monkeypatch.context() as patch:
            patch.setattr(builder, stage, stop)
            with pytest.raises(KeyboardInterrupt):
                build(table)
    assert runs == [str(Counted(fails=True)), str(Counted())]
    build(table)
    assert runs == [str(Counted(fails=True)), str(Counted())]
    monkeypatch.undo()
    build(table, tmp_path / "other")
    assert contents(tmp_path / "kb") == contents(tmp_path / "other")


def test_what_an_embedder_left_is_there_when_it_goes_on(table, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(table, embedder=Counted(fails=True))
    assert (tmp_path / "kb.building" / "embed" / "own" / "kept").exists()


def test_what_changed_is_done_again(table, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(builder, "_aliases", stop)
        with pytest.raises(KeyboardInterrupt):
            build(table)
        with pytest.raises(KeyboardInterrupt):
            build(table, name="medicines")  # of no concern to the vectors
        assert len(runs) == 1
        table.write_text(CSV + "x:4,Codeine,,,2\n")
        with pytest.raises(KeyboardInterrupt):
            build(table, name="medicines")
        assert len(runs) == 2
    build(table, name="medicines")
    kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
    assert (len(kb), kb.config.name) == (4, "medicines")


def test_a_function_is_never_taken_for_the_one_before(table, tmp_path, monkeypatch):
    def embedder(scale):
        def embed(source):
            runs.append("embed")
            return Embedding(source.entities["id"].to_pylist(), np.full((3, 1), scale, np.float32))

        return embed

    with monkeypatch.context() as patch:
        patch.setattr(builder, "_aliases", stop)
        with pytest.raises(KeyboardInterrupt):
            build(table, embedder=embedder(1.0))
    build(table, embedder=embedder(2.0))
    kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
    assert kb.vectors([0]).item() == 2.0


KILLED = """
import os, signal, sys
from knowledge_plugin.building import builder
stage, kill = sys.argv[1], lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
real = getattr(builder, stage)
def killed(*args):
    result = real(*args)
    kill()
setattr(builder, stage, killed)
builder.build_knowledge_base(sys.argv[2], sys.argv[3], vectors=sys.argv[4], name="drugs", progress=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("stage", ["_read", "_embed", "_index", "_aliases"])
def test_a_killed_build_goes_on_to_the_same_bytes(table, tmp_path, stage):
    np.save(tmp_path / "v.npy", np.array([[3.0], [1.0], [2.0]], np.float32))
    (tmp_path / "v.txt").write_text("x:3\nx:1\nx:2\n")
    arguments = [stage, str(tmp_path / "kb"), str(table), str(tmp_path / "v.npy")]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "kb").exists()
    for output in ("kb", "whole"):
        build(table, tmp_path / output, embedder=None, vectors=tmp_path / "v.npy")
    assert contents(tmp_path / "kb") == contents(tmp_path / "whole")


def test_one_process_at_a_time(table, tmp_path):
    def second(source):
        with pytest.raises(SaveError, match="another process builds there"):
            build(table)
        return Counted()(source)

    build(table, embedder=second)
    assert len(runs) == 1


def test_a_knowledge_base_that_is_there_is_replaced_at_the_end_only(table, tmp_path):
    build(table)
    before = contents(tmp_path / "kb")
    table.write_text(CSV + "x:4,Codeine,,,2\n")
    with pytest.raises(KeyboardInterrupt):
        build(table, embedder=Counted(fails=True))
    assert contents(tmp_path / "kb") == before
    build(table)
    assert len(KnowledgeBase.from_pretrained(tmp_path / "kb")) == 4


@pytest.mark.parametrize(
    ("there", "about"),
    [
        ("changed", "'drugs', 4 entities, changed since it was built"),
        ("of another name", r"'herbs', 3 entities\)"),
        ("not built", r"'drugs', 1 entities\)"),
    ],
)
def test_what_files_do_not_make_again_is_not_replaced_unasked(table, tmp_path, there, about):
    if there == "not built":
        KnowledgeBase.from_entities([Entity("x:9", "Codeine")], [[9.0, 1.0]], name="drugs").save_pretrained(
            tmp_path / "kb"
        )
    else:
        build(table, name="herbs" if there == "of another name" else "drugs")
    if there == "changed":
        kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
        kb.upsert([Entity("x:9", "Codeine")], [[9.0, 1.0]])
        kb.save_pretrained(tmp_path / "kb")
    before = contents(tmp_path / "kb")
    runs.clear()
    with pytest.raises(SaveError, match=rf"holds a knowledge base already \({about}.*overwrite=True \(--overwrite\)"):
        build(table)
    assert runs == []
    assert contents(tmp_path / "kb") == before
    assert not (tmp_path / "kb.building").exists()
    build(table, overwrite=True)
    assert len(KnowledgeBase.from_pretrained(tmp_path / "kb")) == 3


def test_a_knowledge_base_of_a_later_version_is_not_replaced_unasked(table, tmp_path):
    build(table)
    config = json.loads((tmp_path / "kb" / "config.json").read_text()) | {"format_version": "99.0"}
    (tmp_path / "kb" / "config.json").write_text(json.dumps(config))
    with pytest.raises(SaveError, match="holds a knowledge base already"):
        build(table)


def test_a_checkpoint_is_not_overwritten(table, tmp_path):
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SaveError):
        build(table)
    assert (tmp_path / "kb" / "config.json").read_text() == '{"model_type": "bert"}'


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"embedder": None}, "expected either vectors or an embedder"),
        ({"vectors": "v.npy"}, "expected either vectors or an embedder"),
        ({"embedder": lambda source: [1.0]}, "expected an Embedding"),
        ({"embedder": lambda source: Embedding(["y:1"], np.ones((1, 2)))}, r"no entity has a vector.*'x:1'.*'y:1'"),
        ({"embedder": lambda source: Embedding(["x:1"] * 2, np.ones((2, 2)))}, "the id 'x:1' has more than one vector"),
        ({"embedder": lambda source: Embedding(["x:1"], np.full((1, 2), np.nan))}, "NaN"),
    ],
)
def test_what_makes_no_vectors(table, tmp_path, more, message):
    with pytest.raises(KnowledgeBaseError, match=message):
        build(table, **more)
    assert not (tmp_path / "kb").exists()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_id_twice(tmp_path, kind):
    if kind == "csv":
        (tmp_path / "e.csv").write_text("id,label\nx:1,A\nx:1,B\n")
    else:
        pq.write_table(pa.table({"id": ["x:1", "x:2", "x:1"], "label": ["A", "B", "C"]}), tmp_path / "e.parquet")
    with pytest.raises((KnowledgeBaseError, ReaderError), match=r"'x:1' .*(line 2|rows 1 and 3)"):
        build(tmp_path / f"e.{kind}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"e.{kind}"]


@dataclass(frozen=True)
class Model:
    """Encodes texts, and counts how often."""

    def encode(self, texts, **options):
        runs.append("encode")
        return np.ones((len(texts), 2), np.float32)


NAMELESS = CSV + "x:4,,,no name,\nx:5, , | ,blank,\nx:6,,Codeine,named by an alias,\n"


def test_an_entity_without_a_name_is_found_before_anything_is_embedded(table):
    table.write_text(NAMELESS)
    with pytest.raises(KnowledgeBaseError, match=r"drugs\.csv: 2 entities have no name.*'x:4' \(row 4\)"):
        build(table, embedder=TextEmbedder(Model()))
    assert runs == []
    assert build(table, embedder=TextEmbedder(Model()), linker="external").entities == 6


def test_an_entity_of_the_graph_without_a_name_is_found_before_it_is_embedded(table, tmp_path, monkeypatch):
    table.write_text(NAMELESS)
    (tmp_path / "t.tsv").write_text("x:1\tr\tx:2\nx:5\tr\tx:1\n")
    monkeypatch.setattr(GraphEmbedder, "__call__", lambda self, source: stop())
    with pytest.raises(KnowledgeBaseError, match=r"1 entities have no name.*'x:5' \(row 5\)"):
        build(table, embedder=GraphEmbedder(), triples=tmp_path / "t.tsv")
    (tmp_path / "t.tsv").write_text("x:1\tr\tx:2\n")
    with pytest.raises(KeyboardInterrupt):  # those without a name are in no triple
        build(table, embedder=GraphEmbedder(), triples=tmp_path / "t.tsv")


def test_an_entity_without_a_name_may_be_left_without_a_vector(table):
    table.write_text(CSV + "x:4,,,no name,\n")
    with pytest.raises(KnowledgeBaseError, match=r"drugs\.csv: 1 entities have no name.*'x:4' \(row 4\)"):
        build(table)
    assert build(table, embedder=Counted(without="x:4")).entities == 3


def test_a_model_that_is_not_to_be_had_is_missed_before_anything_is_read(table, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "read_columns", stop)
    for embedder in (TextEmbedder(str(tmp_path)), CombinedEmbedder([TextEmbedder(str(tmp_path))])):
        with pytest.raises(ArtifactError, match="no model that sentence-transformers can load"):
            build(table, embedder=embedder)
    assert not (tmp_path / "kb.building").exists()


def test_an_error_that_is_not_of_the_disk_is_not_said_to_be(table):
    class NotReached(OSError):
        pass

    def embedder(source):
        raise NotReached("no such host")

    with pytest.raises(NotReached):
        build(table, embedder=embedder)
