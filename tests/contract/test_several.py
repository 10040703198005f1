"""Several plugins on one model."""

from __future__ import annotations

import itertools

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny
from tests.contract.architectures import build
from tests.contract.common import PLAIN, fingerprint, inputs, make_plugin, outputs, way

TEXT = "the mayor of New York saw the old river near Berlin"


def kb_of(name: str, *labels: str, seed: int = 0) -> KnowledgeBase:
    entities = [Entity(f"{name}:{label.lower().replace(' ', '-')}", label) for label in labels]
    vectors = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(seed))
    return KnowledgeBase.from_entities(entities, vectors, name=name)


@pytest.fixture
def model():
    return build("bert-classification")


@pytest.fixture
def cities(model) -> KnowledgePlugin:
    return make_plugin(model)


@pytest.fixture
def things(model) -> KnowledgePlugin:
    plugin = make_plugin(model, seed=9)
    return KnowledgePlugin(plugin.config, plugin.mapping, kb_of("things", "river", "old river", "York saw", "mayor"))


def entities(tokenizer, text: str = TEXT) -> list[str]:
    return [t[1:-1] for t in tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) if t.startswith("<")]


@way("several plugins", "each with virtual ids of its own; the one attached first keeps an overlapping mention")
@pytest.mark.parametrize("through", ["base tokenizer", "first tokenizer"])
def test_both_link_and_the_first_keeps_overlaps(through, model, cities, things, wordpiece):
    first = cities.attach(model, wordpiece)
    second = things.attach(model, wordpiece if through == "base tokenizer" else first.tokenizer)
    expected = ["things:mayor", "geo:new-york", "things:old-river", "geo:berlin"]
    assert entities(second.tokenizer) == entities(first.tokenizer) == expected
    assert [m.entity_id for m in first.explain(TEXT)] == ["geo:new-york", "geo:berlin"]
    assert [m.entity_id for m in second.explain(TEXT)] == ["things:mayor", "things:old-river"]


def test_in_the_other_order_the_other_one_keeps_it(model, cities, things, wordpiece):
    things.attach(model, wordpiece)
    second = cities.attach(model, wordpiece)
    # "York saw" belongs to the plugin that was attached first, so that "New York", though longer, is not linked.
    assert entities(second.tokenizer) == ["things:mayor", "things:york-saw", "things:old-river", "geo:berlin"]


def test_each_mapped_by_its_own_network(model, cities, things, wordpiece):
    with cities.attach(model, wordpiece), things.attach(model, wordpiece) as attachment:
        ids = attachment.tokenizer("mayor of Berlin", return_tensors="pt")["input_ids"]
        found = model.get_input_embeddings()(ids)[ids >= 400]
    expected = torch.cat([things.word_embeddings(["things:mayor"]), cities.word_embeddings(["geo:berlin"])])
    assert torch.equal(found, expected)


@way("several plugins", "detach in any order, each time to what was there without")
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_detached_in_any_order(order, model, cities, things, wordpiece):
    outputs(model, inputs(model, wordpiece, PLAIN))
    before = fingerprint(model)
    plugins = [cities, things, make_plugin(model, seed=4)]
    attached = [plugin.attach(model, wordpiece) for plugin in plugins]
    for i in order:
        attached[i].detach()
        left = [a for j, a in enumerate(attached) if a.attached]
        assert [status.name for status in attached[0].status()] == [a.name for a in left]
        if left:
            batch = inputs(model, left[0].tokenizer, [TEXT])
            names = {e.split(":")[0] for e in entities(left[0].tokenizer)}
            assert names == {"geo" if a.name.startswith("cities") else "things" for a in left}
            assert outputs(model, batch)["logits"].isfinite().all()
    assert fingerprint(model) == before


