"""A small decoder that is trained here, from scratch: it reads definitions, draws conclusions, and knows a few people.

It meets ever new people, told of in a sentence each, and is asked what was said and what follows. Some people it is
asked about without a word before: strangers, of whom nothing can be known, and a few popular ones, whom it learns by
heart.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast, set_seed

from examples.methods.world import SYLLABLES
from examples.propagation.world import ASPECTS, KINDS, Person, Question, make_people, words


@dataclass(frozen=True)
class Size:
    """How large, and for how long; smaller ones serve the tests."""

    layers: int = 4
    width: int = 128
    steps: int = 500
    batch_size: int = 12
    rate: float = 1e-3
    listed: int = 2  # people in a context, at most
    stranger_share: float = 0.06
    popular_share: float = 0.22
    questions: int = 4
    text_weight: float = 0.1


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer to which ordinary words are one token and names are several."""
    tokens = ["[PAD]", "[UNK]", "[EOS]", *(chr(code) for code in range(33, 127))]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    tokens += [*words(), *map(str.capitalize, SYLLABLES), *(f"##{syllable}" for syllable in SYLLABLES)]
    raw = Tokenizer(models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(tokens))}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", eos_token="[EOS]", model_max_length=256
    )


def train_checkpoint(
    tokenizer: PreTrainedTokenizerBase, popular: Sequence[Person], seed: int, size: Size,
    say: Callable[[str], None] = lambda _: None,
) -> LlamaForCausalLM:  # fmt: skip
    """Train a decoder and return it frozen."""
    set_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=size.width, intermediate_size=5 * size.width // 2,
            num_hidden_layers=size.layers, num_attention_heads=4, num_key_value_heads=2, head_dim=size.width // 4,
            max_position_embeddings=256, initializer_range=0.04, tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, size.rate, total_steps=size.steps + 1, pct_start=0.08)
    rng, strangers = random.Random(seed), _Strangers(seed)
    model.train()
    for step in range(size.steps):
        lessons = [_lesson(strangers, popular, rng, size) for _ in range(size.batch_size)]
        encoded = tokenizer(
            [text for text, _ in lessons], padding=True, return_offsets_mapping=True, return_tensors="pt"
        )
        ids, starts = encoded["input_ids"], encoded["offset_mapping"][..., 0]
        asked = torch.stack([torch.isin(row, torch.tensor(at)) for row, (_, at) in zip(starts, lessons, strict=True)])
        real = encoded["attention_mask"][:, 1:].bool()
        asked = asked[:, 1:] & real
        logits = model(input_ids=ids).logits[:, :-1]
        losses = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        loss = losses[asked].mean() + size.text_weight * losses[real & ~asked].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            say(f"step {step + 1}: answers {losses[asked].mean().item():.3f}")
    return model.eval().requires_grad_(False)


class _Strangers:
    """Gives people of ever new foreign worlds."""

    def __init__(self, seed: int) -> None:
        self.seed, self.worlds = seed, 0
        self.waiting: list[Person] = []

    def take(self, count: int) -> list[Person]:
        if len(self.waiting) < count:
            self.worlds += 1
            self.waiting = make_people(400, 1_000_000 * (self.seed + 1) + self.worlds, foreign=True)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


def _lesson(strangers: _Strangers, popular: Sequence[Person], rng: random.Random, size: Size) -> tuple[str, list[int]]:
    """Return a text with questions, and where their answers begin."""
    kind = rng.random()
    text = ""
    if kind < size.stranger_share:
        asked = [(person, rng.choice(KINDS), rng.choice(ASPECTS)) for person in strangers.take(size.questions)]
    elif kind < size.stranger_share + size.popular_share:
        asked = [(person, rng.choice(KINDS), rng.choice(ASPECTS)) for person in rng.choices(popular, k=size.questions)]
    else:
        told = strangers.take(rng.randint(1, size.listed))
        text = " ".join(person.definition for person in told)
        asked = [(rng.choice(told), rng.choice(KINDS), rng.choice(ASPECTS)) for _ in range(size.questions)]
    answers = []
    for person, of, aspect in asked:
        question = Question(person, of, aspect, rng.randrange(2))
        text = f"{text} {question.before} ".lstrip()
        answers.append(len(text))
        text += f"{question.answer}{question.after}"
    return text, answers
