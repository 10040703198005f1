from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from knowledge_plugin import KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.errors import AttachmentError, LinkingError, MentionError
from knowledge_plugin.injection.attachment import attachments
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny
from tests.contract.common import fingerprint

TEXT = "From Paris to New York"


@pytest.fixture
def attachment(model, kb, wordpiece):
    attached = KnowledgePlugin.for_model(model, kb).attach(model, wordpiece)
    yield attached
    attached.__exit__()


def ids(tokenizer) -> list[int]:
    return tokenizer(TEXT)["input_ids"]


def ids_of(tokenizer, max_length: int) -> list[int]:
    return tokenizer(TEXT, truncation=True, max_length=max_length)["input_ids"]


def test_it_unpacks_into_the_model_and_a_tokenizer(attachment, model, wordpiece):
    found, tokenizer = attachment
    assert found is model
    assert tokenizer is attachment.tokenizer
    assert ids(tokenizer) != ids(wordpiece)


def test_as_a_context_manager_it_detaches_at_the_end(attachment, wordpiece):
    with attachment as (_, tokenizer):
        assert ids(tokenizer) != ids(wordpiece)
    assert ids(tokenizer) == ids(wordpiece)


def test_also_when_it_was_detached_within(attachment):
    with attachment:
        attachment.detach()


def test_explain_says_where_what_and_how_sure(attachment):
    paris, new_york = attachment.explain(TEXT)
    assert paris == Mention(5, 10, "geo:paris", paris.score)
    assert 0.9 < paris.score < 1  # there is another, smaller Paris
    assert new_york == Mention(14, 22, "geo:new-york", 1.0)
    assert attachment.explain("nothing here") == []


def test_disabled_is_the_base_models_behaviour(attachment, wordpiece):
    with attachment.disabled():
        assert ids(attachment.tokenizer) == ids(wordpiece)
    assert ids(attachment.tokenizer) != ids(wordpiece)


def test_it_counts_what_was_linked(attachment):
    attachment.tokenizer([TEXT, "nothing", "York"])
    assert attachment.mentions_linked == 3
    assert "mentions_linked=3" in repr(attachment)


def test_detached_twice_is_an_error(attachment):
    attachment.detach()
    with pytest.raises(AttachmentError, match="detached already"):
        attachment.detach()


def test_detaching_within_disabled_stays_detached(attachment, wordpiece):
    with attachment.disabled():
        attachment.detach()
    assert ids(attachment.tokenizer) == ids(wordpiece)


