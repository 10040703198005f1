"""Tables in Markdown, for one seed with intervals or for several with their range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from examples.domains.names import DOMAINS, KINDS
from examples.domains.routing import Outcome, Share
from examples.domains.stream import MEASURES, measures
from knowledge_plugin.domains import StreamReport


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


def stream_table(seeds: Mapping[int, Mapping[str, StreamReport]], order: str) -> str:
    """Lay out what systems came to in one order of the stream, as means over seeds with the lowest and the highest."""
    reports = [reports[order] for reports in seeds.values()]
    lines = [_row(["system", *MEASURES]), "|---|" + "--:|" * len(MEASURES)]
    for system in reports[0].accuracy:
        found = [measures(report, system) for report in reports]
        signed = {name: name not in ("final", "on arrival") for name in MEASURES}
        lines.append(_row([system.rstrip(), *(_cell([f[name] for f in found], signed[name]) for name in MEASURES)]))
    asked = ", ".join(f"{seed}: {sum(report.rows)}" for seed, report in zip(seeds, reports, strict=True))
    widest = max(report.margin(system) for report in reports for system in report.accuracy)
    lines += [
        "",
        f"rows asked by seed: {asked}; 95 % intervals of a final are at most {100 * widest:.1f} to either side",
    ]
    return "\n".join(lines)


def _cell(shares: Sequence[Share | float], signed: bool = False) -> str:
    sign = "+" if signed else ""
    values = [share.value if isinstance(share, Share) else share for share in shares]
    first, mean = shares[0], 100 * sum(values) / len(values)
    if len(shares) > 1:
        return f"{mean:{sign}.1f} ({100 * min(values):{sign}.1f} to {100 * max(values):{sign}.1f})"
    if isinstance(first, Share) and first.low is not None and first.high is not None:
        return f"{mean:.1f} ({100 * first.low:.1f} to {100 * first.high:.1f})"
    return f"{mean:{sign}.1f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
