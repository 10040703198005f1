"""The embedding hook: virtual token ids in, mapped entity vectors out.

A virtual id is ``start + row``. Before a word-embedding module looks ids up, virtual ids are replaced by 0; after it,
the vectors at their places are replaced by mapped entity vectors. All knowledge travels in the ids: nothing stays on
the model between calls, so threads and batches cannot mix. Text without a virtual id passes through untouched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.embeddings import (
    as_looked_up,
    bare_model,
    embedding_modules,
    only_scales,
    scaled,
    tables_beside,
    unwrapped,
)
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.mapping import MappingNetwork
from knowledge_plugin.injection.operator import register, virtual_rows
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds


class EmbeddingHook(Hook):
    """What is hung on the word-embedding modules of one model for one plugin.

    Args:
        vectors: Gives entity vectors for rows.
        mapping: The mapping network, looked up anew at each call.
        ids: The virtual ids of the plugin.
        vocab_size: Rows of the embedding weight at the time of attaching.
    """

    def __init__(self, vectors: PlacedIndex, mapping: MappingNetwork, ids: VirtualIds, vocab_size: int) -> None:
        super().__init__(vectors, mapping, ids)
        self.vocab_size = vocab_size
        self._scaling: frozenset[type] = frozenset()

    def _start(self) -> None:
        # Ids under way from before a module to after it, by the module's id(). Thread-locals cannot be traced.
        super()._start()
        self._traced: dict[int, torch.Tensor] = {}
        self.key = register(self)

    def attach(self, model: nn.Module) -> None:
        """Hang the hook on every module that shares the model's word embeddings, and guard labels and other tables."""
        modules = embedding_modules(model)
        embeddings = [embedding for module in modules if (embedding := unwrapped(module)) is not None]
        self._scaling = frozenset(type(embedding) for embedding in embeddings if only_scales(embedding))
        for module in modules:
            self._handles.append(module.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True))
            self._handles.append(module.register_forward_hook(self._after, with_kwargs=True))
        for table in tables_beside(model):
            self._handles.append(table.register_forward_pre_hook(self._hide_ids, with_kwargs=True, prepend=True))
        self._handles.append(bare_model(model).register_forward_pre_hook(self._before_model, with_kwargs=True))

    # ---- before and after the word embeddings ---------------------------------------------------------------------

    def _before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if (rows := unwrapped(module).num_embeddings) != self.vocab_size:  # type: ignore[union-attr]
            raise AttachmentError(
                f"the model's word embeddings were resized from {self.vocab_size} to {rows} rows "
                "while a plugin was attached, so that virtual ids now mean words. Detach, resize, then attach."
            )
        ids = args[0] if args else kwargs["input"]
        if torch.compiler.is_compiling():
            self._traced[id(module)] = ids
        elif self.ids.any_in(ids):
            # One place a module and no stack: a forward that raises leaves nothing that another would take.
            self._looked_up()[id(module)] = ids
        else:
            self._looked_up().pop(id(module), None)
            return None
        return _with_ids(ids.masked_fill(self.ids.mask(ids), 0), args, kwargs)

    def _after(self, module: nn.Module, args: tuple, kwargs: dict, output: torch.Tensor) -> torch.Tensor:
        embedding = unwrapped(module)
        assert embedding is not None
        if torch.compiler.is_compiling():
            ids = self._traced.pop(id(module))
            rows = self._look_up(embedding, self._traced_rows(ids), output)
            return torch.where(self.ids.mask(ids).unsqueeze(-1), rows.view_as(output), output)
        ids = self._looked_up().pop(id(module), None)
        if ids is None:
            return self._keep_gradient(output)
        mine = self.ids.mask(ids)
        mapped, place = self._map(ids[mine].to(output.device))
        # What was looked up is nobody else's yet; autograd alone may want to see it as it was.
        output = output.clone() if torch.is_grad_enabled() else output
        output[mine.to(output.device)] = self._look_up(embedding, mapped, output)[place]
        return output

    @property
    def _width(self) -> int:
        return self.mapping.config.output_dim // self.ids.tokens

    def _looked_up(self) -> dict[Any, Any]:
        return self._local.__dict__

    def _map(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors of virtual ids ``[n]``, each entity's once, and which of them is whose."""
        offsets, tokens = ids - self.ids.start, self.ids.tokens
        rows, place = torch.unique(offsets.div(tokens, rounding_mode="floor"), return_inverse=True)
        mapped = self.mapping(self.vectors(rows).to(ids.device))
        return mapped.view(len(rows) * tokens, -1), place * tokens + offsets % tokens

    def dense_rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return float32 ``[*ids.shape, width]``: the mapped vector where an id is a virtual one, else zeros."""
        rows = torch.zeros(*ids.shape, self._width, device=ids.device)
        mine = self.ids.mask(ids)
        if self.ids.any_in(ids):
            mapped, place = self._map(ids[mine])
            rows[mine] = mapped[place]
        return rows

    def _traced_rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return a row for every place of ``ids``, of which only those of virtual ids matter."""
        if not self._learns() and not torch.compiler.is_exporting():
            return virtual_rows(ids, self.key, self._width).flatten(0, -2)
        # Without a branch, so that gradients reach the mapping, and an exported program needs no plugin.
        index = self.vectors.index
        tokens, offsets = self.ids.tokens, ids.flatten() - self.ids.start
        rows = offsets.div(tokens, rounding_mode="floor").clamp(0, len(index) - 1)
        mapped = self.mapping(index.gather(rows.to(index.device)).to(ids.device))
        if tokens == 1:
            return mapped
        each = torch.arange(len(rows), device=ids.device)
        return mapped.view(len(rows), tokens, -1)[each, offsets.clamp(min=0) % tokens]

    def _look_up(self, embedding: nn.Embedding, rows: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Do to mapped rows what the module does to the rows of its weight."""
        rows = rows.to(output.device, output.dtype)
        rows = scaled(embedding, rows) if type(embedding) in self._scaling else as_looked_up(embedding, rows)
        return rows.to(output.dtype)

    def _keep_gradient(self, output: torch.Tensor) -> torch.Tensor:
        """While the mapping learns, let a batch without mentions have a gradient too: of zero."""
        if not self.mapping.training or not self._learns():
            return output
        total = torch.stack([p.sum() for p in self.mapping.parameters()]).sum()
        # Not times 0: some models have no finite gradient at padding, and NaN times 0 is NaN.
        nothing = torch.where(torch.zeros_like(total, dtype=torch.bool), total, torch.zeros_like(total))
        return output + nothing.to(output.device, output.dtype)

    def _learns(self) -> bool:
        return torch.is_grad_enabled() and any(p.requires_grad for p in self.mapping.parameters())

    # ---- guards ---------------------------------------------------------------------------------------------------

    def _hide_ids(self, module: nn.Embedding, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Show a table beside the word embeddings word 0 in place of an entity."""
        ids = args[0] if args else kwargs["input"]
        return _with_ids(ids.masked_fill(self.ids.mask(ids), 0), args, kwargs)

    def _before_model(self, model: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Keep virtual ids out of the loss, when labels are a copy of the input ids."""
        if not torch.compiler.is_compiling() and not self._hangs_on(model.get_input_embeddings()):  # type: ignore[operator]
            raise AttachmentError(
                "the model's word embeddings were wrapped or replaced while a plugin was attached (by an adapter on "
                "the embedding layer?), so that the plugin is not asked. Detach, and attach to the model as it is now."
            )
        labels = kwargs.get("labels")
        if not isinstance(labels, torch.Tensor) or labels.is_floating_point():
            return None
        mine = self.ids.mask(labels)
        kwargs = {**kwargs, "labels": labels.masked_fill(mine, -100)}
        # Trainer counted them among the words that the loss is divided by. Of several batches that are accumulated
        # each corrects for its own alone.
        if (counted := kwargs.get("num_items_in_batch")) is not None:
            kwargs["num_items_in_batch"] = counted - mine.sum()
        return args, kwargs

    def _hangs_on(self, module: nn.Module) -> bool:
        # The very look-up: what only hides ids from a table beside is no answer.
        return any(f == self._before for f in module._forward_pre_hooks.values())


def _with_ids(ids: torch.Tensor, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return ((ids, *args[1:]), kwargs) if args else (args, {**kwargs, "input": ids})
