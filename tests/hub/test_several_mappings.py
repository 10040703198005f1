"""Several mappings in one repo, one per base model; and which plugins fit a checkpoint."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from huggingface_hub import HfApi
from typer.testing import CliRunner

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, list_plugins
from knowledge_plugin.cli.main import app
from knowledge_plugin.errors import ArtifactError, IncompatibleModelError
from tests import tiny

N = 300


@pytest.fixture(scope="module")
def kb():
    entities = [Entity(f"geo:{i}", f"Town {i}") for i in range(N)]
    vectors = torch.randn(N, 8, generator=torch.Generator().manual_seed(0))
    return KnowledgeBase.from_entities(entities, vectors, name="towns", id_scheme="geo", license="cc0-1.0")


def named_model(name: str, seed: int, **options: int):
    model = tiny.classifier(seed=seed, **options)
    model.config._name_or_path = name
    return model


@pytest.fixture(scope="module")
def small():
    return named_model("org/small", 0)


@pytest.fixture(scope="module")
def other():
    return named_model("org/other", 1)


@pytest.fixture
def published(hub, kb, small, other):
    """Two mappings of one knowledge base, which lies in a dataset repo."""
    kb.push_to_hub("alice/towns-kb")
    plugins = {"small": KnowledgePlugin.for_model(small, kb), "other": KnowledgePlugin.for_model(other, kb)}
    for name, plugin in plugins.items():
        plugin.push_to_hub("alice/maps", subfolder=name)
    return plugins


def same(a: KnowledgePlugin, b: KnowledgePlugin) -> bool:
    ids = ["geo:0", f"geo:{N - 1}"]
    return torch.equal(a.word_embeddings(ids), b.word_embeddings(ids))


@pytest.mark.parametrize("name", ["small", "other"])
def test_the_model_chooses(name, hub, published, request, wordpiece):
    model = request.getfixturevalue(name)
    plugin = KnowledgePlugin.from_pretrained("alice/maps")
    hub.log.clear()
    with plugin.attach(model, wordpiece) as attachment:
        assert attachment.explain("in Town 7")
    assert same(plugin, published[name])
    assert plugin.config.base_model.name == f"org/{name}"
    unwanted = {"small": "other", "other": "small"}[name]
    assert not [request for request in hub.log if f"{unwanted}/mapping.safetensors" in request]


def test_a_fine_tuned_checkpoint_chooses_too(published, small, wordpiece):
    model = named_model("my-fine-tuned", 0)
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(
            0.001 * torch.randn(model.get_input_embeddings().weight.shape, generator=torch.Generator().manual_seed(3))
        )
    plugin = KnowledgePlugin.from_pretrained("alice/maps")
    plugin.attach(model, wordpiece).detach()
    assert same(plugin, published["small"])


def test_a_subfolder_said_outright(published):
    assert same(KnowledgePlugin.from_pretrained("alice/maps", subfolder="other"), published["other"])
    with pytest.raises(ArtifactError, match="no folder 'third'"):
        KnowledgePlugin.from_pretrained("alice/maps", subfolder="third")


def test_it_stays_at_the_commit_that_was_opened(hub, published, small, other, kb, wordpiece):
    plugin = KnowledgePlugin.from_pretrained("alice/maps")
    with torch.no_grad():
        published["small"].mapping.layers[0].weight.add_(1)
    before = KnowledgePlugin.from_pretrained("alice/maps", subfolder="small")
    published["small"].push_to_hub("alice/maps", subfolder="small")
    plugin.attach(small, wordpiece).detach()
    assert same(plugin, before)
    assert not same(plugin, published["small"])


def test_a_model_that_none_is_for(published, wordpiece):
    plugin = KnowledgePlugin.from_pretrained("alice/maps")
    with pytest.raises(IncompatibleModelError, match=r"org/other.*org/small") as caught:
        plugin.attach(named_model("org/third", 7), wordpiece)
    assert "for_model" in str(caught.value)


def test_two_for_one_space_are_not_guessed_between(published, small, kb, wordpiece):
    KnowledgePlugin.for_model(small, kb).push_to_hub("alice/maps", subfolder="small-2")
    plugin = KnowledgePlugin.from_pretrained("alice/maps")
    with pytest.raises(ArtifactError, match="subfolder='small' or subfolder='small-2'"):
        plugin.attach(small, wordpiece)


def test_before_it_is_decided_its_parts_are_not_there(published):
    plugin = KnowledgePlugin.from_pretrained("alice/maps")
    for look in (lambda: plugin.config, lambda: plugin.mapping, lambda: plugin.knowledge_base):
        with pytest.raises(ArtifactError, match=r"other, small.*subfolder="):
            look()
    assert "small" in repr(plugin)
    with pytest.raises(AttributeError):
        plugin.no_such_thing
    with pytest.raises(ArtifactError, match="subfolder="):
        pickle.dumps(plugin)


def test_from_a_folder(published, small, tmp_path, wordpiece, hub):
    for name, plugin in published.items():
        plugin.save_pretrained(tmp_path / name)
    with hub.no_requests():
        plugin = KnowledgePlugin.from_pretrained(tmp_path)
        plugin.attach(small, wordpiece).detach()
        assert same(plugin, published["small"])


def test_the_only_one_of_a_folder_is_taken(published, tmp_path):
    published["small"].save_pretrained(tmp_path / "small")
    assert same(KnowledgePlugin.from_pretrained(tmp_path), published["small"])


def test_a_folder_without_any(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ArtifactError, match="is not a knowledge-plugin"):
        KnowledgePlugin.from_pretrained(tmp_path)


def test_offline_once_it_was_attached(published, hub, small, wordpiece):
    KnowledgePlugin.from_pretrained("alice/maps").attach(small, wordpiece).detach()
    with hub.no_requests():
        plugin = KnowledgePlugin.from_pretrained("alice/maps", local_files_only=True)
        plugin.attach(small, wordpiece).detach()
        assert same(plugin, published["small"])


class TestPushing:
    def test_the_card_of_the_repo_names_every_mapping(self, hub, published):
        card = hub.repos["model", "alice/maps"].resolve("main").files["README.md"].decode()
        metadata = HfApi().model_info("alice/maps").card_data.to_dict()
        assert sorted(metadata["base_model"]) == ["org/other", "org/small"]
        assert metadata["library_name"] == "knowledge-plugin"
        assert metadata["license"] == "cc0-1.0"
        assert 'subfolder="other"' in card
        assert 'subfolder="small"' in card

    def test_found_by_either_base_model(self, published):
        for base in ("org/small", "org/other"):
            assert [p.repo_id for p in list_plugins(base)] == ["alice/maps"]

    def test_the_others_stay_as_they_are(self, hub, published, kb):
        repo = hub.repos["model", "alice/maps"]
        before = {k: v for k, v in repo.resolve("main").files.items() if k.startswith("other/")}
        changed = KnowledgePlugin.from_pretrained("alice/maps", subfolder="small")
        changed.knowledge_base.upsert([Entity("geo:new", "New Town")], torch.ones(1, 8))
        changed.push_to_hub("alice/maps", subfolder="small")
        files = repo.resolve("main").files
        assert {k: v for k, v in files.items() if k.startswith("other/")} == before
        assert "small/knowledge_base/config.json" in files  # it is no longer the one of the dataset repo
        assert "geo:new" in KnowledgePlugin.from_pretrained("alice/maps", subfolder="small").knowledge_base

    def test_words_of_a_person_survive(self, hub, published):
        repo = hub.repos["model", "alice/maps"]
        files = dict(repo.resolve("main").files)
        for name in ("README.md", "small/README.md"):
            files[name] += b"\nBy hand.\n"
        repo.commit("main", files, "edit", repo.refs["main"])
        with torch.no_grad():
            published["small"].mapping.layers[0].weight.add_(1)
        published["small"].push_to_hub("alice/maps", subfolder="small")
        for name in ("README.md", "small/README.md"):
            assert repo.resolve("main").files[name].endswith(b"\nBy hand.\n")

    def test_a_push_that_changes_nothing_makes_no_commit(self, hub, published):
        before = dict(hub.repos["model", "alice/maps"].commits)
        published["small"].push_to_hub("alice/maps", subfolder="small")
        assert hub.repos["model", "alice/maps"].commits == before

    @pytest.mark.parametrize("subfolder", ["..", "a/../b", "/a", "knowledge_base", "", "a\\b", ".hidden"])
    def test_a_subfolder_that_is_none(self, hub, published, subfolder):
        before = dict(hub.repos["model", "alice/maps"].commits)
        with pytest.raises(ArtifactError, match="subfolder"):
            published["small"].push_to_hub("alice/maps", subfolder=subfolder)
        assert hub.repos["model", "alice/maps"].commits == before

    def test_a_repo_that_is_a_plugin_itself_takes_no_other(self, hub, published):
        published["small"].push_to_hub("alice/one")
        before = dict(hub.repos["model", "alice/one"].commits)
        with pytest.raises(ArtifactError, match="holds nothing else"):
            published["other"].push_to_hub("alice/one", subfolder="other")
        assert hub.repos["model", "alice/one"].commits == before


class TestFits:
    @pytest.fixture(autouse=True)
    def _others(self, hub, published, other, kb):
        KnowledgePlugin.for_model(other, kb).push_to_hub("alice/single")
        hub.add("bob/broken", {"config.json": b"{", "README.md": b"---\nlibrary_name: knowledge-plugin\n---\n"})

    def test_by_fingerprint(self, hub, small, other):
        assert {(p.repo_id, p.subfolder, p.fit) for p in list_plugins(fits=other)} == {
            ("alice/maps", "other", "same"),
            ("alice/single", None, "same"),
        }
        assert {(p.repo_id, p.subfolder, p.fit) for p in list_plugins(fits=small)} == {("alice/maps", "small", "same")}
        assert list(list_plugins(fits=named_model("org/third", 9))) == []

    def test_only_configs_are_fetched(self, hub, small):
        hub.log.clear()
        list(list_plugins(fits=small))
        fetched = [request for request in hub.log if "/resolve/" in request]
        assert fetched
        assert all(request.endswith("config.json") for request in fetched)

    def test_without_a_model_nothing_is_said(self):
        assert {(p.repo_id, p.subfolder, p.fit) for p in list_plugins(author="alice")} == {
            ("alice/maps", None, None),
            ("alice/single", None, None),
        }

    def test_on_the_command_line(self, small, tmp_path):
        small.save_pretrained(tmp_path / "checkpoint")
        done = CliRunner().invoke(app, ["search", "--fits", str(tmp_path / "checkpoint"), "--json"])
        assert done.exit_code == 0, done.output
        assert [(p["repo_id"], p["subfolder"], p["fit"]) for p in json.loads(done.stdout)] == [
            ("alice/maps", "small", "same")
        ]
        shown = CliRunner().invoke(app, ["search", "--fits", str(tmp_path / "checkpoint")])
        assert "small" in shown.stdout
        assert "same" in shown.stdout

    def test_what_is_no_checkpoint(self, tmp_path):
        done = CliRunner().invoke(app, ["search", "--fits", str(tmp_path)])
        assert done.exit_code == 1
        assert "no checkpoint" in done.stderr
