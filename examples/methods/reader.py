"""``python -m examples.methods.reader --seed 0``: a small decoder that reads, and knows nobody.

It is trained here, from scratch, on texts about people of many invented worlds. No person is met twice, so that nothing
is to be remembered: it can only learn to find the answer to a question in the text before it. Frozen afterwards, it
answers about people it never saw if a text tells, and otherwise guesses a word of the right kind.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import string
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    set_seed,
)

from examples.methods.world import (
    PROPERTIES,
    SYLLABLES,
    TEMPLATES,
    VALUES,
    Person,
    fact_text,
    make_world,
    question,
)

_IGNORED = -100


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults make a reader, smaller ones serve the tests."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 32
    feed_forward: int = 320
    steps: int = 600
    batch_size: int = 12
    rate: float = 1e-3
    warmup: int = 50
    spread: float = 0.04
    alone: float = 0.25
    most_people: int = 1
    questions: int = 6
    list_share: float = 0.4
    listed: int = 6
    bare_share: float = 0.06
    text_weight: float = 0.1


@dataclass(frozen=True)
class Accuracy:
    """How often the first token of the answer is the likeliest of all tokens.

    Args:
        with_context: With descriptions before the question, among them that of the person asked about.
        without_context: With the question alone.
        right_kind: How often the guess without context is a value of the property that is asked for.
        n: How many questions.
    """

    with_context: float
    without_context: float
    right_kind: float
    n: int


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer, to which ordinary words are one token and names are several.

    Its vocabulary is written out, not counted: the words of questions and answers, syllables for the names, and letters
    for everything else. A word is the same tokens at a text's beginning and within.
    """
    words = {word for templates in TEMPLATES.values() for each in templates for word in each.split()} - {"{name}"}
    words |= {word for values in VALUES.values() for word in values}
    tokens = ["[PAD]", "[UNK]", "[EOS]", "[MASK]", *(chr(code) for code in range(33, 127))]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    tokens += [*sorted(words), *map(str.capitalize, SYLLABLES), *(f"##{syllable}" for syllable in SYLLABLES)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    # With case, so that offsets are the text's own.
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", eos_token="[EOS]", mask_token="[MASK]",
        model_max_length=512,
    )  # fmt: skip


