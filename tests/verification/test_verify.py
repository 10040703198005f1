from __future__ import annotations

import base64
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.config import TrainingConfig
from knowledge_plugin.errors import ArtifactError, HubError, KnowledgePluginError
from knowledge_plugin.verification import verify
from tests import tiny
from tests.attacks import hostile


def plugin(trained: bool = True) -> KnowledgePlugin:
    model = tiny.classifier()
    model.config._name_or_path = "org/base"
    made = KnowledgePlugin.for_model(model, tiny.knowledge_base(), mapping="affine")
    if trained:
        torch.nn.init.normal_(made.mapping.layers[0].weight)
    return made


@pytest.fixture
def folder(tmp_path):
    plugin().save_pretrained(tmp_path / "plugin")
    return tmp_path / "plugin"


def found(folder, **kwargs):
    return [(f.severity, f.where, f.message) for f in verify(folder, **kwargs).findings]


def test_a_whole_plugin(folder):
    verification = verify(folder)
    assert (verification.artifact, verification.kind, verification.findings) == (str(folder), "knowledge-plugin", ())
    assert verification.whole


def test_a_whole_knowledge_base(folder):
    verification = verify(folder / "knowledge_base")
    assert (verification.kind, verification.findings) == ("knowledge-base", ())


def test_nothing_is_changed(folder):
    before = hostile.contents(folder)
    hostile.flip(folder / "mapping.safetensors")
    damaged = hostile.contents(folder)
    verify(folder)
    assert hostile.contents(folder) == damaged != before


def test_errors_come_first_and_warnings_are_no_failure(tmp_path):
    plugin(trained=False).save_pretrained(tmp_path)
    verification = verify(tmp_path)
    assert verification.whole
    assert [(f.severity, f.where) for f in verification.findings] == [("warning", "mapping.safetensors")]
    (tmp_path / "knowledge_base" / "entities.parquet").unlink()
    verification = verify(tmp_path)
    assert not verification.whole
    assert [f.severity for f in verification.findings] == ["error", "warning"]


def test_everything_at_once(folder):
    hostile.edit_config(
        folder,
        base_model__name=None,
        base_model__fingerprint__vectors=base64.b64encode(b"short").decode(),
        mapping__input_dim=4,
    )
    hostile.truncate(folder / "knowledge_base" / hostile.SHARD)
    hostile.edit_config(folder / "knowledge_base", license=None)
    hostile.flip(folder / "knowledge_base" / "entities.parquet", 0.3)
    (folder / "README.md").unlink()
    (folder / "adapter_config.json").write_text("{}")
    places = {(severity, where) for severity, where, _ in found(folder)}
    assert places == {
        ("error", "config.json"),
        ("error", "mapping.safetensors"),
        ("error", f"knowledge_base/{hostile.SHARD}"),
        ("error", "knowledge_base/entities.parquet"),
        ("warning", "config.json"),
        ("warning", "knowledge_base/config.json"),
        ("warning", "README.md"),
        ("warning", "adapter_config.json"),
    }
    messages = " ".join(message for *_, message in found(folder))
    assert "the fingerprint does not hold" in messages
    assert "takes vectors of width 4, but those of the knowledge base 'cities' are 8 wide" in messages


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda t: {"layers.0.weight": t["layers.0.weight"] * torch.nan, "layers.0.bias": t["layers.0.bias"]},
            "finite",
        ),
        (lambda t: {"layers.0.weight": t["layers.0.weight"].T.contiguous(), "layers.0.bias": t["layers.0.bias"]}, "16"),
        (lambda t: {name: tensor.double() for name, tensor in t.items()}, "float32"),
        (lambda t: {"layers.0.weight": t["layers.0.weight"]}, "weights"),
    ],
)
def test_the_weights_of_the_mapping(folder, edit, message):
    save_file(edit(load_file(folder / "mapping.safetensors")), folder / "mapping.safetensors")
    hostile.redeclare(folder, "mapping.safetensors")
    ((severity, where, text),) = found(folder)
    assert (severity, where) == ("error", "mapping.safetensors")
    assert message in text


def test_a_gigabyte_of_weights_that_are_only_declared_is_not_made(folder):
    hostile.edit_config(folder, mapping__input_dim=2**16, mapping__hidden_dim=4000, mapping__kind="mlp")
    assert any("float32 weights, but the file has" in text for _, _, text in found(folder))


def test_a_mapping_that_is_not_listed(folder):
    hostile.edit_config(folder, files={})
    assert [(s, w) for s, w, _ in found(folder)] == [("error", "config.json")]


@pytest.mark.parametrize("damage", ["{", "[]", '{"library_name": "knowledge-plugin"}'])
def test_a_config_that_is_broken_hides_nothing_else(folder, damage):
    (folder / "config.json").write_text(damage)
    (folder / "knowledge_base" / "aliases.parquet").unlink()
    if damage == "[]":  # of something else, for all anybody can say
        with pytest.raises(ArtifactError, match="does not describe"):
            verify(folder)
        return
    assert {where for _, where, _ in found(folder)} >= {"config.json", "knowledge_base/aliases.parquet"}


def test_the_config_of_a_knowledge_base_that_is_broken(folder):
    kb = folder / "knowledge_base"
    (kb / "config.json").write_text("{")
    verification = verify(kb)
    assert verification.kind == "knowledge-base"
    assert [f.where for f in verification.findings] == ["config.json"]


def test_a_knowledge_base_without_its_entities_is_still_one(folder):
    kb = folder / "knowledge_base"
    (kb / "entities.parquet").unlink()
    verification = verify(kb)
    assert (verification.kind, [f.where for f in verification.findings]) == ("knowledge-base", ["entities.parquet"])


