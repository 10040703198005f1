"""Real small spaCy pipelines, made here."""

from __future__ import annotations

import pytest

from knowledge_plugin import KnowledgePlugin, Mention
from knowledge_plugin.linking import SpacyLinker

spacy = pytest.importorskip("spacy")

TEXT = "From Paris to the Big Apple 🗽 and York, não é?"


def pipeline(*patterns: dict):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(list(patterns))
    return nlp


def city(pattern: str, **kwargs) -> dict:
    return {"label": "GPE", "pattern": pattern, **kwargs}


def test_a_name_means_the_entity_with_the_highest_prior(kb):
    linker = SpacyLinker(pipeline(city("Paris"), city("Big Apple")), kb)
    (paris, apple), nothing = linker([TEXT, "nothing here"])
    assert paris == Mention(5, 10, "geo:paris", kb.best_entity("paris")[1])
    assert apple == Mention(18, 27, "geo:new-york", 1.0)
    assert nothing == []


def test_what_is_no_name_of_the_knowledge_base_is_not_linked(kb):
    assert SpacyLinker(pipeline(city("Atlantis"), city("York")), kb)(["Atlantis, York"]) == [
        [Mention(10, 14, "geo:york", 1.0)]
    ]


def test_the_pipelines_own_id_beats_the_name(kb):
    nlp = pipeline(city("Paris", id="paris-texas"), city("York", id="unheard-of"))
    assert [m.entity_id for m in SpacyLinker(nlp, kb, id_prefix="geo:")([TEXT])[0]] == ["geo:paris-texas", "geo:york"]


def test_only_the_labels_asked_for(kb):
    nlp = pipeline(city("Paris"), {"label": "ORG", "pattern": "York"})
    assert [m.entity_id for m in SpacyLinker(nlp, kb, labels=["ORG"])([TEXT])[0]] == ["geo:york"]


def test_case(kb):
    nlp = pipeline(city("paris"))
    assert len(SpacyLinker(nlp, kb)(["paris"])[0]) == 1
    assert SpacyLinker(nlp, kb, case="sensitive")(["paris"]) == [[]]


def test_offsets_are_characters_of_the_text(kb):
    text = "e\u0301 🗽🗽 York"
    (mention,) = SpacyLinker(pipeline(city("York")), kb)([text])[0]
    assert text[mention.start : mention.end] == "York"


def test_spacys_own_entity_linker(kb):
    from spacy.kb import InMemoryLookupKB
    from spacy.training import Example

    def make_kb(vocab):
        lookup = InMemoryLookupKB(vocab, entity_vector_length=1)
        lookup.add_entity("paris-texas", 10, [0.0])
        lookup.add_alias("Paris", ["paris-texas"], [1.0])
        return lookup

    nlp = pipeline(city("Paris"))
    nlp.add_pipe("sentencizer")
    linker = nlp.add_pipe("entity_linker", config={"incl_context": False, "entity_vector_length": 1})
    example = Example.from_dict(nlp.make_doc("Paris"), {"links": {(0, 5): {"paris-texas": 1.0}}})
    linker.initialize(lambda: [example], nlp=nlp, kb_loader=make_kb)
    found = SpacyLinker(nlp, kb, id_prefix="geo:")([TEXT])[0]
    assert found == [Mention(5, 10, "geo:paris-texas", 1.0)]


def test_attached_it_links(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, wordpiece, linker=SpacyLinker(pipeline(city("York")), kb)) as (_, tokenizer):
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(TEXT)["input_ids"])
    assert [token for token in tokens if token.startswith("<")] == ["<geo:york>"]