def train_reader(
    tokenizer: PreTrainedTokenizerBase, seed: int, settings: Settings | None = None, *, verbose: bool = False
) -> LlamaForCausalLM:
    """Train a decoder from scratch to answer from the text before a question, and return it frozen.

    Args:
        tokenizer: Of :func:`make_tokenizer`.
        seed: Of the weights and of everything it reads.
        settings: How large, and for how long.
        verbose: Print losses on the way.
    """
    settings = settings or Settings()
    set_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=settings.width, intermediate_size=settings.feed_forward,
            num_hidden_layers=settings.layers, num_attention_heads=settings.heads,
            num_key_value_heads=settings.kv_heads, head_dim=settings.head_width, max_position_embeddings=512,
            initializer_range=settings.spread, tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    rng, people = random.Random(seed), _Crowd(seed)
    model.train()
    began, recent = time.monotonic(), []
    for step in range(settings.steps):
        most = 1 if step < settings.alone * settings.steps else settings.most_people
        texts = [_lesson(people, rng, settings, most) for _ in range(settings.batch_size)]
        ids, labels, answers = _batch(tokenizer, texts)
        logits = model(input_ids=ids).logits[:, :-1]
        losses = functional.cross_entropy(
            logits.transpose(1, 2), labels[:, 1:], ignore_index=_IGNORED, reduction="none"
        )
        asked = answers[:, 1:]
        answer_loss, text_loss = losses[asked].mean(), losses[(labels[:, 1:] != _IGNORED) & ~asked].mean()
        optimizer.zero_grad()
        (answer_loss + settings.text_weight * text_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append((answer_loss.item(), text_loss.item()))
        if verbose and len(recent) == 100:
            answer_mean, text_mean = (sum(each) / len(recent) for each in zip(*recent, strict=True))
            seconds = time.monotonic() - began
            print(f"{step + 1}: answers {answer_mean:.3f}, text {text_mean:.3f}, {seconds:.0f} s", flush=True)
            recent.clear()
    return model.eval().requires_grad_(False)


def reader(
    folder: Path, seed: int, settings: Settings | None = None, *, verbose: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the reader that is in a folder; the first time, train it and save it there.

    Args:
        folder: May not be there yet. It is for one seed and one kind of settings: what is there is taken.
        seed: Of the reader.
        settings: How large, and for how long it is trained.
        verbose: Print losses on the way.
    """
    folder = Path(folder)
    if not folder.is_dir():
        settings = settings or Settings()
        tokenizer = make_tokenizer()
        model = train_reader(tokenizer, seed, settings, verbose=verbose)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed, so that a folder which is there is whole.
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            model.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
            os.rename(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)
    return model, AutoTokenizer.from_pretrained(folder)


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, people: Sequence[Person], seed: int,
    most_people: int = 3,
) -> Accuracy:  # fmt: skip
    """Return how often questions about people are answered: each property in each template, once a person.

    Args:
        model: The reader.
        tokenizer: Its tokenizer.
        people: Whom it is asked about.
        seed: Of who else is in the context, and of the order.
        most_people: How many people are in a context at most; as often fewer.
    """
    rng = random.Random(seed)
    asked = [(p, of, template) for p in people for of in PROPERTIES for template in range(len(TEMPLATES[of]))]
    rows = [question(*each) for each in asked]
    contexts = []
    for i, (person, _, _) in enumerate(asked):
        others = rng.sample([each for each in people if each is not person], i % most_people)
        contexts.append(context([person, *others], rng))
    told = first_tokens(model, tokenizer, [f"{c} {row['text']}" for c, row in zip(contexts, rows, strict=True)])
    guessed = first_tokens(model, tokenizer, [row["text"] for row in rows])
    ids = {each: [_first(tokenizer, value) for value in VALUES[each]] for each in PROPERTIES}
    right = [_first(tokenizer, row["label"]) for row in rows]
    return Accuracy(
        with_context=_share(told[i] == right[i] for i in range(len(rows))),
        without_context=_share(guessed[i] == right[i] for i in range(len(rows))),
        right_kind=_share(guessed[i] in ids[of] for i, (_, of, _) in enumerate(asked)),
        n=len(rows),
    )


def context(people: Sequence[Person], rng: random.Random) -> str:
    """Return what is known of these people, a sentence each fact; people in any order, and facts within a person."""
    people = rng.sample(people, len(people))
    return " ".join(fact_text(person, of) for person in people for of in rng.sample(PROPERTIES, len(PROPERTIES)))


def first_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], batch_size: int = 64
) -> list[int]:
    """Return the likeliest token after each prompt."""
    found = []
    for at in range(0, len(prompts), batch_size):
        batch = tokenizer(prompts[at : at + batch_size], padding=True, padding_side="right", return_tensors="pt")
        last = batch["attention_mask"].sum(1) - 1
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        found += logits[torch.arange(len(last)), last].argmax(-1).tolist()
    return found


# ---- what it learns from ------------------------------------------------------------------------------------------


class _Crowd:
    """Gives people of ever new foreign worlds."""

    def __init__(self, seed: int, size: int = 500) -> None:
        self.seed, self.size = seed, size
        self.worlds = 0
        self.waiting: list[Person] = []

    def take(self, count: int) -> list[Person]:
        """Return so many people who were not taken before."""
        if len(self.waiting) < count:
            self.worlds += 1
            self.waiting = list(make_world(self.size, 1_000_000 * (self.seed + 1) + self.worlds, foreign=True))
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


def _lesson(people: _Crowd, rng: random.Random, settings: Settings, most: int) -> tuple[str, list[int]]:
    """Return a text with questions and answers, and where the answers begin."""
    if (kind := rng.random()) < settings.bare_share:
        # Each about another person, whom nothing is told about: the answer cannot be known.
        asked, text = [(person, rng.choice(PROPERTIES)) for person in people.take(8)], ""
    elif kind < settings.bare_share + settings.list_share:
        # The same of many: that the answer is of the right kind does not help, only the name does.
        of = rng.choice(PROPERTIES)
        asked = [(person, of) for person in people.take(rng.randint(2, settings.listed))]
        text = " ".join(fact_text(*each) for each in asked)
        rng.shuffle(asked)
    else:
        told = people.take(rng.randint(1, most))
        asked = [(rng.choice(told), rng.choice(PROPERTIES)) for _ in range(settings.questions)]
        text = context(told, rng)
    answers = []
    for person, of in asked:
        row = question(person, of, rng.randrange(len(TEMPLATES[of])))
        text = f"{text} {row['text']} ".lstrip()
        answers.append(len(text))
        text += f"{row['label']}."
    return text, answers


def _batch(
    tokenizer: PreTrainedTokenizerBase, lessons: Sequence[tuple[str, list[int]]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, labels, and which of the tokens are answers. A decoder needs no mask for padding behind."""
    encoded = tokenizer(
        [text for text, _ in lessons], padding=True, padding_side="right", return_offsets_mapping=True,
        return_tensors="pt",
    )  # fmt: skip
    ids, padding = encoded["input_ids"], encoded["attention_mask"] == 0
    starts = encoded["offset_mapping"][..., 0]
    answers = torch.stack(
        [torch.isin(row, torch.tensor(places)) for row, (_, places) in zip(starts, lessons, strict=True)]
    )
    return ids, ids.masked_fill(padding, _IGNORED), answers & ~padding


def _rate(step: int, settings: Settings) -> float:
    """Return the learning rate's factor: up in a line, down in a cosine."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + float(torch.cos(torch.tensor(done * torch.pi))))


def _first(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    return tokenizer(word, add_special_tokens=False)["input_ids"][0]


def _share(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def main() -> None:
    """Train or load a reader, and print what it can do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", type=int, default=100, help="how many people it is asked about")
    parser.add_argument("--folder", type=Path, help="where it is kept; not kept if not given")
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings() if arguments.steps is None else Settings(steps=arguments.steps)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.folder or Path(folder) / "reader"
        model, tokenizer = reader(place, arguments.seed, settings, verbose=True)
    made = time.monotonic() - began
    print(settings)
    for most in range(1, settings.most_people + 1):
        found = measure(model, tokenizer, list(make_world(arguments.people, arguments.seed)), arguments.seed, most)
        print(f"up to {most} people in the context: {asdict(found)}")
    print(f"{made:.0f} s to make, {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