def test_a_plugin_without_its_knowledge_base(folder):
    shutil.rmtree(folder / "knowledge_base")
    ((severity, where, _),) = found(folder)
    assert (severity, where) == ("error", "knowledge_base/")


def test_a_knowledge_base_elsewhere_that_is_not_in_the_cache(folder):
    hostile.edit_config(folder, knowledge_base={"repo_id": "org/never-downloaded", "revision": "a" * 40})
    ((severity, where, message),) = found(folder)
    assert (severity, where) == ("error", "org/never-downloaded@aaaaaaa/")
    assert "not complete in the cache" in message


def test_several_in_subfolders(tmp_path):
    for name in ("one", "two"):
        plugin().save_pretrained(tmp_path / name)
    (tmp_path / "README.md").write_text("---\nlibrary_name: knowledge-plugin\nlicense: mit\n---\n")
    verification = verify(tmp_path)
    assert (verification.kind, verification.findings) == ("knowledge-plugins", ())
    hostile.flip(tmp_path / "one" / "mapping.safetensors")
    (tmp_path / "two" / "knowledge_base" / hostile.SHARD).unlink()
    assert [w for _, w, _ in found(tmp_path)] == ["one/mapping.safetensors", f"two/knowledge_base/{hostile.SHARD}"]
    assert [w for _, w, _ in found(tmp_path, subfolder="one")] == ["mapping.safetensors"]


@pytest.mark.parametrize("what", ["empty", "absent", "checkpoint"])
def test_what_is_no_artifact_is_refused(tmp_path, what):
    name = tmp_path / "x"
    if what != "absent":
        name.mkdir()
    if what == "checkpoint":
        tiny.classifier().save_pretrained(name)
    with pytest.raises(ArtifactError):
        verify(name)


def test_a_repo_that_is_not_there():
    with pytest.raises(HubError, match="user/never-downloaded"):
        verify("user/never-downloaded")


CONTENTS = [
    "mapping.safetensors",
    f"knowledge_base/{hostile.SHARD}",
    "knowledge_base/entities.parquet",
    "knowledge_base/aliases.parquet",
]


@pytest.mark.parametrize("name", CONTENTS)
def test_any_byte_that_was_changed_is_noticed(folder, name):
    whole = (folder / name).read_bytes()
    for step in range(12):
        hostile.flip(folder / name, step / 12)
        assert name in [f.where for f in verify(folder).findings if f.severity == "error"]
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize("name", CONTENTS)
def test_bytes_that_were_changed_by_someone_who_declares_them_break_nothing_here(folder, name):
    inner, _, file = name.rpartition("/")
    whole, config = (folder / name).read_bytes(), (folder / inner / "config.json").read_bytes()
    for step in range(40):
        hostile.flip(folder / name, step / 40)
        hostile.redeclare(folder / inner, file)
        assert verify(folder).kind == "knowledge-plugin"  # and no exception
        (folder / name).write_bytes(whole)
        (folder / inner / "config.json").write_bytes(config)


@pytest.mark.parametrize("inner", ["", "knowledge_base"])
def test_bytes_of_a_config_that_were_changed(folder, inner):
    whole = (folder / inner / "config.json").read_bytes()
    for step in range(60):
        hostile.flip(folder / inner / "config.json", step / 60)
        try:
            verify(folder)
        except KnowledgePluginError:  # the config of something else, as far as anybody can say; nothing but this
            pass
        (folder / inner / "config.json").write_bytes(whole)


@pytest.mark.parametrize("method", ["kformer", "memory"])
def test_plugins_of_other_methods_are_looked_through_too(method, model, kb, wordpiece, tmp_path):
    plugin = KnowledgePlugin.for_model(model, kb, wordpiece, method=method)
    plugin.save_pretrained(tmp_path / "plugin")
    assert any("fresh network" in finding.message for finding in verify(tmp_path / "plugin").findings)
    with torch.no_grad():
        for parameter in plugin.mapping.parameters():
            parameter.add_(0.5)
    plugin.save_pretrained(tmp_path / "plugin")
    found = verify(tmp_path / "plugin")
    assert found.whole
    assert not any("fresh network" in finding.message for finding in found.findings)
    weights = tmp_path / "plugin" / "mapping.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert not verify(tmp_path / "plugin").whole


@pytest.mark.parametrize(
    ("method", "mapping", "advice"),
    [
        ("map-tuning", "affine", "align("),
        ("map-tuning", "mlp", "MapTuningTrainer("),
        ("memory", None, "MapTuningTrainer("),
    ],
)
def test_a_fresh_network_is_advised_what_its_method_can_do(method, mapping, advice, tmp_path):
    fresh = KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base(), mapping=mapping, method=method)
    fresh.save_pretrained(tmp_path)
    (message,) = [message for _, where, message in found(tmp_path) if where == "mapping.safetensors"]
    assert f"Type: {advice}" in message


def test_a_training_that_cannot_be_seen_is_not_asked_for_again(tmp_path):
    made = plugin(trained=False)
    for steps, expected in ((0, "a fresh network. Type: align("), (3, "although they learned by 'task' in 3 steps")):
        made.config = replace(made.config, training=TrainingConfig("task", steps=steps))
        made.save_pretrained(tmp_path)
        ((severity, where, message),) = found(tmp_path)
        assert (severity, where) == ("warning", "mapping.safetensors")
        assert expected in message
    assert "Type: align(" not in message
    assert message.endswith("type: evaluate(plugin, model, tokenizer, dataset)")
