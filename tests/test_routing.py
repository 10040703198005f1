"""Several plugins on one frozen model, and which of them a text gets."""

from __future__ import annotations

import pickle

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention, attachments
from knowledge_plugin.errors import AttachmentError, IncompatibleModelError, LinkingError
from knowledge_plugin.routing import PluginRouter
from tests import tiny

NAMES = {"cities": ("paris", "berlin", "vienna"), "ships": ("paris", "harbour", "river")}
TEXTS = ["paris and berlin", "paris and the river", "the old town", "paris"]


def make(model, name: str, seed: int) -> KnowledgePlugin:
    entities = [Entity(f"{name}:{label}", label) for label in NAMES[name]]
    vectors = torch.randn(len(entities), 8, generator=torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    return KnowledgePlugin.for_model(model, KnowledgeBase.from_entities(entities, vectors, name=name))


@pytest.fixture
def plugins(model):
    return {name: make(model, name, seed) for seed, name in enumerate(NAMES)}


@pytest.fixture
def router(plugins):
    return PluginRouter(plugins, per="text")


def logits(model, tokenizer, texts):
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits


def test_it_chooses_by_what_is_linked(router):
    assert router.choose(TEXTS) == ["cities", "ships", None, "cities"]
    scores = router.scores(["paris and the river"])
    assert scores == [{"cities": pytest.approx(5 / 19), "ships": pytest.approx(10 / 19)}]


def test_each_text_is_read_as_with_its_plugin_alone(router, plugins, model, wordpiece):
    texts = [text for text, name in zip(TEXTS, router.choose(TEXTS), strict=True) if name]
    alone = []
    for text, name in zip(texts, router.choose(texts), strict=True):
        with plugins[name].attach(model, wordpiece) as (_, tokenizer):
            alone.append(logits(model, tokenizer, [text])[0])
    with router.attach(model, wordpiece) as (same, tokenizer):
        assert same is model
        for text, expected in zip(texts, alone, strict=True):
            assert torch.equal(logits(model, tokenizer, [text])[0], expected)
        # In a batch too, whatever is beside it.
        assert torch.allclose(logits(model, tokenizer, texts), torch.stack(alone), atol=1e-6)


def test_together_the_first_keeps_a_shared_name_and_routed_it_does_not(router, plugins, model, wordpiece):
    text = "paris and the river"
    first = plugins["cities"].attach(model, wordpiece)
    second = plugins["ships"].attach(model, wordpiece)
    assert [m.entity_id for m in first.explain(text)] == ["cities:paris"]
    second.detach()
    first.detach()
    with router.attach(model, wordpiece) as routed:
        assert routed.explain(text) == (
            "ships",
            [Mention(0, 5, "ships:paris"), Mention(14, 19, "ships:river")],
        )
        assert routed.attachments["cities"].explain(text) == []
        assert routed.explain("the old town") == (None, [])


def test_per_mention_all_link_and_only_a_shared_name_is_contested(plugins, model, wordpiece):
    with PluginRouter(plugins).attach(model, wordpiece) as routed:
        chosen, mentions = routed.explain("paris, berlin, the river and the harbour")
        assert (chosen, [m.entity_id for m in mentions]) == (
            "ships",
            ["ships:paris", "cities:berlin", "ships:river", "ships:harbour"],
        )
        ids = routed.tokenizer("paris and the river")["input_ids"]
        assert "<ships:paris>" in routed.tokenizer.convert_ids_to_tokens(ids)


def test_a_text_without_a_mention_is_read_as_without_plugins(router, model, wordpiece):
    before = logits(model, wordpiece, ["the old town"])
    with router.attach(model, wordpiece) as (_, tokenizer):
        assert torch.equal(logits(model, tokenizer, ["the old town"]), before)


def test_detaching_gives_the_model_back(router, model, wordpiece):
    before = logits(model, wordpiece, TEXTS)
    routed = router.attach(model, wordpiece)
    assert not torch.equal(logits(*routed, TEXTS), before)
    routed.detach()
    assert not routed.attached
    assert attachments(model) == []
    assert torch.equal(logits(model, routed.tokenizer, TEXTS), before)
    with pytest.raises(AttachmentError, match="detached already"):
        routed.detach()


def test_it_detaches_what_somebody_has_not_detached_already(router, plugins, model, wordpiece):
    with router.attach(model, wordpiece):
        plugins["cities"].detach(model)
    assert attachments(model) == []


def test_a_failure_attaches_nothing(plugins, model, wordpiece):
    torch.manual_seed(9)
    stranger = make(tiny.classifier(seed=9), "ships", 1)
    with pytest.raises(IncompatibleModelError):
        PluginRouter({"cities": plugins["cities"], "strange": stranger}).attach(model, wordpiece)
    assert attachments(model) == []


def test_given_mentions_are_not_routed(router, model, wordpiece):
    with router.attach(model, wordpiece) as (_, tokenizer):
        ids = tokenizer("paris and berlin", mentions=[Mention(0, 5, "ships:paris")])["input_ids"]
        assert "<ships:paris>" in tokenizer.convert_ids_to_tokens(ids)


def test_its_tokenizer_goes_to_worker_processes(router, model, wordpiece):
    with router.attach(model, wordpiece) as (_, tokenizer):
        again = pickle.loads(pickle.dumps(tokenizer))
        assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


def test_plugins_in_order_are_called_as_their_knowledge_bases(plugins, model):
    router = PluginRouter([plugins["ships"], plugins["cities"], make(model, "ships", 5)])
    assert list(router.plugins) == ["ships", "cities", "ships-2"]
    assert repr(router) == "PluginRouter(ships, cities, ships-2, by='coverage', per='mention')"
    assert router.choose(["paris"]) == ["ships"]


def test_linkers_of_ones_own(plugins):
    router = PluginRouter(plugins, linkers={"ships": lambda texts: [[] for _ in texts]})
    assert router.choose(["paris and the river", "the river"]) == ["cities", None]
    with pytest.raises(LinkingError, match="linkers: expected names among cities, ships, found 'trains'"):
        PluginRouter(plugins, linkers={"trains": lambda texts: [[] for _ in texts]})


def test_wrong_use_is_refused(plugins, model):
    with pytest.raises(LinkingError, match="found none"):
        PluginRouter([])
    with pytest.raises(LinkingError, match="twice"):
        PluginRouter([plugins["cities"], plugins["cities"]])
    for wrong in (plugins["cities"], ["cities"], {"cities": "cities"}):
        with pytest.raises(LinkingError, match=r"Type: PluginRouter\("):
            PluginRouter(wrong)
    nameless = KnowledgeBase.from_entities([Entity("x:a", "A")], [[0.0] * 8], name="nameless", linker="external")
    with pytest.raises(LinkingError, match="nothing says which texts are for it"):
        PluginRouter([KnowledgePlugin.for_model(model, nameless)])


def test_plugins_that_enter_layers_are_not_routed(plugins, model, wordpiece):
    memory = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method="memory", layers=[0], key_dim=4)
    with pytest.raises(AttachmentError, match="enters layers"):
        PluginRouter({"cities": plugins["cities"], "memory": memory}).attach(model, wordpiece)
    assert attachments(model) == []


def test_linkers_are_given_to_the_router_and_not_to_attach(router, model, wordpiece):
    with pytest.raises(TypeError, match="linker"):
        router.attach(model, wordpiece, linker=lambda texts: [[] for _ in texts])
    assert attachments(model) == []


def test_a_form_is_of_all_plugins(router, model, wordpiece):
    with router.attach(model, wordpiece, form="replace") as routed:
        assert {attachment.form for attachment in routed.attachments.values()} == {"replace"}


def test_a_knowledge_base_that_was_swapped_is_linked(plugins, model, wordpiece):
    router = PluginRouter(plugins)
    assert router.choose(["the river", "the train"]) == ["ships", None]
    entities = [Entity("ships:train", "train")]
    plugins["ships"].swap(KnowledgeBase.from_entities(entities, [[1.0] * 8], name="ships"))
    assert router.choose(["the river", "the train"]) == [None, "ships"]
    with router.attach(model, wordpiece) as routed:
        assert routed.explain("the train") == ("ships", [Mention(4, 9, "ships:train")])
