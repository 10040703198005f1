from __future__ import annotations

import copy
import gc
import json
import pickle
import shutil
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import (
    ArtifactError,
    AttachmentError,
    IncompatibleModelError,
    KnowledgeBaseError,
    MappingError,
    TokenizerError,
)
from knowledge_plugin.results import EvaluationResult, Score
from tests import tiny
from tests.contract.architectures import build

ROOT = Path(__file__).parents[1]
TEXT = "From Paris to New York"


@pytest.fixture
def plugin(model, kb):
    return KnowledgePlugin.for_model(model, kb)


def logits(plugin, model, tokenizer, text=TEXT) -> torch.Tensor:
    with plugin.attach(model, tokenizer) as (model, tokenizer), torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits


@pytest.mark.parametrize("mapping", ["mlp", "affine"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_saved_and_loaded_it_gives_equal_logits(model, wordpiece, tmp_path, mapping, dtype):
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(dtype=dtype), wordpiece, mapping=mapping)
    expected = logits(plugin, model, wordpiece)
    plugin.save_pretrained(tmp_path / "plugin")
    for device in ("auto", "cpu", "disk"):
        loaded = KnowledgePlugin.from_pretrained(tmp_path / "plugin", index_device=device)
        assert torch.equal(logits(loaded, model, wordpiece), expected)


def test_a_fresh_process_gives_equal_logits(plugin, model, wordpiece, tmp_path):
    plugin.save_pretrained(tmp_path / "plugin")
    model.save_pretrained(tmp_path / "model")
    wordpiece.save_pretrained(tmp_path / "model")
    program = f"""
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from knowledge_plugin import KnowledgePlugin
torch.set_num_threads(1)
torch.set_grad_enabled(False)  # attention rounds otherwise with gradients
model = AutoModelForSequenceClassification.from_pretrained({str(tmp_path / "model")!r}).eval()
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / "model")!r})
with KnowledgePlugin.from_pretrained({str(tmp_path / "plugin")!r}).attach(model, tokenizer) as (model, tokenizer):
    save_file({{"logits": model(**tokenizer({TEXT!r}, return_tensors="pt")).logits}}, {str(tmp_path / "out")!r})
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    # Loaded here too: weights that lie otherwise in memory make the bare model itself round otherwise.
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    assert torch.equal(load_file(tmp_path / "out")["logits"], logits(plugin, model, wordpiece))


def test_the_folder_is_what_the_format_says(plugin, tmp_path):
    plugin.save_pretrained(tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        "README.md",
        "config.json",
        "knowledge_base/README.md",
        "knowledge_base/aliases.parquet",
        "knowledge_base/config.json",
        "knowledge_base/embeddings-00001-of-00001.safetensors",
        "knowledge_base/entities.parquet",
        "mapping.safetensors",
    ]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["library_name"] == "knowledge-plugin"
    assert config["format_version"] == "1.0"
    assert config["base_model"]["vocab_size"] == 400
    assert config["base_model"]["embedding_dim"] == 16
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()


def test_an_edited_card_is_kept(plugin, tmp_path):
    plugin.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("my own words")
    plugin.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my own words"


def test_a_model_of_another_space_is_refused_by_both_names(plugin, wordpiece):
    plugin.config.base_model.__dict__["name"] = "user/base"
    other = tiny.classifier(seed=1)
    other.config._name_or_path = "user/other"
    with pytest.raises(IncompatibleModelError, match=r"user/base.*user/other.*strict=False"):
        plugin.attach(other, wordpiece)
    with pytest.warns(UserWarning, match="another space"):
        plugin.attach(other, wordpiece, strict=False).detach()


def test_another_width_is_refused_even_if_not_strict(plugin, wordpiece):
    from tests.contract.architectures import build

    with pytest.raises(IncompatibleModelError, match="wide"):
        plugin.attach(build("electra"), wordpiece, strict=False)


def test_a_descendant_is_taken_without_a_word(plugin, model, wordpiece):
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plugin.attach(model, wordpiece).detach()


def test_a_knowledge_base_of_another_width_is_refused(plugin):
    with pytest.raises(MappingError, match="width 8"):
        KnowledgePlugin(plugin.config, plugin.mapping, tiny.knowledge_base(dim=9))


def test_a_mapping_of_the_wrong_width_in_the_folder_is_refused(plugin, tmp_path):
    plugin.save_pretrained(tmp_path)
    path = tmp_path / "mapping.safetensors"
    tensors = load_file(path)
    save_file({name: tensor[..., :-1].contiguous() for name, tensor in tensors.items()}, path)
    config = json.loads((tmp_path / "config.json").read_text())
    from knowledge_plugin.hub.folder import checksum

    config["files"]["mapping.safetensors"] = {"size": path.stat().st_size, "sha256": checksum(path)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MappingError, match="expected the weights"):
        KnowledgePlugin.from_pretrained(tmp_path)


def test_unknown_options_are_refused(plugin, model, kb, wordpiece, tmp_path):
    with pytest.raises(MappingError, match="'mlp' or 'affine'"):
        KnowledgePlugin.for_model(model, kb, mapping="quadratic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'concat' or 'replace'"):
        plugin.attach(model, wordpiece, form="append")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="index_device"):
        KnowledgePlugin.from_pretrained(tmp_path, index_device="moon")  # type: ignore[arg-type]


def test_an_attached_plugin_sees_new_entities_at_once(plugin, model, wordpiece):
    with plugin.attach(model, wordpiece) as attachment:
        assert attachment.explain("a day in Vienna") == []
        plugin.knowledge_base.upsert([Entity("geo:vienna", "Vienna")], torch.ones(1, 8))
        (mention,) = attachment.explain("a day in Vienna")
        assert mention.entity_id == "geo:vienna"
        encoded = attachment.tokenizer("a day in Vienna", return_tensors="pt")
        assert torch.isfinite(model(**encoded).logits).all()
        assert attachment.mentions_linked == 1


def test_opening_does_not_read_the_index(model, tmp_path):
    rows, dim = 4_000, 8_192  # 131 MB of float32
    vectors = np.random.default_rng(0).standard_normal((rows, dim), dtype=np.float32)
    kb = KnowledgeBase.from_entities([Entity(f"x:{i}", f"n{i}") for i in range(rows)], vectors, name="wide")
    KnowledgePlugin.for_model(model, kb, mapping="affine").save_pretrained(tmp_path)
    program = f"""
import psutil, torch
from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.results import EvaluationResult, Score
from tests import tiny
resident = psutil.Process().memory_info
KnowledgePlugin.from_pretrained
before = resident().rss
plugin = KnowledgePlugin.from_pretrained({str(tmp_path)!r})
opened = resident().rss
plugin.knowledge_base.vectors([1, 2, 3])
print(opened - before, resident().rss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    opened, used = map(int, done.stdout.split())
    size = (tmp_path / "knowledge_base" / "embeddings-00001-of-00001.safetensors").stat().st_size
    assert size > 130e6
    assert opened < size / 6
    assert used < size / 4


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda plugin: pickle.loads(pickle.dumps(plugin))])
def test_a_copy_of_an_attached_plugin_is_attached_to_nothing(copied, model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, wordpiece):
        other = copied(plugin)
        with pytest.raises(AttachmentError, match="not attached"):
            other.detach(model)
        assert other.attach(model, wordpiece).name == "cities-2"
    assert torch.equal(other.word_embeddings(["geo:paris"]), plugin.word_embeddings(["geo:paris"]))


