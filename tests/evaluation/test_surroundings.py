"""A model is called what it is."""

from __future__ import annotations

from knowledge_plugin.evaluation.surroundings import name_of, versions
from tests import tiny


def test_of_a_folder_its_last_part_alone(tmp_path):
    model = tiny.classifier()
    assert name_of(model) == "BertForSequenceClassification"
    model.config._name_or_path = str(tmp_path)
    assert name_of(model) == tmp_path.name
    model.config._name_or_path = "user/name"
    assert name_of(model) == "user/name"


def test_versions():
    assert {"knowledge-plugin", "torch", "transformers"} <= versions().keys()
