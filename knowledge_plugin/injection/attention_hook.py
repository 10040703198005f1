"""Further keys and values in the attention of chosen layers: every token may look at every entry.

transformers' attention modules ask their config which function computes attention. While a plugin is attached, those of
the chosen layers have a copy of the config that names :func:`knowledge_attention`, which asks the function that was
there wherever there is nothing to add.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from knowledge_plugin.config import LayerInjectionConfig
from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.layer_hook import After, Before, LayerHook
from knowledge_plugin.injection.layers import self_attention
from knowledge_plugin.injection.network import Network, exactly, version
from knowledge_plugin.injection.placement import PlacedIndex

_NAME = "knowledge-plugin"
_ORIGINAL = "knowledge_plugin_original"
# What some models hand to their attention, and what would be lost in ours.
_ODD = {
    "s_aux": "attention sinks",
    "sinks": "attention sinks",
    "indices": "sparse attention",
    "block_indices": "sparse attention",
    "cu_seq_lens_q": "packed texts",
    "cu_seq_lens_k": "packed texts",
}
_EXPLAINED = 10  # entries of each token that are kept for people to look at


class KeysAndValues(NamedTuple):
    """Of all entries that can be seen, for one layer: ``[heads, entries, head_dim]`` each, float32."""

    keys: torch.Tensor
    values: torch.Tensor


class EntryNetwork(Network):
    """A mapping network that makes keys and values of entries, and queries of hidden states."""

    def entries(self, vectors: torch.Tensor) -> list[KeysAndValues]:
        """Return keys and values of entity vectors ``[n, dim]``, for each of the chosen layers."""
        raise NotImplementedError

    def queries(self, number: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return queries ``[batch, heads, length, head_dim]`` of hidden states ``[batch, length, width]``."""
        raise NotImplementedError


class AttentionHook(LayerHook):
    """Lets the attention of some layers see entries.

    Args:
        vectors: Gives entity vectors for rows.
        mapping: The mapping network.
        config: Which layers, and how vectors are divided.
        top: How many entries a token looks at, those with the largest scores over all heads.
        scale: ``C`` of the correction ``log C - log M`` of the scores of ``M`` entries.
    """

    mapping: EntryNetwork

    def __init__(
        self, vectors: PlacedIndex, mapping: EntryNetwork, config: LayerInjectionConfig, top: int, scale: float
    ) -> None:
        super().__init__(vectors, mapping, config)
        self.top, self.scale = top, scale

    def _start(self) -> None:
        super()._start()
        # Keys and values of all entries, and what they were made of.
        self._made: tuple[tuple, list[KeysAndValues]] | None = None

    def attach(self, model: nn.Module) -> None:
        """Hang on the attention of the chosen layers.

        Raises:
            IncompatibleModelError: A layer is not there, or has no attention that asks its config.
        """
        modules = [self_attention(layer) for layer in self.chosen_layers(model)]
        super().attach(model)
        for number, module in enumerate(modules):
            self._handles.append(module.register_forward_pre_hook(Before(self, number), with_kwargs=True))
            self._handles.append(module.register_forward_hook(After(self, number)))
            if not hasattr(module.config, _ORIGINAL):
                config = copy.copy(module.config)
                vars(config)[_ORIGINAL] = module.config
                config._attn_implementation_internal = _NAME  # type: ignore[union-attr]
                module.config = config
        self.note_places(model)

    def detach(self, model: nn.Module) -> None:
        """Take every hook off a model again, and give its attention the config back."""
        super().detach(model)
        for module in model.modules():
            original = getattr(vars(module).get("config"), _ORIGINAL, None)
            if original is not None and not _hooks_on(module):
                module.config = original

    def after(self, number: int, output: Any) -> Any:
        """Forget what went in."""
        self.forward.kept.pop(number, None)
        self.close()
        return output

    def scores(self, number: int, group: int) -> tuple[torch.Tensor, KeysAndValues] | None:
        """Return the scores ``[batch, heads, length, entries]`` of entries, and the entries; ``None`` if it is off.

        KBLaM (Wang et al., 2025, section 4): ``q k / sqrt(d) + log C - log M``.
        """
        hidden = self.forward.kept.get(number)
        if hidden is None:
            return None
        hidden = hidden.to(self.mapping.device, torch.float32)
        with exactly(hidden.device):
            return self._scores(number, group, hidden)

    def _scores(self, number: int, group: int, hidden: torch.Tensor) -> tuple[torch.Tensor, KeysAndValues]:
        entries = self._entries()[number]
        queries = self.mapping.queries(number, hidden)
        if queries.shape[1] != group:
            raise AttachmentError(
                f"the plugin was made for {queries.shape[1]} attention heads, and the model has {group}. Make one for "
                "this model: KnowledgePlugin.for_model(model, kb, method='kb-attention')"
            )
        scores = queries @ entries.keys.transpose(1, 2) * queries.shape[-1] ** -0.5
        seen = min(self.top, scores.shape[-1])
        total = scores.mean(1)
        if self.shown_rows() is not None:
            self.forward.scores.append(total)
            self.forward.rows.append(self.shown_rows())  # type: ignore[arg-type]
        if seen < scores.shape[-1]:
            least = total.topk(seen, dim=-1).values[..., -1:]
            scores = scores.masked_fill((total < least).unsqueeze(1), -torch.inf)
        return scores + math.log(self.scale) - math.log(seen), entries

    def looked_at(self, weights: torch.Tensor) -> None:
        """Note how much of the attention entries got: ``[batch, heads, length, entries]``."""
        if self.shown_rows() is None and getattr(self._local, "log", None) is not None:
            share, rows = weights.mean(1).topk(min(_EXPLAINED, weights.shape[-1]), dim=-1)
            self.forward.scores.append(share)
            self.forward.rows.append(rows)

    def _entries(self) -> list[KeysAndValues]:
        rows, device = self.shown_rows(), self.mapping.device
        if rows is not None:
            return self.mapping.entries(self.vectors(rows).to(device))
        index = self.vectors.index
        state = [version(parameter) for parameter in self.mapping.parameters()]
        made_of, made = (index, self.mapping, state), self._made
        if made is None or made[0][0] is not index or made[0][1] is not self.mapping or made[0][2] != state:
            with torch.inference_mode(False), torch.no_grad():
                made = made_of, self.mapping.entries(index.gather(torch.arange(len(index)).to(index.device)).to(device))
            self._made = made
        return made[1]

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"_made": None}


