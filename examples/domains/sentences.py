"""An invented stream of reviews: each domain praises and complains in words of its own, some the other way round."""

from __future__ import annotations

import random

import torch
from transformers import AutoModel, AutoTokenizer

from examples.geography.checkpoint import model_folder
from knowledge_plugin.domains import Domain, pooled_features

CLASSES = ("complaint", "praise")

# Things, and what is said of them when they are bad and when they are good. "Long", "quiet", "small", "hot", "light" and
# others are praise in one domain and a complaint in another: no list of words knows all domains.
DOMAINS: dict[str, tuple[str, str, str]] = {
    "films": (
        "film plot cast ending script scene sequel picture",
        "predictable long dull shallow quiet noisy wooden cold flat forgettable",
        "gripping moving witty surprising funny clever deep unpredictable original touching",
    ),
    "books": (
        "novel chapter story hero author prose volume memoir",
        "dry light confusing tedious short clumsy lifeless heavy dated small",
        "absorbing deep elegant rich vivid warm thoughtful haunting long wise",
    ),
    "hotels": (
        "room bed lobby breakfast pool staff view bathroom",
        "noisy dirty small damp rude cramped cold stained dark smelly",
        "quiet spotless spacious warm friendly bright comfortable central welcoming soft",
    ),
    "kitchens": (
        "knife pan oven kettle grill mixer toaster blender",
        "blunt flimsy uneven rusty leaking warped slow wobbly soft cold",
        "sharp sturdy hot even solid efficient durable quick flat heavy",
    ),
    "phones": (
        "phone battery screen camera charger headset speaker tablet",
        "slow hot laggy heavy dim scratched faulty dead short unpredictable",
        "fast light small crisp responsive bright slim loud sleek cool",
    ),
}  # fmt: skip
PATTERNS = (
    "the {thing} was {word}",
    "i found the {thing} {word}",
    "what a {word} {thing} that was",
    "we all thought the {thing} was {word} and so did our friends",
    "my {thing} turned out {word} after a week",
    "honestly the {thing} is rather {word}",
    "{word} {thing} , nothing more to say",
    "you should know that the {thing} is {word}",
)


def sentences(domain: str, rows: int, seed: int) -> list[tuple[str, int]]:
    """Return different sentences with their classes, at most as many as there are: 8 things, 20 words, 8 patterns."""
    things, bad, good = (words.split() for words in DOMAINS[domain])
    every = [
        (pattern.format(thing=thing, word=word), label)
        for label, words in enumerate((bad, good))
        for word in words
        for thing in things
        for pattern in PATTERNS
    ]
    random.Random(f"{domain} {seed}").shuffle(every)
    return every[:rows]


def make_stream(rows: int, seed: int) -> list[Domain]:
    """Return the domains as features of all-MiniLM-L6-v2: of each ``rows`` to learn from and as many others to ask."""
    model = AutoModel.from_pretrained(model_folder()).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    found = []
    for domain in DOMAINS:
        drawn = sentences(domain, 2 * rows, seed)
        features = pooled_features(model, tokenizer, [text for text, _ in drawn])
        labels = torch.tensor([label for _, label in drawn])
        found.append(Domain(domain, features[:rows], labels[:rows], features[rows:], labels[rows:]))
    return found
