"""Configs and weights of the methods beside map-tuning that nobody could have written with good intent."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import ConfigError, KnowledgePluginError, MappingError
from knowledge_plugin.injection.network import Network
from tests import tiny
from tests.attacks.hostile import MAPPING, SETTINGS, contents, edit_config, read_json, redeclare, save_plugin_of
from tests.contract.architectures import build
from tests.contract.common import fingerprint

LAYERS = [method for method in SETTINGS if method != "passage"]
NAN = float("nan")
NO_NUMBER = [None, True, -1, 0, 1.5, 10**12, 10**100, "5", [], {}, [5]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A plugin of each method, to be copied before it is damaged."""
    return {method: save_plugin_of(tmp_path_factory.mktemp(method) / "artifact", method) for method in SETTINGS}


@pytest.fixture
def plugin_of(saved, tmp_path):
    return lambda method: Path(shutil.copytree(saved[method], tmp_path / "artifact"))


@pytest.fixture(params=SETTINGS)
def any_method(request, plugin_of):
    return plugin_of(request.param)


@pytest.fixture(params=LAYERS)
def on_layers(request, plugin_of):
    return plugin_of(request.param)


def refused(folder, error=ConfigError):
    before = contents(folder)
    with pytest.raises(error) as caught:
        KnowledgePlugin.from_pretrained(folder)
    assert len(str(caught.value)) < 2000
    assert contents(folder) == before


@pytest.mark.parametrize(
    "layers",
    [
        *[None, True, 0, "0", "01", {}, {"0": 1}, [], [[0]], ["0"], [None], [True], [False, True], [0.0], [0, 1.0]],
        *[[-1], [-1, 0], [0, 0], [1, 0], [0, 1, 1], [1_001], [2**31], [2**63], [10**100], list(range(1_001))],
        *[[0] * 100_000, [0, NAN]],
    ],
    ids=lambda layers: str(layers)[:30],
)
def test_layers(on_layers, layers):
    edit_config(on_layers, injection__layers=layers)
    refused(on_layers)


@pytest.mark.parametrize("value", NO_NUMBER, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("key", ["key_dim", "top"])
def test_numbers_of_methods_on_layers(on_layers, key, value):
    edit_config(on_layers, **{f"injection__{key}": value})
    refused(on_layers)


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("kformer", "lookup_dim"),
        ("memory", "lookup_dim"),
        ("memory", "heads"),
        ("kb-attention", "heads"),
        ("kb-attention", "head_dim"),
        ("passage", "tokens"),
    ],
)
@pytest.mark.parametrize("value", NO_NUMBER, ids=lambda value: str(value)[:20])
def test_numbers_of_one_method(plugin_of, method, key, value):
    folder = plugin_of(method)
    edit_config(folder, **{f"injection__{key}": value})
    refused(folder)


@pytest.mark.parametrize("scale", [None, True, 100, "100", 0.0, -1.0, 1e10, NAN, float("inf"), -float("inf")])
def test_the_scale_of_scores(plugin_of, scale):
    folder = plugin_of("kb-attention")
    edit_config(folder, injection__scale=scale)
    refused(folder)


def test_a_scale_beyond_what_a_float_holds(plugin_of):
    folder = plugin_of("kb-attention")
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text.replace('"scale": 100.0', '"scale": 1e999'), encoding="utf-8")
    refused(folder)


@pytest.mark.parametrize("key_dim", [9, 2**16, 2**16 + 1])
def test_keys_beyond_the_vectors(on_layers, key_dim):
    edit_config(on_layers, injection__key_dim=key_dim)
    refused(on_layers)


@pytest.mark.parametrize("causal", [None, 0, 1, "yes", []])
def test_what_is_no_yes_or_no(on_layers, causal):
    edit_config(on_layers, injection__causal=causal)
    refused(on_layers)


@pytest.mark.parametrize(
    "method",
    [
        *["", " ", "memory ", "Memory", "../memory", "memory/../../evil", "/etc/passwd", "C:\\memory", "memory\x00"],
        *[
            "knowledge_plugin.methods.memory",
            "memory:METHOD",
            "os:system",
            "m" * 100_000,
            "\ud800",
            None,
            5,
            ["memory"],
        ],
    ],
    ids=lambda method: ascii(method)[:30],
)
def test_methods_that_nobody_knows(any_method, method):
    edit_config(any_method, injection__method=method)
    refused(any_method)


def test_a_config_of_another_method(any_method):
    """Each section is of the method that it names, whose weights the file has not."""
    mine = read_json(any_method)["injection"]["method"]
    for method in {"map-tuning", *SETTINGS} - {mine}:
        edit_config(any_method, injection__method=method)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*ignoring keys")
            refused(any_method, KnowledgePluginError)


