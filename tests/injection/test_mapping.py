from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

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
    tensors = dict(MappingNetwork(AFFINE).state_dict())
    tensors["layers.0.weight"][0, 0] = float("nan")
    save_file(tensors, tmp_path / "m.safetensors")
    with pytest.raises(MappingError, match="finite"):
        MappingNetwork(AFFINE).load(tmp_path / "m.safetensors")


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"\x80\x04not tensors")
    with pytest.raises(ArtifactError, match="safetensors"):
        MappingNetwork(AFFINE).load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_training_has_spoilt_are_not_saved(tmp_path, value):
    mapping = MappingNetwork(MLP)
    with torch.no_grad():
        mapping.layers[1].bias[3] = value
    with pytest.raises(MappingError, match=r"layers\.1\.bias .*diverged.*learning rate"):
        mapping.save(tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_weights_that_float32_cannot_hold_are_not_saved(tmp_path):
    mapping = MappingNetwork(AFFINE).double()
    with torch.no_grad():
        mapping.layers[0].weight[0, 0] = 1e300
    with pytest.raises(MappingError, match="diverged"):
        mapping.save(tmp_path / "m.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_saved_as_float32(tmp_path, dtype):
    mapping, other = MappingNetwork(MLP).to(dtype), MappingNetwork(MLP)
    mapping.save(tmp_path / "m.safetensors")
    assert {tensor.dtype for tensor in load_file(tmp_path / "m.safetensors").values()} == {torch.float32}
    other.load(tmp_path / "m.safetensors")
    assert torch.equal(other.layers[0].weight, mapping.layers[0].weight.float())
    assert {weight.dtype for weight in mapping.parameters()} == {dtype}


def test_the_hidden_layer_is_gelu():
    mapping = MappingNetwork(MappingConfig("mlp", 3, 5, hidden_dim=7)).double()
    vectors = 4 * torch.randn(100, 3, dtype=torch.float64, requires_grad=True)
    first, second = mapping.layers
    expected = second(torch.nn.functional.gelu(first(vectors)))
    found = mapping(vectors)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        *(
            torch.autograd.grad(y.sin().sum(), [vectors, *mapping.parameters()], retain_graph=True)
            for y in (found, expected)
        ),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-10)
