"""``python -m benchmarks.general``: does general map-tuning teach anything that only the vectors can say?

A small masked language model is trained here, from scratch, on sentences about some of the cities of GeoNames, and then
frozen. Mappings are tuned by masked mentions, without labels (the published general map-tuning), and measured on cities
that neither the language model nor the mapping has seen: the loss on the word pieces of their masked names. Beside real
vectors: the same vectors under other cities, and random ones, each with a mapping that was tuned on them for as long;
no plugin; and the name of the country as text in the place of the entity. About 25 minutes a seed on two cores.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.results import machine, save
from examples.geography.data import TEMPLATES, GeoNames, load_geonames
from examples.geography.experiment import Settings as Geography
from examples.geography.experiment import make_knowledge_base
from knowledge_plugin import KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.evaluation import random as random_vectors
from knowledge_plugin.evaluation import shuffled
from knowledge_plugin.objectives.mentions import IGNORED

# What the language model learns the world from; the mapping sees TEMPLATES alone, which do not name a country.
FACTS = (
    "{city} is a city in {country}.",
    "{country} / {city}",
    "In {country} we saw {city} and its harbour.",
    "The train from {city} crosses {country}.",
)
CONDITIONS = ("real", "shuffled", "random")


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the benchmark's, smaller ones serve the tests."""

    min_population: int = 15_000
    graph_epochs: int | None = None
    vocabulary: int = 500
    width: int = 128
    layers: int = 3
    lm_epochs: float = 3
    lm_rate: float = 3e-3
    batch_size: int = 128
    tuning_epochs: float = 2
    tuning_rate: float = 2e-3
    test_share: float = 0.15


@dataclass(frozen=True)
class City:
    """One city: its entity, its name and its country's."""

    entity_id: str
    name: str
    country: str


def measure(settings: Settings, seed: int) -> dict:
    """Return the loss on masked names of unseen cities, in nats a word piece, in every condition.

    Returns:
        ``loss`` by condition, ``gain``: shuffled minus real, with the ends of its 95 % bootstrap interval over cities.
    """
    began = time.monotonic()
    geonames = load_geonames(settings.min_population)
    kb = make_knowledge_base(geonames, "full", Geography(graph_epochs=settings.graph_epochs), seed)
    seen, unseen = _split(geonames, kb, settings, seed)
    _say(f"knowledge base of {len(kb)}; {len(seen)} cities to learn from, {len(unseen)} to be asked for", began)
    model, tokenizer = _train_language_model(seen, settings, seed)
    _say("the language model is trained, and frozen", began)
    rng = random.Random(seed)
    test = [(city, rng.choice(TEMPLATES)) for city in unseen]
    losses = {
        "none": _loss(model, tokenizer, [(template.format(city=c.name), c.name) for c, template in test]),
        "country as text": _loss(
            model, tokenizer, [(template.format(city=f"{c.country} / {c.name}"), c.name) for c, template in test]
        ),
    }
    for name, vectors in zip(CONDITIONS, (kb, shuffled(kb, seed), random_vectors(kb, seed)), strict=True):
        plugin = _tune(vectors, model, tokenizer, seen, settings, seed)
        losses[name] = _loss_with(plugin, model, tokenizer, test)
        _say(f"{name}: {losses[name].mean():.3f}", began)
    return {
        "seed": seed,
        "cities": len(test),
        "loss": {name: float(loss.mean()) for name, loss in losses.items()},
        "gain": _interval(losses["shuffled"] - losses["real"], seed),
        "seconds": time.monotonic() - began,
    }


def _split(geonames: GeoNames, kb: KnowledgeBase, settings: Settings, seed: int) -> tuple[list[City], list[City]]:
    """Return cities to learn from, and others. No name is in both, so that none is known by its spelling."""
    cities = [
        City(entity_id, city["name"], geonames.countries[city["countrycode"]]["name"])
        for city in geonames.cities.values()
        if (entity_id := f"geonames:{city['geonameid']}") in kb
    ]
    names = sorted({city.name for city in cities})
    random.Random(seed).shuffle(names)
    held_out = set(names[: int(settings.test_share * len(names))])
    return [c for c in cities if c.name not in held_out], [c for c in cities if c.name in held_out]


# ---- the language model -------------------------------------------------------------------------------------------


