"""Code that torch.compile made of a model before a plugin came or went."""

from __future__ import annotations

import sys

import torch
from torch import nn


def forget_compiled_code(model: nn.Module) -> bool:
    """Throw compiled code away that was made with other hooks on the model.

    Compiled code does not ask whether hooks were added or removed since, so it would go on without the plugin, or with
    one that was detached. It is compiled again at the next call.

    Returns:
        Whether there was any for a model of this class.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is None:  # nothing was compiled in this process, and importing it would take seconds
        return False
    codes = {code for module in model.modules() if (code := getattr(type(module).forward, "__code__", None))}
    if not any(dynamo.eval_frame._debug_get_cache_entry_list(code) for code in codes):
        return False
    torch.compiler.reset()
    return True
