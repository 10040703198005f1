from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin, Mention
from knowledge_plugin.errors import AttachmentError, LinkingError

TEXT = "From Paris to New York"


@pytest.fixture
def attachment(model, kb, wordpiece):
    attached = KnowledgePlugin.for_model(model, kb).attach(model, wordpiece)
    yield attached
    attached.__exit__()


def ids(tokenizer) -> list[int]:
    return tokenizer(TEXT)["input_ids"]


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
