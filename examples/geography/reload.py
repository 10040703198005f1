"""Run in a process of its own: load checkpoint and plugin from their folders, attach, and save the logits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from examples.geography.experiment import logits
from knowledge_plugin import KnowledgePlugin


def main(folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    logging.disable_progress_bar()
    model = AutoModelForSequenceClassification.from_pretrained(folder / "checkpoint").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "checkpoint")
    texts = json.loads((folder / "texts.json").read_text())
    with KnowledgePlugin.from_pretrained(folder / "plugin").attach(model, tokenizer) as (model, tokenizer):
        save_file({"logits": logits(model, tokenizer, texts)}, folder / "logits.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
