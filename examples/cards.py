"""``python -m examples.cards``: write the cards of the example plugins anew, into ``hub_cards/examples/``.

Each is rendered from the JSON file beside it. That of geography holds the configs and the figures of a real run;
``python -m examples.cards --take runs/geography`` takes them from what ``make demo FULL=1`` has left there. The others,
called after their methods, show what a card of that method looks like: towns and vectors are invented, the network is
untrained, and nothing was measured. ``python -m examples.cards --invent`` makes them anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.config import (
    KNOWLEDGE_BASE_FOLDER,
    KnowledgeBaseConfig,
    KnowledgePluginConfig,
    read_config,
)
from knowledge_plugin.hub.card import render_card, sealed
from knowledge_plugin.results import EvaluationResult, Score

EXAMPLES = Path(__file__).resolve().parents[1] / "hub_cards" / "examples"
# Of the demo's checkpoint, which is loaded from a folder and so has no name of its own.
GEOGRAPHY_BASE = "sentence-transformers/all-MiniLM-L6-v2"
# Of each further method, with settings that a card shows.
INVENTED: dict[str, dict[str, Any]] = {
    "kformer": {"key_dim": 8, "layers": [1, 2, 3]},
    "memory": {"key_dim": 8, "layers": [3]},
    "kb-attention": {"key_dim": 8, "every": 2},
    "passage": {"tokens": 2},
}
_TOWNS = {
    "Quillmere": "Quillmere is an invented town on an invented lake.",
    "Nordbraska": "Nordbraska is an invented town known for invented bridges.",
    "Velle-sur-Onde": "Velle-sur-Onde is an invented town that was never founded.",
}


def render(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the cards of an example, by the place of each README.md in its folder."""
    config, kb = KnowledgePluginConfig(**data["config"]), KnowledgeBaseConfig(**data["knowledge_base"])
    known = {"names": data["names"], "language": data["language"]}
    results = [EvaluationResult(**result) for result in data["results"]]
    values = {"knowledge_base": kb, "results": results, "training": data["training"], **known}
    cards = {
        "README.md": render_card("plugin.md.j2", config=config, **values),
        f"{KNOWLEDGE_BASE_FOLDER}/README.md": render_card("knowledge_base.md.j2", config=kb, **known),
    }
    return {name: sealed(card) for name, card in cards.items()}


def write_all() -> list[Path]:
    """Write the cards of all examples, and return where."""
    written = []
    for source in sorted(EXAMPLES.glob("*.json")):
        for name, card in render(json.loads(source.read_text(encoding="utf-8"))).items():
            path = source.with_suffix("") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(card, encoding="utf-8")
            written.append(path)
    return written


def take_geography(folder: Path) -> None:
    """Keep configs and figures of ``make demo FULL=1``."""
    # They need what only the demo installs.
    from examples.geography.data import build_task, load_geonames
    from examples.geography.experiment import Settings

    settings, full = Settings(), json.loads((folder / "full.json").read_text(encoding="utf-8"))
    seeds, runs = full["seeds"], full["runs"]["GeoNames"]
    tasks = [
        build_task(
            load_geonames(settings.min_population), seed=seed, countries=settings.countries, cities=settings.cities
        )
        for seed in seeds
    ]
    tested = [{example.entity_id for example in task.test} for task in tasks]
    trained = [{example.entity_id for example in [*task.train, *task.mapping]} for task in tasks]
    (n,), (entities,) = {len(task.test) for task in tasks}, {len(ids) for ids in tested}
    (unseen,) = {len(ids - known) for ids, known in zip(tested, trained, strict=True)}
    (sentences,) = {len(task.mapping) for task in tasks}

    result = EvaluationResult(
        task="text-classification",
        dataset=f"country of a city, {settings.countries} countries",
        metric="accuracy",
        score=Score.over([run["mlp"] for run in runs]),
        controls={
            "none": Score.over([run["none"] for run in runs]),
            "random": Score.over([run["mlp_random"] for run in runs]),
        },
        n=n,
        seeds=seeds,
        interval="lowest and highest of the seeds",
        entities=entities,
        unseen_entities=unseen,
        model="all-MiniLM-L6-v2, fine-tuned to name the country of the city in a sentence, then frozen",
        note=f"Means of {len(seeds)} plugins, one for each seed; this is the one of seed {seeds[0]}.",
    )
    data = _described(folder / "plugin", GEOGRAPHY_BASE) | {
        "training": {
            "objective": "task (the loss of the frozen classifier)",
            "sentences": f"{sentences:,}, about cities that the classifier was not fine-tuned on",
            "learning rate": settings.mlp_learning_rate,
            "epochs": settings.mlp_epochs,
            "batch size": settings.batch_size,
            "vectors": "TransE on the graph of GeoNames (PyKEEN)",
        },
        "results": [asdict(result)],
    }
    _keep("geography", data)


def invent() -> None:
    """Keep configs of untrained plugins of invented towns: what cards of the further methods look like."""
    towns = [Entity(f"invented:{i}", name, description=text) for i, (name, text) in enumerate(_TOWNS.items())]
    sizes = {"vocab_size": 1_000, "hidden_size": 32, "intermediate_size": 64}
    for method, settings in INVENTED.items():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=4, num_attention_heads=4))
        kb = KnowledgeBase.from_entities(
            towns, torch.randn(len(towns), 16), name="Invented towns", version="an example, no real places"
        )
        with tempfile.TemporaryDirectory() as folder:
            KnowledgePlugin.for_model(model, kb, method=method, **settings).save_pretrained(folder)
            data = _described(Path(folder), "a small Llama with random weights")
        _keep(method, data | {"training": {}, "results": []})


def _described(folder: Path, base: str) -> dict[str, Any]:
    """Return what a card shows of a saved plugin."""
    config = asdict(read_config(folder, KnowledgePluginConfig))
    config["base_model"] |= {"name": base}
    config["base_model"]["fingerprint"] |= {"vectors": "", "tokens": None}  # large, and in no card
    kb = KnowledgeBase.from_pretrained(folder / KNOWLEDGE_BASE_FOLDER)
    names = list(islice(kb.labels(), 3))
    return {"config": config, "knowledge_base": asdict(kb.config), "names": names, "language": ["en"]}


def _keep(name: str, data: Mapping[str, Any]) -> None:
    EXAMPLES.mkdir(exist_ok=True)
    (EXAMPLES / f"{name}.json").write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.cards", description=__doc__)
    parser.add_argument("--take", type=Path, metavar="FOLDER", help="first keep what a full run of the demo left here")
    parser.add_argument("--invent", action="store_true", help="first make the examples without figures anew")
    options = parser.parse_args()
    if options.invent:
        invent()
    if options.take:
        take_geography(options.take)
    for card in write_all():
        print(card)
