from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.config import FingerprintConfig
from knowledge_plugin.errors import ConfigError, TokenizerError
from knowledge_plugin.injection.fingerprint import check_own_tokenizer, check_tokenizer, compare, describe_base_model
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny


@pytest.fixture
def recorded(model):
    return describe_base_model(model)


def test_the_model_itself_is_the_same_space(model, recorded):
    assert compare(recorded, model).verdict == "same"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_copy_of_lower_precision_is_the_same_space(model, recorded, dtype):
    assert compare(recorded, model.to(dtype)).verdict == "same"


def test_another_head_on_the_same_embeddings_is_the_same_space(recorded):
    assert compare(recorded, tiny.classifier(labels=7)).verdict == "same"


def test_a_fine_tuned_model_is_a_descendant(model, recorded):
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        weight += 0.3 * weight.std() * torch.randn_like(weight)
    assert compare(recorded, model).verdict == "descendant"


def test_an_enlarged_vocabulary_changes_nothing(model, recorded):
    model.resize_token_embeddings(420, mean_resizing=False)
    assert compare(recorded, model).verdict == "same"


def test_a_model_trained_apart_is_different(recorded):
    other = tiny.classifier(seed=1)
    comparison = compare(recorded, other)
    assert comparison.verdict == "different"
    assert "cosine" in comparison.reason


def test_another_width_is_different(recorded):
    from tests.contract.architectures import build

    assert "wide" in compare(recorded, build("electra")).reason


def test_a_much_smaller_vocabulary_is_different(recorded):
    assert "vocabulary" in compare(recorded, tiny.classifier(vocab_size=100)).reason


def test_rows_of_zero_say_nothing_and_are_left_out(model):
    with torch.no_grad():
        model.get_input_embeddings().weight[:40] = 0
    assert min(describe_base_model(model).fingerprint.token_ids) >= 40


def test_a_path_of_this_machine_is_no_name(model):
    model.config._name_or_path = "/home/someone/model"
    assert describe_base_model(model).name is None
    model.config._name_or_path = "user/model"
    assert describe_base_model(model).name == "user/model"


@pytest.mark.parametrize("vectors", ["no base64!", "AAAA", ""])
def test_a_damaged_fingerprint_is_refused(model, recorded, vectors):
    damaged = dataclasses.replace(recorded, fingerprint=FingerprintConfig(recorded.fingerprint.token_ids, vectors))
    with pytest.raises(ConfigError, match="fingerprint"):
        compare(damaged, model)


class TestTokenizer:
    @pytest.fixture
    def other(self):
        """A tokenizer with as many words, but others."""
        return tiny.tokenizer("unigram")

    def test_the_models_own_passes_without_a_word(self, model, wordpiece, recwarn):
        check_tokenizer(describe_base_model(model, wordpiece), model, wordpiece)
        check_tokenizer(describe_base_model(model), model, wordpiece)
        assert not recwarn.list

    def test_another_ones_words_have_other_ids(self, model, wordpiece, other):
        base_model = describe_base_model(model, wordpiece)
        with pytest.raises(TokenizerError, match="stand for other words"):
            check_tokenizer(base_model, model, other)
        with pytest.warns(UserWarning, match="stand for other words"):
            check_tokenizer(base_model, model, other, strict=False)

    def test_attach_looks(self, model, kb, wordpiece, other):
        plugin = KnowledgePlugin.for_model(model, kb, wordpiece)
        with pytest.raises(TokenizerError, match="AutoTokenizer"):
            plugin.attach(model, other)
        assert find_hooks(model) == []

    def test_the_refusal_names_both_who_may_be_wrong(self, model, wordpiece, other):
        model.config._name_or_path = "user/model"
        both = (
            r"Either this one .*from_pretrained\('user/model'\)\. Or the plugin was made with the wrong one.*for_model"
        )
        with pytest.raises(TokenizerError, match=both):
            check_tokenizer(describe_base_model(model, other), model, wordpiece)

    def test_far_fewer_words_than_embeddings(self, model, kb, wordpiece, other, recwarn):
        with pytest.warns(UserWarning, match=r"has 94 words, and the model has embeddings for 400\. Is this"):
            check_own_tokenizer(model, other)
        with pytest.warns(UserWarning, match="has 94 words"):
            KnowledgePlugin.for_model(model, kb, other)
        with pytest.warns(UserWarning, match="has 94 words"):
            check_tokenizer(describe_base_model(model), model, other)
        recwarn.clear()
        check_own_tokenizer(model, wordpiece)  # a padded matrix
        check_tokenizer(describe_base_model(model, other), model, other)  # that was said when they were recorded
        assert not recwarn.list

    def test_a_plugin_is_not_made_with_words_beyond_the_embeddings(self, kb, wordpiece):
        small = tiny.classifier(vocab_size=100)
        with pytest.raises(TokenizerError, match=r"has 131 words, the model has embeddings for 100.*without the tok"):
            KnowledgePlugin.for_model(small, kb, wordpiece)

    def test_added_words_may_lie_beyond_the_embeddings(self, model, kb, wordpiece):
        exact, more = tiny.classifier(vocab_size=len(wordpiece)), copy.deepcopy(wordpiece)
        more.add_tokens(["<image>"])
        with pytest.warns(UserWarning, match="resize_token_embeddings") as said:
            KnowledgePlugin.for_model(exact, kb, more)
        assert said[0].filename == __file__

    def test_a_plugin_is_made_with_the_models_special_tokens(self, model, kb, wordpiece):
        model.config.pad_token_id, model.config.bos_token_id = 5, 6
        with pytest.warns(UserWarning, match="special tokens"):
            KnowledgePlugin.for_model(model, kb, wordpiece)

    def test_words_that_the_model_has_no_embedding_for(self, wordpiece):
        small = tiny.classifier(vocab_size=100)
        with pytest.warns(UserWarning, match="resize_token_embeddings"):
            check_tokenizer(describe_base_model(small), small, wordpiece)

    def test_special_tokens_that_have_other_ids(self, model, wordpiece):
        model.config.pad_token_id, model.config.bos_token_id = 5, 6
        with pytest.warns(UserWarning, match="special tokens"):
            check_tokenizer(describe_base_model(model), model, wordpiece)
        model.config.pad_token_id = wordpiece.pad_token_id
        check_tokenizer(describe_base_model(model), model, wordpiece)

    def test_a_list_of_end_tokens_is_searched(self, model, wordpiece, recwarn):
        model.config.pad_token_id, model.config.eos_token_id = None, [7, 8]
        check_tokenizer(describe_base_model(model), model, wordpiece)  # the tokenizer has no end token to compare
        model.config.sep_token_id = [9, wordpiece.sep_token_id]
        check_tokenizer(describe_base_model(model), model, wordpiece)
        assert not recwarn.list

    def test_the_words_survive_a_save(self, model, kb, wordpiece, other, tmp_path):
        KnowledgePlugin.for_model(model, kb, wordpiece).save_pretrained(tmp_path)
        with pytest.raises(TokenizerError):
            KnowledgePlugin.from_pretrained(tmp_path).attach(model, other)


def test_a_folder_is_no_name(model, kb, tmp_path, monkeypatch):
    (tmp_path / "runs" / "checkpoint").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for path in ("runs/checkpoint", "runs", str(tmp_path)):
        model.config._name_or_path = path
        assert describe_base_model(model).name is None
    model.config._name_or_path = "user/model"
    assert describe_base_model(model).name == "user/model"
