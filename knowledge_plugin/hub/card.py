"""The README.md of an artifact, rendered from a template in ``hub_cards/``.

A card is words about an artifact: whatever is wrong with it costs a warning, and never the save or the push.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2

from knowledge_plugin.config import FORMAT_VERSION, KNOWLEDGE_BASE_FOLDER, TrainingConfig
from knowledge_plugin.hub.card_metadata import (
    front_matter,
    is_repo_id,
    knowledge_base_metadata,
    plugin_metadata,
    plugins_metadata,
)
from knowledge_plugin.hub.markdown import as_figure, as_literal, as_size, as_text
from knowledge_plugin.hub.seal import Parts, merged, readdressed, sealed
from knowledge_plugin.registry import find_method

__all__ = ["keep_words", "merged", "publish_card", "render_card", "sealed", "write_card"]

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel the templates lie inside the package, in a checkout beside it.
_FOLDERS = [str(_PACKAGE / "hub_cards"), str(_PACKAGE.parent / "hub_cards")]

# How the code in a card calls its artifact until a push gives it a name.
_HERE = '"path/to/this/folder"'
_BLANK_LINES = re.compile(r"\n{3,}")
_NAMES = 3
_MAX_CARD_BYTES = 16 * 2**20

_METADATA: dict[str, Callable[..., dict[str, Any]]] = {
    "plugin.md.j2": plugin_metadata,
    "knowledge_base.md.j2": knowledge_base_metadata,
    "plugins.md.j2": plugins_metadata,
}
# What need not be known of an artifact.
_OPTIONAL: dict[str, Any] = {
    "license": None,
    "language": (),
    "datasets": (),
    "names": (),
    "results": (),
    "training": {},
}


def render_card(template: str, **values: Any) -> str:
    """Render a card.

    Args:
        template: ``"plugin.md.j2"`` (which needs ``config`` and ``knowledge_base``, the configs of both),
            ``"knowledge_base.md.j2"`` (``config``) or ``"plugins.md.j2"`` (``repo_id``, ``configs`` by subfolder,
            ``base_models``).
        **values: What the card shows. Beside what the template needs: ``license`` of the plugin, ``language`` (codes),
            ``datasets`` (repos of what it was trained on), ``names`` (of entities; a few are taken), ``results``
            (:class:`~knowledge_plugin.results.EvaluationResult`), ``training`` (settings by their names,
            in place of those in the config). Sections without a value vanish.

    Returns:
        The text of README.md, without a seal.

    Raises:
        jinja2.UndefinedError: A value that the card needs is missing.
    """
    known = {"here": _HERE, "format_version": FORMAT_VERSION, "knowledge_base_folder": KNOWLEDGE_BASE_FOLDER}
    if "training" not in values and (training := getattr(values.get("config"), "training", None)) is not None:
        values["training"] = _settings(training)
    values["names"] = list(islice(values.get("names", ()), _NAMES))
    if "method" not in values and (injection := getattr(values.get("config"), "injection", None)) is not None:
        values["method"] = find_method(injection.method)
    body = _environment(*_FOLDERS).get_template(template).render(known | _OPTIONAL | values)
    body = _BLANK_LINES.sub("\n\n", body).strip()  # what vanished left blank lines behind; no value has any
    return f"{front_matter(_METADATA[template](**values))}\n{body}\n"


def write_card(folder: Path, final: Path, template: str, **values: Any) -> None:
    """Write README.md into ``folder``, unless one whose text a person wrote or edited stands in ``final``.

    Args:
        folder: Where the artifact is being written.
        final: Where it belongs.
        template: As in :func:`render_card`.
        **values: As in :func:`render_card`.

    Warns:
        UserWarning: There is no card to write, or none that could take the place of what stands there.
    """
    card: str | None = None
    try:
        card = _renewed(final / "README.md", sealed(render_card(template, **values)))
    except Exception as error:  # words about the artifact, not the artifact
        _warn(final / "README.md", error)
    if (
        card is not None
    ):  # a disk that is full is no trouble of the card; whatever bytes a person's words are, they stay
        (folder / "README.md").write_text(card, encoding="utf-8", errors="surrogateescape")


def publish_card(card: Path, standing: Path | None, repo_id: str | None, subfolder: str | None = None) -> None:
    """Make a card that was just written ready for a repo: it names the repo, and keeps what people made of it there.

    Args:
        card: The README.md that is about to be pushed.
        standing: The README.md that the repo has in this place.
        repo_id: ``"user/name"``; ``None`` for what is not opened from a repo by itself.
        subfolder: Of the repo, if the artifact lies in one.

    Warns:
        UserWarning: The card cannot be merged with what stands there, which stays.
    """
    try:
        address = as_literal(repo_id or "") + (f", subfolder={as_literal(subfolder)}" if subfolder else "")
        fresh = card.read_text(encoding="utf-8")
        fresh = fresh if repo_id is None else readdressed(fresh, _HERE, address)
        text = fresh if standing is None else merged(_read(standing, errors="strict"), fresh)
    except Exception as error:
        _warn(card, error)
        if standing is not None:
            shutil.copyfile(standing, card)
        return
    card.write_text(text, encoding="utf-8")


def keep_words(folder: Path, opened: Path) -> None:
    """Give the card in ``folder`` the words and the metadata that a person wrote into the one in ``opened``.

    Warns:
        UserWarning: The card that was opened cannot be read.
    """
    card, standing = folder / "README.md", opened / "README.md"
    try:
        if card.is_file() and standing.is_file():
            text = merged(_read(standing), _read(card))
            card.write_text(text, encoding="utf-8", errors="surrogateescape")
    except ValueError as error:
        _warn(standing, error)


@cache
def _environment(*folders: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML: each template hands what strangers wrote to `text` or `literal`
    )
    environment.filters |= {"text": as_text, "literal": as_literal, "size": as_size, "figure": as_figure}
    environment.filters |= {"count": "{:,}".format}
    environment.tests["repo_id"] = is_repo_id
    return environment


def _settings(training: TrainingConfig) -> dict[str, object]:
    """Return how a mapping learned, in words and figures for people."""
    settings: dict[str, object] = {}
    for name, value in asdict(training).items():
        if isinstance(value, dict):
            settings |= {key.replace("_", " "): f"{v:.3g}" if isinstance(v, float) else v for key, v in value.items()}
        elif value is not None:
            settings[name.replace("_", " ")] = f"{value:,}" if name in ("rows", "steps") else value
    if training.rows_with_mention is not None:
        settings["rows with mention"] = f"{100 * training.rows_with_mention:.0f} %"
    return settings


def _renewed(standing: Path, fresh: str) -> str | None:
    if standing.is_file():
        text = _read(standing)
        return merged(text, fresh) if Parts(text).text_is_ours else None
    return None if standing.exists() else fresh


def _read(card: Path, errors: str = "surrogateescape") -> str:
    if (size := card.stat().st_size) > _MAX_CARD_BYTES:
        raise ValueError(f"it has {size} bytes; at most {_MAX_CARD_BYTES} are read")
    return card.read_text(encoding="utf-8", errors=errors)


def _warn(card: Path, error: Exception) -> None:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    warnings.warn(f"{card}: the card was not renewed ({reason:.300}); all else is as it should be.", stacklevel=4)
