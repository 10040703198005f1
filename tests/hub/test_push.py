"""Publishing, against a loopback Hub that the real client talks to."""

from __future__ import annotations

import threading

import pytest
import torch
from huggingface_hub import HfApi, snapshot_download

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, list_plugins
from knowledge_plugin.errors import ArtifactError, HubError
from tests import tiny
from tests.hub.loopback import Fault

BIG = 300  # entities, so that the embeddings are an LFS file of the loopback Hub


def vectors(seed: int) -> torch.Tensor:
    return torch.randn(BIG, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def kb() -> KnowledgeBase:
    entities = [Entity(f"geo:{i}", f"Town {i}", popularity=BIG - i) for i in range(BIG)]
    return KnowledgeBase.from_entities(
        entities, vectors(0), name="towns", id_scheme="geo", license="cc0-1.0", version="1"
    )


@pytest.fixture
def plugin(kb) -> KnowledgePlugin:
    model = tiny.classifier()
    model.config._name_or_path = "org/base"
    return KnowledgePlugin.for_model(model, kb)


def same(a: KnowledgePlugin, b: KnowledgePlugin) -> bool:
    ids = ["geo:0", "geo:7", f"geo:{BIG - 1}"]
    return torch.equal(a.word_embeddings(ids), b.word_embeddings(ids))


def test_pushed_and_loaded_by_name_tag_and_commit(hub, plugin):
    commit = plugin.push_to_hub("alice/towns")
    HfApi().create_tag("alice/towns", tag="v1", revision="main")
    for revision in (None, "main", "v1", commit.oid, commit.oid[:8]):
        assert same(KnowledgePlugin.from_pretrained("alice/towns", revision=revision), plugin)
    files = hub.repos["model", "alice/towns"].resolve("main").files
    assert "config.json" in files
    assert "knowledge_base/config.json" in files
    with hub.no_requests():
        assert same(KnowledgePlugin.from_pretrained("alice/towns", revision=commit.oid), plugin)
        assert same(KnowledgePlugin.from_pretrained("alice/towns", local_files_only=True), plugin)


def test_all_files_change_in_one_commit(hub, plugin):
    plugin.push_to_hub("alice/towns")
    repo = hub.repos["model", "alice/towns"]
    before = len(repo.commits)
    plugin.knowledge_base.upsert([Entity("geo:new", "New Town")], torch.ones(1, 8))
    with torch.no_grad():
        plugin.mapping.layers[0].weight.add_(1)
    plugin.push_to_hub("alice/towns")
    assert len(repo.commits) == before + 1
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), plugin)


def test_a_push_that_changes_nothing_makes_no_commit(hub, plugin):
    first = plugin.push_to_hub("alice/towns")
    before = dict(hub.repos["model", "alice/towns"].commits)
    assert plugin.push_to_hub("alice/towns").oid == first.oid
    assert hub.repos["model", "alice/towns"].commits == before


def test_an_interrupted_push_leaves_the_repo_whole_and_goes_on(hub, plugin):
    plugin.push_to_hub("alice/towns")
    head = hub.repos["model", "alice/towns"].refs["main"]
    changed = KnowledgePlugin(plugin.config, plugin.mapping, plugin.knowledge_base.with_vectors(vectors(1)))
    hub.faults.append(Fault(r"POST .*/commit/", status=400, times=99))
    with pytest.raises(HubError, match="alice/towns"):
        changed.push_to_hub("alice/towns")
    assert hub.repos["model", "alice/towns"].refs["main"] == head
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), plugin)
    hub.faults.clear()
    hub.log.clear()
    changed.push_to_hub("alice/towns")
    assert not [request for request in hub.log if request.startswith("PUT")]  # the embeddings had arrived
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), changed)


def test_an_interrupted_download_is_never_taken_for_whole(hub, plugin):
    plugin.push_to_hub("alice/towns")
    hub.faults.append(Fault(r"GET .*embeddings-", status=503, times=1))
    with pytest.raises(HubError, match="alice/towns"):
        KnowledgePlugin.from_pretrained("alice/towns")
    with pytest.raises((HubError, ArtifactError)):
        KnowledgePlugin.from_pretrained("alice/towns", local_files_only=True)
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), plugin)


