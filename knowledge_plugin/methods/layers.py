"""What methods that hang on layers have in common when they are made for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from knowledge_plugin.config import LayerInjectionConfig, MappingConfig, MappingKind, parse
from knowledge_plugin.errors import ConfigError, IncompatibleModelError, MappingError
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.layers import transformer_layers
from knowledge_plugin.knowledge_base import KnowledgeBase


def shape(model: nn.Module, kb: KnowledgeBase, mapping: MappingKind | None) -> MappingConfig:
    """Return the section ``mapping``: from entity vectors to hidden states.

    Raises:
        MappingError: Another kind than ``"affine"``, of which all parts of such a network are.
    """
    if mapping not in (None, "affine"):
        raise MappingError(f"mapping: this method's network is 'affine' in all its parts, found {mapping!r}.")
    config: Any = bare_model(model).config
    return MappingConfig("affine", kb.config.dim, config.get_text_config().hidden_size)


def chosen(model: nn.Module, layers: Sequence[int] | None, last: int) -> list[int]:
    """Return the numbers of the chosen layers, by default the ``last`` ones; -1 is the last one.

    Raises:
        ConfigError: They are no list of numbers.
        MappingError: There is no such layer.
    """
    depth = len(transformer_layers(model))
    if layers is None:
        return list(range(max(0, depth - last), depth))
    if not isinstance(layers, Sequence):
        raise ConfigError(f"layers: expected a list of numbers such as [0, 1], found {layers!r:.80}.")
    layers = parse(list[int], list(layers), "layers")
    if wrong := [number for number in layers if not -depth <= number < depth]:
        raise MappingError(f"layers: expected numbers from 0 to {depth - 1}, found {wrong[0]}.")
    return sorted({number % depth for number in layers})


def is_causal(model: nn.Module) -> bool:
    """Return whether the layers of a model read from left to right, so that a token must not see what follows."""
    if bare_model(model).config.is_encoder_decoder:  # type: ignore[union-attr]
        return True
    attentions = [m for layer in transformer_layers(model) for m in layer.modules() if hasattr(m, "is_causal")]
    generates = getattr(bare_model(model), "can_generate", lambda: False)
    return any(bool(module.is_causal) for module in attentions) or bool(generates())


def check_direction(config: LayerInjectionConfig, model: nn.Module) -> None:
    """Raise IncompatibleModelError if a plugin that pools whole texts would let a decoder see what follows."""
    if not config.causal and is_causal(model):
        raise IncompatibleModelError(
            f"the plugin was made for an encoder and looks up whole texts; {type(bare_model(model)).__name__} reads "
            "from left to right, and would see what follows. Make one for this model: "
            "KnowledgePlugin.for_model(model, kb, method=...)"
        )
