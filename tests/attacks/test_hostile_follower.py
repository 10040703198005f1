"""Folders of a follower that nobody could have written with good intent."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.domains import DomainFollower
from knowledge_plugin.errors import ArtifactError, ConfigError, KnowledgePluginError, MappingError
from tests.attacks.hostile import contents, edit_config, flip, redeclare, save_plugin, truncate
from tests.domains.common import QUICK, classes, fitted

WEIGHTS = "follower.safetensors"
NO_NUMBER = [None, True, -1, 0, 1.5, 10**12, 10**100, "5", [], {}, [5]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("follower") / "artifact"
    fitted().follow(classes(1.0)[0], QUICK).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "artifact"))


def refused(folder, error=KnowledgePluginError):
    before = contents(folder)
    with pytest.raises(error) as caught:
        DomainFollower.from_pretrained(folder)
    assert len(str(caught.value)) < 2000
    assert contents(folder) == before


def retensor(folder, **changes):
    tensors = load_file(folder / WEIGHTS)
    tensors.update({name.replace("__", "."): tensor for name, tensor in changes.items()})
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / WEIGHTS)
    redeclare(folder, WEIGHTS)


@pytest.mark.parametrize("key", ["dim", "hidden", "classes", "history"])
@pytest.mark.parametrize("value", NO_NUMBER)
def test_sizes_that_are_none(folder, key, value):
    edit_config(folder, **{key: value})
    refused(folder)


@pytest.mark.parametrize("value", [None, True, 0, "moon", [], {}, "ENCODER"])
def test_spaces_that_are_none(folder, value):
    edit_config(folder, space=value)
    refused(folder, ConfigError)


def test_widths_that_would_fill_the_memory_are_refused_before_it_is_taken(folder):
    edit_config(folder, dim=2**16, hidden=2**10)
    refused(folder, MappingError)
    edit_config(folder, dim=2**16, hidden=2**16)
    refused(folder, ConfigError)
    edit_config(folder, dim=2**16, hidden=1, history=[{"name": "a", "rows": 1}] * 1000)
    refused(folder, (MappingError, ConfigError))


def test_a_history_that_claims_more_domains_than_the_file_has(folder):
    edit_config(folder, history=[{"name": str(i), "rows": 1} for i in range(3)])
    refused(folder, MappingError)
    edit_config(folder, history=[{"name": "a", "rows": 1}])
    refused(folder, MappingError)


@pytest.mark.parametrize(
    "changes",
    [
        {"center": torch.zeros(3)},
        {"center": torch.full((4,), float("nan"))},
        {"scale": torch.zeros(4)},
        {"scale": -torch.ones(4)},
        {"head__weight": torch.zeros(2, 4, dtype=torch.float16)},
        {"head__bias": None},
        {"prototypes__0__mu": torch.full((2, 4), float("inf"))},
        {"prototypes__1__prior": torch.tensor([-1.0, 2.0])},
        {"prototypes__2__mu": torch.zeros(2, 4)},
        {"stranger": torch.zeros(1)},
    ],
)
def test_weights_that_are_not_what_they_should_be(folder, changes):
    retensor(folder, **changes)
    refused(folder, MappingError)


def test_logarithms_of_variances_out_of_bounds_still_give_numbers(folder):
    retensor(folder, prototypes__0__logvar=torch.full((2, 4), 1e30))
    follower = DomainFollower.from_pretrained(folder)
    assert bool(follower.prototypes[0].sample(8)[0].isfinite().all())


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_damaged_files(folder, damage, name):
    damage(folder / name)
    refused(folder)


@pytest.mark.parametrize(
    "files", [{}, {"../follower.safetensors": None}, {"/etc/passwd": None}, {WEIGHTS: None, "x": None}]
)
def test_files_that_are_not_its_own(folder, files):
    entry = {"size": (folder / WEIGHTS).stat().st_size, "sha256": "0" * 64}
    edit_config(folder, files=dict.fromkeys(files, entry))
    refused(folder, ArtifactError)


def test_artifacts_of_other_kinds(folder, tmp_path):
    with pytest.raises(ArtifactError, match="domain-follower"):
        KnowledgePlugin.from_pretrained(folder)
    with pytest.raises(ArtifactError, match="knowledge-plugin"):
        DomainFollower.from_pretrained(save_plugin(tmp_path / "plugin"))
    with pytest.raises(ArtifactError, match="no folder"):
        DomainFollower.from_pretrained(tmp_path / "nowhere")
