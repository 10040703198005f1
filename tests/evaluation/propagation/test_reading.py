"""Files in the published form; what is damaged says where."""

from __future__ import annotations

import json

import pytest

from knowledge_plugin.errors import EvaluationError, ReaderError
from knowledge_plugin.evaluation.propagation import EntityProbe, ProbeSet, read_probes
from tests.evaluation.propagation import counting

ECBD = {
    "ex_id": "Zorva_(show)_17_0_2",
    "definition": "Zorva is <extra_id_0> of the town.",
    "def_target": "<extra_id_0> a comedy <extra_id_1>",
    "category": "tv_show",
    "qid": ["show (Q1)"],
    "ent_str": "Zorva",
    "attribute": "n/a",
    "additional_sentences": [["Zorva <extra_id_0>", "<extra_id_0> is <extra_id_1>"]],
    "conceptnet": [],
    "probe_sentences": {
        "template_0": {
            "probe_sentence": "They saw Zorva and <extra_id_0>.",
            "label": "<extra_id_0> laughed <extra_id_1>",
        }
    },
}
CHOICE = {
    "ex_id": "tv_dev_0",
    "definition": "Zorva is <extra_id_0> of the town.",
    "def_target": "<extra_id_0> a comedy <extra_id_1>",
    "category": "tv_show",
    "qid": "Q1",
    "ent_str": "Zorva",
    "attribute": "genre",
    "generic_sentences": ["<ENT_NAME> is shown"],
    "specific_sentences": [],
    "label": "fun",
    "probe_sentences": {"template_0": {"probe_sentence": "Zorva is <extra_id_0>", "labels": ["fun", "dull"]}},
}


def put(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_of_ecbd(tmp_path):
    found = read_probes(put(tmp_path / "np.json", ECBD), "ecbd")
    assert found.probes == (
        EntityProbe(
            "Zorva_(show)_17_0_2", "Zorva_(show)_17", "Zorva", "Zorva is a comedy of the town.", "They saw Zorva and",
            ".", "laughed", (), "np",
        ),
    )  # fmt: skip
    assert found.popular == ()


def test_a_row_to_choose_in(tmp_path):
    (found,) = read_probes(put(tmp_path / "tv.json", CHOICE), "entity-inferences").probes
    assert (found.entity_id, found.gold, found.options, found.after) == ("Zorva", "fun", ("fun", "dull"), "")
    assert found.definition == "Zorva is a comedy of the town."


def test_options_may_be_wrapped_as_spans_are(tmp_path):
    wrapped = [f"<extra_id_0> {word} <extra_id_1>" for word in ("fun", "dull")]
    template = CHOICE["probe_sentences"]["template_0"] | {"labels": wrapped}
    row = CHOICE | {"probe_sentences": {"template_0": template}, "label": wrapped[1]}
    (found,) = read_probes(put(tmp_path / "tv.json", row), "entity-inferences").probes
    assert (found.gold, found.options) == ("dull", ("fun", "dull"))


def test_an_entity_has_the_definition_of_its_first_row(tmp_path):
    other = ECBD | {"ex_id": "Zorva_(show)_17_0_3", "definition": "It is something else.", "def_target": None}
    third = other | {"ex_id": "Zorva_(show)_18_0_3"}
    found = read_probes(put(tmp_path / "np.json", ECBD, other, third), "ecbd").probes
    assert [p.definition for p in found] == ["Zorva is a comedy of the town."] * 2 + ["It is something else."]
    assert [p.entity_id for p in found] == ["Zorva_(show)_17"] * 2 + ["Zorva_(show)_18"]


@pytest.mark.parametrize("inner", ["", "ecbd", "data/ecbd"])
def test_a_folder_as_it_is_published(tmp_path, inner):
    folder = tmp_path / inner
    put(folder / "a_np.json", ECBD)
    put(folder / "b_np.json", ECBD)
    popular = {k: v for k, v in ECBD.items() if not k.startswith("def")} | {"ex_id": "Paris"}
    put(folder / "specificity_popular_20np.json", popular)
    (folder / "notes.txt").write_text("no json")
    found = read_probes(tmp_path, "ecbd")
    assert [probe.file for probe in found.probes] == ["a_np", "b_np"]
    assert [probe.entity_id for probe in found.popular] == ["Paris"]


@pytest.mark.parametrize("probes", [counting.inferences(), counting.spans()], ids=["choice", "ecbd"])
def test_what_is_written_in_the_published_form_is_read_as_it_was(tmp_path, probes):
    found = read_probes(counting.write(probes, tmp_path), probes.task)
    assert found.probes == probes.probes
    assert [(p.before, p.gold) for p in found.popular] == [(p.before, p.gold) for p in probes.popular]


def test_sets_hold_one_kind_of_probe():
    ecbd, choice = counting.spans(), counting.inferences()
    with pytest.raises(EvaluationError, match="expected probes without options"):
        ProbeSet("ecbd", choice.probes)
    with pytest.raises(EvaluationError, match="expected probes with options"):
        ProbeSet("entity-inferences", (*choice.probes, *ecbd.probes))
    with pytest.raises(EvaluationError, match="expected probes without options"):
        ProbeSet("ecbd", ecbd.probes, choice.probes)
    with pytest.raises(EvaluationError, match=r"expected EntityProbe\(...\), found 'Zorva'"):
        ProbeSet("ecbd", ("Zorva",))
    with pytest.raises(EvaluationError, match="found none"):
        ProbeSet("ecbd", ())
    with pytest.raises(EvaluationError, match="expected 'ecbd' or 'entity-inferences', found 'mind'"):
        read_probes("anywhere", "mind")


def test_a_file_of_the_other_task_says_so(tmp_path):
    with pytest.raises(ReaderError, match=r"np.json:1: .*'label' alone are of ecbd"):
        read_probes(put(tmp_path / "np.json", ECBD), "entity-inferences")
    with pytest.raises(ReaderError, match=r"tv.json:1: .*'labels' are of entity-inferences"):
        read_probes(put(tmp_path / "tv.json", CHOICE), "ecbd")


def test_a_place_without_files(tmp_path):
    with pytest.raises(ReaderError, match="there is none"):
        read_probes(tmp_path / "nowhere", "ecbd")
    with pytest.raises(ReaderError, match=r"expected \*.json in it, in ecbd/ or in data/ecbd/"):
        read_probes(tmp_path, "ecbd")
    put(tmp_path / "specificity_popular.json", ECBD)
    with pytest.raises(ReaderError, match="none but those of popular entities"):
        read_probes(tmp_path, "ecbd")
