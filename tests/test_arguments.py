from __future__ import annotations

import re
from pathlib import Path

import pytest

from knowledge_plugin import KnowledgePlugin, MapTuningTrainer, align, evaluate
from knowledge_plugin.arguments import check_plugin
from knowledge_plugin.errors import KnowledgePluginError, TrainingError
from tests import tiny

MADE = "KnowledgePlugin.for_model(model, knowledge_base, tokenizer)"


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("al", "found 'al'. Type: KnowledgePlugin.from_pretrained('al')"),
        (Path("al"), "Type: KnowledgePlugin.from_pretrained('al')"),
        (None, f"found None. Type: {MADE}, or KnowledgePlugin.from_pretrained(folder)"),
        (tiny.knowledge_base(), f"dtype='float32'). Type: {MADE}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "use",
    [
        lambda plugin, model, tokenizer: align(plugin, model, tokenizer),
        lambda plugin, model, tokenizer: evaluate(plugin, model, tokenizer, [{"text": "a", "label": 0}]),
        lambda plugin, model, tokenizer: MapTuningTrainer(
            model, plugin=plugin, processing_class=tokenizer, train_dataset=[{"text": "a", "label": 0}]
        ),
    ],
)
def test_what_is_no_plugin(model, wordpiece, use, given, advice):
    with pytest.raises(KnowledgePluginError, match=re.escape(advice)):
        use(given, model, wordpiece)


def test_a_plugin(model, kb):
    check_plugin(KnowledgePlugin.for_model(model, kb), TrainingError)
