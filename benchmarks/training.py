"""One step of map-tuning (budget 3): batch, forward, backward, optimizer.

The published way is written again from its description: entity vectors in a Python list of arrays, one look-up for each
token, every sentence padded to 64, logits over the whole vocabulary at every place, and a language model that is meant
to be frozen but computes the gradients of all its weights. The same with a model that is frozen is shown beside it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from benchmarks.models import minilm
from benchmarks.results import row
from benchmarks.timing import alternate, median, ratios
from examples.geography.checkpoint import model_folder
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.methods.map_tuning.training import OBJECTIVES
from knowledge_plugin.objectives.mentions import IGNORED

ENTITIES, DIM, BATCH, PADDED, ROUNDS = 20_000, 128, 64, 64, 5


def rows() -> list[dict]:
    """Measure a step of each objective, that of masked mentions beside the published way."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    rng = random.Random(0)
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)
    names = [" ".join(rng.sample(words, rng.randint(1, 3))) for _ in range(ENTITIES)]
    kb = KnowledgeBase.from_entities(
        [Entity(f"b:{i}", name) for i, name in enumerate(names)], torch.randn(ENTITIES, DIM), name="bench"
    )
    data = _sentences(words, names, rng)
    return [_masked_step(kb, tokenizer, data), *_speeds(kb, tokenizer, data)]


def _sentences(words: list[str], names: list[str], rng: random.Random) -> list[dict]:
    """Return rows with two mentions each, about as long as sentences of Wikipedia are."""
    rows = []
    for _ in range(BATCH):
        entities = rng.sample(range(len(names)), 2)
        text, mentions = "", []
        for entity in entities:
            text += " ".join(rng.choices(words, k=rng.randint(3, 18))) + " "
            mentions.append(Mention(len(text), len(text) + len(names[entity]), f"b:{entity}"))
            text += names[entity] + " "
        rows.append({"text": text + ".", "mentions": mentions, "label": 0})
    return rows


def step_of(attachment: Attachment, objective: str, data: list[dict]) -> Callable[[], float]:
    """Return a step of ours on these rows, which gives its loss."""
    found, model, optimizer = OBJECTIVES[objective], attachment.model, _optimizer(attachment.mapping)
    collate = found.collator(0)
    collate.use(attachment)

    def step() -> float:
        batch = collate(data)
        if found.loss is None:
            return _learn(model(**batch).loss, optimizer)
        labels = batch.pop("labels")
        with found.loss.scoring(model, labels):
            loss = found.loss(model(**batch), labels)
        return _learn(loss, optimizer)

    return step


def _masked_step(kb: KnowledgeBase, tokenizer: PreTrainedTokenizerBase, data: list[dict]) -> dict:
    model = BertForMaskedLM(minilm().config).eval()  # without dropout, so that losses can be compared
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    unfrozen = copy.deepcopy(model)
    with plugin.attach(model.requires_grad_(False), tokenizer) as attachment:
        ours = step_of(attachment, "mention-mlm", data)
        collate = OBJECTIVES["mention-mlm"].collator(0)
        collate.use(attachment)
        batch = collate(data)
        ways = {
            "ours": ours,
            "published": _published(unfrozen, plugin, batch, tokenizer.pad_token_id),
            "frozen": _published(copy.deepcopy(unfrozen).requires_grad_(False), plugin, batch, tokenizer.pad_token_id),
        }
        losses = {name: way() for name, way in ways.items()}
        difference = max(losses.values()) - min(losses.values())
        times = alternate(ways, ROUNDS)
    a, b, kind = (median(times[name]) for name in ("published", "ours", "frozen"))
    found = ratios(times["ours"], times["published"])
    work = f"mention-mlm step, batch {BATCH} (published but frozen: {kind:.2f} s); losses differ by {difference:.0e}"
    met = median(found) <= 1 / 8 and difference < 1e-4
    return row("3", work, a, b, "s", median(found), "<= 1/8", met, found)


def _published(
    model: nn.Module, plugin: KnowledgePlugin, batch: dict[str, torch.Tensor], pad: int
) -> Callable[[], float]:
    mapping: nn.Module = copy.deepcopy(plugin.mapping.layers[0])
    listed = [vector.numpy().copy() for vector in plugin.knowledge_base.vectors(range(ENTITIES))]
    words, optimizer = model.get_input_embeddings(), _optimizer(mapping)  # type: ignore[operator]
    vocab_size = words.num_embeddings

    def step() -> float:
        embedded, labels = [], []
        for ids, wanted, is_text in zip(
            *(batch[name].tolist() for name in ("input_ids", "labels", "attention_mask")), strict=True
        ):
            tokens = [
                mapping(torch.tensor(listed[token - vocab_size])) if token >= vocab_size else words(torch.tensor(token))
                for token in ids[: sum(is_text)]
            ]
            tokens += [words(torch.tensor(pad))] * (PADDED - len(tokens))
            embedded.append(torch.stack(tokens))
            labels.append((wanted + [IGNORED] * PADDED)[:PADDED])
        attended = torch.arange(PADDED) < batch["attention_mask"].sum(1, keepdim=True)
        logits = model(inputs_embeds=torch.stack(embedded), attention_mask=attended.long()).logits
        return _learn(functional.cross_entropy(logits.view(-1, vocab_size), torch.tensor(labels).view(-1)), optimizer)

    return step


def _optimizer(mapping: nn.Module) -> torch.optim.Optimizer:
    # At a rate of zero the loss stays what it is, and the work is the same.
    return torch.optim.Adam(mapping.requires_grad_(True).parameters(), lr=0.0)


def _learn(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _speeds(kb: KnowledgeBase, tokenizer: PreTrainedTokenizerBase, data: list[dict]) -> list[dict]:
    """Tokens a second of a step of each objective, on a model of the size of MiniLM."""
    torch.manual_seed(0)
    size = {"vocab_size": 30_522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
    filling = copy.deepcopy(tokenizer)
    filling.add_special_tokens({"additional_special_tokens": [f"<extra_id_{i}>" for i in range(8)]})
    t5 = {"d_model": 384, "d_kv": 32, "d_ff": 1536, "num_layers": 6, "num_heads": 12, "decoder_start_token_id": 0}
    models: dict[str, tuple[nn.Module, PreTrainedTokenizerBase]] = {
        "task": (minilm(), tokenizer),
        "mention-mlm": (BertForMaskedLM(minilm().config), tokenizer),
        "mention-clm": (LlamaForCausalLM(LlamaConfig(**size, intermediate_size=1024)), tokenizer),
        "mention-seq2seq": (T5ForConditionalGeneration(T5Config(vocab_size=len(filling), **t5)), filling),
    }
    found = []
    for letter, (objective, (model, words)) in zip("abcd", models.items(), strict=True):
        plugin = KnowledgePlugin.for_model(model.eval().requires_grad_(False), kb)
        with plugin.attach(model, words) as attachment:
            collate = OBJECTIVES[objective].collator(0)
            collate.use(attachment)
            tokens = int(collate(data)["attention_mask"].sum())
            speeds = [
                tokens / seconds
                for seconds in alternate({"ours": step_of(attachment, objective, data)}, ROUNDS)["ours"]
            ]
        work = f"tokens of text in a step of {objective!r}"
        found.append(row(f"3{letter}", work, None, median(speeds), "tokens/s", None, "-", None, speeds))
    return found
