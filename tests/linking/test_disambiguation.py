from __future__ import annotations

import numpy as np
import pytest

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.errors import ArtifactError, LinkingError
from knowledge_plugin.linking import (
    Candidate,
    Choice,
    DescriptionDisambiguator,
    DictionaryLinker,
    NeighbourDisambiguator,
)
from knowledge_plugin.linking.disambiguation import disambiguate

BOTH = Choice(0, 5, (Candidate("x:river", 0.7), Candidate("x:town", 0.3)))
ONE = Choice(6, 9, (Candidate("x:city", 1.0),))


@pytest.fixture
def kb():
    return KnowledgeBase.from_entities(
        [
            Entity("x:river", "Foyle", description="a river that flows into the sea"),
            Entity("x:town", "Foyle", description="a small town with a church"),
            Entity("x:city", "Cork"),
        ],
        [[2.0, 0.0], [0.0, 3.0], [0.0, 9.0]],
        name="t",
    )


def test_of_equal_scores_the_likelier_is_taken():
    taken = disambiguate(lambda texts, choices: [[[0.5, 0.5]]], ["Foyle"], [[BOTH]])
    assert [m.entity_id for m in taken[0]] == ["x:river"]


@pytest.mark.parametrize(
    "scores",
    [[], [[]], [[[1.0]]], [[[1.0, 2.0, 3.0]]], [[[1.0, float("nan")]]], [[[1.0, 2.0], [1.0, 2.0]]], [[[1.0, 2.0]]] * 2],
)
def test_scores_that_do_not_fit_the_candidates(scores):
    with pytest.raises(LinkingError, match="scores every candidate"):
        disambiguate(lambda texts, choices: scores, ["Foyle"], [[BOTH]])


def test_neighbours(kb):
    scores = NeighbourDisambiguator(kb)(["Foyle Cork", "Foyle"], [[BOTH, ONE], [BOTH]])
    np.testing.assert_allclose(scores[0][0], [0.0, 1.0])
    np.testing.assert_allclose(scores[1][0], [0.0, 0.0])


def test_an_ambiguous_neighbour_counts_by_its_priors(kb):
    other = Choice(6, 9, (Candidate("x:town", 0.9), Candidate("x:river", 0.1)))
    scores = NeighbourDisambiguator(kb)(["Foyle Cork"], [[BOTH, other]])
    np.testing.assert_allclose(scores[0][0], [0.1, 0.9], rtol=1e-6)


def test_neighbours_need_vectors(kb, tmp_path):
    kb.save_pretrained(tmp_path)
    names_alone = KnowledgeBase.from_pretrained(tmp_path, vectors=False)
    with pytest.raises(ArtifactError, match="without vectors=False"):
        DictionaryLinker(names_alone, disambiguate="context")(["Foyle"])


def words(texts):
    vocabulary = sorted({word for text in texts for word in text.split()})
    return np.array([[text.split().count(word) for word in vocabulary] for text in texts])


def test_descriptions(kb):
    linker = DictionaryLinker(kb, disambiguate=DescriptionDisambiguator(kb, words))
    texts = ["They pray in the church of Foyle , a town", "The boat on Foyle went into the sea", "Cork"]
    assert [m.entity_id for row in linker(texts) for m in row] == ["x:town", "x:river", "x:city"]
