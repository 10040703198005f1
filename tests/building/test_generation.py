"""Generated records: complete, signed, the same for the same seed, and going on where they were interrupted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from knowledge_plugin.building import Provenance, Record, Template, generate_records, read_records
from knowledge_plugin.building import generation as module
from knowledge_plugin.errors import RecordError
from tests.building import models

GIVEN = [Record(f"it {verb}", query) for verb in ("rains", "snows") for query in ("what happens next", "why", "then")]
OPTIONS = {"name": "tiny", "revision": "abc", "progress": False, "generation": {"max_new_tokens": 3}}


def generate(make=models.causal, given=GIVEN, **options):
    return generate_records(make(), models.tokenizer(), given, **(OPTIONS | options))


@pytest.mark.parametrize("make", [models.seq2seq, models.causal])
def test_every_record_says_who_generated_it(make):
    template = Template("seq2seq" if make is models.seq2seq else "causal")
    made = generate(make, [Record("it rains", "why", provenance=Provenance("Ann", False, source="a.csv"))])
    by = Provenance("tiny", True, "abc", template.hash, 0, "a.csv", "tiny, evidence")
    assert made[0].context == "it rains"
    assert made[0].provenance in (by, Provenance("tiny", True, "abc", template.hash, 0, "a.csv"))
    assert (made[0].plausibility is None) == (made[0].inference is None)


def test_fields_are_asked_for_one_after_the_other():
    made = generate(given=[Record("it rains", "this is replaced")], ask=("inference", "query", "plausibility"))
    assert made[0].query != "this is replaced"
    assert 0 <= made[0].plausibility <= 1
    assert made[0].provenance.judge == "tiny, field"


def test_where_only_a_judgement_is_asked_for_the_rest_stays():
    by = Provenance("Ann", False)
    (made,) = generate(given=[Record("it rains", "why", "wet", provenance=by)], ask="plausibility")
    assert (made.inference, made.provenance.by, made.provenance.judge) == ("wet", "Ann", "tiny, field")


@pytest.mark.parametrize("make", [models.seq2seq, models.causal])
def test_what_is_asked_for_is_not_shown_and_what_was_wished_for_is_not_kept(make):
    bare = [Record("it rains", "why", None, 1.0)]
    full = [Record("it rains", "why", "the street gets wet", 1.0)]
    (made,), (same,) = (generate(make, given, judge=None) for given in (bare, full))
    assert made == same
    assert made.plausibility is None
    # Of two fields that are asked for, what stood in the second is not shown when the first is asked for.
    ask = ("query", "inference")
    (made,), (same,) = (generate(make, [replace(bare[0], inference=t)], ask=ask) for t in (None, "the street gets wet"))
    assert made == same


def test_batches_are_sampled_apart():
    same = [Record("it rains", "why")] * 8
    options = {"judge": None, "batch_size": 2, "generation": {"max_new_tokens": 3, "do_sample": True}}
    made = [record.inference for record in generate(given=same, **options)]
    assert len({tuple(made[i : i + 2]) for i in range(0, 8, 2)}) > 1


def test_several_for_each_are_sampled_by_the_seed():
    state = torch.random.get_rng_state()
    made = generate(per_record=3, seed=1, judge=None)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [record.context for record in made] == [record.context for record in GIVEN for _ in range(3)]
    assert made == generate(per_record=3, seed=1, judge=None)
    assert [r.inference for r in made] != [r.inference for r in generate(per_record=3, seed=2, judge=None)]


class Interruption(Exception):
    pass


def interrupt_after(monkeypatch, calls):
    left, real = [calls], module.answers

    def answers(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise Interruption
        return real(*arguments)

    monkeypatch.setattr(module, "answers", answers)
    return left


@pytest.mark.parametrize("damage", [b"", b'[{"context": "it'])
def test_an_interrupted_run_goes_on_and_comes_to_the_same(tmp_path, monkeypatch, damage):
    options = {"batch_size": 2, "per_record": 2, "output": tmp_path / "facts.jsonl"}
    whole = generate(**options | {"output": None})
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interruption):
            generate(**options)
    assert not options["output"].exists()
    (parts,) = tmp_path.rglob("parts.jsonl")
    with open(parts, "ab") as file:
        file.write(damage)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)  # of three batches, two are there
        assert generate(**options) == whole
    assert list(read_records(options["output"])) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["facts.jsonl"]


def sampling():
    model = models.causal()
    model.generation_config.do_sample = True
    return model


def test_another_model_or_question_begins_anew(tmp_path, monkeypatch):
    options = {"batch_size": 2, "output": tmp_path / "facts.jsonl"}
    others = {"make": lambda: models.causal(1)}, {"make": sampling}
    for change in ({"seed": 7}, *others, {"given": GIVEN[1:] + GIVEN[:1]}):
        with monkeypatch.context() as patch:
            interrupt_after(patch, 2)
            with pytest.raises(Interruption):
                generate(**options)
        with monkeypatch.context() as patch:
            left = interrupt_after(patch, 3)
            generate(**options | change)
            assert left == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ask": ("answer",)}, "found 'answer'"),
        ({"ask": ()}, "found none"),
        ({"per_record": 0}, "per_record"),
        ({"batch_size": True}, "batch_size"),
        ({"seed": None}, "seed: expected a whole number from 0 up"),
        ({"seed": -1}, "seed: expected"),
        ({"judge": "gut"}, "judge: expected 'evidence' or 'field', found 'gut'"),
        ({"generation": {"num_return_sequences": 2}}, r"Type: per_record="),
        ({"generation": {"tempratur": 2}}, "tempratur"),
        ({"per_record": 2, "generation": {"do_sample": False}}, "LlamaForCausalLM cannot generate with"),
        ({"given": GIVEN[0]}, r"expected a list of records, found Record"),
        ({"given": {"context": "it rains"}}, r"Type: \[Record\("),
        ({"given": [{"context": "it rains"}]}, r"Type: Record\("),
        ({"given": [Record("it rains " * 3_000)]}, r"at most 2048 tokens, found a record of \d+ with the 3 of max_new"),
        ({"name": None}, "Pass name="),
        ({"output": "facts.txt"}, "expected a file that ends in"),
    ],
)
def test_what_cannot_be_asked(options, message):
    with pytest.raises(RecordError, match=message):
        generate(**options)
