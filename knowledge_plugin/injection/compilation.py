"""Code that torch.compile made before a plugin came or went."""

from __future__ import annotations

import sys

import torch


def forget_compiled_code() -> bool:
    """Throw away all code that was compiled in this process.

    Compiled code does not ask whether hooks were added or removed since, so it would go on without the plugin, or with
    one that was detached. A model may be compiled into any function that calls it, so that nothing says whose code is
    whose. It is compiled again at the next call.

    Returns:
        Whether there was any.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is None:  # nothing was compiled in this process, and importing it would take seconds
        return False
    if not dynamo.convert_frame.output_codes.seen:
        return False
    torch.compiler.reset()
    return True


def tell_hooks_apart() -> None:
    """Let code that is compiled from now on be used only for a model with the hooks that it was compiled for.

    PyTorch does not look at hooks by default (``skip_nnmodule_hook_guards``). Two models of one class that are compiled
    in one process, one with a plugin and one without, would share code, and virtual ids would be looked up as words.
    """
    if (dynamo := sys.modules.get("torch._dynamo")) is not None:
        dynamo.config.skip_nnmodule_hook_guards = False
