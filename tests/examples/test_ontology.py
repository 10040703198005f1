from __future__ import annotations

import pytest

pytest.importorskip("pronto")
pytest.importorskip("pykeen")

from examples.ontology import __main__ as ontology
from knowledge_plugin import KnowledgeBase


def test_from_an_obo_file_to_an_attached_plugin(tmp_path):
    ontology.write_ontology(tmp_path / "findings.obo")
    summary = ontology.build(tmp_path / "findings.obo", tmp_path / "kb", dim=8)
    assert (summary.entities, summary.without_vector, summary.triples) == (200, 0, 2 * 187)
    assert summary.measures["hits@10"] > 0
    kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
    finding = kb["F:3"]
    assert finding.description.startswith("A ")
    assert finding.aliases[0].endswith("F3")
    mentions = ontology.attach(tmp_path / "kb", f"Seen today: {finding.aliases[0]} and {kb['F:5'].label}.")
    assert [mention.entity_id for mention in mentions] == ["F:3", "F:5"]


def test_what_it_prints(capsys):
    ontology.main([])
    printed = capsys.readouterr().out
    assert "| entities | 200 |" in printed
    assert " -> " in printed
