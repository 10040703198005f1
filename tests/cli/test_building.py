from __future__ import annotations

import json
import random

import numpy as np
import pytest
from typer.testing import CliRunner

from knowledge_plugin import KnowledgeBase
from knowledge_plugin.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, ["kb", *map(str, arguments)])


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "drugs.csv"
    path.write_text("id,label,aliases\n1,Aspirin,ASA|Acetyl\n2,Ibuprofen,Advil\n3,ASA,\n")
    return path


@pytest.fixture
def vectors(tmp_path):
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "v.txt").write_text("d:1\nd:2\nd:3\n")
    return tmp_path / "v.npy"


@pytest.fixture
def folder(table, vectors, tmp_path):
    out = tmp_path / "kb"
    done = run("build", out, "--entities", table, "--vectors", vectors, "--name", "drugs", "--id-prefix", "d:")
    assert done.exit_code == 0, done.output
    return out


def test_build_says_what_it_made(folder, table, vectors, tmp_path):
    common = ("--entities", table, "--vectors", vectors, "--name", "drugs", "--id-prefix", "d:", "--json")
    more = ("--id-scheme", "d", "--license", "mit", "--kb-version", "2026-11", "--dtype", "float16")
    done = run("build", tmp_path / "other", *common, *more)
    found = json.loads(done.stdout)
    assert (found["entities"], found["aliases"], found["ambiguous"], found["dtype"]) == (3, 6, 1, "float16")
    config = KnowledgeBase.from_pretrained(tmp_path / "other").config
    assert (config.id_scheme, config.license, config.version, config.dtype) == ("d", "mit", "2026-11", "float16")


def test_build_prints_a_table_for_the_card(table, vectors, tmp_path):
    arguments = ("--entities", table, "--vectors", vectors, "--name", "drugs", "--id-prefix", "d:")
    done = run("build", tmp_path / "out", *arguments)
    assert done.stdout.startswith("| drugs | |\n|---|---|\n| entities | 3 |")


def test_columns_of_other_names(folder, vectors, tmp_path):
    table = tmp_path / "export.csv"
    table.write_text("Code;Name\n1;Aspirin\n2;Ibuprofen\n3;Codeine\n")
    arguments = ("--entities", table, "--vectors", vectors, "--id-prefix", "d:")
    refused = run("build", tmp_path / "out", *arguments, "--name", "drugs")
    assert "--column id=..." in refused.stderr + str(refused.exception)
    named = ("--column", "id=Code", "--column", "label=Name")
    assert run("build", tmp_path / "out", *arguments, *named, "--name", "drugs").exit_code == 0
    assert KnowledgeBase.from_pretrained(tmp_path / "out")["d:3"].label == "Codeine"
    done = run("upsert", folder, *arguments, *named)
    assert done.exit_code == 0, done.output
    assert KnowledgeBase.from_pretrained(folder)["d:3"].label == "Codeine"
    assert run("build", tmp_path / "o", *arguments, "--name", "d", "--column", "label").exit_code == 2


def test_build_with_an_embedder(tmp_path):
    rng = random.Random(0)
    ids = [f"x:{i}" for i in range(40)]
    (tmp_path / "e.csv").write_text("id,label\n" + "".join(f"{i},name {i}\n" for i in ids))
    lines = "".join(f"{i}\tnear\t{rng.choice(ids)}\n" for i in ids for _ in range(6))
    (tmp_path / "t.tsv").write_text(lines)
    arguments = ("--entities", tmp_path / "e.csv", "--triples", tmp_path / "t.tsv", "--name", "t", "--dim", "8")
    done = run("build", tmp_path / "kb", *arguments, "--embedder", "distmult", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["dim"] == 8
    assert {"hits@1", "hits@10", "MRR"} <= set(found["measures"])
    assert KnowledgeBase.from_pretrained(tmp_path / "kb").config.embedder.measures == found["measures"]


def test_upsert_and_remove(folder, tmp_path):
    (tmp_path / "new.csv").write_text("id,label\nd:2,Ibuprofen forte\nd:4,Codeine\n")
    np.save(tmp_path / "new.npy", np.ones((2, 3), np.float32))
    (tmp_path / "new.txt").write_text("d:4\nd:2\n")
    more = ("--entities", tmp_path / "new.csv", "--vectors", tmp_path / "new.npy", "--kb-version", "2", "--json")
    done = run("upsert", folder, *more)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"entities": 4, "version": "2", "added": 1, "replaced": 1, "removed": 0}
    done = run("remove", folder, "d:1", "d:3")
    assert done.exit_code == 0, done.output
    kb = KnowledgeBase.from_pretrained(folder)
    assert sorted(e.label for e in kb) == ["Codeine", "Ibuprofen forte"]
    assert [step.removed for step in kb.config.history] == [0, 0, 2]
    assert run("verify", folder).exit_code == 0


def test_failures_change_nothing(folder, table, vectors, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "new.csv").write_text("id,label\nd:9,Codeine\n")
    failures = [
        ("remove", folder, "d:1", "d:99"),
        ("upsert", folder, "--entities", tmp_path / "new.csv", "--vectors", vectors),
        ("build", folder, "--entities", table, "--name", "drugs"),
        ("build", folder, "--entities", table, "--vectors", vectors, "--name", "no id prefix", "--overwrite"),
        ("build", folder, "--entities", table, "--vectors", vectors, "--name", "others", "--id-prefix", "d:"),
    ]
    for arguments in failures:
        done = run(*arguments)
        assert done.exit_code == 1, done.output
        assert "error:" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("command", ["build", "upsert"])
def test_where_the_ids_of_vectors_are_is_said(folder, table, vectors, tmp_path, command):
    words = " ".join(run(command, "--help").stdout.replace("│", " ").split())
    assert "v.npy (or .safetensors) needs v.txt beside it, with one id a line" in words
    vectors.with_suffix(".txt").unlink()
    out = tmp_path / "out" if command == "build" else folder
    done = run(
        command, out, "--entities", table, "--vectors", vectors, *(("--name", "t") if command == "build" else ())
    )
    assert done.exit_code == 1
    assert "one a line, in the order of the vectors, into v.txt" in done.stderr


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_misspelt_column_is_said_and_no_error(vectors, tmp_path):
    table = tmp_path / "typo.csv"
    table.write_text("id,label,alias,desc\nd:1,aspirin,ASA,A drug\n")
    done = run("build", tmp_path / "out", "--entities", table, "--vectors", vectors, "--name", "t")
    assert done.exit_code == 0
    assert done.stderr.count("--column aliases=alias --column description=desc") == 1
    assert "| aliases | 1, of which 0 besides labels |" in done.stdout


def test_a_build_over_a_knowledge_base_says_how(folder, table, vectors):
    arguments = ("build", folder, "--entities", table, "--vectors", vectors, "--name", "new", "--id-prefix", "d:")
    assert "--overwrite" in run(*arguments).stderr
    assert run(*arguments, "--overwrite").exit_code == 0
    assert KnowledgeBase.from_pretrained(folder).config.name == "new"


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "out", "--name", "t"),
        ("build", "out", "--entities", "nowhere.csv", "--name", "t"),
        ("build", "out", "--entities", ".", "--name", "t", "--embedder", "word2vec"),
        ("remove", "out"),
    ],
)
def test_wrong_use(arguments):
    assert run(*arguments).exit_code == 2
