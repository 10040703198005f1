"""The code in a card runs, as it is printed."""

from __future__ import annotations

import re

import pytest
import torch

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.config import read_config
from knowledge_plugin.hub.card import publish_card, render_card, sealed
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny

CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkpoint(tmp_path, wordpiece):
    folder = tmp_path / "checkpoint"
    tiny.classifier().save_pretrained(folder)
    wordpiece.save_pretrained(folder)
    return str(folder)


def run(card, **replaced):
    """Run every block of a card in one session, and return its names."""
    blocks = CODE.findall(card)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        for old, new in replaced.items():
            block = block.replace(f'"path/to/{old}"', repr(new))
        exec(compile(block, "README.md", "exec"), names)
    return names


def save(kb, folder, name=None):
    """Save a plugin, and return its card with the names of a few entities."""
    model = tiny.classifier()
    if name is not None:
        model.config._name_or_path = name
    plugin = KnowledgePlugin.for_model(model, kb)
    plugin.save_pretrained(folder)
    config = read_config(folder, type(plugin.config))
    return render_card("plugin.md.j2", config=config, knowledge_base=kb.config, names=kb.labels())


def check(names):
    plain = names["tokenizer"](names["text"])["input_ids"] if "text" in names else None
    width = names["batch"]["input_ids"].shape[1]
    assert names["outputs"].last_hidden_state.shape == (1, width, 16)
    assert int(names["batch"]["input_ids"].max()) >= 400  # an entity was read
    assert plain is None or width > len(plain)
    assert not find_hooks(names["model"])
    assert "my:1" in names["plugin"].knowledge_base


def test_of_a_plugin_in_a_folder(tmp_path, checkpoint, kb, capsys):
    card = save(kb, tmp_path / "plugin")
    check(run(card, **{"your/checkpoint": checkpoint, "this/folder": str(tmp_path / "plugin")}))
    assert "geo:new-york" in capsys.readouterr().out


def test_of_a_plugin_that_names_its_base_model(tmp_path, checkpoint, kb):
    card = save(kb, tmp_path / "plugin", name="org/base")
    assert 'checkpoint = "org/base"' in card
    check(run(card.replace('"org/base"', repr(checkpoint)), **{"this/folder": str(tmp_path / "plugin")}))


def test_of_a_plugin_whose_mentions_come_from_elsewhere(tmp_path, checkpoint):
    kb = tiny.knowledge_base(linker="external")
    card = save(kb, tmp_path / "plugin")
    check(run(card, **{"your/checkpoint": checkpoint, "this/folder": str(tmp_path / "plugin")}))


def test_of_a_plugin_on_the_hub(hub, tmp_path, checkpoint, kb):
    plugin = KnowledgePlugin.for_model(tiny.classifier(), kb)
    plugin.push_to_hub("alice/cities")
    card = tmp_path / "README.md"
    fresh = render_card("plugin.md.j2", config=plugin.config, knowledge_base=kb.config, names=kb.labels())
    card.write_text(sealed(fresh), encoding="utf-8")
    publish_card(card, None, "alice/cities")
    check(run(card.read_text(encoding="utf-8"), **{"your/checkpoint": checkpoint}))


def test_of_a_knowledge_base(tmp_path, checkpoint, kb, capsys):
    kb.save_pretrained(tmp_path / "kb")
    card = render_card("knowledge_base.md.j2", config=kb.config, names=["Paris"])
    names = run(card, **{"your/checkpoint": checkpoint, "this/folder": str(tmp_path / "kb")})
    assert names["plugin"].mapping(torch.zeros(1, 8)).shape == (1, 16)
    assert "geo:paris" in capsys.readouterr().out


def test_of_a_knowledge_base_on_the_hub(hub, tmp_path, checkpoint, kb):
    kb.push_to_hub("alice/cities-kb")
    card = tmp_path / "README.md"
    card.write_text(sealed(render_card("knowledge_base.md.j2", config=kb.config)), encoding="utf-8")
    publish_card(card, None, "alice/cities-kb")
    names = run(card.read_text(encoding="utf-8"), **{"your/checkpoint": checkpoint})
    assert isinstance(names["kb"], KnowledgeBase)


def test_of_several_plugins(hub, kb):
    for name, seed in (("one", 0), ("two", 1)):
        KnowledgePlugin.for_model(tiny.classifier(seed=seed), kb).push_to_hub("alice/maps", subfolder=name)
    card = hub.repos["model", "alice/maps"].resolve("main").files["README.md"].decode()
    blocks = CODE.findall(card)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["plugin"].knowledge_base) == len(kb)
