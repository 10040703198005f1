"""A tiny classifier that was really fine-tuned, for tutorials that say "your own checkpoint".

It tells what a sentence is about from everyday words, and has never seen the name of a drug.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

WORDS = {
    "heart": "heart blood pressure vessels pulse attack beat weak fast slows widens lowers rests protects force",
    "infection": "bacteria virus fungi parasites throat lung skin bladder ear gut cold sores influenza kills stops",
    "pain": "pain headache migraine swelling muscles joints surgery strong back eases",
    "mood": "depression anxiety panic worry mood low sleep lifts calms helps",
}
SENTENCES = ("she takes {} every day .", "the doctor prescribed {} last week .", "he was given {} at the hospital .")
_OTHERS = "and of the a after with more in"


def save_checkpoint(folder: Path) -> None:
    """Fine-tune and save model and tokenizer. A few seconds on one core."""
    tokenizer = _tokenizer()
    labels = list(WORDS)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        initializer_range=0.1,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    model = BertForSequenceClassification(config)
    _fine_tune(model, tokenizer, labels)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _fine_tune(model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, labels: list[str]) -> None:
    draw = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for _ in range(120):
        texts, answers = [], []
        for _ in range(32):
            answer = draw.randrange(len(labels))
            # One telling word, beside words in letters that tell nothing, as names are to this tokenizer.
            name = "".join(draw.choices(letters, k=draw.randint(4, 12)))
            told = [draw.choice(WORDS[labels[answer]].split()), *([name] if draw.random() < 0.8 else [])]
            texts.append(draw.choice(SENTENCES).format(" / ".join(told)))
            answers.append(answer)
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        model(**batch, labels=torch.tensor(answers)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _tokenizer() -> PreTrainedTokenizerFast:
    words = [*" ".join([*WORDS.values(), *SENTENCES, _OTHERS]).replace("{}", "/").split()]
    letters = "abcdefghijklmnopqrstuvwxyz"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = list(dict.fromkeys([*special, *words, *letters, *(f"##{letter}" for letter in letters)]))
    raw = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )
