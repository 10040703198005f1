"""Whose is what in a README.md: ours up to the seal until someone edits it, a person's below, and whatever they made.

The seal is the last line of what we write. It holds sums of the metadata and of the text above it, and of each key
of the metadata, which tell what has been edited since.
"""

from __future__ import annotations

import hashlib
import json
import re

import yaml

_SEAL = "<!-- Written by knowledge-plugin, anew at each save and push until someone edits it; words below stay."
_SEALED = re.compile(re.escape(_SEAL) + r" ([0-9a-f]{64}) ([0-9a-f]{64})((?: [\w-]{1,64}=[0-9a-f]{8}){0,64}) -->\n?")
_FRONT_MATTER = re.compile(r"\A\ufeff?\s*---\n(.*?\n)??---(?:\n|\Z)", re.DOTALL)
# What the artifact itself says; of every other key a person's word counts.
_OUR_KEYS = ("library_name", "base_model", "base_model_relation", "configs")


def sealed(text: str) -> str:
    """Return a card with the mark by which later edits are noticed.

    Raises:
        ValueError: The text holds the mark already.
    """
    head, body = _split(text)
    if _SEAL in body:
        raise ValueError("a card that holds the line that ends a card")
    return text + _seal(head, _checksum(body))


def readdressed(card: str, old: str, new: str) -> str:
    """Return a card of ours with another name for the artifact; one that someone has edited stays as it is."""
    parts = Parts(card)
    if not (parts.head_is_ours and parts.text_is_ours):
        return card
    return sealed(parts.head + parts.text.replace(old, new)) + parts.below


def merged(standing: str, fresh: str) -> str:
    """Renew a card and keep what a person made of it.

    Args:
        standing: The card that is there.
        fresh: The card as it is made now, with its seal.

    Returns:
        ``fresh`` with every metadata key and every word below the seal that is theirs. A text that they edited above
        the seal, or wrote themselves, stays as it is. Metadata that is no YAML stays too.
    """
    old, new = Parts(standing), Parts(fresh)
    below = old.below if new.below.strip() in old.below else old.below + new.below
    if old.text_is_ours:
        body = new.body
    else:
        # Their text, and still known as such; but what became of our metadata since is no edit of theirs.
        body = old.text + (_seal(new.head, old.text_sum) if old.text_sum else "")
    if old.head_is_ours:
        return f"{new.head}{body}{below}"
    try:
        head = _merged_head(old, new)
    except (yaml.YAMLError, RecursionError):
        head = old.head
    return f"{head}{body}{below}"


class Parts:
    """A card in its parts: metadata (``head``), text up to the seal, and what stands below it."""

    def __init__(self, card: str) -> None:
        self.head, rest = _split(card)
        seal = _SEALED.search(rest)
        end = seal.end() if seal else len(rest)
        self.body, self.below = rest[:end], rest[end:]  # the body is the text and its seal
        self.text = rest[: seal.start()] if seal else rest
        head_sum, self.text_sum, sums = seal.groups() if seal else ("", "", "")
        self.head_is_ours, self.text_is_ours = head_sum == _checksum(self.head), self.text_sum == _checksum(self.text)
        self.sums: dict[str, str] = dict(pair.split("=") for pair in sums.split())


def _seal(head: str, text_sum: str) -> str:
    sums = "".join(f" {key}={_value_sum(value)}" for key, value in _metadata(head).items())
    return f"{_SEAL} {_checksum(head)} {text_sum}{sums} -->\n"


def _merged_head(old: Parts, new: Parts) -> str:
    """Merge metadata as YAML nodes: a person's ``no`` stays the word that they wrote, and does not become false."""
    pairs = _pairs(new.head) | _pairs(old.head)
    theirs, ours = _metadata(old.head), _metadata(new.head)
    data: dict[str, yaml.Node] = {}
    for key in dict.fromkeys([*ours, *theirs]):
        unedited = key in theirs and key in old.sums and old.sums[key] == _value_sum(theirs[key])
        removed = key not in theirs and key in old.sums
        if key in _OUR_KEYS or unedited:
            # What we said once and say no more goes; what a person added under our name counts while we say nothing.
            node = ours.get(key) or (None if unedited else theirs.get(key))
        elif key == "tags":
            node = _union(theirs.get(key), ours.get(key))
        else:
            node = None if removed else theirs.get(key) or ours.get(key)
        if node is not None:
            data[key] = node
    items = [(pairs[key][0], node) for key, node in data.items()]
    mapping = yaml.MappingNode("tag:yaml.org,2002:map", items, flow_style=False)
    return f"---\n{yaml.serialize(mapping, Dumper=yaml.SafeDumper, allow_unicode=True, width=2**31)}---\n"


def _metadata(head: str) -> dict[str, yaml.Node]:
    """Return the values of a head by their keys, as they are written."""
    return {name: value for name, (_, value) in _pairs(head).items()}


def _pairs(head: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Return the keys and values of a head by what the keys say.

    Raises:
        YAMLError: They are no mapping of names.
    """
    match = _FRONT_MATTER.match(head)
    node = yaml.compose(match[1] or "", Loader=yaml.SafeLoader) if match else None
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode) or not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
        raise yaml.YAMLError("metadata that is no mapping of names")
    return {key.value: (key, value) for key, value in node.value}


def _union(theirs: yaml.Node | None, ours: yaml.Node | None) -> yaml.Node | None:
    items: dict[object, yaml.Node] = {}
    for node in (theirs, ours):
        for item in node.value if isinstance(node, yaml.SequenceNode) else [] if node is None else [node]:
            if not (isinstance(item, yaml.ScalarNode) and item.tag == "tag:yaml.org,2002:null"):
                items.setdefault(item.value if isinstance(item, yaml.ScalarNode) else id(item), item)
    return yaml.SequenceNode("tag:yaml.org,2002:seq", list(items.values()), flow_style=False) if items else None


def _value_sum(node: yaml.Node, known: dict[int, str] | None = None) -> str:
    """Return eight digits that are the same however a value is written."""
    known = {} if known is None else known  # by aliases, a short text can stand for an endless value
    if id(node) not in known:
        children = [node.value] if isinstance(node, yaml.ScalarNode) else []
        if isinstance(node, yaml.SequenceNode):
            children = [_value_sum(item, known) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            children = [_value_sum(item, known) for pair in node.value for item in pair]
        known[id(node)] = _checksum(json.dumps([node.tag, children]))[:8]
    return known[id(node)]


def _split(card: str) -> tuple[str, str]:
    match = _FRONT_MATTER.match(card)
    return (match[0], card[match.end() :]) if match else ("", card)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()