def knowledge_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute attention over the text and the entries of all plugins on a module, as transformers asks for it.

    One softmax goes over both ("rectangular attention", Wang et al., 2025, section 4): each token sees all entries, and
    entries see nothing. Where no plugin has anything to add, the function that was there answers, to the bit.

    Raises:
        AttachmentError: The attention of the text is of a kind that cannot be put under one softmax with entries.
    """
    found = [(hook, block) for hook, number in _hooks_on(module) if (block := hook.scores(number, query.shape[1]))]
    if not found:
        return _original(module)(module, query, key, value, attention_mask, **kwargs)
    _check(module, value, attention_mask, kwargs, [entries for _, (_, entries) in found])
    text, value = _text_scores(module, query, key, value, attention_mask, kwargs)
    scores = torch.cat([text, *(block.to(text.device) for _, (block, _) in found)], dim=-1)
    weights = functional.dropout(scores.softmax(-1), kwargs.get("dropout") or 0.0, module.training)
    parts = weights.split([text.shape[-1], *(block.shape[-1] for _, (block, _) in found)], dim=-1)
    output = parts[0] @ value.float()
    for (hook, (_, entries)), part in zip(found, parts[1:], strict=True):
        hook.looked_at(part.detach())
        output = output + part @ entries.values.to(part.device)
    return output.transpose(1, 2).contiguous().to(value.dtype), parts[0].to(value.dtype)


def _check(
    module: nn.Module,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    kwargs: dict[str, Any],
    entries: list[KeysAndValues],
) -> None:
    odd, window = None, kwargs.get("sliding_window")
    if given := [name for name in _ODD if kwargs.get(name) is not None]:
        odd = f"{_ODD[given[0]]} ({given[0]})"
    elif mask is None and window is not None and value.shape[2] > window:
        odd = f"a window of {window} tokens without a mask (load the model with attn_implementation='sdpa' or 'eager')"
    elif mask is not None and (not isinstance(mask, torch.Tensor) or mask.dim() != 4):
        odd = "a mask without one (load the model with attn_implementation='sdpa' or 'eager')"
    elif any(each.values.shape[-1] != value.shape[-1] for each in entries):
        odd = f"values that are {value.shape[-1]} wide where keys are not"
    if odd is not None:
        raise AttachmentError(
            f"{type(module).__name__}: expected attention with a score for each pair of tokens, under one softmax, "
            f"found {odd}. Or type: KnowledgePlugin.for_model(model, kb, method='memory')"
        )


def _text_scores(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    kwargs: dict[str, Any],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return masked scores of the text, float32 ``[batch, heads, length, length of keys]``, and a value for each."""
    length = query.shape[2]
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if mask is None and causal and length > 1:
        key, value = key[:, :, :length], value[:, :, :length]  # the rest is room that a static cache has not filled
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scaling = kwargs.get("scaling")
    scores = (query.float() @ key.float().transpose(2, 3)) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if (softcap := kwargs.get("softcap")) is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if (bias := kwargs.get("position_bias")) is not None:
        scores = scores + bias[..., : key.shape[2]]
    if mask is not None:
        mask = mask[..., : key.shape[2]]
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~mask, lowest) if mask.dtype == torch.bool else scores + mask
    elif causal and length > 1:
        seen = torch.ones(length, length, dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    return scores, value


def _hooks_on(module: nn.Module) -> list[tuple[AttentionHook, int]]:
    hung = module._forward_pre_hooks.values()
    return [(f.hook, f.number) for f in hung if isinstance(f, Before) and isinstance(f.hook, AttentionHook)]


def _original(module: nn.Module) -> Callable[..., Any]:
    """Return the function that computes attention where no plugin is attached."""
    forward = inspect.unwrap(type(module).forward)
    eager = forward.__globals__.get("eager_attention_forward")
    name = getattr(module.config, _ORIGINAL)._attn_implementation
    return ALL_ATTENTION_FUNCTIONS.get_interface(name, eager)


AttentionInterface.register(_NAME, knowledge_attention)
