"""``evaluate`` over methods that look entries up in layers: the same controls, with keys that stay."""

from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin, evaluate
from knowledge_plugin.errors import KnowledgeBaseError
from tests import tiny

ROWS = [{"text": f"the mayor came to {name}", "label": i % 3} for i, name in enumerate(["Paris", "Berlin", "York"] * 4)]


@pytest.fixture
def model():
    """A classifier that is loud enough for what is added to it to be heard."""
    model = tiny.classifier()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)
    return model


@pytest.fixture(params=["kformer", "memory"])
def plugin(request, model):
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method=request.param, key_dim=3)
    with torch.no_grad():
        for parameter in plugin.mapping.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    return plugin


def _evaluate(plugin, model, wordpiece, **options):
    return evaluate(plugin, model, wordpiece, ROWS, "loss", resamples=50, progress=False, probe=False, **options)


def test_every_control_is_another_and_the_untrained_network_is_the_base(plugin, model, wordpiece):
    report = _evaluate(plugin, model, wordpiece, controls=("none", "untrained", "shuffled", "random", "zero"))
    assert report["untrained"].value == report["none"].value
    assert len({report[name].value for name in ("none", "plugin", "shuffled", "random", "zero")}) == 5
    assert report.entities == 3
    assert report.form == plugin.config.injection.method


def test_none_is_the_base_model(plugin, model, wordpiece):
    report = _evaluate(plugin, model, wordpiece, controls=("none",))
    batch = wordpiece([row["text"] for row in ROWS], padding=True, return_tensors="pt")
    labels = torch.tensor([row["label"] for row in ROWS])
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model(**batch).logits, labels)
    assert report["none"].value == pytest.approx(float(expected), abs=1e-5)


def test_vectors_that_are_keys_as_a_whole_have_no_control(model, wordpiece):
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method="memory")
    report = _evaluate(plugin, model, wordpiece)
    assert set(report.omitted) >= {"shuffled", "random"}
    with pytest.raises(KnowledgeBaseError, match="keys as a whole"):
        _evaluate(plugin, model, wordpiece, controls=("shuffled",))
