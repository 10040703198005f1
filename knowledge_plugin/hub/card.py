"""The README.md of an artifact, rendered from a template in ``hub_cards/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel the templates lie inside the package, in a checkout beside it.
_FOLDERS = [str(_PACKAGE / "hub_cards"), str(_PACKAGE.parent / "hub_cards")]


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
    """Write README.md into ``folder``, unless a person's README.md stands in ``final`` already."""
    if not (final / "README.md").exists():
        (folder / "README.md").write_text(render_card(template, **values), encoding="utf-8")
