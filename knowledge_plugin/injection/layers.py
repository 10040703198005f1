"""The layers of a live transformer and what is in one: the feed-forward and the self-attention.

Everything is told by structure, never by the name of an architecture or of a class.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from knowledge_plugin.errors import IncompatibleModelError
from knowledge_plugin.injection.embeddings import bare_model

_ADVICE = (
    "Take a dense model such as LlamaForCausalLM, or another way in: KnowledgePlugin.for_model(..., "
    "method='map-tuning'), on the command line --method map-tuning"
)


@dataclass(frozen=True)
class FeedForward:
    """``up``: its input is what the feed-forward gets. ``down``: its output is what the feed-forward gives."""

    up: nn.Module
    down: nn.Module


def transformer_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers of the stack that writes the output, first to last, also inside wrappers of PEFT or compile.

    Of an encoder-decoder the decoder's, of a model with a vision tower the text model's. ALBERT repeats one layer.

    Raises:
        IncompatibleModelError: The model has no stack of layers.
    """
    bare = bare_model(model)
    decoder = getattr(bare, "get_decoder", None)
    text_config = getattr(getattr(bare, "config", None), "get_text_config", None)
    said = getattr(text_config(decoder=True), "num_hidden_layers", None) if callable(text_config) else None
    # transformers looks for a decoder by common names, and in ModernBERT's masked LM hits the head, which has no stack.
    for scope in (decoder() if callable(decoder) else None, bare):
        stacks = list(_stacks(scope)) if isinstance(scope, nn.Module) else []
        if stacks:
            return max(reversed(stacks), key=lambda stack: (len(stack) == said, len(stack)))  # on ties, the last
    raise IncompatibleModelError(
        f"{type(bare).__name__}: expected a transformers model with a torch.nn.ModuleList of layers, found no such "
        "list. Of a SentenceTransformer, pass its transformer: st[0].model"
    )


def _stacks(module: nn.Module) -> Iterator[list[nn.Module]]:
    """Yield every outermost list of layers; lists inside a layer hold its parts or its experts."""
    for child in module.children():
        layers = _flat(child) if isinstance(child, nn.ModuleList) else []
        if any(True for layer in layers for _ in layer.children()):
            yield layers
        else:  # no list, or one of plain projections or norms
            yield from _stacks(child)


def _flat(layers: nn.ModuleList) -> list[nn.Module]:
    """Return the layers with groups of them opened: ALBERT has a list of modules that hold nothing but a list."""
    flat: list[nn.Module] = []
    for layer in layers:
        inside = [layer] if isinstance(layer, nn.ModuleList) else list(layer.children())
        # T5 has nothing but a list in a layer too, but of unlike parts.
        group = inside[0] if len(inside) == 1 and len({type(part) for part in inside[0].children()}) == 1 else None
        flat += _flat(group) if isinstance(group, nn.ModuleList) else [layer]
    return flat


def feed_forward(layer: nn.Module, width: int) -> FeedForward:
    """Return the projections at both ends of the feed-forward of a layer whose hidden states are ``width`` wide.

    Raises:
        IncompatibleModelError: The layer has no feed-forward, a mixture of experts, or several feed-forwards.
    """
    parts = [(part, _shape(part)) for part in _parts(layer)]
    expected = f"{type(layer).__name__}: expected one feed-forward from and to width {width}, found"
    for part, shape in parts:
        if shape is None and _holds_experts(part):  # refused also with a dense expert beside, which a gate may scale
            raise IncompatibleModelError(f"{expected} {type(part).__name__}, like a mixture of experts. {_ADVICE}")
    found: list[tuple[int, FeedForward]] = []
    for i, (down, down_shape) in enumerate(parts):
        if down_shape is not None and down_shape[1] == width:
            inner = down_shape[0]
            others = parts[:i][::-1] + parts[i + 1 :]  # nearest before first, then what comes after
            # Some project to value and gate at once, to twice the inner width.
            ups = [up for up, up_shape in others if up_shape in ((width, inner), (width, 2 * inner))]
            found += [(inner, FeedForward(up, down)) for up in ups[:1]]
    widest = max((inner for inner, _ in found), default=0)  # wider than the low-rank pairs that Gemma 3n has beside
    found = [pair for pair in found if pair[0] == widest]
    # Where the inner width is the width, the projection behind BERT's attention fits too; the feed-forward comes last.
    if not found or (len(found) > 1 and widest != width):
        raise IncompatibleModelError(f"{expected} {len(found)}. {_ADVICE}")
    return found[-1][1]


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that work on each token alone, in order, without the insides of projections."""
    for child in module.children():
        if not _mixes_tokens(child):
            yield child
            if _shape(child) is None:
                yield from _parts(child)


def _mixes_tokens(module: nn.Module) -> bool:
    """Tell attention by its heads, and state-space models and other mixers by their convolution over the text."""
    heads = any({"head", "heads"} & set(name.split("_")) for name in vars(module))
    return heads or any(isinstance(child, nn.Conv1d) for child in module.children())


def _shape(module: nn.Module) -> tuple[int, int] | None:
    """Return ``(in, out)`` of a projection, also quantised or inside a layer of PEFT; ``None`` if it is none."""
    while isinstance(inside := getattr(module, "base_layer", getattr(module, "original_module", None)), nn.Module):
        module = inside
    if hasattr(module, "nf") and isinstance(weight := getattr(module, "weight", None), nn.Parameter):
        return weight.shape[0], weight.shape[1]  # transformers' Conv1D, a linear layer stored the other way round
    sizes = getattr(module, "in_features", None), getattr(module, "out_features", None)
    return (sizes[0], sizes[1]) if isinstance(sizes[0], int) and isinstance(sizes[1], int) else None


def _holds_experts(module: nn.Module) -> bool:
    """Tell experts: one parameter with a matrix for each, or a collection of like modules."""
    children = list(module.children()) if isinstance(module, (nn.ModuleList, nn.ModuleDict)) else []
    return len(children) > len({type(c) for c in children}) or any(p.dim() == 3 for p in module.parameters(False))


def self_attention(layer: nn.Module) -> nn.Module:
    """Return the self-attention of a decoder's layer, which calls the attention interface of transformers.

    Raises:
        IncompatibleModelError: There is none, as in encoders, state-space models and models with an attention apart.
    """
    found = [
        m
        for m in layer.modules()
        if hasattr(m, "layer_idx") and hasattr(m, "config") and getattr(m, "is_causal", False) is True
        if not getattr(m, "is_cross_attention", False)
        # Falcon has the attributes and attends by itself: only the code tells.
        if "ALL_ATTENTION_FUNCTIONS" in inspect.unwrap(type(m).forward).__code__.co_names
    ]
    if len(found) == 1:
        return found[0]
    raise IncompatibleModelError(
        f"{type(layer).__name__}: expected one causal self-attention that calls transformers' attention interface, "
        f"found {len(found)}. {_ADVICE}"
    )
