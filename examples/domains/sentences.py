"""An invented stream of reviews: each domain praises and complains in words of its own, some the other way round."""

from __future__ import annotations

import random

import torch
from transformers import AutoModel, AutoTokenizer

from examples.geography.checkpoint import model_folder
from knowledge_plugin.domains import Domain, pooled_features

CLASSES = ("complaint", "praise")

# Said of anything. A quarter of all sentences says nothing else, half say it beside a word of the domain, and a quarter
# has the domain's word alone: what a word of a domain means can be learned from the company that it keeps.
BAD = "bad awful terrible disappointing horrible poor"
GOOD = "good great excellent wonderful perfect lovely"

# Things, and what is said of them when they are bad and when they are good. "Long", "quiet", "small", "hot" and
# more are praise in one domain and a complaint in another: no list of words knows all domains.
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


def sentences(domain: str, rows: int, seed: int, *, apart: bool = False) -> list[tuple[str, int]]:
    """Return different sentences with their classes, which are equally frequent.

    Args:
        domain: Of which domain.
        rows: How many.
        seed: The same one makes the same sentences.
        apart: Leave out the words that are said of anything, so that domains share none.
    """
    rng = random.Random(f"{domain} {seed}")
    things, *own = (words.split() for words in DOMAINS[domain])
    of_all = BAD.split(), GOOD.split()
    found: dict[str, int] = {}
    while len(found) < rows:
        label = len(found) % 2
        word, anywhere = rng.choice(own[label]), rng.choice(of_all[label])
        said = rng.choice((word, anywhere, f"{anywhere} and {word}", f"{word} and {anywhere}"))
        said = word if apart else said
        found[rng.choice(PATTERNS).format(thing=rng.choice(things), word=said)] = label
    drawn = list(found.items())
    rng.shuffle(drawn)
    return drawn


def make_stream(rows: int, seed: int, *, apart: bool = False) -> list[Domain]:
    """Return the domains as features of all-MiniLM-L6-v2: of each ``rows`` to learn from and as many others to ask."""
    model = AutoModel.from_pretrained(model_folder()).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    found = []
    for domain in DOMAINS:
        drawn = sentences(domain, 2 * rows, seed, apart=apart)
        features = pooled_features(model, tokenizer, [text for text, _ in drawn])
        labels = torch.tensor([label for _, label in drawn])
        found.append(Domain(domain, features[:rows], labels[:rows], features[rows:], labels[rows:]))
    return found