@way("several plugins", "one switched off")
def test_one_is_switched_off(model, cities, things, wordpiece):
    first, second = cities.attach(model, wordpiece), things.attach(model, wordpiece)
    with first.disabled():
        assert entities(second.tokenizer) == ["things:mayor", "things:york-saw", "things:old-river"]
        with second.disabled():
            assert second.tokenizer(TEXT)["input_ids"] == wordpiece(TEXT)["input_ids"]
    with second.disabled():
        assert entities(second.tokenizer) == ["geo:new-york", "geo:berlin"]


@way("several plugins", "mentions given go to the first plugin that knows the entity")
def test_given_mentions_find_their_plugin(model, cities, things, wordpiece):
    with cities.attach(model, wordpiece), things.attach(model, wordpiece) as attachment:
        given = [Mention(0, 3, "things:river"), Mention(4, 9, "geo:paris")]
        ids = attachment.tokenizer(TEXT, mentions=given)["input_ids"]
        tokens = attachment.tokenizer.convert_ids_to_tokens(ids)
    assert [t for t in tokens if t.startswith("<")] == ["<things:river>", "<geo:paris>"]


def test_text_is_decoded_without_them(model, cities, things, wordpiece):
    with cities.attach(model, wordpiece), things.attach(model, wordpiece, form="replace") as attachment:
        ids = attachment.tokenizer(TEXT)["input_ids"]
        decoded = attachment.tokenizer.decode(ids, skip_special_tokens=True)
    assert decoded == "the of new york saw the near berlin"
    assert attachment.tokenizer.decode(ids, skip_special_tokens=True) == decoded  # also when they are gone


def test_status_says_what_is_attached_and_where(model, cities, things, wordpiece):
    first, second = cities.attach(model, wordpiece), things.attach(model, wordpiece, name="my things")
    second.tokenizer([TEXT, TEXT, "nothing"])
    found = first.status()
    assert found == second.status()
    assert [s.name for s in found] == ["cities", "my things"]
    assert [s.mentions_linked for s in found] == [4, 4]
    assert found[0].virtual_ids[1] < found[1].virtual_ids[0]
    assert found[0].modules == ("bert.embeddings.word_embeddings",)
    assert (found[0].embedding_device, found[0].mapping_device, found[0].index_device) == ("cpu", "cpu", "cpu")
    assert found[0].index_bytes == 5 * 8 * 4
    with first.disabled():
        assert [s.enabled for s in first.status()] == [False, True]


def test_names(model, wordpiece):
    plugins = [make_plugin(model, seed=i) for i in range(4)]
    attached = [plugin.attach(model, wordpiece) for plugin in plugins[:3]]
    assert [a.name for a in attached] == ["cities", "cities-2", "cities-3"]
    with pytest.raises(AttachmentError, match="cities-2"):
        plugins[3].attach(model, wordpiece, name="cities-2")
    attached[1].detach()
    assert plugins[3].attach(model, wordpiece, name="cities-2").name == "cities-2"


def test_two_models_do_not_share_plugins(cities, things, model, wordpiece):
    other = tiny.classifier(seed=3)
    with cities.attach(model, wordpiece) as (_, one), things.attach(other, wordpiece, strict=False) as (_, two):
        assert entities(one) == ["geo:new-york", "geo:berlin"]
        assert entities(two) == ["things:mayor", "things:york-saw", "things:old-river"]
    assert find_hooks(model) == find_hooks(other) == []


def test_one_plugin_on_two_models(cities, model, wordpiece):
    other = build("bert-classification")
    with cities.attach(model, wordpiece) as (_, one), cities.attach(other, wordpiece) as (_, two):
        a, b = inputs(model, one, [TEXT]), inputs(other, two, [TEXT])
        assert torch.equal(outputs(model, a)["logits"], outputs(other, b)["logits"])
        cities.detach(other)
        assert entities(one) == ["geo:new-york", "geo:berlin"]
        assert entities(two) == []


def test_a_plugin_is_detached_without_its_attachment(cities, things, model, wordpiece):
    model, _ = cities.attach(model, wordpiece)
    things.attach(model, wordpiece)
    cities.detach(model)
    assert len(find_hooks(model)) == 1
    with pytest.raises(AttachmentError, match="not attached"):
        cities.detach(model)
