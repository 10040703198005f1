"""The README.md of an artifact, rendered from a template in ``hub_cards/``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
import yaml

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel the templates lie inside the package, in a checkout beside it.
_FOLDERS = [str(_PACKAGE / "hub_cards"), str(_PACKAGE.parent / "hub_cards")]

# Ends what is ours of a card. The sums of metadata and text above it tell what a person has edited since.
_SEAL = "<!-- Written by knowledge-plugin, anew at each save and push until someone edits it; words below stay."
_SEALED = re.compile(re.escape(_SEAL) + r" ([0-9a-f]{64}) ([0-9a-f]{64}) -->\n?")
_FRONT_MATTER = re.compile(r"\A---\n(.*?\n)??---\n", re.DOTALL)
# What the artifact itself says; of every other key a person's word counts.
_OUR_KEYS = ("library_name", "base_model", "base_model_relation", "configs")


def render_card(template: str, **values: Any) -> str:
    """Render a card.

    Args:
        template: File name in ``hub_cards/``, for example ``"plugin.md.j2"``.
        **values: What the template shows. Sections without a value vanish.

    Returns:
        The text of README.md.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDERS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; values are quoted in the templates where YAML needs it
    )
    return environment.get_template(template).render(values)


def write_card(folder: Path, final: Path, template: str, **values: Any) -> None:
    """Write README.md into ``folder``, unless one whose text a person wrote or edited stands in ``final``.

    Args:
        folder: Where the artifact is being written.
        final: Where it belongs.
        template: As in :func:`render_card`.
        **values: As in :func:`render_card`.
    """
    standing, fresh = final / "README.md", sealed(render_card(template, **values))
    if standing.is_file():
        text = standing.read_text(encoding="utf-8", errors="replace")
        if not _Card(text).text_is_ours:
            return
        fresh = merged(text, fresh)
    elif standing.exists():
        return
    (folder / "README.md").write_text(fresh, encoding="utf-8")


def sealed(text: str) -> str:
    """Return a card with the mark by which later edits are noticed."""
    head, body = _split(text)
    return f"{text}{_SEAL} {_checksum(head)} {_checksum(body)} -->\n"


def merged(standing: str, fresh: str) -> str:
    """Renew a card and keep what a person made of it.

    Args:
        standing: The card that is there.
        fresh: The card as it is made now, with its seal.

    Returns:
        ``fresh`` with every metadata key and every word below the seal that is theirs. A text that they edited above
        the seal, or wrote themselves, stays as it is. Metadata that is no YAML stays too.
    """
    old, new = _Card(standing), _Card(fresh)
    body = new.body + old.below if old.text_is_ours else old.body + old.below
    if old.head_is_ours:
        return f"{new.head}{body}"
    try:
        theirs, ours = old.metadata, new.metadata
    except yaml.YAMLError:
        return f"{old.head}{body}"
    data = ours | theirs | {key: ours[key] for key in _OUR_KEYS if key in ours}
    tags = [*_listed(theirs.get("tags")), *_listed(ours.get("tags"))]
    if tags:
        data["tags"] = list(dict.fromkeys(tags))
    return f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}---\n{body}"


class _Card:
    """A card in its parts: metadata, text up to the seal, and what stands below it."""

    def __init__(self, card: str) -> None:
        self.head, rest = _split(card)
        seal = _SEALED.search(rest)
        end = seal.end() if seal else len(rest)
        self.body, self.below = rest[:end], rest[end:]
        text = rest[: seal.start()] if seal else rest
        sums = seal.groups() if seal else ("", "")
        self.head_is_ours, self.text_is_ours = sums[0] == _checksum(self.head), sums[1] == _checksum(text)

    @property
    def metadata(self) -> dict[str, Any]:
        match = _FRONT_MATTER.match(self.head)
        data = yaml.safe_load(match[1] or "") if match else None
        if not isinstance(data, (dict, type(None))):
            raise yaml.YAMLError("metadata that is no mapping")
        return data or {}


def _split(card: str) -> tuple[str, str]:
    match = _FRONT_MATTER.match(card)
    return (match[0], card[match.end() :]) if match else ("", card)


def _listed(tags: Any) -> list:
    return tags if isinstance(tags, list) else [] if tags is None else [tags]


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
