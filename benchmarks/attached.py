"""What an attached plugin costs (budgets 2 and 6): the look-up of words, and a whole forward.

The published way is written again from its description: a Python list with an array per entity, an affine mapping, and
one ``torch.tensor`` for each token of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers import BertForSequenceClassification

from benchmarks.models import minilm, with_plugin
from benchmarks.results import row
from benchmarks.timing import alternate, median, ratios
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin

ENTITIES, DIM, BATCH, LENGTH = 20_000, 128, 16, 128


def rows(rounds: int = 60) -> list[dict]:
    """Measure both.

    Args:
        rounds: Of the whole forwards, whose ratios are near 1; the look-up takes nine.
    """
    model = minilm()
    vectors = torch.randn(ENTITIES, DIM)
    kb = KnowledgeBase.from_entities([Entity(f"b:{i}", f"n{i}") for i in range(ENTITIES)], vectors, name="bench")
    ids = torch.randint(1000, 30_000, (BATCH, LENGTH))
    mentions = ids.clone()
    mentions[:, [10, 60]] = model.config.vocab_size + torch.randint(0, ENTITIES, (BATCH, 2))
    # The same work on both sides is affine, which is what the published code has; an MLP is the default here.
    affine, mlp = (KnowledgePlugin.for_model(model, kb, mapping=kind) for kind in ("affine", "mlp"))
    for plugin in (affine, mlp):
        plugin.mapping.requires_grad_(False)  # as of a plugin that is loaded
    return [_look_up(model, affine, mlp, vectors, mentions), *_forwards(model, mlp, ids, mentions, rounds)]


def _look_up(
    model: BertForSequenceClassification,
    affine: KnowledgePlugin,
    mlp: KnowledgePlugin,
    vectors: torch.Tensor,
    ids: torch.Tensor,
) -> dict:
    listed = [vector.numpy().copy() for vector in vectors]
    published = _published(model, affine, listed, ids)
    embed = {name: with_plugin(model, plugin).get_input_embeddings() for name, plugin in [("a", affine), ("m", mlp)]}
    with torch.inference_mode():
        assert torch.allclose(embed["a"](ids), published(), atol=1e-5)
        times = alternate({"published": published, "a": lambda: embed["a"](ids), "m": lambda: embed["m"](ids)}, 9)
    a, b = median(times["published"]), median(times["a"])
    found = ratios(times["a"], times["published"])
    work = f"embedding of {BATCH} x {LENGTH}, 2 mentions each (with an MLP {1e3 * median(times['m']):.2f} ms)"
    return row("2a", work, 1e3 * a, 1e3 * b, "ms", median(found), "<= 1/20", median(found) <= 1 / 20, found)


def _published(
    model: BertForSequenceClassification, plugin: KnowledgePlugin, listed: list[np.ndarray], ids: torch.Tensor
) -> Callable[[], torch.Tensor]:
    words, vocab_size = model.get_input_embeddings(), model.config.vocab_size
    (layer,) = plugin.mapping.layers
    assert isinstance(layer, nn.Linear)

    def embed() -> torch.Tensor:
        sentences = []
        for sentence in ids.tolist():
            tokens = []
            for token in sentence:
                if token >= vocab_size:
                    tokens.append(layer(torch.tensor(listed[token - vocab_size])))
                else:
                    tokens.append(words(torch.tensor(token)))
            sentences.append(torch.stack(tokens))
        return torch.stack(sentences)

    return embed


def _forwards(
    model: BertForSequenceClassification,
    plugin: KnowledgePlugin,
    plain: torch.Tensor,
    mentions: torch.Tensor,
    rounds: int,
) -> list[dict]:
    """A whole forward, with mentions and without, beside the plain model on as many tokens."""
    attached = with_plugin(model, plugin)
    with torch.inference_mode():
        times = alternate(
            {
                "plain": lambda: model(plain).logits,
                "no mention": lambda: attached(plain).logits,
                "mentions": lambda: attached(mentions).logits,
            },
            rounds,
        )
    lines = []
    for row_id, way, work, bound in [
        ("2b", "mentions", "whole forward, 2 mentions each, against plain", 1.02),
        ("6", "no mention", "whole forward, no mention, attached against plain", 1.01),
    ]:
        found = ratios(times[way], times["plain"])
        a, b, ratio = median(times["plain"]), median(times[way]), median(found)
        lines.append(row(row_id, work, 1e3 * a, 1e3 * b, "ms", ratio, f"<= {bound}", ratio <= bound, found))
    return lines
