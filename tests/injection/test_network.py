from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from knowledge_plugin.errors import ArtifactError, MappingError
from knowledge_plugin.injection.network import Network


class Two(Network):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 2)


def test_weights_come_back(tmp_path):
    network, other = Two(), Two()
    network.save(tmp_path / "w.safetensors")
    other.load(tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_they_are_stored_in_float32(tmp_path):
    Two().half().save(tmp_path / "w.safetensors")
    assert {t.dtype for t in load_file(tmp_path / "w.safetensors").values()} == {torch.float32}


def test_nan_is_not_saved(tmp_path):
    network = Two()
    with torch.no_grad():
        network.first.weight[0, 0] = float("nan")
    with pytest.raises(MappingError, match=r"first\.weight"):
        network.save(tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()


def test_weights_of_another_shape_are_refused(tmp_path):
    nn_other = Two()
    nn_other.second = nn.Linear(4, 4)
    nn_other.save(tmp_path / "w.safetensors")
    with pytest.raises(MappingError, match="expected the weights"):
        Two().load(tmp_path / "w.safetensors")


def test_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="no whole safetensors"):
        Two().load(tmp_path / "w.safetensors")