def test_a_model_that_nobody_holds_is_freed_with_its_attachment(kb, wordpiece):
    model = tiny.classifier()
    plugin = KnowledgePlugin.for_model(model, kb)
    plugin.attach(model, wordpiece)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    with pytest.raises(AttachmentError, match="found 0"):
        plugin.prompt_embeds("Paris")


def test_a_folder_without_its_knowledge_base_is_not_taken_for_a_repo(plugin, tmp_path, monkeypatch):
    def download(*args, **kwargs):
        raise AssertionError("asked the Hub for a folder of this machine")

    monkeypatch.setattr("knowledge_plugin.hub.snapshot.snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    plugin.save_pretrained("mine")
    shutil.rmtree("mine/knowledge_base")
    with pytest.raises(ArtifactError, match="knowledge_base"):
        KnowledgePlugin.from_pretrained("mine")


def test_what_was_measured_with_another_knowledge_base_is_forgotten(plugin):
    plugin.results = [EvaluationResult("text-classification", "cities", "accuracy", Score(0.9))]
    plugin.swap(tiny.knowledge_base(seed=7))
    assert plugin.results == []


@pytest.mark.parametrize("method", ["kformer", "memory", "kb-attention"])
def test_vectors_that_are_keys_as_a_whole_are_warned_of(method, kb):
    model = build("llama")
    with pytest.warns(UserWarning, match="key_dim is not given.*key_value_vectors"):
        KnowledgePlugin.for_model(model, kb, method=method)


@pytest.mark.parametrize("settings", [{"method": "memory", "key_dim": 3}, {"method": "memory", "key_dim": 8}, {}])
def test_keys_that_were_chosen_are_not(settings, model, kb, recwarn):
    KnowledgePlugin.for_model(model, kb, **settings)
    assert not [warning for warning in recwarn if "key_dim" in str(warning.message)]


@pytest.mark.parametrize("form", ["replace", "concat"])
def test_a_form_of_what_puts_nothing_into_a_text_is_refused(form, model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb, method="memory", key_dim=3)
    with pytest.raises(AttachmentError, match="'memory' puts nothing into a text"):
        plugin.attach(model, wordpiece, form=form)
    plugin.attach(model, wordpiece).detach()


@pytest.mark.parametrize("wrong", ["cities-kb", None])
def test_what_is_no_knowledge_base_is_refused(wrong, model, plugin):
    for use in (lambda: KnowledgePlugin.for_model(model, wrong), lambda: plugin.swap(wrong)):
        with pytest.raises(KnowledgeBaseError, match=r"Type: KnowledgeBase\.from_pretrained\("):
            use()
    with pytest.raises(KnowledgeBaseError, match=r"found KnowledgePlugin. Type: plugin\.knowledge_base"):
        KnowledgePlugin.for_model(model, plugin)


def test_names_instead_of_models_and_tokenizers_are_refused(model, kb, plugin, wordpiece):
    for use in (lambda: KnowledgePlugin.for_model("ck", kb, wordpiece), lambda: plugin.attach("ck", wordpiece)):
        with pytest.raises(IncompatibleModelError, match=r"found 'ck'\. Type: AutoModel\.from_pretrained\('ck'\)"):
            use()
    for use in (lambda: KnowledgePlugin.for_model(model, kb, "ck"), lambda: plugin.attach(model, "ck")):
        with pytest.raises(TokenizerError, match=r"found 'ck'\. .*Type: AutoTokenizer\.from_pretrained\('ck'\)"):
            use()


def test_a_place_that_is_none_is_refused(plugin, model, wordpiece):
    plugin.index_device = "gpu"
    with pytest.raises(ValueError, match="index_device: expected one of auto, cpu, cuda, disk, found 'gpu'"):
        plugin.attach(model, wordpiece)
