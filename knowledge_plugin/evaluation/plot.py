"""Bars with their intervals, drawn by matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from knowledge_plugin.errors import MissingDependencyError

_BLUE, _GREY, _INK = "#2f6db3", "#aab4bf", "#222222"
_MARKERS = ("o", "D")


def save_bars(
    path: Path,
    bars: Mapping[str, Sequence[float | None]],
    parts: Mapping[str, Sequence[float]],
    *,
    highlighted: str,
    show: Callable[[float], str],
    label: str,
    title: str,
    subtitle: str,
) -> None:
    """Draw horizontal bars into a file, written beside and renamed.

    Args:
        path: Its suffix says the format.
        bars: Name to value, lower and upper bound, each of which may be ``None``.
        parts: Values of the same bars on parts of the data, drawn as marks.
        highlighted: The bar that the picture is about.
        show: Writes a value.
        label: Of the axis.
        title: What the picture shows.
        subtitle: What of.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("evaluation", "matplotlib") from error

    # Not through pyplot: a figure of our own leaves the user's backend and open figures alone.
    figure = Figure(figsize=(9, 1.9 + 0.42 * len(bars)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(bars))
    values = [float(value or 0) for value, _, _ in bars.values()]
    colours = [_BLUE if name == highlighted else _GREY for name in bars]
    axes.barh(places, values, 0.68, color=colours)
    furthest = list(values)
    for place, (value, low, high) in zip(places, bars.values(), strict=True):
        if value is not None and low is not None and high is not None:
            axes.plot([low, high], [place, place], color=_INK, linewidth=1.2)
            furthest[place] = max(value, high)
    for (name, marks), marker in zip(parts.items(), _MARKERS, strict=False):
        # Below the middle, where the interval is.
        axes.plot(
            marks,
            [place + 0.2 for place in places],
            marker,
            color="white",
            markeredgecolor=_INK,
            markersize=6,
            label=name,
        )
        furthest = [max(pair) for pair in zip(furthest, marks, strict=True)]
    for place, value, missing in zip(places, values, [bar[0] is None for bar in bars.values()], strict=True):
        axes.annotate(
            "-" if missing else show(value),
            (furthest[place], place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(places, list(bars))
    axes.invert_yaxis()
    axes.set_xlim(min(0, *values), max([*furthest, 1e-9]) * 1.12)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    title = "\n".join(textwrap.wrap(title, 100))
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    axes.set_title("\n".join(textwrap.wrap(subtitle, 110)), loc="left", fontsize=8.5, color="#555555")
    if parts:
        figure.legend(loc="outside lower right", ncols=len(parts), frameon=False, fontsize=9)
    beside = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        figure.savefig(beside, dpi=130)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
