from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from typer.testing import CliRunner

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.cli.main import app
from knowledge_plugin.registry import find_method
from tests import tiny

CITIES = ["Paris", "New York", "York", "Berlin"]
METHODS = ("map-tuning", "kformer", "memory", "kb-attention", "passage")


@pytest.fixture
def checkpoint(tmp_path, wordpiece):
    model = tiny.classifier(labels=2)
    model.save_pretrained(tmp_path / "checkpoint")
    wordpiece.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def kb_folder(tmp_path):
    tiny.knowledge_base().save_pretrained(tmp_path / "kb")
    return tmp_path / "kb"


@pytest.fixture(params=["jsonl", "csv"])
def data(request, tmp_path):
    rows = [{"text": f"a train to {city}", "label": i % 2} for i, city in enumerate(CITIES * 4)]
    path = tmp_path / f"rows.{request.param}"
    lines = ["text,label", *(f"{row['text']},{row['label']}" for row in rows)]
    path.write_text("\n".join(map(json.dumps, rows) if request.param == "jsonl" else lines) + "\n")
    return path


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_align(checkpoint, kb_folder, tmp_path):
    done = run("align", tmp_path / "out", "--kb", kb_folder, "--model", checkpoint, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["entities"] == 5
    assert KnowledgePlugin.from_pretrained(tmp_path / "out").config.mapping.kind == "affine"


def test_align_says_what_it_does_not_know_and_what_says_nothing(checkpoint, kb_folder, tmp_path):
    few = run("align", tmp_path / "few", "--kb", kb_folder, "--model", checkpoint)
    assert "Nothing was held out of so few" in few.stdout.splitlines()[-1]
    entities = [Entity(f"x:{i}", name) for i, name in enumerate(CITIES * 15)]
    vectors = torch.randn(len(entities), 8, generator=torch.Generator().manual_seed(0))
    KnowledgeBase.from_entities(entities, vectors, name="noise").save_pretrained(tmp_path / "noise")
    options = ["--kb", tmp_path / "noise", "--model", checkpoint]
    last = run("align", tmp_path / "noise-plugin", *options).stdout.splitlines()[-1]
    assert "next to nothing" in last
    assert "--targets descriptions" in last
    printed = json.loads(run("align", tmp_path / "noise-plugin", *options, "--overwrite", "--json").stdout)
    assert printed["verdict"] == last


def test_targets_that_cannot_be_given_here(checkpoint, kb_folder, tmp_path):
    done = run("align", tmp_path / "out", "--kb", kb_folder, "--model", checkpoint, "--targets", "words")
    assert done.exit_code == 2
    shown = re.sub(r"[\s│]+", " ", done.stderr)
    assert "expected names or descriptions, found 'words'" in shown
    assert "in Python alone" in shown


def test_train_and_evaluate(checkpoint, kb_folder, data, tmp_path):
    out = tmp_path / "out"
    done = run("train", out, "--kb", kb_folder, "--model", checkpoint, "--data", data, "--batch-size", 8, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["steps"] == 4
    trained = KnowledgePlugin.from_pretrained(out)
    judged = run("evaluate", out, "--model", checkpoint, "--data", data, "--plot", tmp_path / "p.png", "--json")
    assert judged.exit_code == 0, judged.output
    assert json.loads(judged.stdout)["metric"] == "accuracy"
    assert (tmp_path / "p.png").stat().st_size > 1000
    again = run("train", out, "--kb", kb_folder, "--model", checkpoint, "--data", data, "--batch-size", 8, "--resume")
    assert again.exit_code == 0, again.output
    resumed = KnowledgePlugin.from_pretrained(out)
    assert torch.equal(resumed.word_embeddings(["geo:york"]), trained.word_embeddings(["geo:york"]))


def _written(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_finished_plugin_is_replaced_only_if_that_is_said(checkpoint, kb_folder, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a train to York", "label": 0}\n' * 8)
    out, options = tmp_path / "out", ["--kb", kb_folder, "--model", checkpoint]
    training = ["train", out, *options, "--data", tmp_path / "rows.jsonl", "--batch-size", 4]
    assert run(*training, "--epochs", 3).exit_code == 0
    before = _written(tmp_path)
    for refused in (run(*training, "--epochs", 1), run("align", out, *options)):
        assert refused.exit_code == 1
        assert "holds a plugin already, which was trained for 6 steps" in refused.stderr
        assert "--overwrite" in refused.stderr
    assert _written(tmp_path) == before
    anew = run(*training, "--epochs", 1, "--overwrite", "--json")
    assert json.loads(anew.stdout)["steps"] == 2
    assert [path.name for path in (tmp_path / "out-run").glob("checkpoint-*")] == ["checkpoint-2"]
    assert run("align", out, *options, "--overwrite").exit_code == 0
    assert KnowledgePlugin.from_pretrained(out).config.training.objective == "align"


def test_what_an_interrupted_training_left_is_gone_on_with_or_given_up(checkpoint, kb_folder, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a train to York", "label": 0}\n' * 8)
    out = tmp_path / "out"
    training = ["train", out, "--kb", kb_folder, "--model", checkpoint, "--data", tmp_path / "rows.jsonl"]
    nothing = run(*training, "--resume")
    assert nothing.exit_code == 1
    assert "expected a checkpoint to go on from, found none" in nothing.stderr
    assert run(*training).exit_code == 0
    shutil.rmtree(out)
    before = _written(tmp_path)
    refused = run(*training)
    assert refused.exit_code == 1
    assert "--resume to go on" in refused.stderr
    assert _written(tmp_path) == before
    assert run(*training, "--resume").exit_code == 0
    assert KnowledgePlugin.from_pretrained(out)
    assert run(*training, "--resume", "--overwrite").exit_code == 2


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_what_is_no_plugin_is_never_replaced_and_that_is_said_before_the_work(checkpoint, kb_folder, tmp_path, options):
    (tmp_path / "rows.jsonl").write_text('{"text": "a train to York", "label": 0}\n')
    before = _written(tmp_path)
    options = ["--kb", kb_folder, "--model", checkpoint, *options]
    refused = run("align", checkpoint, *options), run("train", checkpoint, *options, "--data", tmp_path / "rows.jsonl")
    for done in refused:
        assert done.exit_code == 1
        assert "Name another folder" in done.stderr
    assert _written(tmp_path) == before
    assert run("align", tmp_path / "rows.jsonl", *options).exit_code == 2


def test_train_by_descriptions(checkpoint, kb_folder, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "the mayor of New York came"}\n' * 8, encoding="utf-8")
    done = run(
        "train", tmp_path / "out", "--kb", kb_folder, "--model", checkpoint, "--data", rows, "--objective", "describe",
        "--epochs", 1, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["loss"] > 0
    assert KnowledgePlugin.from_pretrained(tmp_path / "out").config.training.objective == "describe"
    assert not list((tmp_path / "out").glob("describe*"))


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("kformer", ["layers=[0,1]", "top=2", "key_dim=4"], {"layers": [0, 1], "top": 2, "key_dim": 4}),
        ("memory", ["heads=2", "key_dim=4"], {"heads": 2}),
        ("passage", ["tokens=2", "separator=: "], {"tokens": 2, "separator": ": "}),
    ],
)
def test_another_method_with_settings(checkpoint, kb_folder, tmp_path, method, settings, expected):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": f"a train to {city}", "label": 0}) for city in CITIES))
    options = [part for setting in settings for part in ("--setting", setting)]
    arguments = ["--kb", kb_folder, "--model", checkpoint, "--data", rows, "--method", method, *options, "--json"]
    done = run("train", tmp_path / "out", *arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["method"] == method
    injection = KnowledgePlugin.from_pretrained(tmp_path / "out").config.injection
    assert injection.method == method
    assert {name: getattr(injection, name) for name in expected} == expected


@pytest.mark.filterwarnings("always::UserWarning")
def test_keys_that_are_the_values_too_are_warned_of(checkpoint, kb_folder, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a train to York", "label": 0}\n')
    arguments = ["--kb", kb_folder, "--model", checkpoint, "--data", tmp_path / "rows.jsonl", "--method", "memory"]
    done = run("train", tmp_path / "out", *arguments, "--epochs", 1)
    assert done.exit_code == 0
    assert re.search("warning: key_dim is not given.*--setting key_dim=NUMBER", done.stderr)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--method", "mind-reading"], "'map-tuning', 'memory', 'passage', found 'mind-reading'"),
        (["--method", "kformer", "--setting", "every=2"], "expected one of 'layers', 'key_dim', 'top', 'lookup_dim'"),
        (["--method", "kformer", "--setting", "model=x"], "found 'model'"),
        (["--setting", "top=5"], "settings of map-tuning: it has none"),
        (["--method", "kformer", "--setting", "top"], "expected KEY=VALUE, found 'top'"),
        (["--method", "kformer", "--setting", "top=0"], "top: expected a number from 1"),
        (["--method", "kformer", "--setting", "top=many"], "top: expected int"),
        (["--method", "kformer", "--setting", "layers=0"], "layers: expected a list of numbers"),
        (["--method", "kformer", "--setting", "layers=[7]"], "layers: expected numbers from 0 to 1, found 7"),
        (["--method", "kformer", "--setting", "key_dim=0"], "key_dim: expected a number from 1"),
        (["--method", "kformer", "--objective", "distil"], "expected one of 'task' (of kformer)"),
        (["--method", "memory", "--mapping", "mlp"], "'affine' in all its parts"),
    ],
)
def test_a_method_or_a_setting_that_is_none(checkpoint, kb_folder, tmp_path, options, hint):
    (tmp_path / "rows.jsonl").write_text('{"text": "a train to York", "label": 0}\n')
    arguments = ["--kb", kb_folder, "--model", checkpoint, "--data", tmp_path / "rows.jsonl", *options]
    done = run("train", tmp_path / "out", *arguments)
    assert done.exit_code == 1, done.output
    assert hint in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_names_every_method_and_objective():
    shown = re.sub(r"[\s│]+", " ", run("train", "--help").stdout)
    for name in METHODS:
        assert name in shown
        assert all(objective in shown for objective in find_method(name).objectives)


def test_a_report_for_people(checkpoint, kb_folder, data, tmp_path):
    run("align", tmp_path / "out", "--kb", kb_folder, "--model", checkpoint)
    shown = run("evaluate", tmp_path / "out", "--model", checkpoint, "--data", data)
    assert shown.exit_code == 0, shown.output
    assert "shuffled" in shown.stdout


@pytest.mark.parametrize(
    ("content", "hint"),
    [("not json", "Expected JSON Lines"), ('{"sentence": "a"}\n', "Say which column it is: --column text=...")],
)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_data_that_is_none(checkpoint, kb_folder, tmp_path, command, content, hint):
    (tmp_path / "rows.jsonl").write_text(content)
    options = ["--kb", kb_folder] if command == "train" else []
    done = run(command, tmp_path / "out", *options, "--model", checkpoint, "--data", tmp_path / "rows.jsonl")
    assert done.exit_code == 1
    assert "ReaderError: " in done.stderr
    assert hint in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mentions", [[[11, 16, "geo:york"]], [{"start": 11, "end": 16, "entity_id": "geo:york"}]])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_mentions_that_are_given(checkpoint, kb_folder, tmp_path, kind, mentions):
    row, cell = {"text": "a train to there", "label": 0, "mentions": mentions}, json.dumps(mentions).replace('"', '""')
    path = tmp_path / f"rows.{kind}"
    path.write_text(json.dumps(row) if kind == "jsonl" else f'text,label,mentions\n{row["text"]},0,"{cell}"\n')
    options = ["--model", checkpoint, "--data", path, "--json"]
    done = run("train", tmp_path / "out", "--kb", kb_folder, *options, "--epochs", 1)
    assert done.exit_code == 0, done.output
    judged = run("evaluate", tmp_path / "out", *options)
    assert judged.exit_code == 0, judged.output
    assert json.loads(judged.stdout)["mentions_linked"] == 1


def test_data_whose_columns_are_called_otherwise(checkpoint, kb_folder, tmp_path):
    (tmp_path / "rows.csv").write_text("sentence;class\na train to York;1\n")
    options = ["--model", checkpoint, "--data", tmp_path / "rows.csv", "--column", "text=sentence"]
    done = run("train", tmp_path / "out", "--kb", kb_folder, *options, "--column", "label=class", "--epochs", 1)
    assert done.exit_code == 0, done.output
    judged = run("evaluate", tmp_path / "out", *options, "--column", "label=class")
    assert judged.exit_code == 0, judged.output


def test_what_is_no_checkpoint(kb_folder, tmp_path):
    done = run("align", tmp_path / "out", "--kb", kb_folder, "--model", kb_folder)
    assert done.exit_code == 1
    assert "no checkpoint" in done.stderr
