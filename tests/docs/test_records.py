"""docs/records.md and docs/propagation.md: their Python runs as it is printed, with tiny models in place of yours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from knowledge_plugin import KnowledgeBase
from knowledge_plugin.building import read_records
from knowledge_plugin.building.embedders import Embedding
from tests.building import models
from tests.evaluation.propagation import counting
from tests.evaluation.propagation.test_entities import by_genre

DOCS = Path(__file__).parents[2] / "docs"


def python_of(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_a_knowledge_base_of_what_a_model_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = models.causal()
    model.name_or_path = "tiny"

    def embedder(source):
        return Embedding(source.entities["id"].to_pylist(), np.eye(len(source.entities), 4, dtype=np.float32))

    names = {"model": model, "tokenizer": models.tokenizer(), "embedder": embedder}
    (code,) = python_of("records.md")
    # An untrained model is not as sure of what it says.
    exec(code.replace("at_least=0.6", "at_least=0.0"), names)
    assert "2 of 2 records kept" in capsys.readouterr().out
    assert list(read_records("facts.jsonl")) == names["found"].kept
    assert KnowledgeBase.from_pretrained("kb").count_generated() == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_does_knowledge_propagate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    counting.write(counting.spans(), tmp_path / "entity_knowledge_propagation")
    monkeypatch.setattr("knowledge_plugin.building.embedders.TextEmbedder", lambda: by_genre)
    tokenizer = counting.make_tokenizer()
    model = counting.make_model("causal", tokenizer)
    plugin = counting.plugin_for(model, tokenizer, counting.knowledge(4))
    (code,) = python_of("propagation.md")
    exec(code, names := {"plugin": plugin, "model": model, "tokenizer": tokenizer})
    assert names["report"].coverage.added == 8
    assert "its definition in the text" in capsys.readouterr().out
    assert plugin.results[-1].metric == "perplexity"
