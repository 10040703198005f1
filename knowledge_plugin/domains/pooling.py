"""Features of texts: the mean of a frozen encoder's last hidden states."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase


@torch.no_grad()
def pooled_features(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: list[str], *, batch_size: int = 64
) -> torch.Tensor:
    """Return the mean of the last hidden states of each text, padding left out, float32 ``[n, m]`` on the CPU.

    The model may have plugins attached, with the attachment's tokenizer: then what a follower follows knows what the
    plugins know.

    Args:
        model: An encoder of transformers, such as ``AutoModel.from_pretrained(...).eval()``.
        tokenizer: Its tokenizer.
        texts: The texts.
        batch_size: How many at a time.
    """
    device = next(model.parameters()).device
    found = []
    for at in range(0, len(texts), batch_size):
        batch = tokenizer(texts[at : at + batch_size], padding=True, truncation=True, return_tensors="pt").to(device)
        states = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"][..., None].to(states.dtype)
        found.append(((states * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu())
    return torch.cat(found) if found else torch.empty(0, 0)