def test_unknown_keys_warn(any_method):
    edit_config(any_method, injection__every=0, injection__auto_map="evil.Method")
    with pytest.warns(UserWarning, match="auto_map, every"):
        KnowledgePlugin.from_pretrained(any_method)


def test_a_network_of_another_kind(on_layers):
    edit_config(on_layers, mapping__kind="mlp", mapping__hidden_dim=8)
    refused(on_layers)


@pytest.mark.parametrize(
    "changes",
    [
        {"mapping__output_dim": 2**16},
        {"mapping__output_dim": 2**13},
        {"mapping__input_dim": 2**16},
        {"mapping__input_dim": 2**12, "mapping__output_dim": 2**12},
        {"mapping__input_dim": 2**16, "mapping__output_dim": 2**16},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_no_memory_is_taken_for_a_network_that_its_file_cannot_hold(on_layers, changes, monkeypatch):
    monkeypatch.setattr(Network, "__init__", lambda *_: pytest.fail("a network was made"))
    edit_config(on_layers, **changes)
    refused(on_layers, (ConfigError, MappingError))


@pytest.mark.parametrize(
    "changes",
    [
        {"mapping__hidden_dim": 2**16},
        {"mapping__input_dim": 2**15},
        {"mapping__input_dim": 2**14, "mapping__hidden_dim": 2**13},
        {"mapping__output_dim": 2**16, "base_model__embedding_dim": 2**15},
        {"mapping__output_dim": 2**16, "base_model__embedding_dim": 2**10, "injection__tokens": 64},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_no_memory_is_taken_for_a_bridge_that_its_file_cannot_hold(plugin_of, changes, monkeypatch):
    folder = plugin_of("passage")
    monkeypatch.setattr(Network, "__init__", lambda *_: pytest.fail("a network was made"))
    edit_config(folder, **changes)
    refused(folder, MappingError)


def test_weights_that_the_config_does_not_declare(any_method):
    """Each weight in turn: of another shape, of another dtype, not finite, or not there; and one too many."""
    tensors = load_file(any_method / MAPPING)
    for name, tensor in tensors.items():
        for changed in (
            torch.zeros(*tensor.shape, 1),
            torch.zeros(3, 5, 7),
            tensor.double(),
            tensor.to(torch.int64),
            torch.full_like(tensor, NAN),
            torch.full_like(tensor, -torch.inf),
            None,
        ):
            others = {key: value for key, value in tensors.items() if key != name}
            save_file(others | ({} if changed is None else {name: changed}), any_method / MAPPING)
            redeclare(any_method, MAPPING)
            refused(any_method, MappingError)
    save_file(tensors | {"another": torch.zeros(1)}, any_method / MAPPING)
    redeclare(any_method, MAPPING)
    refused(any_method, MappingError)


def test_the_look_up_of_another_width(plugin_of):
    folder = plugin_of("kformer")
    tensors = load_file(folder / MAPPING)
    for name in ("found_by.query.weight", "found_by.key.weight"):
        save_file(tensors | {name: tensors[name].T.contiguous()}, folder / MAPPING)
        redeclare(folder, MAPPING)
        refused(folder, MappingError)


@pytest.mark.parametrize("width", [8, 15, 32])
def test_a_whole_plugin_for_hidden_states_of_another_width(on_layers, width):
    """Config and weights agree with each other, and with no such model."""
    config = read_json(on_layers)
    tensors = {}
    for name, tensor in load_file(on_layers / MAPPING).items():
        shape = [width if size == config["mapping"]["output_dim"] else size for size in tensor.shape]
        tensors[name] = torch.zeros(shape)
    save_file(tensors, on_layers / MAPPING)
    redeclare(on_layers, MAPPING)
    edit_config(on_layers, mapping__output_dim=width)
    model = build("llama")
    before = fingerprint(model)
    with pytest.raises(KnowledgePluginError):
        KnowledgePlugin.from_pretrained(on_layers).attach(model, tiny.tokenizer("wordpiece"))
    assert fingerprint(model) == before


def test_layers_that_the_model_does_not_have(on_layers):
    tensors = load_file(on_layers / MAPPING)
    edit_config(on_layers, injection__layers=[0, 999])
    save_file(tensors, on_layers / MAPPING)
    redeclare(on_layers, MAPPING)
    model = build("llama")
    before = fingerprint(model)
    with pytest.raises(KnowledgePluginError, match="layer 999"):
        KnowledgePlugin.from_pretrained(on_layers).attach(model, tiny.tokenizer("wordpiece"))
    assert fingerprint(model) == before
