"""Parts of the probes, and intervals that draw whole entities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from knowledge_plugin.evaluation.propagation.figures import Drawing, figures_of, parts_of
from tests.evaluation.propagation import counting


def test_parts():
    probes = counting.spans().probes
    parts = parts_of(probes, [True] * len(probes))
    assert {part: int(members.sum()) for part, members in parts.items()} == {"all": 24, "easy": 12, "hard": 12}
    parts = parts_of(probes, [i < 6 for i in range(len(probes))])
    assert int(parts["linked"].sum()) == 6


def test_a_row_that_is_in_two_files_counts_once_in_the_whole():
    probes = counting.spans().probes
    both = [*probes, *(replace(probe, file="np_easy") for probe in probes if probe.easy)]
    parts = parts_of(both, [True] * len(both))
    assert {part: int(members.sum()) for part, members in parts.items()} == {
        "all": 24, "easy": 12, "hard": 12, "np.json": 24, "np_easy.json": 12,
    }  # fmt: skip


def test_two_rows_about_one_entity_are_drawn_together():
    probes = counting.spans().probes
    generator = np.random.default_rng(0)
    of_entity = np.repeat(generator.normal(size=counting.N), 2)

    def width(values):
        counts = {name: {"perplexity": np.stack([x, np.ones(24)], 1)} for name, x in values.items()}
        figures, contrasts = figures_of("ecbd", probes, counts, [True] * 24, Drawing(500))
        (figure,) = [f for f in figures if (f.condition, f.part) == ("none", "all")]
        return figures, contrasts, np.log(figure.high) - np.log(figure.low)

    _, contrasts, together = width({"none": of_entity, "plugin": of_entity - 1})
    _, _, apart = width({"none": generator.permutation(of_entity)})
    assert together > apart
    (contrast,) = [c for c in contrasts if (c.over, c.part) == ("none", "all")]
    assert contrast.difference < 0
    assert contrast.high < 0