def test_a_linker_of_ones_own(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(
        model, wordpiece, linker=lambda texts: [[Mention(0, 4, "geo:york")] for _ in texts]
    ) as attachment:
        assert attachment.explain(TEXT) == [Mention(0, 4, "geo:york")]
    with plugin.attach(model, wordpiece, linker=lambda texts: None) as attachment, pytest.raises(LinkingError):
        attachment.explain(TEXT)


def test_attaching_twice_is_an_error_and_leaves_the_first_one_alone(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, wordpiece) as (_, tokenizer):
        expected = model(**tokenizer(TEXT, return_tensors="pt")).logits
        with pytest.raises(AttachmentError, match="attached to this model already"):
            plugin.attach(model, wordpiece)
        assert torch.equal(model(**tokenizer(TEXT, return_tensors="pt")).logits, expected)
    with plugin.attach(model, wordpiece):
        pass


def test_switched_off_is_of_one_thread(attachment, wordpiece):
    with ThreadPoolExecutor(1) as other, attachment.disabled():
        assert ids(attachment.tokenizer) == ids(wordpiece)
        assert other.submit(ids, attachment.tokenizer).result() != ids(wordpiece)


def test_switched_off_twice_in_turns(attachment, wordpiece):
    outer, inner = attachment.disabled(), attachment.disabled()
    with outer:
        with inner:
            assert attachment.explain(TEXT) == []
        assert attachment.explain(TEXT) == []
    assert len(attachment.explain(TEXT)) == 2


def test_it_counts_what_truncation_leaves(attachment):
    linked = ids_of(attachment.tokenizer, max_length=7)
    assert 0 < attachment.mentions_linked == sum(i >= 400 for i in linked) < 2


@pytest.mark.parametrize("wrong", [None, [TEXT], 5])
def test_explain_takes_one_text(attachment, wrong):
    with pytest.raises(MentionError, match="one text"):
        attachment.explain(wrong)


@pytest.mark.parametrize("wrong", ["spacy", 5])
def test_what_is_no_linker_is_refused_at_once(wrong, model, kb, wordpiece):
    with pytest.raises(LinkingError, match="function"):
        KnowledgePlugin.for_model(model, kb).attach(model, wordpiece, linker=wrong)
    assert find_hooks(model) == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_model_can_be_detached_too(copied, model, kb, wordpiece, tmp_path):
    before = fingerprint(model)
    KnowledgePlugin.for_model(model, kb).save_pretrained(tmp_path)
    plugin = KnowledgePlugin.from_pretrained(tmp_path)
    attachment = plugin.attach(model, wordpiece)
    other = copied(model)
    attachment.detach()
    assert fingerprint(model) == before
    (left,) = attachments(other)
    left.detach()
    assert fingerprint(other) == before


def test_an_unpickled_model_is_whole(model, kb, wordpiece):
    plugin, second = KnowledgePlugin.for_model(model, kb), KnowledgePlugin.for_model(model, kb)
    expected = ids(plugin.attach(model, wordpiece).tokenizer)
    other_model, other_tokenizer = pickle.loads(pickle.dumps((model, wordpiece)))
    with second.attach(other_model, other_tokenizer, linker=lambda texts: [[] for _ in texts]) as attachment:
        assert ids(attachment.tokenizer) == expected
        assert [status.name for status in attachment.status()] == ["cities", "cities-2"]
        (first, _) = attachments(other_model)
        assert len(first.explain(TEXT)) == 2
        with pytest.raises(AttachmentError, match="copied with it"):
            _ = first.tokenizer
    first.detach()
    assert find_hooks(other_model) == []
    assert "generate" not in vars(other_model)
    assert len(attachments(model)) == 1


def test_what_is_left_of_an_attachment_can_be_found_when_the_embeddings_were_replaced(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    words = model.get_input_embeddings()
    plugin.attach(model, wordpiece)
    model.set_input_embeddings(torch.nn.Embedding.from_pretrained(words.weight))
    plugin.detach(model)
    assert not words._forward_hooks
    with plugin.attach(model, wordpiece) as (_, tokenizer):
        assert model(**tokenizer(TEXT, return_tensors="pt")).logits.isfinite().all()


def test_a_detached_knowledge_base_is_given_back(model, wordpiece):
    with KnowledgePlugin.for_model(model, tiny.knowledge_base()).attach(model, wordpiece) as (_, tokenizer):
        KnowledgePlugin.for_model(model, tiny.knowledge_base()).attach(model, wordpiece).detach()
        plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base())
        gone = weakref.ref(plugin.knowledge_base)
        linked = plugin.attach(model, wordpiece, form="replace", name="third")
        token_id = linked.source.ids.start
        linked.detach()
        del plugin, linked
        gc.collect()
        assert gone() is None
        assert tokenizer.convert_ids_to_tokens(token_id) == "<third>"
        assert tokenizer.decode([token_id, 7]) == tokenizer.decode([7])


def test_warnings_that_are_errors_leave_the_model_alone(model, kb, wordpiece):
    entities = [tiny.Entity("x:1", "Graz")]
    nameless = KnowledgeBase.from_entities(entities, torch.ones(1, 8), name="nameless", linker="external")
    plugin, second = KnowledgePlugin.for_model(model, kb), KnowledgePlugin.for_model(model, nameless)
    with plugin.attach(model, wordpiece) as attachment, warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="no linker"):
            second.attach(model, wordpiece)
        assert len(attachment.status()) == len(find_hooks(model)) == 1
        warnings.simplefilter("ignore")
        second.attach(model, wordpiece).detach()


def test_explain_needs_an_attached_plugin(attachment):
    attachment.detach()
    with pytest.raises(AttachmentError, match="detached"):
        attachment.explain(TEXT)


def test_switched_off_travels_to_workers(attachment, wordpiece):
    with attachment.disabled():
        sent = pickle.dumps(attachment.tokenizer)
    assert ids(pickle.loads(sent)) == ids(wordpiece)
    assert ids(pickle.loads(pickle.dumps(attachment.tokenizer))) == ids(attachment.tokenizer) != ids(wordpiece)


def test_detach_knows_a_copied_model(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    plugin.attach(model, wordpiece)
    other = copy.deepcopy(model)
    plugin.detach(model)
    plugin.detach(other)
    assert find_hooks(other) == []
    with plugin.attach(other, wordpiece) as (_, tokenizer):
        assert ids(tokenizer) != ids(wordpiece)


def test_status_says_when_no_text_came_to_its_tokenizer(attachment, wordpiece, kb, model):
    wordpiece(TEXT)
    (status,) = attachment.status()
    assert (status.texts, status.mentions_linked) == (0, 0)
    assert "no text was given to attachment.tokenizer" in repr(status)
    attachment.tokenizer("nothing here")
    attachment.tokenizer(["a", TEXT], ["b", "c"])
    (status,) = attachment.status()
    assert (status.texts, status.mentions_linked, status.note) == (5, 2, None)
    with KnowledgePlugin.for_model(model, kb, method="memory", key_dim=4).attach(model, wordpiece) as other:
        assert other.status()[1].note is None  # it looks up, whoever tokenizes
