"""The word embeddings of a live model: which modules they are, and what they do to a row."""

from __future__ import annotations

import copy

import torch
from accelerate.utils import align_module_device
from torch import nn

from knowledge_plugin.errors import IncompatibleModelError


def input_embedding(model: nn.Module) -> nn.Embedding:
    """Return the model's input embedding.

    Raises:
        IncompatibleModelError: The model has none, or it is no ``torch.nn.Embedding``.
    """
    getter = getattr(model, "get_input_embeddings", None)
    found = None
    if getter is not None:
        try:
            found = getter()
        except NotImplementedError:
            pass
    if not isinstance(found, nn.Embedding):
        raise IncompatibleModelError(
            f"{type(model).__name__}: expected a transformers model with word embeddings (torch.nn.Embedding), found "
            f"{type(found).__name__}."
        )
    return found


def embedding_modules(model: nn.Module) -> list[nn.Embedding]:
    """Return every module that looks words up in the input embedding's weight.

    T5 and BART keep three modules tied to one weight, and the one that ``get_input_embeddings`` names is never
    called; so all of them are found by the weight that they share.
    """
    weight = input_embedding(model).weight
    return [m for m in model.modules() if isinstance(m, nn.Embedding) and m.weight is weight]


def embedding_rows(embedding: nn.Embedding, token_ids: torch.Tensor) -> torch.Tensor:
    """Return rows of the weight as float32 ``[n, width]`` on the CPU, also where Accelerate keeps it elsewhere."""
    with align_module_device(embedding), torch.no_grad():
        weight = embedding.weight
        return weight[token_ids.to(weight.device)].float().cpu()


def as_looked_up(embedding: nn.Embedding, rows: torch.Tensor) -> torch.Tensor:
    """Return what the module would give for ``rows`` ``[n, width]`` if they stood in its weight.

    Some architectures scale or normalise inside the embedding module (Gemma, BART with ``scale_embedding``). Running
    the module itself over a weight made of our rows gets every such case right, and differentiably.
    """
    if type(embedding) is nn.Embedding and embedding.max_norm is None:
        return rows
    stand_in = copy.copy(embedding)
    # Own dictionaries, so that nothing here reaches the user's module: no hooks, no wrapped forward, and no padding
    # row, which would get no gradient.
    stand_in.__dict__ = {
        k: v for k, v in embedding.__dict__.items() if k not in ("forward", "_hf_hook", "_old_forward")
    }
    for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
        stand_in.__dict__[name] = type(embedding.__dict__[name])()
    stand_in.__dict__["_parameters"] = dict(embedding._parameters)
    stand_in.padding_idx = None
    ids = torch.arange(len(rows), device=rows.device)
    return torch.func.functional_call(stand_in, {"weight": rows}, (ids,))