def test_a_connection_that_is_dropped_is_taken_up_again(hub, plugin):
    plugin.push_to_hub("alice/towns")
    hub.faults.append(Fault(r"GET .*embeddings-", body_bytes=100, times=1))
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), plugin)


def test_too_many_requests_are_tried_again(hub, plugin):
    hub.faults.append(Fault(r"POST .*/preupload/", status=429, headers={"Retry-After": "0"}))
    plugin.push_to_hub("alice/towns")
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), plugin)


def test_files_altered_on_the_way_are_refused(hub, plugin):
    plugin.push_to_hub("alice/towns")
    repo = hub.repos["model", "alice/towns"]
    files = dict(repo.resolve("main").files)
    name = next(n for n in files if "embeddings-" in n)
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
    repo.commit("main", files, "altered", repo.refs["main"])
    with pytest.raises(ArtifactError, match="checksum"):
        KnowledgePlugin.from_pretrained("alice/towns")


def test_of_two_publishers_at_once_one_wins_and_none_corrupts(hub, plugin, kb):
    plugin.push_to_hub("alice/towns")
    other = KnowledgePlugin(plugin.config, plugin.mapping, kb.with_vectors(vectors(2)))
    third = KnowledgePlugin(plugin.config, plugin.mapping, kb.with_vectors(vectors(3)))
    hub.before_commit = lambda: _in_a_thread(lambda: other.push_to_hub("alice/towns"))
    with pytest.raises(HubError, match="someone else pushed"):
        third.push_to_hub("alice/towns")
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), other)
    third.push_to_hub("alice/towns")
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), third)


