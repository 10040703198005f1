"""What hangs on a model while a plugin is attached, whatever the method; and finding it again."""

from __future__ import annotations

import itertools
import threading
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from knowledge_plugin.injection.embeddings import bare_model, embedding_modules
from knowledge_plugin.injection.network import Network
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.source import KnowledgeSource, KnowledgeSources
from knowledge_plugin.injection.virtual_ids import VirtualIds

_HOOK_TABLES = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
_NUMBERS = itertools.count()


class Hook:
    """One plugin on one model. Each way of entering a model has a subclass.

    Args:
        vectors: Gives entity vectors for rows.
        mapping: The mapping network, looked up anew at each call.
        ids: The virtual ids of the plugin; the empty range if it puts no tokens into a text.

    Attributes:
        source: What the plugin brings into a text.
        sources: What else is attached to the model.
        attachment: The attachment that was made with it.
        number: Hooks that were made later have larger ones.
    """

    def __init__(self, vectors: PlacedIndex, mapping: Network, ids: VirtualIds) -> None:
        self.vectors = vectors
        self.mapping: Any = mapping
        self.ids = ids
        self.source: KnowledgeSource | None = None
        self.sources: KnowledgeSources | None = None
        self.attachment: Any = None
        self.number = next(_NUMBERS)
        self._handles: list[RemovableHandle] = []
        self._start()

    def _start(self) -> None:
        """Make what neither a copy nor a pickle can have."""
        self._local = threading.local()

    def attach(self, model: nn.Module) -> None:
        """Hang on a model; what is hung on the model itself is how :func:`find_hooks` finds it."""
        raise NotImplementedError

    def hangs_on(self, module: nn.Module) -> bool:
        """Return whether it changes what comes out of a module."""
        return any(getattr(function, "__self__", None) is self for function in module._forward_hooks.values())

    def detach(self, model: nn.Module) -> None:
        """Take every hook off a model again."""
        # By handle, since a module may have been replaced in the model; and by owner, since a copy has no handles.
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for module in model.modules():
            for hooks in (module._forward_pre_hooks, module._forward_hooks):
                for key in [key for key, f in hooks.items() if getattr(f, "__self__", None) is self]:
                    for name in _HOOK_TABLES:
                        getattr(module, name).pop(key, None)

    # ---- copies ---------------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict) -> Hook:
        """Return the hook of a copied model, which shares the plugin, and not what is attached later."""
        other = object.__new__(type(self))
        memo[id(self)] = other
        other.__setstate__(self.__getstate__())
        if self.sources is not None:
            # One list for all hooks of the copy.
            other.sources = memo.setdefault(id(self.sources), self.sources.of_copy())
        return other

    def __getstate__(self) -> dict:
        # Neither thread-locals nor handles can be pickled, and a copy in another process owns no handles here.
        return self.__dict__ | {"_local": None, "_handles": [], "attachment": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._start()


def find_hooks(model: nn.Module) -> list[Hook]:
    """Return what plugins have hung on a model, in the order of attaching."""
    looked_up = [function for module in embedding_modules(model) for function in module._forward_hooks.values()]
    # Where the word embeddings were replaced, or are not what a method hangs on, the model itself has it.
    functions = (*looked_up, *bare_model(model)._forward_pre_hooks.values())
    owners = (getattr(function, "__self__", None) for function in functions)
    return sorted({owner for owner in owners if isinstance(owner, Hook)}, key=lambda hook: hook.number)
