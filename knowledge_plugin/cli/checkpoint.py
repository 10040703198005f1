"""Loading a checkpoint by its name, as commands do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import transformers

from knowledge_plugin.errors import ArtifactError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(checkpoint: str, with_head: bool = True) -> PreTrainedModel:
    """Load a model, with the head that it was saved with or without any.

    Raises:
        ArtifactError: It is no checkpoint.
    """
    # Through the module, which loads its parts when they are asked for: other commands need not wait for them.
    try:
        names = transformers.AutoConfig.from_pretrained(checkpoint).architectures or [""]
        cls: Any = getattr(transformers, names[0], transformers.AutoModel) if with_head else transformers.AutoModel
        return cls.from_pretrained(checkpoint, dtype="auto").eval()
    except (OSError, ValueError) as error:  # transformers says both of what is no checkpoint
        raise ArtifactError(f"{checkpoint}: no checkpoint that transformers can load: {error}") from error


def load_language_model(checkpoint: str) -> PreTrainedModel:
    """Load a model with the head that predicts words: causal, masked, or that of an encoder-decoder.

    Which one it is follows from the class that it was saved as, by the tables of transformers itself.

    Raises:
        ArtifactError: It is no checkpoint, or was saved with another head.
    """
    from transformers.models.auto import modeling_auto as tables

    auto = transformers.AutoModelForSeq2SeqLM, transformers.AutoModelForCausalLM, transformers.AutoModelForMaskedLM
    known = (
        tables.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        tables.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )
    try:
        config = transformers.AutoConfig.from_pretrained(checkpoint)
        name = (config.architectures or [""])[0]
        # In the order of the tables: some encoder-decoders stand in the one of masked models, too.
        cls: Any = next((a for a, table in zip(auto, known, strict=True) if name in table.values()), None)
        if cls is None:
            raise ArtifactError(
                f"{checkpoint}: expected a language model (causal, masked or encoder-decoder), found "
                f"{name or config.model_type!r}, which was saved with another head."
            )
        return cls.from_pretrained(checkpoint, dtype="auto").eval()
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{checkpoint}: no checkpoint that transformers can load: {error}") from error


def load_tokenizer(checkpoint: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint.

    Raises:
        ArtifactError: It has none.
    """
    try:
        return transformers.AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{checkpoint}: no tokenizer that transformers can load: {error}") from error
