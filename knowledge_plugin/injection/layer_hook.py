"""Hooks on layers: entries are looked up where the text is read, and no token is put into it.

What belongs to one forward is kept by the thread that runs it and dropped when the forward ends; nothing stays on the
model between calls, so threads and batches cannot mix.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.config import LayerInjectionConfig
from knowledge_plugin.errors import IncompatibleModelError
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.layers import transformer_layers
from knowledge_plugin.injection.network import Network
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds

IGNORED = -100  # of a place where no entry is known to be the right one


@dataclass
class Forward:
    """What one forward through the model has looked at so far.

    Attributes:
        owner: The module whose forward it is; ``None`` of a layer that is run by itself.
        mask: ``[batch, length]``, true where there is text; ``None`` if nothing says so.
        texts: How many texts; ``None`` if nothing says so.
        shown: The rows that are seen, ``[n]``; ``None`` for all.
        scores: Of each look-up, ``[batch, s, m]``: for training, of all entries that were shown; else of those found.
        rows: Of each look-up, which rows the scores are of: ``[batch, s, m]``, or ``[m]`` if the same everywhere.
        kept: Of the hook's own.
    """

    owner: nn.Module | None = None
    mask: torch.Tensor | None = None
    texts: int | None = None
    shown: torch.Tensor | None = None
    scores: list[torch.Tensor] = field(default_factory=list)
    rows: list[torch.Tensor] = field(default_factory=list)
    kept: dict[Any, Any] = field(default_factory=dict)


class LayerHook(Hook):
    """One plugin on the layers of one model.

    Args:
        vectors: Gives entity vectors for rows.
        mapping: The mapping network.
        config: Which layers, and how vectors are divided.
    """

    def __init__(self, vectors: PlacedIndex, mapping: Network, config: LayerInjectionConfig) -> None:
        super().__init__(vectors, mapping, VirtualIds.none())
        self.config = config

    def _start(self) -> None:
        super()._start()
        # The modules it hangs on and where each is: children of a parent, and a name.
        self._places: list[tuple[dict[str, Any], str, nn.Module]] | None = None
        # The last forward that gradients may be asked of: on a GPU, another thread runs its layers once more.
        self._differentiated: Forward | None = None

    def attach(self, model: nn.Module) -> None:
        """Hang on the model, so that a forward has a beginning and an end; subclasses hang on layers too."""
        bare = bare_model(model)
        self._handles.append(bare.register_forward_pre_hook(self._begin, with_kwargs=True))
        self._handles.append(bare.register_forward_hook(self._end, always_call=True))
        # Some call what is below the head directly, as PEFT's prefix tuning does.
        body = getattr(bare, "base_model", None)
        if isinstance(body, nn.Module) and body is not bare:
            self._handles.append(body.register_forward_pre_hook(self._begin_body, with_kwargs=True))
            self._handles.append(body.register_forward_hook(self._end, always_call=True))

    @property
    def is_on(self) -> bool:
        """Whether it does anything here and now: another thread may have switched it off for itself."""
        shown = self.shown_rows()
        return (self.source is None or self.source.enabled) and (shown is None or len(shown) > 0)

    @contextmanager
    def showing(self, rows: torch.Tensor) -> Iterator[None]:
        """Within, forwards of this thread see these rows ``[n]`` of the knowledge base alone; of none, the base's."""
        before, self._local.shown = getattr(self._local, "shown", None), rows
        try:
            yield
        finally:
            self._local.shown = before

    def shown_rows(self) -> torch.Tensor | None:
        """Return the rows that this forward, or else the next one, was told by :meth:`showing`; ``None`` for all."""
        forward = self._current()
        return getattr(self._local, "shown", None) if forward is None else forward.shown

    # ---- a forward ------------------------------------------------------------------------------------------------

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        if not torch.compiler.is_compiling() and not self._is_in_place(model):
            self.detach(model)
            self.attach(model)
        self._begin_body(model, args, kwargs)

    def _begin_body(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        if (within := self._current()) is not None and within.owner is not None:
            return
        mask = kwargs.get("attention_mask")
        if mask is None and len(args) > 1 and isinstance(args[1], torch.Tensor):
            mask = args[1]
        is_mask = isinstance(mask, torch.Tensor) and mask.dim() == 2
        read = [kwargs.get(name) for name in ("decoder_input_ids", "input_ids", "inputs_embeds")]
        texts = next((len(tensor) for tensor in (*read, *args) if isinstance(tensor, torch.Tensor)), None)
        shown = getattr(self._local, "shown", None)
        self._local.forward = Forward(model, mask.bool() if is_mask else None, texts, shown)  # type: ignore[union-attr]

    def _is_in_place(self, model: nn.Module) -> bool:
        """Tell whether adapters were put over the modules it hangs on, or merged away with them."""
        if self._places is None:
            self._places = self.note_places(model)
        return all(children.get(name) is module for children, name, module in self._places)

    def note_places(self, model: nn.Module) -> list[tuple[dict[str, Any], str, nn.Module]]:
        """Return the modules that it hangs on and where each is; subclasses call it when they have hung on layers."""
        self._places = [
            (parent._modules, name, module)
            for parent in model.modules()
            for name, module in parent._modules.items()
            if module is not None and self._hangs_around(module)
        ]
        return self._places

    def _hangs_around(self, module: nn.Module) -> bool:
        hung = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        return any(isinstance(function, _Place) and function.hook is self for function in hung)

    def _end(self, model: nn.Module, args: tuple, output: Any) -> None:
        forward = self._current()
        if forward is None or forward.owner is not model:
            return
        if (log := getattr(self._local, "log", None)) is not None:
            log.append(forward)
        self._local.forward = None
        # A checkpointed layer runs once more while gradients are computed, and is to look up the same again.
        self._differentiated = forward if torch.is_grad_enabled() else None

    def _current(self) -> Forward | None:
        """Return what belongs to the forward that this thread is in, or whose layers are run once more."""
        forward = getattr(self._local, "forward", None)
        if forward is None and not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            return self._differentiated
        return forward

    @property
    def forward(self) -> Forward:
        """What belongs to the forward that this thread is in; a layer that is run by itself is one of its own."""
        return self._current() or Forward()

    @contextmanager
    def logging(self) -> Iterator[list[Forward]]:
        """Within, what the forwards of this thread looked at is kept, in order."""
        before, self._local.log = getattr(self._local, "log", None), []
        try:
            yield self._local.log
        finally:
            self._local.log = before

    def mask_of(self, hidden: torch.Tensor) -> torch.Tensor | None:
        """Return the mask for hidden states ``[batch, length, width]``; some models pad a text once more themselves."""
        mask = self.forward.mask
        if mask is None or mask.shape[0] != hidden.shape[0]:
            return None
        mask = mask[:, -hidden.shape[1] :]  # before it may stand a prefix that is learned (PEFT's prefix tuning)
        return functional.pad(mask, (0, hidden.shape[1] - mask.shape[1])).to(hidden.device)

    def before(self, number: int, hidden: torch.Tensor) -> None:
        """Keep what goes into a module of a layer, by the layer's place among the chosen ones."""
        if self.is_on:
            if self._current() is None:
                self._local.forward = Forward(shown=self.shown_rows())
            self.forward.kept[number] = hidden

    def close(self) -> None:
        """End the forward of a layer that is run by itself; subclasses call it when they are done with one."""
        forward = getattr(self._local, "forward", None)
        if forward is not None and forward.owner is None:
            self._local.forward = None

    def after(self, number: int, output: Any) -> Any:
        """Return what is to come out of a module instead of ``output``."""
        raise NotImplementedError

    def chosen_layers(self, model: nn.Module) -> list[nn.Module]:
        """Return the layers that the plugin hangs on.

        Raises:
            IncompatibleModelError: One of them is not there.
        """
        layers = transformer_layers(model)
        if self.config.layers[-1] >= len(layers):
            raise IncompatibleModelError(
                f"the plugin hangs on layer {self.config.layers[-1]}, but the model's layers are 0 to "
                f"{len(layers) - 1}. Make one for this model: KnowledgePlugin.for_model(model, kb, method=...)"
            )
        return [layers[number] for number in self.config.layers]

    # ---- what was looked at ---------------------------------------------------------------------------------------

    def found_by(self, forwards: list[Forward]) -> dict[int, float]:
        """Return the best score of each row that was found in some forwards."""
        best: dict[int, float] = {}
        for forward in forwards:
            for rows, scores in zip(forward.rows, forward.scores, strict=True):
                for row, score in zip(
                    rows.expand_as(scores).flatten().tolist(), scores.detach().flatten().tolist(), strict=True
                ):
                    best[row] = max(score, best.get(row, score))
        return best

    def lookup_loss(self, forward: Forward, gold: torch.Tensor) -> torch.Tensor | None:
        """Return how far the look-ups of a forward are from the entries that are known to be right.

        Cross-entropy over the entries that were shown, mean over places. It is not of the papers: it teaches in minutes
        what they learn in days from the answers alone.

        Args:
            forward: Within :meth:`showing`.
            gold: Which of the shown rows, int64 ``[batch, s]`` with -100 where nobody knows; ``s`` is 1 or the length.
        """
        losses = []
        for scores in forward.scores:
            # A text that is looked up as one, or at places of its own, asks for what any place of it asks for.
            alike = scores.shape[1] == gold.shape[1]
            at = gold if alike else gold.amax(1, keepdim=True).expand(-1, scores.shape[1])
            at = at.to(scores.device)
            if bool((at != IGNORED).any()):
                losses.append(functional.cross_entropy(scores.flatten(0, 1), at.flatten(), ignore_index=IGNORED))
        return torch.stack(losses).mean() if losses else None

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"_differentiated": None}


class _Place:
    """What is hung on one module, for one of the chosen layers."""

    def __init__(self, hook: LayerHook, number: int) -> None:
        self.hook, self.number = hook, number

    @property
    def __self__(self) -> LayerHook:
        return self.hook  # by which a hook finds what is its own, also on a copied model


class Before(_Place):
    """Hung before a module, with its keyword arguments."""

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Keep the hidden states, the first of what the module is given."""
        self.hook.before(self.number, args[0] if args else next(iter(kwargs.values())))


class After(_Place):
    """Hung behind a module."""

    def __call__(self, module: nn.Module, args: tuple, output: Any) -> Any:
        """Put something else in the place of what comes out."""
        return self.hook.after(self.number, output)
