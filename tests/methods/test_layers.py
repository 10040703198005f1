from __future__ import annotations

import pytest

from knowledge_plugin.errors import ConfigError, MappingError
from knowledge_plugin.methods.layers import chosen, is_causal, shape
from tests.contract.architectures import build


@pytest.mark.parametrize(("layers", "expected"), [(None, [1]), ([0], [0]), ([-1, 0], [0, 1])])
def test_layers_are_numbered_from_0_and_the_last_are_the_default(layers, expected):
    assert chosen(build("bert-masked-lm"), layers, last=1) == expected


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(MappingError, match="0 to 1, found 2"):
        chosen(build("llama"), [2], last=1)


@pytest.mark.parametrize("layers", [0, "01", [0.0], [True], {0: 1}])
def test_what_is_no_list_of_numbers_is_refused(layers):
    with pytest.raises(ConfigError, match="layers"):
        chosen(build("llama"), layers, last=1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[("bert-masked-lm", False), ("deberta-v2", False), ("modernbert", False), ("llama", True), ("t5", True)],
        *[("llama-classification", True), ("gpt2-classification", True), ("gpt-neox", True), ("opt-projected", True)],
    ],
)
def test_who_reads_from_left_to_right(name, expected):
    assert is_causal(build(name)) is expected


def test_its_parts_are_affine(kb):
    assert shape(build("opt-projected"), kb, None).output_dim == 16  # of hidden states, not of words
    with pytest.raises(MappingError, match="affine"):
        shape(build("llama"), kb, "mlp")
