"""The README.md of an artifact, rendered from a template in ``hub_cards/``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jinja2

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel the templates lie inside the package, in a checkout beside it.
_FOLDERS = [str(_PACKAGE / "hub_cards"), str(_PACKAGE.parent / "hub_cards")]

_SEAL = "<!-- Written by knowledge-plugin, and written anew by each save until someone edits it."


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
    """Write README.md into ``folder``, unless one that a person wrote or edited stands in ``final``.

    Args:
        folder: Where the artifact is being written.
        final: Where it belongs.
        template: As in :func:`render_card`.
        **values: As in :func:`render_card`.
    """
    standing = final / "README.md"
    if not standing.exists() or (standing.is_file() and _is_untouched(standing)):
        (folder / "README.md").write_text(_sealed(render_card(template, **values)), encoding="utf-8")


def _sealed(text: str) -> str:
    # The sum of the text tells it from one that a person edited, whichever version of the template it came from.
    return f"{text}{_SEAL} {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def _is_untouched(card: Path) -> bool:
    text = card.read_text(encoding="utf-8", errors="replace")
    return text == _sealed(text.rpartition(_SEAL)[0])
