"""The word embeddings of a live model: which modules they are, and what they do to a row."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import nn

from knowledge_plugin.errors import IncompatibleModelError

_PROBE_ROWS = 3


def bare_model(model: nn.Module) -> nn.Module:
    """Return the transformers model inside the wrappers of ``torch.compile`` and PEFT."""
    model = getattr(model, "_orig_mod", model)
    unwrap = getattr(model, "get_base_model", None)
    return unwrap() if callable(unwrap) else model


def unwrapped(module: object) -> nn.Embedding | None:
    """Return the embedding inside the layers that PEFT puts around one, or ``None`` if there is none inside."""
    while isinstance(module, nn.Module) and not isinstance(module, nn.Embedding):
        module = getattr(module, "base_layer", None) or getattr(module, "original_module", None)
    return module if isinstance(module, nn.Embedding) else None


def input_embedding(model: nn.Module) -> nn.Embedding:
    """Return the model's input embedding, without what PEFT puts around it.

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
    embedding = unwrapped(found)
    if embedding is None:
        raise IncompatibleModelError(_why_none(model, found))
    return embedding


def _why_none(model: object, found: object) -> str:
    expected = "expected a transformers model with word embeddings (torch.nn.Embedding)"
    if isinstance(model, (str, Path)):
        name = str(model)
        return (
            f"{expected}, found {name!r:.200}. Type: AutoModel.from_pretrained({name!r:.200}), or with the class of "
            "its task, such as AutoModelForSequenceClassification"
        )
    if not isinstance(model, nn.Module):
        return f"{expected}, found {type(model).__name__}. Type: AutoModel.from_pretrained(...)"
    return (
        f"{type(model).__name__}: {expected}, found {type(found).__name__}. Of a SentenceTransformer, pass its "
        "transformer: st[0].model"
    )


def embedding_modules(model: nn.Module) -> list[nn.Module]:
    """Return every module that looks words up in the input embedding's weight, wrappers of PEFT included.

    T5 and BART keep three modules tied to one weight, and the one that ``get_input_embeddings`` names is never
    called; so all of them are found by the weight that they share.
    """
    words = input_embedding(model)
    tied = _declared_as_tied(model, words) if words.weight.is_meta else set()
    return [
        m
        for m in model.modules()
        if (embedding := unwrapped(m)) is not None and (embedding.weight is words.weight or embedding in tied)
    ]


def _declared_as_tied(model: nn.Module, words: nn.Embedding) -> set[nn.Module]:
    """Return the modules that the model declares as tied to its word embeddings.

    Where Accelerate keeps weights elsewhere, each module has an empty one of its own, and identity says nothing.
    """
    model = bare_model(model)
    name = next(f"{name}.weight" for name, module in model.named_modules() if module is words)
    sources: dict[str, str] = getattr(model, "all_tied_weights_keys", {})
    source = sources.get(name, name)
    names = {source, *(target for target, other in sources.items() if other == source)}
    return {module for name, module in model.named_modules() if f"{name}.weight" in names}


def tables_beside(model: nn.Module) -> list[nn.Embedding]:
    """Return other tables with a row for each word, which a model may look up with the same ids (Gemma 4 has one)."""
    rows, words = input_embedding(model).num_embeddings, set(embedding_modules(model))
    return [m for m in model.modules() if isinstance(m, nn.Embedding) and m not in words and m.num_embeddings == rows]


def execution_device(embedding: nn.Embedding) -> torch.device:
    """Return where an embedding is looked up, also when Accelerate keeps its weight elsewhere."""
    device = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
    return embedding.weight.device if device is None else torch.device(device)


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


def scaled(embedding: nn.Embedding, rows: torch.Tensor) -> torch.Tensor:
    """Return rows times the module's ``embed_scale``, which is a number or a tensor."""
    scale: Any = embedding.embed_scale
    return rows * (scale.to(rows.device, rows.dtype) if isinstance(scale, torch.Tensor) else scale)


def only_scales(embedding: nn.Embedding) -> bool:
    """Try out whether all that the module does to a row is :func:`scaled`, which a compiler can trace."""
    if not isinstance(getattr(embedding, "embed_scale", None), (int, float, torch.Tensor)):
        return False
    device = execution_device(embedding)
    rows = torch.linspace(-1.0, 1.0, _PROBE_ROWS * embedding.embedding_dim, device=device)
    rows = rows.view(_PROBE_ROWS, -1).to(embedding.weight.dtype)
    with torch.no_grad():
        return torch.equal(scaled(embedding, rows), as_looked_up(embedding, rows))
