"""Real small spaCy pipelines, made here."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.errors import KnowledgeBaseError, LinkingError
from knowledge_plugin.linking import SpacyLinker

spacy = pytest.importorskip("spacy")

TEXT = "From Paris to the Big Apple 🗽 and York, não é?"


def pipeline(*patterns: dict):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(list(patterns))
    return nlp


def city(pattern: str, **kwargs) -> dict:
    return {"label": "GPE", "pattern": pattern, **kwargs}


def with_entity_linker(nlp, *names: tuple[str, str]):
    """Add spaCy's own entity linker, with a knowledge base of spaCy's own of ``(alias, id)``."""
    from spacy.kb import InMemoryLookupKB
    from spacy.training import Example

    def make_kb(vocab):
        lookup = InMemoryLookupKB(vocab, entity_vector_length=1)
        for alias, entity_id in names:
            lookup.add_entity(entity_id, 10, [0.0])
            lookup.add_alias(alias, [entity_id], [1.0])
        return lookup

    nlp.add_pipe("sentencizer")
    linker = nlp.add_pipe("entity_linker", config={"incl_context": False, "entity_vector_length": 1})
    (alias, entity_id), *_ = names
    example = Example.from_dict(nlp.make_doc(alias), {"links": {(0, len(alias)): {entity_id: 1.0}}})
    linker.initialize(lambda: [example], nlp=nlp, kb_loader=make_kb)
    return nlp


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


def test_no_texts_and_blank_texts(kb):
    linker = SpacyLinker(pipeline(city("York")), kb)
    assert linker([]) == []
    assert linker(["", " \n", "York"]) == [[], [], [Mention(0, 4, "geo:york")]]


def test_the_id_of_the_entity_ruler_beats_the_name(kb):
    nlp = pipeline(city("Paris", id="paris-texas"), city("York", id="unheard-of"))
    found = SpacyLinker(nlp, kb, id_prefix="geo:")([TEXT])[0]
    assert found == [Mention(5, 10, "geo:paris-texas", 1.0), Mention(34, 38, "geo:york", 1.0)]


def test_the_id_may_stand_under_a_name_that_the_knowledge_base_lacks(kb):
    nlp = pipeline(city("Lutetia", id="geo:paris"))
    assert SpacyLinker(nlp, kb)(["in Lutetia"]) == [[Mention(3, 10, "geo:paris", 1.0)]]


def test_a_knowledge_base_without_names_is_linked_by_ids():
    nameless = KnowledgeBase.from_entities([Entity("x:1", "")], [[1.0]], name="t", linker="external")
    nlp = pipeline(city("Paris", id="x:1"), city("York"))
    assert [m.entity_id for m in SpacyLinker(nlp, nameless)([TEXT])[0]] == ["x:1"]


def test_the_id_of_the_entity_linker_beats_the_name(kb):
    nlp = with_entity_linker(pipeline(city("Paris")), ("Paris", "paris-texas"))
    assert SpacyLinker(nlp, kb, id_prefix="geo:")([TEXT]) == [[Mention(5, 10, "geo:paris-texas", 1.0)]]


def test_the_id_of_the_entity_linker_beats_that_of_the_entity_ruler(kb):
    nlp = with_entity_linker(pipeline(city("Paris", id="york")), ("Paris", "paris-texas"))
    assert [m.entity_id for m in SpacyLinker(nlp, kb, id_prefix="geo:")([TEXT])[0]] == ["geo:paris-texas"]


def test_the_name_decides_what_the_entity_linker_leaves_open(kb):
    nlp = with_entity_linker(pipeline(city("Paris"), city("York")), ("Paris", "paris-texas"))
    assert [ent.kb_id_ for ent in nlp("York").ents] == ["NIL"]  # what spaCy writes where it does not know
    assert SpacyLinker(nlp, kb, id_prefix="geo:")(["York"]) == [[Mention(0, 4, "geo:york", 1.0)]]


@pytest.mark.parametrize("labels", [["ORG"], ("ORG", "LOC"), {"ORG"}, iter(["ORG"])])
def test_only_the_labels_asked_for(kb, labels):
    linker = SpacyLinker(pipeline(city("Paris"), {"label": "ORG", "pattern": "York"}), kb, labels=labels)
    for _ in range(2):
        assert [m.entity_id for m in linker([TEXT])[0]] == ["geo:york"]


def test_labels_are_no_text(kb):
    with pytest.raises(LinkingError, match=r"labels=\['GPE'\]"):
        SpacyLinker(pipeline(), kb, labels="GPE")


def test_case(kb):
    nlp = pipeline(city("paris"))
    assert len(SpacyLinker(nlp, kb)(["paris"])[0]) == 1
    assert SpacyLinker(nlp, kb, case="sensitive")(["paris"]) == [[]]


@pytest.mark.parametrize("name", ["York", "Orléans", "Orle\u0301ans", "東京", "👩‍🚀 Bar", "🇦🇹"])
@pytest.mark.parametrize("before", ["", "e\u0301 🗽🗽 ", "não 👩‍🚀! ", "a\u0301\u0328 \u200b, ", "ﬁ İ ß "])
def test_offsets_are_characters_of_the_text(name, before):
    # The knowledge base and the text need not write the accent in the same way.
    kb = KnowledgeBase.from_entities([Entity("x:1", unicodedata.normalize("NFC", name))], [[1.0]], name="t")
    text = f"{before}{name} and more"
    (mention,) = SpacyLinker(pipeline(city(name)), kb)([text])[0]
    assert mention == Mention(len(before), len(before) + len(name), "x:1", 1.0)


@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_texts_of_several_batches_keep_their_order(kb, batch_size):
    linker = SpacyLinker(pipeline(city("York"), city("Berlin")), kb, batch_size=batch_size)
    found = linker(["York", "none", "Berlin", "", "York"])
    assert [[m.entity_id for m in mentions] for mentions in found] == [
        ["geo:york"],
        [],
        ["geo:berlin"],
        [],
        ["geo:york"],
    ]


def test_the_batch_size_reaches_the_pipeline(kb, monkeypatch):
    nlp = pipeline(city("York"))
    asked = []
    pipe = nlp.pipe
    monkeypatch.setattr(nlp, "pipe", lambda texts, **kwargs: asked.append(kwargs) or pipe(texts, **kwargs))
    SpacyLinker(nlp, kb, batch_size=7)(["York"])
    assert asked == [{"batch_size": 7}]


@pytest.mark.parametrize("wrong", ["en_core_web_sm", None, len])
def test_what_is_no_pipeline(kb, wrong):
    with pytest.raises(LinkingError, match=r"expected a spaCy pipeline, found .* Type: SpacyLinker\(spacy\.load\("):
        SpacyLinker(wrong, kb)


def test_the_arguments_the_other_way_round(kb):
    with pytest.raises(LinkingError, match="expected a spaCy pipeline, found KnowledgeBase"):
        SpacyLinker(kb, pipeline())


def test_attached_it_links(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    plain = wordpiece(TEXT)["input_ids"]
    with plugin.attach(model, wordpiece, linker=SpacyLinker(pipeline(city("York")), kb)) as attachment:
        ids = attachment.tokenizer(TEXT)["input_ids"]
        tokens = attachment.tokenizer.convert_ids_to_tokens(ids)
        assert attachment.explain(TEXT) == [Mention(34, 38, "geo:york", 1.0)]
        assert attachment.tokenizer(["York", "nothing"])["input_ids"][1] == wordpiece("nothing")["input_ids"]
    at = tokens.index("<geo:york>")
    assert [token for token in tokens if token.startswith("<")] == ["<geo:york>"]
    assert ids[:at] + ids[at + 2 :] == plain
    assert wordpiece(TEXT)["input_ids"] == plain


def test_the_package_does_not_import_spacy_or_gliner():
    code = "import sys, knowledge_plugin.linking; print(sorted({'spacy', 'gliner'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options_that_would_be_taken_for_others(kb):
    nlp = pipeline(city("York"))
    with pytest.raises(LinkingError, match="case: expected"):
        SpacyLinker(nlp, kb, case="lower")
    with pytest.raises(KnowledgeBaseError, match=r"KnowledgeBase\.from_pretrained\('cities'\)"):
        SpacyLinker(nlp, "cities")
    with pytest.raises(LinkingError, match="found one text"):
        SpacyLinker(nlp, kb)("York")
