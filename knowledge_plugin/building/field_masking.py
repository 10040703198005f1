"""Records as texts with fields masked: what a model is asked, and what it learns from.

Any field of a record can be asked for, given any others: inferences from contexts, contexts from inferences, or how
plausible all of it is. That is the open format of NovaCOMET (West et al., Findings of EMNLP 2023). How the paper writes
records out, and how it chooses what to mask, was not at hand: the texts here are a reconstruction.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from knowledge_plugin.building.records import FIELDS, Record, checked
from knowledge_plugin.errors import RecordError

SENTINEL = "<extra_id_{}>"
Kind = Literal["seq2seq", "causal"]


class MaskedText(NamedTuple):
    """A record with fields masked, as two texts.

    Attributes:
        input: What the model is given.
        target: What it should write; for a causal model the continuation of the input.
    """

    input: str
    target: str


@dataclass(frozen=True)
class Template:
    """How a record is written out for a model.

    A seq2seq model reads its fields behind one another, with a sentinel in the place of each that is asked for, and
    writes the sentinels, each with what belongs there, as T5 was pre-trained to. A causal model reads a line for each
    field that is shown, and goes on with those that are asked for.

    Args:
        kind: Of which kind the model is.
        context, query, inference, plausibility: How the field is announced.
        prefix: Stands before every record: an instruction, or a few records that show how it is done.

    Example:
        >>> record = Record("it rains", "what happens next", "it gets wet")
        >>> Template("seq2seq").masked(record, ["inference"])
        MaskedText(input='context: it rains query: what happens next inference: <extra_id_0>', target='<extra_id_0> it gets wet <extra_id_1>')
        >>> Template("causal").masked(record, ["query"])
        MaskedText(input='context: it rains\\ninference: it gets wet\\nquery:', target=' what happens next\\n')
    """  # noqa: E501

    kind: Kind
    context: str = "context:"
    query: str = "query:"
    inference: str = "inference:"
    plausibility: str = "plausibility:"
    prefix: str = ""

    @property
    def hash(self) -> str:
        """Twelve digits by which the template is known again."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def masked(self, record: Record, ask: Sequence[str], show: Sequence[str] = FIELDS) -> MaskedText:
        """Write a record out with the fields that are asked for masked.

        Args:
            record: Fields that it does not have are not shown. For its target it should have those asked for.
            ask: Fields to mask.
            show: Which of the others are shown, if they are there.

        Raises:
            RecordError: No field is asked for, or something that is none.
        """
        asked = _checked(ask)
        shown = [name for name in FIELDS if name in show and name not in asked and name in record.known]
        if self.kind == "causal":
            lines = [f"{getattr(self, name)} {written(record, name)}\n" for name in shown]
            rest = [f"{getattr(self, name)} {written(record, name)}\n" for name in asked]
            announced = getattr(self, asked[0])
            return MaskedText(self.prefix + "".join(lines) + announced, "".join(rest)[len(announced) :])
        parts: list[str] = []
        target: list[str] = []
        for name in FIELDS:
            if name in asked:
                sentinel = SENTINEL.format(len(target))
                parts.append(f"{getattr(self, name)} {sentinel}")
                target.append(f"{sentinel} {written(record, name)}")
            elif name in shown:
                parts.append(f"{getattr(self, name)} {written(record, name)}")
        return MaskedText(self.prefix + " ".join(parts), " ".join([*target, SENTINEL.format(len(target))]))

    def answer(self, text: str) -> str:
        """Return the field that a model wrote, of a text without special tokens; nothing if the next field comes first.

        Example:
            >>> Template("causal").answer(" it gets wet\\nplausibility: 1.0")
            'it gets wet'
        """
        if self.kind == "causal":
            text = text.lstrip().split("\n", 1)[0]
            # Tokenizers that know no line ends write the next field on the same line, some with blanks before signs.
            for name in FIELDS:
                announced = r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", getattr(self, name))))
                text = re.split(rf"(?:^|\s){announced}", text, maxsplit=1)[0] if announced else text
        return " ".join(text.split())


