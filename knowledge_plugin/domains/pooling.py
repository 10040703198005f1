"""Features of texts: the mean of a frozen encoder's last hidden states."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.modes import undisturbed


def pooled_features(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: list[str], *, batch_size: int = 64
) -> torch.Tensor:
    """Return the mean of the last hidden states of each text, padding left out, float32 ``[n, m]`` on the CPU.

    The model may have plugins attached, with the attachment's tokenizer: then what a follower follows knows what the
    plugins know. It is run without dropout, also one that is in training mode.

    Args:
        model: An encoder of transformers without a head, such as ``AutoModel.from_pretrained(...)``.
        tokenizer: Its tokenizer.
        texts: The texts.
        batch_size: How many at a time.

    Raises:
        TrainingError: One text and not a list of them, no batch size, or a model that gives no hidden states.
    """
    if isinstance(texts, str):
        raise TrainingError("texts: expected a list of texts, found one text. Type: [text]")
    if batch_size < 1:
        raise TrainingError(f"batch_size: expected a number from 1 up, found {batch_size}.")
    device = next(model.parameters()).device
    found = []
    with undisturbed(model):
        for at in range(0, len(texts), batch_size):
            some = texts[at : at + batch_size]
            batch = tokenizer(some, padding=True, truncation=True, return_tensors="pt").to(device)
            states = getattr(model(**batch), "last_hidden_state", None)
            if states is None:
                raise TrainingError(
                    f"expected an encoder without a head, found {type(model).__name__}. Type: "
                    "AutoModel.from_pretrained(...)"
                )
            mask = batch["attention_mask"][..., None].float()
            found.append(((states.float() * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu())
    return torch.cat(found) if found else torch.empty(0, 0)
