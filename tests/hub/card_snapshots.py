"""Whole cards, as they should look: ``python -m tests.hub.card_snapshots`` writes them into ``cards/`` anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from knowledge_plugin.config import (
    BaseModelConfig,
    FileConfig,
    FingerprintConfig,
    KnowledgeBaseConfig,
    KnowledgeBaseReference,
    KnowledgePluginConfig,
    LinkerConfig,
    MappingConfig,
)
from knowledge_plugin.hub.card import render_card, sealed
from knowledge_plugin.methods.map_tuning.config import MapTuningConfig
from knowledge_plugin.results import EvaluationResult, Score

FOLDER = Path(__file__).with_name("cards")
SHA = "0123456789abcdef" * 4


def kb_config(**changes: Any) -> KnowledgeBaseConfig:
    return KnowledgeBaseConfig(**{"name": "cities", "rows": 5, "dim": 8, "aliases": 7} | changes)


def plugin_config(name: str | None, **changes: Any) -> KnowledgePluginConfig:
    base = BaseModelConfig(name, 100, 16, FingerprintConfig([0, 9], "AA"), revision=changes.pop("base_revision", None))
    mapping = changes.pop("mapping", None) or MappingConfig("affine", 8, 16)
    return KnowledgePluginConfig(base, mapping, **changes)


RESULTS = [
    EvaluationResult(
        "text-classification",
        "Country of a town",
        "accuracy",
        Score(0.9, 0.875, 0.925),
        {"none": Score(0.25, 0.2, 0.3), "shuffled": Score(0.26), "random": Score(0.24), "text": Score(0.92)},
        n=1200,
        seeds=[0, 1, 2],
        interval="95 % bootstrap over entities",
        mentions_linked=1201,
        entities=400,
        unseen_entities=390,
        model="org/base, fine-tuned and frozen",
        dataset_id="org/towns",
        dataset_revision=SHA[:40],
        split="test",
        task_id="country",
        note="Towns of Europe only.",
    ),
    EvaluationResult("text-generation", "Riddles", "perplexity", Score(1234.5), {"none": Score(2345.6)}, seeds=[7]),
]


def snapshots() -> dict[str, str]:
    """Return cards with everything, and cards with nothing that can be missing, by the names of their files."""
    files = {"entities.parquet": FileConfig(912_395, SHA), "aliases.parquet": FileConfig(77, SHA)}
    full = kb_config(
        name="Towns | of *Europe*",
        rows=1_234_567,
        aliases=3_000_000,
        id_scheme="geonames",
        license="Towns of Europe Licence 1.0",
        version="2026-01",
        files=files,
    )
    config = plugin_config(
        "org/base",
        base_revision=SHA[:40],
        mapping=MappingConfig("mlp", 8, 16, 32),
        injection=MapTuningConfig(form="replace"),
        linker=LinkerConfig("sensitive", 3, ["of", "the"]),
        files={"mapping.safetensors": FileConfig(1_052_512, SHA)},
        knowledge_base=KnowledgeBaseReference("org/towns-kb", SHA[:40]),
    )
    known = {"names": ["London", "Łódź"], "language": ["en", "pl"]}
    cards = {
        "plugin-with-everything.md": render_card(
            "plugin.md.j2",
            config=config,
            knowledge_base=full,
            license="apache-2.0",
            datasets=["org/sentences"],
            results=RESULTS,
            training={"learning rate": 1e-3, "epochs": 2},
            **known,
        ),
        "plugin-with-nothing.md": render_card(
            "plugin.md.j2", config=plugin_config(None), knowledge_base=kb_config(aliases=0, linker="external")
        ),
        "knowledge-base-with-everything.md": render_card("knowledge_base.md.j2", config=full, **known),
        "knowledge-base-with-nothing.md": render_card("knowledge_base.md.j2", config=kb_config(aliases=0)),
        "plugins-with-everything.md": render_card(
            "plugins.md.j2",
            repo_id="org/towns",
            configs={"base": config, "other": plugin_config(None)},
            base_models=["org/base"],
            license="cc-by-4.0",
        ),
        "plugins-with-nothing.md": render_card(
            "plugins.md.j2", repo_id="org/towns", configs={"other": plugin_config(None)}, base_models=[], license=None
        ),
    }
    return {name: sealed(card) for name, card in cards.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, card in snapshots().items():
        (FOLDER / name).write_text(card, encoding="utf-8")