def _train_language_model(
    cities: Sequence[City], settings: Settings, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Train a masked language model on what is said about these cities."""
    rng = random.Random(seed)
    rows = [(t.format(city=c.name, country=c.country), c.name) for c in cities for t in rng.sample(FACTS, 2)]
    rows += [(rng.choice(TEMPLATES).format(city=c.name), c.name) for c in cities]
    tokenizer = _make_tokenizer([text for text, _ in rows], settings.vocabulary)
    set_seed(seed)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=settings.width, intermediate_size=4 * settings.width,
            num_hidden_layers=settings.layers, num_attention_heads=4, max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        Trainer(
            model=model,
            args=_arguments(
                folder, settings, seed, num_train_epochs=settings.lm_epochs, learning_rate=settings.lm_rate
            ),
            train_dataset=[{"text": text, "name": name} for text, name in rows],  # type: ignore[arg-type]
            data_collator=_MaskSpans(tokenizer, seed),
        ).train()
    return model.eval().requires_grad_(False), tokenizer


def _make_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerBase:
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    )
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", raw.token_to_id("[CLS]")), ("[SEP]", raw.token_to_id("[SEP]"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip


class _MaskSpans:
    """Masks the whole name of the city in half of the texts, and a seventh of the tokens in the others."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
        self.tokenizer = tokenizer
        self.rng = random.Random(seed)

    def __call__(self, rows: Sequence[dict[str, str]]) -> dict[str, torch.Tensor]:
        batch = _masked_names(self.tokenizer, [(row["text"], row["name"]) for row in rows])
        for i in range(len(rows)):
            if self.rng.random() < 0.5:
                continue
            asked = batch["labels"][i] != IGNORED
            batch["input_ids"][i, asked] = batch["labels"][i, asked]  # as it was
            words = batch["attention_mask"][i].bool()
            words[0] = words[int(words.sum()) - 1] = False
            chosen = words & (torch.rand(len(words)) < 0.15)
            batch["labels"][i] = torch.where(chosen, batch["input_ids"][i], IGNORED)
            batch["input_ids"][i, chosen] = self.tokenizer.mask_token_id
        return batch


def _masked_names(tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Return a batch in which the name of each text is masked, and asked for."""
    encoding = tokenizer(
        [text for text, _ in rows], padding=True, truncation=True, return_offsets_mapping=True, return_tensors="pt"
    )
    starts, ends = encoding.pop("offset_mapping").unbind(-1)
    first = torch.tensor([text.rindex(name) for text, name in rows])[:, None]
    last = first + torch.tensor([len(name) for _, name in rows])[:, None]
    asked = (starts < ends) & (starts >= first) & (ends <= last)
    ids = encoding["input_ids"]
    labels = torch.where(asked, ids, IGNORED)
    return {
        "input_ids": torch.where(asked, tokenizer.mask_token_id, ids),  # type: ignore[arg-type]
        "attention_mask": encoding["attention_mask"],
        "labels": labels,
    }


# ---- map-tuning, and what comes of it -----------------------------------------------------------------------------


def _tune(
    kb: KnowledgeBase, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cities: Sequence[City],
    settings: Settings, seed: int,
) -> KnowledgePlugin:  # fmt: skip
    rng = random.Random(seed)
    set_seed(seed)
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        MapTuningTrainer(
            model=model,
            plugin=plugin,
            objective="mention-mlm",
            processing_class=tokenizer,
            train_dataset=[_row(city, rng.choice(TEMPLATES)) for city in cities],
            args=_arguments(
                folder, settings, seed, num_train_epochs=settings.tuning_epochs, learning_rate=settings.tuning_rate
            ),
        ).train()
    return plugin


def _row(city: City, template: str) -> dict:
    start = template.index("{city}")
    return {
        "text": template.format(city=city.name),
        "mentions": [(start, start + len(city.name), city.entity_id)],
    }


def _loss_with(
    plugin: KnowledgePlugin,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    test: Sequence[tuple[City, str]],
) -> np.ndarray:
    from knowledge_plugin.objectives.mentions import MentionMLMCollator

    with plugin.attach(model, tokenizer) as attachment:
        collate = MentionMLMCollator(draws=False)
        collate.use(attachment)
        batches = (collate([_row(*row) for row in test[i : i + 256]]) for i in range(0, len(test), 256))
        return np.concatenate([_mean_loss(model, batch) for batch in batches])


def _loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[str, str]]) -> np.ndarray:
    batches = (_masked_names(tokenizer, rows[i : i + 256]) for i in range(0, len(rows), 256))
    return np.concatenate([_mean_loss(model, batch) for batch in batches])


@torch.inference_mode()
def _mean_loss(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> np.ndarray:
    """Return the mean loss a masked word piece of each row."""
    labels = batch.pop("labels")
    logits = model(**batch).logits
    losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
    return (losses.sum(1) / (labels != IGNORED).sum(1)).numpy()


def _arguments(folder: str, settings: Settings, seed: int, **options: float) -> TrainingArguments:
    return TrainingArguments(
        folder, per_device_train_batch_size=settings.batch_size, warmup_steps=0.1, seed=seed, report_to="none",
        logging_strategy="no", save_strategy="no", remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(), **options,
    )  # type: ignore[arg-type]  # fmt: skip


def _interval(differences: np.ndarray, seed: int, draws: int = 2_000) -> list[float]:
    """Return the mean and the ends of its 95 % bootstrap interval over cities."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(differences, len(differences)).mean() for _ in range(draws)]
    return [float(differences.mean()), *(float(end) for end in np.quantile(means, [0.025, 0.975]))]


def _say(text: str, began: float) -> None:
    print(f"[{time.monotonic() - began:.0f} s] {text}", file=sys.stderr, flush=True)


def show(results: Sequence[dict]) -> None:
    """Print the losses."""
    names = list(results[0]["loss"])
    title = "Loss on the masked names of unseen cities, nats a word piece"
    table = Table("seed", "cities", *names, "shuffled - real (95 %)", title=title, title_justify="left")
    for result in results:
        gain, low, high = result["gain"]
        losses = (f"{result['loss'][name]:.3f}" for name in names)
        table.add_row(str(result["seed"]), str(result["cities"]), *losses, f"{gain:+.3f} ({low:+.3f} to {high:+.3f})")
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.general", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many (default: 1)")
    arguments = parser.parse_args()
    settings = Settings()
    results = [measure(settings, seed) for seed in range(arguments.seeds)]
    print(machine())
    show(results)
    path = Path("runs/benchmarks/general.json")
    print(f"results: {save([{'settings': asdict(settings), **result} for result in results], path)}")


if __name__ == "__main__":
    main()
