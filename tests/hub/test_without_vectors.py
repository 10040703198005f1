"""The index is fetched only when it is needed."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.cli.main import app
from knowledge_plugin.errors import ArtifactError
from tests import tiny

N = 300


@pytest.fixture
def plugin():
    entities = [Entity(f"geo:{i}", f"Town {i}") for i in range(N)]
    kb = KnowledgeBase.from_entities(
        entities, torch.randn(N, 8, generator=torch.Generator().manual_seed(0)), name="towns", license="cc0-1.0"
    )
    return KnowledgePlugin.for_model(tiny.classifier(), kb)


@pytest.fixture(params=["within the plugin", "in a repo of its own"])
def published(request, hub, plugin):
    if request.param == "in a repo of its own":
        plugin.knowledge_base.push_to_hub("alice/towns-kb")
    plugin.push_to_hub("alice/towns")
    hub.log.clear()
    return hub


def fetched_vectors(hub) -> bool:
    return any("embeddings-" in request and "/resolve/" in request for request in hub.log)


def test_names_without_vectors(published, plugin, wordpiece, tmp_path):
    opened = KnowledgePlugin.from_pretrained("alice/towns", vectors=False)
    assert not fetched_vectors(published)
    assert opened.knowledge_base["geo:7"].label == "Town 7"
    assert opened.default_linker()(["in Town 7"])[0][0].entity_id == "geo:7"
    for use in (
        lambda: opened.attach(tiny.classifier(), wordpiece),
        lambda: opened.knowledge_base.vectors([0]),
        lambda: opened.save_pretrained(tmp_path / "copy"),
        lambda: opened.knowledge_base.upsert([Entity("geo:new", "New")], torch.ones(1, 8)),
    ):
        with pytest.raises(ArtifactError, match="without its vectors"):
            use()
    assert not (tmp_path / "copy" / "config.json").exists()


def test_offline_too(published, plugin):
    KnowledgePlugin.from_pretrained("alice/towns", vectors=False)
    with published.no_requests():
        opened = KnowledgePlugin.from_pretrained("alice/towns", vectors=False, local_files_only=True)
        assert len(opened.knowledge_base) == N


def test_they_come_later(published, plugin):
    KnowledgePlugin.from_pretrained("alice/towns", vectors=False)
    whole = KnowledgePlugin.from_pretrained("alice/towns")
    assert fetched_vectors(published)
    assert torch.equal(whole.word_embeddings(["geo:7"]), plugin.word_embeddings(["geo:7"]))


@pytest.mark.parametrize(
    "command",
    [["inspect", "alice/towns", "--json"], ["link", "alice/towns", "in Town 7", "--json"]],
)
def test_commands_that_do_without(published, command):
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)
    assert not fetched_vectors(published)


def test_the_tables_of_a_stranger_are_checked_all_the_same(hub, plugin):
    plugin.knowledge_base.push_to_hub("alice/towns-kb")
    repo = hub.repos["dataset", "alice/towns-kb"]
    files = dict(repo.resolve("main").files)
    files["entities.parquet"] = files["entities.parquet"][:-1] + bytes([files["entities.parquet"][-1] ^ 1])
    repo.commit("main", files, "altered", repo.refs["main"])
    with pytest.raises(ArtifactError):
        KnowledgeBase.from_pretrained("alice/towns-kb", vectors=False)
