"""The other pages: their Python runs as it is printed, with tiny models in place of yours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from transformers import TrainingArguments

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, attachments
from knowledge_plugin.building import read_records
from knowledge_plugin.building.embedders import Embedding
from knowledge_plugin.injection.word_vectors import WordEncoder
from tests import tiny
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


NAMES = {"person:1": "Ada", "person:2": "Bo", "country:3": "Austria", "country:4": "Norway"}
TRIPLES = [("person:1", "lives in", "country:3"), ("person:2", "lives in", "country:4")]


@pytest.fixture
def short_runs(monkeypatch):
    """Runs of two steps, whatever the page says."""
    made = TrainingArguments.__init__

    def quick(self, *args, **options):
        made(self, *args, **options | {"max_steps": 2, "use_cpu": True, "dataloader_pin_memory": False})

    monkeypatch.setattr(TrainingArguments, "__init__", quick)


@pytest.fixture
def yours(tmp_path, monkeypatch):
    """What the pages take as given."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    entities = [Entity(i, name, description=f"the {name.lower()} of the museum") for i, name in NAMES.items()]
    kb = KnowledgeBase.from_entities(entities, torch.randn(len(NAMES), 4), name="people")
    model, tokenizer = tiny.classifier(), tiny.tokenizer("wordpiece")
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer)
    rows = [{"text": "Ada pays the tax.", "label": 0}, {"text": "Bo opened the museum.", "label": 1}]
    return {"model": model, "tokenizer": tokenizer, "kb": kb, "plugin": plugin, "rows": rows}


def test_a_decoder_that_describes(short_runs, yours):
    probing, baking = python_of("describe.md")
    names = yours | {"known": yours["kb"], "what_it_can_know": yours["rows"]}
    exec(probing, names)
    assert names["trainer"].state.global_step == 2
    assert not list(Path("plugin").glob("describe*"))
    exec(baking, names | {"get_peft_model": get_peft_model, "LoraConfig": LoraConfig})
    assert PeftConfig.from_pretrained("baked").r == 8


def test_a_second_loss(short_runs, yours):
    (code,) = python_of("auxiliary-losses.md")
    before = [p.clone() for p in yours["plugin"].mapping.parameters()]
    exec(code, yours)
    assert any(not torch.equal(a, b) for a, b in zip(before, yours["plugin"].mapping.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_which_mentions_deserve_knowledge(yours):
    (code,) = python_of("long-tail.md")
    encode = WordEncoder(yours["model"], yours["tokenizer"])
    triples = [*TRIPLES, ("person:5", "lives in", "country:3")]
    names = yours | {"Entity": Entity, "triples": triples, "texts": ["Ada opened it."], "encode": encode}
    exec(code, names | {"names": NAMES | {"person:5": "Cy"}})
    assert names["kb"]["person:5"].label == "Cy"
    (attachment,) = attachments(yours["model"])
    # Each is alone in its sentence, and Ada was read of once.
    assert [m.entity_id for m in attachment.explain("Ada opened it.") + attachment.explain("Cy opened it.")] == [
        "person:1",
        "person:5",
    ]
