"""What is put beside the checkpoints: five ways to inject knowledge, each with controls that cost the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from examples.paper.checkpoints import HeadCollator, train
from examples.paper.heads import Head
from examples.paper.settings import Settings
from examples.paper.sources import DataError, entity_id
from knowledge_plugin import KnowledgeBase, KnowledgePlugin, MapTuningTrainer, Mention, align
from knowledge_plugin.evaluation import random, shuffled
from knowledge_plugin.injection.embeddings import input_embedding

# Reading one entity of a large table costs as much as reading thousands in a row.
_FEW = 1000
CONTROLS: dict[str, Callable[[KnowledgeBase, int], KnowledgeBase]] = {"shuffled": shuffled, "random": random}


@dataclass(frozen=True)
class Materials:
    """What plugins are made from.

    Attributes:
        base: Name or folder of the base model, which must be a masked language model.
        tokenizer: Its tokenizer.
        knowledge_base: The entities that the rows of task and corpus mention.
        corpus: Sentences with mentions: ``text`` and ``mentions``.
        settings: How long and how fast.
        seed: For everything random.
        trained: A plugin that was map-tuned already; then its mapping is taken for ``"general"``.
    """

    base: str
    tokenizer: PreTrainedTokenizerBase
    knowledge_base: KnowledgeBase
    corpus: Sequence[Mapping[str, Any]]
    settings: Settings
    seed: int = 0
    trained: KnowledgePlugin | None = None

    def load(self) -> PreTrainedModel:
        """Load the base model, onto a GPU if there is one."""
        model = AutoModelForMaskedLM.from_pretrained(self.base).eval()
        return model.to("cuda" if torch.cuda.is_available() else "cpu")

    def controlled(self, control: str) -> Materials:
        """Return the same with other vectors under the same entities."""
        return replace(self, knowledge_base=CONTROLS[control](self.knowledge_base, self.seed))


def e_bert(materials: Materials) -> KnowledgePlugin:
    """Return a plugin in the manner of E-BERT (Poerner et al., 2020): a linear map, fitted in closed form.

    E-BERT itself starts from Wikipedia2Vec, in which words have vectors too. Graph embeddings have none, so the map is
    fitted to the entities' own names.
    """
    model = materials.load()
    plugin = KnowledgePlugin.for_model(model, materials.knowledge_base, mapping="affine")
    align(plugin, model, materials.tokenizer)
    return plugin


def general(materials: Materials) -> KnowledgePlugin:
    """Return a plugin of general map-tuning: mentions of the corpus masked, the base model frozen."""
    if (trained := materials.trained) is not None:
        return KnowledgePlugin(trained.config, copy.deepcopy(trained.mapping), materials.knowledge_base)
    set_seed(materials.seed)
    model = materials.load()
    plugin = KnowledgePlugin.for_model(model, materials.knowledge_base, mapping="affine")
    training = materials.settings.general
    train(
        MapTuningTrainer,
        training,
        materials.seed,
        model=model,
        plugin=plugin,
        objective="mention-mlm",
        processing_class=materials.tokenizer,
        base_dropout=training.dropout,
        train_dataset=list(materials.corpus),
    )
    return plugin


def pelt(materials: Materials) -> KnowledgePlugin:
    """Return a plugin in the manner of PELT (Ye et al., 2022): an entity is what the base predicts in its place.

    Each mention in the corpus becomes one mask; what the output layer would be given there is added up over the
    sentences of an entity and brought to the mean length of a word embedding. Nothing is trained. PELT writes
    ``mention ( [entity] )``, with a position borrowed; here it stands where every plugin puts it.
    """
    model = materials.load()
    output = model.get_output_embeddings()
    caught: list[torch.Tensor] = []
    handle = output.register_forward_pre_hook(lambda module, arguments: caught.append(arguments[0]))
    sums: dict[str, torch.Tensor] = {}
    try:
        for batch in _batched(_masked_mentions(materials), 32):
            encoded = materials.tokenizer(
                [text for _, text in batch], padding=True, truncation=True, return_tensors="pt"
            )
            with torch.inference_mode():
                model(**encoded.to(model.device))
            states, masked = caught.pop().cpu(), encoded["input_ids"].cpu() == materials.tokenizer.mask_token_id
            for (entity, _), row, places in zip(batch, states, masked, strict=True):
                if places.any():  # else it was truncated away
                    state = row[int(places.nonzero()[0])]
                    sums[entity] = sums[entity] + state if entity in sums else state
    finally:
        handle.remove()
    if not sums:
        raise DataError("PELT: no sentence of the corpus mentions an entity of the knowledge base.")
    words = input_embedding(model).weight
    vectors = torch.nn.functional.normalize(torch.stack(list(sums.values())), dim=1) * words.norm(dim=1).mean().cpu()
    kb = restricted(materials.knowledge_base, list(sums), vectors.detach())
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    with torch.no_grad():
        for parameter, value in zip(plugin.mapping.parameters(), (torch.eye(kb.config.dim), 0.0), strict=True):
            parameter.copy_(torch.as_tensor(value))
    return plugin


def task_specific(
    plugin: KnowledgePlugin, checkpoint: PreTrainedModel, head: Head, rows: Sequence[Any], materials: Materials
) -> KnowledgePlugin:
    """Return a copy of a plugin whose mapping went on learning through one checkpoint."""
    set_seed(materials.seed)
    tuned = copy.deepcopy(plugin)
    training = materials.settings.task
    train(
        MapTuningTrainer,
        training,
        materials.seed,
        model=checkpoint,
        plugin=tuned,
        objective="task",
        processing_class=materials.tokenizer,
        base_dropout=training.dropout,
        data_collator=HeadCollator(head),
        compute_loss_func=head.loss,
        train_dataset=list(rows),
    )
    return tuned


PLUGINS: dict[str, Callable[[Materials], KnowledgePlugin]] = {"e-bert": e_bert, "pelt": pelt, "general": general}


def make_plugin(injection: str, materials: Materials, control: str | None = None) -> KnowledgePlugin:
    """Return the plugin of an injection, or of its control: made the same way from other vectors.

    PELT makes its vectors itself, so its control puts others in their place. So does that of a plugin that was trained
    elsewhere.
    """
    if control is None:
        return PLUGINS[injection](materials)
    if injection == "pelt":
        plugin = pelt(materials)
        return KnowledgePlugin(plugin.config, plugin.mapping, CONTROLS[control](plugin.knowledge_base, materials.seed))
    return PLUGINS[injection](materials.controlled(control))


def with_descriptions(rows: Sequence[Any], descriptions: Mapping[str, str]) -> list[Any]:
    """Return rows with the descriptions of their entities behind their text, as retrieval would put them there."""

    def described(row: Any) -> Any:
        if "query" in row:
            return row | {
                "query": described(row["query"]),
                "supports": [[described(support) for support in relation] for relation in row["supports"]],
            }
        found = dict.fromkeys(descriptions[m.entity_id] for m in row["mentions"] if m.entity_id in descriptions)
        return row | {"text": " ".join([row["text"], *found])}

    return [described(row) for row in rows]


def mentions_of(rows: Sequence[Any]) -> Iterator[Mention]:
    """Yield the mentions of rows, those of episodes included."""
    for row in rows:
        if "query" in row:
            yield from mentions_of([row["query"], *(support for relation in row["supports"] for support in relation)])
        else:
            yield from row["mentions"]


def restricted(kb: KnowledgeBase, ids: Sequence[str], vectors: torch.Tensor | None = None) -> KnowledgeBase:
    """Return a knowledge base in memory of some entities of another, in their order, perhaps with other vectors.

    Controls replace every vector of a knowledge base; of five million, a task mentions thousands.
    """
    known = dict.fromkeys(entity for entity in ids if entity in kb)
    if not known:
        raise DataError(
            f"none of {len(ids)} mentions is of an entity of {kb!r}. Ids there look like {next(iter(kb)).id!r}."
        )
    one_by_one = len(known) < _FEW
    some = (kb[entity] for entity in known) if one_by_one else (entity for entity in kb if entity.id in known)
    entities = {entity.id: entity for entity in some}
    return KnowledgeBase.from_entities(
        [entities[entity] for entity in known],
        kb.vectors(kb.rows(list(known))) if vectors is None else vectors,
        name=kb.config.name,
        id_scheme=kb.config.id_scheme,
        license=kb.config.license,
        version=kb.config.version,
        linker="external",
    )


def read_descriptions(path: str | Path, wanted: set[str]) -> dict[str, str]:
    """Read descriptions of some entities: lines of an id such as Q42, a tab and a text, as Wikidata5M has them."""
    found: dict[str, str] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            name, tab, text = line.rstrip("\n").partition("\t")
            if not tab:
                raise DataError(f"{path}, line {number}: expected an id, a tab and a text, found {line.strip()!r:.80}.")
            if (entity := entity_id(name, f"{path}, line {number}")) in wanted:
                found[entity] = text.strip()
    return found


def _masked_mentions(materials: Materials) -> Iterator[tuple[str, str]]:
    """Yield entities and sentences with a mask in their place, at most so many for each entity."""
    counts: dict[str, int] = {}
    for row in materials.corpus:
        for mention in row["mentions"]:
            count = counts.get(mention.entity_id, 0)
            if count < materials.settings.sentences and mention.entity_id in materials.knowledge_base:
                counts[mention.entity_id] = count + 1
                text = row["text"]
                yield mention.entity_id, text[: mention.start] + materials.tokenizer.mask_token + text[mention.end :]


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
