"""Systems on a stream of domains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from knowledge_plugin.domains import follow_stream
from knowledge_plugin.errors import TrainingError
from tests.domains.common import QUICK, domain

DOMAINS = [domain("source", 0.0), domain("near", 1.2, 1), domain("far", 2.4, 2)]
SETTINGS = replace(QUICK, steps=15)


@pytest.fixture(scope="module")
def report():
    return follow_stream(DOMAINS, ["left", "right"], settings=SETTINGS, hidden=8, variants={"mine": SETTINGS})


def test_every_system_is_measured_on_every_domain_each_time(report):
    assert report.domains == ("source", "near", "far")
    assert report.rows == (80, 80, 80)
    for matrix in report.accuracy.values():
        assert [len(row) for row in matrix] == [3, 3, 3]
        assert all(0 <= share <= 1 for row in matrix for share in row)


def test_who_never_learns_never_changes(report):
    for name in ("frozen head", "nearest class mean", "joint, with labels"):
        assert len(set(report.accuracy[name])) == 1
        assert report.backward(name) == 0
    assert report.forward("frozen head") == 0


def test_all_followers_begin_as_the_frozen_head(report):
    for name, matrix in report.accuracy.items():
        if name not in ("nearest class mean", "joint, with labels"):
            assert matrix[0] == report.accuracy["frozen head"][0]


def test_the_same_settings_come_to_the_same(report):
    assert report.accuracy["mine"] == report.accuracy["follower"]


def test_labels_of_later_domains_are_for_the_ceiling_alone(report):
    wrong = [DOMAINS[0], *(replace(d, labels=1 - d.labels) for d in DOMAINS[1:])]
    again = follow_stream(wrong, ["left", "right"], settings=SETTINGS, hidden=8)
    for name, matrix in again.accuracy.items():
        if name != "joint, with labels":
            assert matrix == report.accuracy[name]
    assert again.final("joint, with labels") < report.final("joint, with labels")


def test_a_stream_needs_two_domains():
    with pytest.raises(TrainingError, match="found 1 domains"):
        follow_stream(DOMAINS[:1], ["left", "right"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": DOMAINS[1].test_labels[:, None]}, "labels: expected 80 whole numbers, found"),
        ({"test_labels": DOMAINS[1].test_labels[:1]}, "labels: expected 80 whole numbers, found"),
        ({"test_labels": DOMAINS[1].test_labels + 1}, "labels: expected numbers of 2 classes"),
        ({"test_features": torch.zeros(80, 3)}, "features: expected"),
        ({"features": torch.full((80, 4), torch.nan)}, "features: expected finite"),
        ({"labels": DOMAINS[1].labels - 1}, "labels: expected numbers"),
    ],
)
def test_a_domain_that_does_not_fit_is_refused_by_name(changes, message):
    with pytest.raises(TrainingError, match=f"domain 'near': {message}"):
        follow_stream([DOMAINS[0], replace(DOMAINS[1], **changes)], ["left", "right"], settings=SETTINGS, hidden=8)


def test_features_that_are_no_matrix_are_refused():
    flat = [replace(domain, features=domain.features[:, 0]) for domain in DOMAINS]
    with pytest.raises(TrainingError, match="domain 'source': features: expected"):
        follow_stream(flat, ["left", "right"], settings=SETTINGS)


@pytest.mark.parametrize("name", ["frozen head", "follower", "ALeN, as reconstructed"])
def test_a_variant_takes_no_systems_place(name):
    with pytest.raises(TrainingError, match=f"variants: '{name}'"):
        follow_stream(DOMAINS, ["left", "right"], settings=SETTINGS, hidden=8, variants={name: SETTINGS})
