"""A real GLiNER model, tiny and untrained, and models with other methods."""

from __future__ import annotations

import unicodedata

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.errors import KnowledgeBaseError, LinkingError
from knowledge_plugin.linking import SpanLinker
from tests import tiny

TEXTS = ["Berlin", "", "  ", "From the Big Apple to York, não é 🗽?"]


@pytest.fixture(scope="module")
def gliner():
    pytest.importorskip("gliner")
    from gliner.config import UniEncoderSpanConfig
    from gliner.model import UniEncoderSpanGLiNER

    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.add_tokens(["<<ENT>>", "<<SEP>>"])
    encoder = {"model_type": "bert", "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1}
    encoder |= {"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 128}
    torch.manual_seed(0)
    config = UniEncoderSpanConfig(
        encoder_config=encoder,
        hidden_size=16,
        max_width=4,
        vocab_size=len(tokenizer),
        class_token_index=len(tokenizer) - 2,
        num_rnn_layers=0,
    )
    return UniEncoderSpanGLiNER(config, tokenizer=tokenizer).eval()


class Finder:
    """Finds given words, one text at a time; the word decides which of the labels it is."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.asked: list[tuple] = []

    def predict_entities(self, text: str, labels: list[str], threshold: float) -> list[dict]:
        self.asked.append((text, labels, threshold))
        return [self.span(text, word, labels[i % len(labels)]) for i, word in enumerate(self.words) if word in text]

    def span(self, text: str, word: str, label: str) -> dict:
        start = text.index(word)
        return {"start": start, "end": start + len(word), "text": word, "label": label, "score": 0.75}


class BatchFinder:
    """Finds given words in several texts at once, as GLiNER did before it had ``inference``."""

    def __init__(self, *words: str) -> None:
        self.one = Finder(*words)

    def batch_predict_entities(self, texts: list[str], labels: list[str], threshold: float) -> list[list[dict]]:
        return [self.one.predict_entities(text, labels, threshold) for text in texts]


class Returning:
    """Gives whatever it was made with."""

    def __init__(self, found: object) -> None:
        self.found = found

    def inference(self, texts: list[str], labels: list[str], threshold: float) -> object:
        return self.found


# ---- a real GLiNER -----------------------------------------------------------------------------------------------


def test_gliner(gliner, kb):
    found = SpanLinker(gliner, ["city"], kb, threshold=0.0)(TEXTS)
    spans = gliner.inference(TEXTS[:1], ["city"], threshold=0.0)[0]
    # Of a text of one word every span is that word, and the knowledge base knows it.
    assert found[0] == [Mention(0, 6, "geo:berlin", pytest.approx(spans[0]["score"]))]
    assert found[1] == found[2] == []


def test_gliner_heeds_the_threshold(gliner, kb):
    assert SpanLinker(gliner, ["city"], kb, threshold=0.99)(TEXTS) == [[], [], [], []]


def test_gliner_is_asked_nothing_if_there_is_no_word(gliner, kb):
    linker = SpanLinker(gliner, ["city"], kb)
    assert linker([]) == []
    assert linker(["", " \n"]) == [[], []]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_every_span_of_gliner_is_linked_where_it_stands(gliner, form):
    texts = [unicodedata.normalize(form, t) for t in ("🗽 São Paulo, 👩‍🚀 não é Berlin", "Orléans 🇦🇹 e Việt Nam")]
    spans = gliner.inference(texts, ["city", "drug"], threshold=0.0)
    names = sorted({unicodedata.normalize("NFC", span["text"]).lower() for of_text in spans for span in of_text})
    kb = KnowledgeBase.from_entities([Entity(f"x:{n}", n) for n in names], torch.zeros(len(names), 1), name="t")
    found = SpanLinker(gliner, ["city", "drug"], kb, threshold=0.0)(texts)
    for text, of_text, mentions in zip(texts, spans, found, strict=True):
        assert len(of_text) > 1
        assert [(text[m.start : m.end], m.score) for m in mentions] == [(s["text"], s["score"]) for s in of_text]


def test_gliner_calls_nothing_that_it_calls_deprecated(gliner, kb, recwarn):
    SpanLinker(gliner, ["city"], kb, threshold=0.0)(TEXTS)
    assert [w for w in recwarn if "deprecated" in str(w.message)] == []


def test_gliner_attached(gliner, model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, wordpiece, linker=SpanLinker(gliner, ["city"], kb, threshold=0.0)) as attachment:
        assert [m.entity_id for m in attachment.explain("Berlin")] == ["geo:berlin"]
        ids = attachment.tokenizer(["Berlin", ""])["input_ids"]
        assert attachment.tokenizer.convert_ids_to_tokens(ids[0][1]) == "<geo:berlin>"
    plain = wordpiece(["Berlin", ""])["input_ids"]
    assert ids[0][:1] + ids[0][3:] == plain[0]
    assert ids[1] == plain[1]


# ---- what becomes of a span --------------------------------------------------------------------------------------


@pytest.mark.parametrize("finder", [Finder, BatchFinder])
def test_a_name_means_the_entity_with_the_highest_prior(kb, finder):
    found = SpanLinker(finder("Paris"), ["city"], kb)(["In Paris", "", "no", "Paris"])
    score = 0.75 * kb.best_entity("Paris")[1]
    assert found == [[Mention(3, 8, "geo:paris", score)], [], [], [Mention(0, 5, "geo:paris", score)]]


@pytest.mark.parametrize("finder", [Finder, BatchFinder])
def test_what_is_no_name_is_not_linked_and_offsets_are_characters(kb, finder):
    found = SpanLinker(finder("From", "Big Apple", "York"), ["city"], kb)(TEXTS)
    assert [(TEXTS[3][m.start : m.end], m.entity_id) for m in found[3]] == [
        ("Big Apple", "geo:new-york"),
        ("York", "geo:york"),
    ]


def test_case(kb):
    assert len(SpanLinker(Finder("york"), ["city"], kb)(["york"])[0]) == 1
    assert SpanLinker(Finder("york"), ["city"], kb, case="sensitive")(["york"]) == [[]]


def test_labels_and_threshold_reach_the_model(kb):
    finder = Finder()
    SpanLinker(finder, ("city", "river"), kb, threshold=0.25)(["York"])
    assert finder.asked == [("York", ["city", "river"], 0.25)]


@pytest.fixture
def washingtons():
    entities = [
        Entity("x:state", "Washington", types=["region"], popularity=7),
        Entity("x:george", "Washington", types=["human"], popularity=2),
        Entity("x:oregon", "Oregon", types=["region"]),
    ]
    return KnowledgeBase.from_entities(entities, torch.eye(3), name="t")


def test_labels_may_say_which_type_of_entity_they_mean(washingtons):
    linker = SpanLinker(Finder("Washington", "Oregon"), {"person": "human", "place": "region"}, washingtons)
    assert linker(["Washington of Oregon"]) == [
        [Mention(0, 10, "x:george", pytest.approx(0.75 * 3 / 11)), Mention(14, 20, "x:oregon", 0.75)]
    ]


def test_a_span_is_not_linked_to_an_entity_of_another_type(washingtons):
    linker = SpanLinker(Finder("Oregon"), {"person": "human", "place": "region"}, washingtons)
    assert linker(["Oregon"]) == [[]]


def test_types_that_the_knowledge_base_does_not_have():
    kb = KnowledgeBase.from_entities([Entity("x:1", "York")], [[1.0]], name="t")
    with pytest.raises(KnowledgeBaseError, match="has types"):
        SpanLinker(Finder("York"), {"city": "city"}, kb)(["York"])


# ---- wrong use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [str.split, "urchade/gliner_small-v2.1", None])
def test_a_model_of_another_kind_is_refused(kb, wrong):
    with pytest.raises(LinkingError, match=r"inference\(texts, labels, threshold=\.\.\.\)"):
        SpanLinker(wrong, ["city"], kb)


@pytest.mark.parametrize("labels", ["city", [], None])
def test_labels_that_are_none(kb, labels):
    with pytest.raises(LinkingError, match="labels: expected a list of"):
        SpanLinker(Finder(), labels, kb)


@pytest.mark.parametrize("found", [[], [[], []], None, [[], [], [], []], ([[], [], []], [[], [], []])])
def test_a_model_that_gives_another_number_of_lists(kb, found):
    with pytest.raises(LinkingError, match="Returning: expected a list of spans for each of 3 texts, found"):
        SpanLinker(Returning(found), ["city"], kb)(["York", "Paris", "Berlin"])


@pytest.mark.parametrize(
    "span", [{"begin": 0, "end": 4}, {"start": 0, "end": 4}, "York", None, {"start": None, "end": 4, "score": 1.0}]
)
def test_a_model_that_gives_something_else_for_spans(kb, span):
    with pytest.raises(LinkingError, match="expected a dictionary with start, end, label and score, found"):
        SpanLinker(Returning([[span]]), ["city"], kb)(["York"])


def test_a_label_that_nobody_asked_for(washingtons):
    span = {"start": 0, "end": 6, "label": "drug", "score": 0.5}
    assert SpanLinker(Returning([[span]]), ["place"], washingtons)(["Oregon"]) == [[Mention(0, 6, "x:oregon", 0.5)]]
    with pytest.raises(LinkingError, match="'drug' is not among the labels 'place'"):
        SpanLinker(Returning([[span]]), {"place": "region"}, washingtons)(["Oregon"])


def test_options_that_would_be_taken_for_others(kb):
    with pytest.raises(LinkingError, match="case: expected"):
        SpanLinker(Finder("York"), ["city"], kb, case="lower")
    with pytest.raises(KnowledgeBaseError, match=r"KnowledgeBase\.from_pretrained\('cities'\)"):
        SpanLinker(Finder("York"), ["city"], "cities")
    with pytest.raises(LinkingError, match="found one text"):
        SpanLinker(Finder("York"), ["city"], kb)("York")
