"""Tables in Markdown, for one seed with intervals or for several with their range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from examples.domains.names import DOMAINS, KINDS
from examples.domains.routing import Outcome, Share


def routing_table(outcomes: Sequence[Outcome]) -> str:
    """Lay out accuracies by kind of question, and over all; of several seeds means with the lowest and the highest."""
    columns = [*KINDS, *DOMAINS, "all"]
    lines = [_row(["the frozen model with ...", *columns]), "|---|" + "--:|" * len(columns)]
    for name in outcomes[0].accuracy:
        lines.append(_row([name, *(_cell([o.accuracy[name][column] for o in outcomes]) for column in columns)]))
    for name in outcomes[0].chosen:
        cells = [_cell([o.chosen[name][column] for o in outcomes]) for column in columns]
        lines.append(_row([f"*the router names the domain, {name}*", *cells]))
    some = outcomes[0].accuracy["no plugin"]
    lines += ["", "n a seed: " + ", ".join(f"{column} {some[column].n}" for column in columns)]
    return "\n".join(lines)


def _cell(shares: Sequence[Share | float]) -> str:
    values = [share.value if isinstance(share, Share) else share for share in shares]
    first = shares[0]
    if len(shares) > 1:
        return f"{100 * sum(values) / len(values):.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})"
    if isinstance(first, Share) and first.low is not None and first.high is not None:
        return f"{100 * first.value:.1f} ({100 * first.low:.1f} to {100 * first.high:.1f})"
    return f"{100 * values[0]:.1f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def mean_row(name: str, by_column: Mapping[str, Sequence[float]]) -> str:
    """Return a row of means over runs, with the lowest and the highest."""
    return _row([name, *(_cell(list(values)) for values in by_column.values())])