def _in_a_thread(work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_to_a_branch_and_as_a_pull_request(hub, plugin):
    plugin.push_to_hub("alice/towns")
    main = hub.repos["model", "alice/towns"].refs["main"]
    other = KnowledgePlugin(plugin.config, plugin.mapping, plugin.knowledge_base.with_vectors(vectors(4)))
    other.push_to_hub("alice/towns", revision="next")
    assert same(KnowledgePlugin.from_pretrained("alice/towns", revision="next"), other)
    commit = other.push_to_hub("alice/towns", create_pr=True, token="hf_bob")
    assert commit.pr_url.endswith("/discussions/1")
    assert hub.repos["model", "alice/towns"].refs["main"] == main
    assert same(KnowledgePlugin.from_pretrained("alice/towns", revision="refs/pr/1"), other)


def test_private_repos(hub, plugin, tmp_path):
    plugin.push_to_hub("alice/secret", private=True)
    assert same(KnowledgePlugin.from_pretrained("alice/secret"), plugin)
    with pytest.raises(HubError, match="hf auth login"):
        KnowledgePlugin.from_pretrained("alice/secret", token="hf_bob", cache_dir=tmp_path / "bobs")


def test_words_and_metadata_of_a_person_survive_a_push(hub, plugin):
    plugin.push_to_hub("alice/towns")
    repo = hub.repos["model", "alice/towns"]
    card = repo.resolve("main").files["README.md"].decode()
    edited = card.replace("tags:\n", "language: de\ntags:\n- towns\n", 1) + "\n## From me\n\nHand-made.\n"
    repo.commit("main", repo.resolve("main").files | {"README.md": edited.encode()}, "edit", repo.refs["main"])
    plugin.knowledge_base.upsert([Entity("geo:new", "New Town")], torch.ones(1, 8))
    plugin.push_to_hub("alice/towns")
    pushed = repo.resolve("main").files["README.md"].decode()
    assert pushed.endswith("## From me\n\nHand-made.\n")
    assert "language: de" in pushed
    assert "- towns\n" in pushed
    assert f"{BIG + 1} entities" in pushed


def test_words_of_a_person_in_the_folder_are_pushed(hub, plugin, tmp_path):
    plugin.push_to_hub("alice/towns")
    repo = hub.repos["model", "alice/towns"]
    files = dict(repo.resolve("main").files)
    repo.commit("main", files | {"README.md": files["README.md"] + b"On the Hub.\n"}, "edit", repo.refs["main"])
    plugin.save_pretrained(tmp_path)
    for card in (tmp_path / "README.md", tmp_path / "knowledge_base" / "README.md"):
        text = card.read_text(encoding="utf-8").replace("tags:\n", "language: de\ntags:\n", 1)
        card.write_text(f"{text}In the folder.\n", encoding="utf-8")
    for _ in range(2):
        KnowledgePlugin.from_pretrained(tmp_path).push_to_hub("alice/towns")
        files = repo.resolve("main").files
        pushed = files["README.md"].decode()
        assert "On the Hub.\n" in pushed
        assert pushed.count("In the folder.\n") == 1
        assert "language: de" in pushed
        assert b"In the folder." in files["knowledge_base/README.md"]


def test_words_of_a_person_in_the_folder_of_a_knowledge_base_are_pushed(hub, kb, tmp_path):
    kb.save_pretrained(tmp_path)
    with (tmp_path / "README.md").open("a", encoding="utf-8") as card:
        card.write("By hand.\n")
    KnowledgeBase.from_pretrained(tmp_path).push_to_hub("alice/towns-kb")
    assert hub.repos["dataset", "alice/towns-kb"].resolve("main").files["README.md"].endswith(b"By hand.\n")


def test_shards_that_are_no_longer_needed_go(hub, plugin, monkeypatch):
    monkeypatch.setattr("knowledge_plugin.knowledge_base.embedding_index.MAX_SHARD_BYTES", 4_000)
    plugin.push_to_hub("alice/towns")
    repo = hub.repos["model", "alice/towns"]
    assert sum("embeddings-" in name for name in repo.resolve("main").files) > 1
    monkeypatch.setattr("knowledge_plugin.knowledge_base.embedding_index.MAX_SHARD_BYTES", 10**9)
    plugin.push_to_hub("alice/towns")
    assert sum("embeddings-" in name for name in repo.resolve("main").files) == 1
    assert same(KnowledgePlugin.from_pretrained("alice/towns"), plugin)


class TestSharedKnowledgeBase:
    def test_a_knowledge_base_is_pushed_once_and_shared(self, hub, plugin, kb):
        commit = kb.push_to_hub("alice/towns-kb")
        plugin.push_to_hub("alice/towns")
        files = hub.repos["model", "alice/towns"].resolve("main").files
        assert not [name for name in files if name.startswith("knowledge_base/")]
        loaded = KnowledgePlugin.from_pretrained("alice/towns")
        assert loaded.config.knowledge_base.revision == commit.oid
        assert same(loaded, plugin)

    def test_it_stays_at_its_commit(self, hub, plugin, kb):
        kb.push_to_hub("alice/towns-kb")
        plugin.push_to_hub("alice/towns")
        kb.with_vectors(vectors(5)).push_to_hub("alice/towns-kb")
        assert same(KnowledgePlugin.from_pretrained("alice/towns"), plugin)

    def test_what_changed_since_travels_with_the_plugin(self, hub, plugin, kb):
        kb.push_to_hub("alice/towns-kb")
        kb.upsert([Entity("geo:new", "New Town")], torch.ones(1, 8))
        plugin.push_to_hub("alice/towns")
        assert "geo:new" in KnowledgePlugin.from_pretrained("alice/towns").knowledge_base

    def test_a_folder_that_refers_to_one_does_not_touch_the_network(self, hub, plugin, kb, tmp_path):
        kb.push_to_hub("alice/towns-kb")
        plugin.push_to_hub("alice/towns")
        folder = snapshot_download("alice/towns")
        with hub.no_requests(), pytest.raises(HubError, match="towns-kb"):
            KnowledgePlugin.from_pretrained(folder)
        KnowledgeBase.from_pretrained("alice/towns-kb")
        with hub.no_requests():
            loaded = KnowledgePlugin.from_pretrained(folder)
            loaded.save_pretrained(tmp_path / "whole")
            assert same(KnowledgePlugin.from_pretrained(tmp_path / "whole"), plugin)

    def test_a_knowledge_base_by_name(self, hub, kb):
        commit = kb.push_to_hub("alice/towns-kb")
        loaded = KnowledgeBase.from_pretrained("alice/towns-kb")
        assert loaded.origin.revision == commit.oid
        assert torch.equal(loaded.vectors([0, 5]), kb.vectors([0, 5]))


class TestListing:
    @pytest.fixture(autouse=True)
    def _published(self, hub, plugin):
        plugin.push_to_hub("alice/towns")
        plugin.push_to_hub("alice/hidden", private=True)
        hub.add("bob/lora", {"README.md": b"---\nlibrary_name: peft\nbase_model: org/base\n---\n"})

    def test_by_base_model(self):
        (found,) = list_plugins("org/base", token="hf_bob")
        assert (found.repo_id, found.base_model, found.license) == ("alice/towns", "org/base", "cc0-1.0")
        assert "knowledge-plugin" in found.tags
        assert list(list_plugins("org/other")) == []

    def test_one_sees_ones_own(self):
        assert {p.repo_id for p in list_plugins()} == {"alice/towns", "alice/hidden"}

    def test_by_author_text_and_tag(self):
        assert [p.repo_id for p in list_plugins(author="alice", search="town")] == ["alice/towns"]
        assert list(list_plugins(author="bob")) == []
        assert list(list_plugins(domain="medicine")) == []
        assert len(list(list_plugins(limit=1))) == 1


class TestRefusals:
    @pytest.fixture(autouse=True)
    def _published(self, hub, plugin):
        plugin.push_to_hub("alice/towns")
        hub.add("alice/plain", {"config.json": b'{"model_type": "bert"}', "README.md": b""})
        hub.add("alice/lora", {"adapter_config.json": b"{}", "README.md": b""})
        hub.add("org/gated", {"config.json": b"{}"}, gated=True)

    @pytest.mark.parametrize(
        ("name", "options", "error", "hints"),
        [
            ("alice/missing", {}, HubError, ["alice/missing", "no model repo", "hf auth login"]),
            ("alice/towns", {"revision": "v9"}, HubError, ["alice/towns@v9", "no such branch"]),
            ("alice/towns", {"token": "hf_wrong", "force_download": True}, HubError, ["token", "hf auth login"]),
            ("org/gated", {}, HubError, ["org/gated", "gated", "ask for access"]),
            ("alice/plain", {}, ArtifactError, ["knowledge-plugin"]),
            ("alice/lora", {}, ArtifactError, ["knowledge-plugin"]),
        ],
    )
    def test_loading(self, name, options, error, hints):
        with pytest.raises(error) as caught:
            KnowledgePlugin.from_pretrained(name, **options)
        assert all(hint in str(caught.value) for hint in hints), caught.value
        assert "not found" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "options", "hints"),
        [
            ("alice/towns", {"token": "hf_bob"}, ["alice/towns", "create_pr=True"]),
            ("org/new", {}, ["org/new", "may not"]),
            ("alice/towns", {"token": "hf_wrong"}, ["did not accept the token", "hf auth login"]),
            ("alice/towns", {"token": False}, ["alice/towns", "hf auth login"]),
        ],
    )
    def test_pushing(self, hub, plugin, name, options, hints):
        before = dict(hub.repos["model", "alice/towns"].commits)
        plugin.knowledge_base.upsert([Entity("geo:new", "New Town")], torch.ones(1, 8))
        with pytest.raises(HubError) as caught:
            plugin.push_to_hub(name, **options)
        assert all(hint in str(caught.value) for hint in hints), caught.value
        assert hub.repos["model", "alice/towns"].commits == before

    def test_a_name_that_is_none(self, plugin):
        with pytest.raises(ArtifactError, match="user/name"):
            plugin.push_to_hub("not a name")
