from __future__ import annotations

import pytest
import torch

from knowledge_plugin.config import MappingConfig
from knowledge_plugin.errors import ArtifactError, MappingError
from knowledge_plugin.injection.mapping import MappingNetwork

AFFINE, MLP = MappingConfig("affine", 8, 16), MappingConfig("mlp", 8, 16, hidden_dim=12)


def test_affine_is_a_matrix_and_a_bias():
    mapping = MappingNetwork(AFFINE)
    vectors = torch.randn(5, 8)
    weight, bias = mapping.parameters()
    torch.testing.assert_close(mapping(vectors), vectors @ weight.T + bias)
    assert sum(p.numel() for p in mapping.parameters()) == 8 * 16 + 16


def test_mlp_has_one_hidden_layer_and_is_not_linear():
    mapping = MappingNetwork(MLP)
    assert sum(p.numel() for p in mapping.parameters()) == 8 * 12 + 12 + 12 * 16 + 16
    vectors = torch.randn(5, 8)
    bias = mapping(torch.zeros(5, 8))
    assert not torch.allclose(mapping(2 * vectors) - bias, 2 * (mapping(vectors) - bias), atol=1e-4)


@pytest.mark.parametrize("config", [MappingConfig("affine", 128, 384), MappingConfig("mlp", 128, 384, hidden_dim=512)])
@pytest.mark.parametrize("n", [1, 2, 7, 33, 300])
def test_a_row_does_not_depend_on_its_neighbours(config, n):
    mapping = MappingNetwork(config)
    vectors = torch.randn(300, 128)
    assert torch.equal(mapping(vectors[:n]), mapping(vectors)[:n])


def test_the_dtype_is_the_inputs_and_the_weights_stay_float32():
    mapping = MappingNetwork(MLP)
    assert mapping(torch.randn(2, 8)).dtype == torch.float32
    assert mapping(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in mapping.parameters())


@pytest.mark.parametrize("config", [AFFINE, MLP])
def test_saved_and_loaded_it_is_the_same(config, tmp_path):
    mapping, other = MappingNetwork(config), MappingNetwork(config)
    mapping.save(tmp_path / "m.safetensors")
    other.load(tmp_path / "m.safetensors")
    vectors = torch.randn(3, 8)
    assert torch.equal(mapping(vectors), other(vectors))


def test_weights_of_another_shape_are_refused(tmp_path):
    MappingNetwork(MappingConfig("affine", 9, 16)).save(tmp_path / "m.safetensors")
    with pytest.raises(MappingError, match="expected the weights"):
        MappingNetwork(AFFINE).load(tmp_path / "m.safetensors")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    mapping = MappingNetwork(AFFINE)
    with torch.no_grad():
        next(mapping.parameters())[0, 0] = float("nan")
    mapping.save(tmp_path / "m.safetensors")
    with pytest.raises(MappingError, match="finite"):
        MappingNetwork(AFFINE).load(tmp_path / "m.safetensors")


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"\x80\x04not tensors")
    with pytest.raises(ArtifactError, match="safetensors"):
        MappingNetwork(AFFINE).load(tmp_path / "m.safetensors")
