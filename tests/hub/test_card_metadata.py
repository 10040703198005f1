"""What the Hub reads of a card, as the Hub's own client reads it."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

from knowledge_plugin.config import KnowledgeBaseReference
from knowledge_plugin.hub.card_metadata import (
    front_matter,
    is_repo_id,
    knowledge_base_metadata,
    plugin_metadata,
    plugins_metadata,
)
from knowledge_plugin.methods.memory.config import MemoryConfig
from knowledge_plugin.results import EvaluationResult, Score
from tests.hub.card_snapshots import RESULTS, SHA, kb_config, plugin_config


def plugin(name="org/base", *, kb=None, results=(), **values):
    return plugin_metadata(plugin_config(name), kb_config(**kb or {}), results=results, **values)


def test_it_is_found_by_base_model_mapping_and_knowledge():
    found = plugin(kb={"name": "GeoNames: cities!"})
    assert found["base_model"] == "org/base"
    assert found["base_model_relation"] == "adapter"
    assert found["library_name"] == "knowledge-plugin"
    assert {"knowledge-plugin", "affine", "geonames-cities", "base_model:adapter:org/base"} <= set(found["tags"])


def test_nothing_is_guessed():
    found = plugin(None)
    assert set(found) == {"library_name", "tags", "knowledge_base"}
    assert "pipeline_tag" not in plugin(results=RESULTS)


@pytest.mark.parametrize(
    "name", ["/home/me/model", "a/b/c", "a b", "../x", "x\n", "org/x\n", "", None, "a" * 200, "<!--"]
)
def test_what_no_repo_can_be_called_is_no_base_model(name):
    assert not is_repo_id(name)
    found = plugin(name, datasets=[name or ""])
    assert "base_model" not in found
    assert "datasets" not in found
    assert not [tag for tag in found["tags"] if tag.startswith("base_model:")]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("cc0-1.0", {"license": "cc0-1.0"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("MIT", {"license": "mit"}),
        ("UMLS Metathesaurus", {"license": "other", "license_name": "umls-metathesaurus"}),
        ("???", {"license": "other", "license_name": "other"}),
        ("other", {"license": "other"}),
        (" \n", {}),
        (None, {}),
    ],
)
def test_only_licences_that_the_hub_knows_are_named_outright(stated, expected):
    for found in (plugin(kb={"license": stated}), knowledge_base_metadata(kb_config(license=stated))):
        assert {key: found[key] for key in found if key.startswith("license")} == expected


def test_the_licence_of_the_knowledge_stands_beside_that_of_the_plugin():
    found = plugin(kb={"license": "cc-by-4.0"}, license="mit")
    assert found["license"] == "mit"
    assert found["knowledge_base"] == {"name": "cities", "license": "cc-by-4.0"}


def test_what_it_was_made_from():
    config = plugin_config("org/base", knowledge_base=KnowledgeBaseReference("org/kb", SHA[:40]))
    found = plugin_metadata(config, kb_config(), datasets=["org/sentences", "org/kb"])
    assert found["datasets"] == ["org/kb", "org/sentences"]


def test_languages_are_codes():
    assert plugin(language=["en", "no", "German", "x" * 9, "EN"])["language"] == ["en", "no"]
    assert ModelCard(front_matter(plugin(language=["no"]))).data.language == ["no"]


def test_the_client_reads_the_results():
    card = ModelCard(front_matter(plugin(results=RESULTS)))
    first, second = card.data.eval_results
    assert (first.task_type, first.dataset_type, first.metric_type, first.metric_value) == (
        "text-classification", "org/towns", "accuracy", 0.9,
    )  # fmt: skip
    assert (first.dataset_split, first.dataset_revision) == ("test", SHA[:40])
    assert (second.dataset_name, second.dataset_type, second.metric_value) == ("Riddles", "unknown", 1234.5)
    assert card.data.metrics == ["accuracy", "perplexity"]


def test_datasets_without_an_id_are_not_taken_for_one():
    results = [EvaluationResult("t", name, metric, Score(0.5)) for metric in ("f1", "recall") for name in ("a", "b")]
    found = ModelCard(front_matter(plugin(results=results))).data.eval_results
    assert sorted((r.dataset_name, r.metric_type) for r in found) == [
        ("a", "f1"), ("a", "recall"), ("b", "f1"), ("b", "recall"),
    ]  # fmt: skip


def test_controls_do_not_count_as_results():
    (found,) = plugin(results=RESULTS[:1])["model-index"][0]["results"]
    assert [metric["value"] for metric in found["metrics"]] == [0.9]


def test_several_plugins():
    configs = {"a": plugin_config("org/a"), "b": plugin_config("b c")}
    found = plugins_metadata(configs, ["org/a", "b c"], license="mit")
    assert found["base_model"] == ["org/a"]
    assert found["tags"] == ["knowledge-plugin", "map-tuning", "affine", "base_model:adapter:org/a"]
    assert "base_model" not in plugins_metadata({}, [])
    configs["c"] = plugin_config("org/a", injection=MemoryConfig(layers=[0], key_dim=4))
    assert plugins_metadata(configs, [])["tags"] == ["knowledge-plugin", "map-tuning", "memory", "affine"]
    assert plugin_metadata(configs["c"], kb_config())["tags"][:2] == ["knowledge-plugin", "memory"]


def test_the_viewer_shows_the_tables():
    assert [c["data_files"] for c in knowledge_base_metadata(kb_config())["configs"]] == [
        "entities.parquet",
        "aliases.parquet",
    ]


def test_no_metadata_no_head():
    assert front_matter({}) == ""
