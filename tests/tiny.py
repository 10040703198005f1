"""Tiny real tokenizers, a tiny model and a tiny knowledge base, all made here and offline."""

from __future__ import annotations

import json

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from knowledge_plugin import Entity, KnowledgeBase

CORPUS = [
    "the museum in paris opened last spring and the mayor of new york came to see it",
    "a train from berlin to vienna stops in prague every morning",
    "Paris, Berlin; New York! (Vienna) / the river is wide? yes: it is.",
    "she moved to the old town and bought a house near the harbour",
    "1 2 3 4 5 6 7 8 9 0 a b c d e f g h i j k l m n o p q r s t u v w x y z",
] * 4

FAMILIES = ("wordpiece", "byte_bpe", "unigram")


def tokenizer(family: str) -> PreTrainedTokenizerBase:
    """Return a tokenizer of a few hundred tokens, from a few lines, with the post-processor of its family.

    The same in every process, which those that tokenizers trains are not: ties in it are broken by chance.
    """
    return {"wordpiece": _wordpiece, "byte_bpe": _byte_bpe, "unigram": _unigram}[family]()


def _wordpiece() -> PreTrainedTokenizerBase:
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = {word for line in CORPUS for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(line))}
    letters = sorted({letter for word in words for letter in word})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *sorted(words)])
    raw = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizer, splitter
    raw.decoder = decoders.WordPiece()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", raw.token_to_id("[CLS]")), ("[SEP]", raw.token_to_id("[SEP]"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def _byte_bpe() -> PreTrainedTokenizerBase:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    raw.post_processor = processors.RobertaProcessing(
        ("</s>", raw.token_to_id("</s>")), ("<s>", raw.token_to_id("<s>")), add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    )


def _unigram() -> PreTrainedTokenizerBase:
    raw = Tokenizer(models.Unigram())
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    raw.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>"))
    trained = json.loads(raw.to_str())["model"]["vocab"]
    pieces = sorted((piece, round(score, 6)) for piece, score in trained[len(special) :])
    raw.model = models.Unigram([*map(tuple, trained[: len(special)]), *pieces], unk_id=special.index("<unk>"))
    raw.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", raw.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=64
    )


def classifier(vocab_size: int = 400, labels: int = 3, seed: int = 0) -> BertForSequenceClassification:
    """Return a randomly initialised BERT classifier, 16 wide, in eval mode."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=labels,
    )
    return BertForSequenceClassification(config).eval()


ENTITIES = [
    Entity("geo:paris", "Paris", aliases=["City of Light"], types=["city"], popularity=2_000_000),
    Entity("geo:new-york", "New York", aliases=["Big Apple"], description="A city.", popularity=8_000_000),
    Entity("geo:york", "York", popularity=200_000),
    Entity("geo:berlin", "Berlin", popularity=3_400_000),
    Entity("geo:paris-texas", "Paris", popularity=25_000),
]


def knowledge_base(dim: int = 8, seed: int = 0, **kwargs) -> KnowledgeBase:
    """Return a knowledge base of five cities, two of them called Paris."""
    vectors = torch.randn(len(ENTITIES), dim, generator=torch.Generator().manual_seed(seed))
    kwargs = {"name": "cities", "id_scheme": "geo", "license": "cc-by-4.0", "version": "2026-01"} | kwargs
    return KnowledgeBase.from_entities(ENTITIES, vectors, **kwargs)