def written(record: Record, field: str) -> str:
    """Return a field as it stands in a text: on one line, without sentinels of its own; a plausibility in tenths."""
    value = getattr(record, field)
    if isinstance(value, float):
        return f"{value:.1f}"
    return " ".join((value or "").split()).replace("<extra_id_", "<extra-id-")


def training_examples(
    records: Iterable[Record],
    seed: int,
    *,
    template: Template | None = None,
    ask: Sequence[str] | None = None,
    left_out: float = 0.1,
) -> Iterator[dict[str, str]]:
    """Yield texts to fine-tune a model with, a pair for each record: call it anew, with another seed, for each epoch.

    Of the fields that a record has, some are masked at random: one, and with a chance of a half each time another. Of
    the rest each is left out now and then, so that the model learns to do without. Both choices are ours.

    Args:
        records: Those without a field that can be asked for are passed over.
        seed: The same one makes the same texts.
        template: How records are written out; ``None`` is that of seq2seq models.
        ask: Mask these fields always, and no others: a fixed direction, as COMET has it, to compare with.
        left_out: How often a field that is not masked is left out.

    Yields:
        ``{"input": ..., "target": ...}``. Tokenize them with ``tokenizer(input, text_target=target)`` for
        ``Seq2SeqTrainer``, or joined, with the input's labels at -100, for a causal model.

    Raises:
        RecordError: Something in ``ask`` that is no field, a share outside of 0 to 1, or something that is no record.

    Example:
        >>> list(training_examples([Record("it rains", inference="it gets wet")], seed=3, ask=["inference"]))
        [{'input': 'context: it rains inference: <extra_id_0>', 'target': '<extra_id_0> it gets wet <extra_id_1>'}]
    """
    if not 0 <= left_out <= 1:
        raise RecordError(f"left_out: expected a share from 0 to 1, found {left_out!r:.80}.")
    template = template or Template("seq2seq")
    fixed = None if ask is None else _checked(ask)
    rng = random.Random(seed)
    for record in checked(records):
        known = record.known
        masked = _choose(known, rng) if fixed is None else [name for name in fixed if name in known]
        show = [name for name in known if name not in masked and rng.random() >= left_out]
        if masked:
            yield template.masked(record, masked, show)._asdict()


def _choose(known: Sequence[str], rng: random.Random) -> list[str]:
    if not known:
        return []
    count = 1
    while count < len(known) and rng.random() < 0.5:
        count += 1
    chosen = rng.sample(known, count)
    return [name for name in known if name in chosen]


def _checked(ask: Sequence[str]) -> list[str]:
    wanted = [ask] if isinstance(ask, str) else list(ask)
    if not wanted or (unknown := [name for name in wanted if name not in FIELDS]):
        found = ", ".join(map(repr, unknown)) if wanted else "none"
        raise RecordError(f"expected fields to ask for, some of {', '.join(FIELDS)}, found {found:.200}.")
    return [name for name in FIELDS if name in wanted]


def template_for(model: Any, tokenizer: Any, template: Template | None = None) -> Template:
    """Return the template for a model, and see that the tokenizer can write it.

    Raises:
        RecordError: The template is for models of the other kind, or the tokenizer knows no sentinels.
    """
    kind: Kind = "seq2seq" if getattr(model.config, "is_encoder_decoder", False) else "causal"
    template = template or Template(kind)
    if template.kind != kind:
        raise RecordError(
            f"the template is for {template.kind} models, found a {kind} one, {type(model).__name__}. Type: "
            f"Template({kind!r})"
        )
    if kind == "seq2seq":
        unknown = tokenizer.unk_token_id
        # Training masks up to all fields, each with a sentinel, and one is behind the last; asking needs two.
        sentinels = [SENTINEL.format(i) for i in range(len(FIELDS) + 1)]
        missing = [each for each in sentinels[:2] if tokenizer.convert_tokens_to_ids(each) in (None, unknown)]
        if missing:
            raise RecordError(
                f"{type(tokenizer).__name__}: expected sentinels among its tokens, found no {missing[0]}. Type: "
                f"tokenizer.add_special_tokens({{'additional_special_tokens': {sentinels}}}), "
                "model.resize_token_embeddings(len(tokenizer)), and train the model."
            )
    return template
