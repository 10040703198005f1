"""Input embeddings of a prompt, for engines that take them in place of ids; and whether a model can be given them."""

from __future__ import annotations

import torch
from torch import nn

from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.embeddings import (
    bare_model,
    embedding_modules,
    execution_device,
    input_embedding,
)
from knowledge_plugin.modes import undisturbed


def look_up(model: nn.Module, ids: list[int]) -> torch.Tensor:
    """Return the input embeddings ``[tokens, width]`` of ids, virtual ones included, as the hooked model sees them."""
    device = execution_device(input_embedding(model))
    with torch.no_grad():
        return embedding_modules(model)[0](torch.tensor(ids, device=device))


def check_takes_embeddings(model: nn.Module, virtual_id: int) -> None:
    """Try out whether a model says the same of the embeddings of a word and an entity as of their ids.

    Some scale what they looked up (Marian, Pegasus), and Gemma 4 finds out ids from embeddings.

    Raises:
        AttachmentError: It does not.
    """
    model = bare_model(model)
    is_encoder_decoder = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    reader = model.get_encoder() if is_encoder_decoder else model  # type: ignore[operator]
    word = input_embedding(model).num_embeddings // 2  # special tokens, such as padding, lie at the ends
    prompt = [word, virtual_id]
    embeds = look_up(model, prompt)[None]
    ids = torch.tensor([prompt], device=embeds.device)
    try:
        with undisturbed(reader):
            same = torch.equal(reader(input_ids=ids)[0], reader(inputs_embeds=embeds)[0])
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(model, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error
    if not same:
        raise _refused(model, "it gives another output for them than for ids")


def _refused(model: nn.Module, why: str) -> AttachmentError:
    return AttachmentError(
        f"{type(model).__name__} does more with ids than look up embeddings, so that a prompt cannot be given to it as "
        f"embeddings ({why:.200}). Give it ids: model(**attachment.tokenizer(text, return_tensors='pt'))"
    )
