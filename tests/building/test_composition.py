from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.building import compose_vectors, embed_graph, relation_vectors
from knowledge_plugin.building import composition as module
from knowledge_plugin.building.readers import Triple
from knowledge_plugin.errors import KnowledgeBaseError

DIM = 3


def knowledge_base(vectors):
    return KnowledgeBase.from_entities([Entity(i, i) for i in vectors], torch.stack(list(vectors.values())), name="t")


@st.composite
def graphs(draw):
    """A graph in which head + relation = tail holds to the bit: a tree, grown from a root by relations."""
    whole = st.lists(st.integers(-50, 50), min_size=DIM, max_size=DIM)
    relations = {f"r{i}": torch.tensor(v).float() for i, v in enumerate(draw(st.lists(whole, min_size=1, max_size=3)))}
    vectors = {"x:0": torch.tensor(draw(whole)).float()}
    triples = []
    for i in range(1, draw(st.integers(3, 12))):
        parent, relation = draw(st.sampled_from(sorted(vectors))), draw(st.sampled_from(sorted(relations)))
        if draw(st.booleans()):
            triples.append((parent, relation, f"x:{i}"))
            vectors[f"x:{i}"] = vectors[parent] + relations[relation]
        else:
            triples.append((f"x:{i}", relation, parent))
            vectors[f"x:{i}"] = vectors[parent] - relations[relation]
    held_out = set(draw(st.lists(st.sampled_from(sorted(vectors)), max_size=len(vectors) - 1, unique=True)))
    return vectors, relations, triples, held_out


@given(graphs(), st.booleans())
def test_where_relations_are_translations_the_vector_is_exact(graph, estimated):
    vectors, relations, triples, held_out = graph
    kb = knowledge_base({i: v for i, v in vectors.items() if i not in held_out})
    composed = compose_vectors(kb, triples, held_out, None if estimated else relations)
    known = {r for h, r, t in triples if not {h, t} & held_out} if estimated else set(relations)
    for entity_id, vector, count in zip(composed.ids, composed.vectors, composed.neighbours, strict=True):
        assert torch.equal(vector, vectors[entity_id])
        assert count == sum(entity_id in (h, t) and len({h, t} & held_out) == 1 and r in known for h, r, t in triples)
    # Whoever has no neighbour is named, and nobody is lost.
    assert sorted([*composed.ids, *composed.missing]) == sorted(held_out)
    for entity_id in composed.missing:
        usable = [(h, t) for h, r, t in triples if r in known and entity_id in (h, t)]
        assert all(h in held_out and t in held_out for h, t in usable)


KB = {"x:graz": torch.tensor([1.0, 0.0]), "x:styria": torch.tensor([3.0, 4.0]), "x:tyrol": torch.tensor([5.0, 0.0])}


def test_what_its_triples_say_is_averaged():
    triples = [("x:new", "in", "x:styria"), ("x:new", "in", "x:tyrol"), ("x:graz", "near", "x:new")]
    composed = compose_vectors(knowledge_base(KB), triples, ["x:new"], {"in": [1.0, 0.0], "near": np.array([0.0, 9.0])})
    assert composed.ids == ["x:new"]
    assert composed.neighbours == [3]
    assert torch.allclose(composed.vectors, torch.tensor([[(2 + 4 + 1) / 3, (4 + 0 + 9) / 3]]))
    assert composed.vectors.dtype == torch.float32


def test_relations_are_estimated_from_what_has_vectors():
    triples = [("x:graz", "in", "x:styria"), ("x:graz", "in", "x:tyrol"), ("x:new", "in", "x:tyrol")]
    kb = knowledge_base(KB)
    assert {name: vector.tolist() for name, vector in relation_vectors(kb, triples).items()} == {"in": [3.0, 2.0]}
    assert compose_vectors(kb, triples).vectors.tolist() == [[2.0, -2.0]]


def test_the_estimate_is_the_best_translation():
    vectors = {f"x:{i}": v for i, v in enumerate(torch.randn(20, DIM, generator=torch.Generator().manual_seed(0)))}
    triples = [(f"x:{i}", "r", f"x:{i + 1}") for i in range(19)]
    found = relation_vectors(knowledge_base(vectors), triples)["r"]
    differences = torch.stack([vectors[t] - vectors[h] for h, _, t in triples]).double()
    best = torch.linalg.lstsq(torch.ones(19, 1, dtype=torch.float64), differences).solution[0]
    assert torch.allclose(found, best)


def test_without_names_all_that_the_knowledge_base_lacks_is_composed_in_order_of_ids():
    triples = [("x:c", "in", "x:tyrol"), ("x:a", "in", "x:graz"), ("x:b", "in", "x:a"), ("x:graz", "in", "x:tyrol")]
    composed = compose_vectors(knowledge_base(KB), triples, relations={"in": [0.0, 0.0]})
    assert composed.ids == ["x:a", "x:c"]
    assert composed.missing == ["x:b"]  # its only neighbour has no vector of its own


def test_names_come_back_in_the_order_in_which_they_were_asked_for_and_once():
    triples = [(name, "in", "x:graz") for name in ("x:a", "x:b")]
    composed = compose_vectors(knowledge_base(KB), triples, ["x:b", "x:q", "x:a", "x:b"], {"in": [0.0, 0.0]})
    assert composed.ids == ["x:b", "x:a"]
    assert composed.missing == ["x:q"]


def test_an_entity_says_nothing_of_itself():
    triples = [("x:graz", "same", "x:graz"), ("x:graz", "in", "x:styria")]
    composed = compose_vectors(knowledge_base(KB), triples, ["x:graz"], {"same": [9.0, 9.0], "in": [1.0, 1.0]})
    assert composed.vectors.tolist() == [[2.0, 3.0]]


def test_nothing_is_composed_from_a_vector_of_ones_own_also_not_by_its_relations():
    vectors = {f"x:{i}": v for i, v in enumerate(torch.randn(6, DIM, generator=torch.Generator().manual_seed(0)))}
    triples = [("x:0", "r", "x:1"), ("x:1", "r", "x:2"), ("x:3", "r", "x:0"), ("x:4", "s", "x:5"), ("x:5", "t", "x:0")]
    triples += [("x:2", "t", "x:3")]
    composed = compose_vectors(knowledge_base(vectors), triples, ["x:0", "x:4", "x:2"])
    for entity_id, vector in zip(composed.ids, composed.vectors, strict=True):
        without = {i: v for i, v in vectors.items() if i != entity_id}
        assert torch.allclose(vector, compose_vectors(knowledge_base(without), triples, [entity_id]).vectors[0])
    # Of its one relation nothing else tells how far it leads.
    assert (composed.ids, composed.missing) == (["x:0", "x:2"], ["x:4"])


def test_a_triple_that_is_there_twice_counts_once():
    triples = [Triple("x:new", "in", "x:styria"), ("x:new", "in", "x:styria"), ("x:new", "in", "x:tyrol")]
    composed = compose_vectors(knowledge_base(KB), triples, relations={"in": [0.0, 0.0]})
    assert composed.neighbours == [2]
    assert composed.vectors.tolist() == [[4.0, 2.0]]


def test_a_relation_without_a_vector_leads_nowhere():
    triples = [("x:new", "in", "x:styria"), ("x:new", "near", "x:tyrol"), ("x:other", "near", "x:tyrol")]
    composed = compose_vectors(knowledge_base(KB), triples, relations={"in": [1.0, 1.0]})
    assert (composed.ids, composed.neighbours, composed.missing) == (["x:new"], [1], ["x:other"])
    assert composed.vectors.tolist() == [[2.0, 3.0]]


def test_nothing_to_compose():
    composed = compose_vectors(knowledge_base(KB), [], ["x:new"])
    assert (composed.ids, composed.missing) == ([], ["x:new"])
    assert composed.vectors.shape == (0, 2)
    assert compose_vectors(knowledge_base(KB), [("x:graz", "in", "x:tyrol")]).missing == []


def test_many_triples_are_taken_in_blocks(monkeypatch):
    triples = [("x:graz", "in", "x:styria"), ("x:graz", "in", "x:tyrol"), ("x:styria", "in", "x:tyrol")]
    triples += [("x:new", "in", other) for other in KB] + [(other, "in", "x:new") for other in KB]
    whole = compose_vectors(knowledge_base(KB), triples)
    monkeypatch.setattr(module, "_BLOCK", 2)
    parts = compose_vectors(knowledge_base(KB), triples)
    assert torch.allclose(whole.vectors, parts.vectors)
    assert whole.neighbours == parts.neighbours == [6]


def test_the_knowledge_base_reaches_what_its_embedding_never_saw():
    pytest.importorskip("pykeen")
    countries = {f"x:town{i}": f"x:country{i % 3}" for i in range(30)}
    triples = [(town, "in", country) for town, country in countries.items()]
    triples += [(a, "near", b) for a in countries for b in countries if a < b and countries[a] == countries[b]]
    new = {f"x:town{i}" for i in range(24, 30)}
    ids, vectors = embed_graph([t for t in triples if not {t[0], t[2]} & new], dim=16, epochs=200, progress=False)
    kb = KnowledgeBase.from_entities([Entity(i, i) for i in ids], vectors, name="towns")
    composed = compose_vectors(kb, triples)
    assert set(composed.ids) == new
    kb.upsert([Entity(i, i) for i in composed.ids], composed.vectors)
    known = [town for town in countries if town not in new]
    nearest = torch.cdist(composed.vectors, kb.vectors(kb.rows(known))).argmin(1).tolist()
    assert [countries[known[n]] for n in nearest] == [countries[i] for i in composed.ids]


@pytest.mark.parametrize("vector", [[1.0], [[1.0, 2.0]], [1.0, float("nan")]])
def test_vectors_of_relations_that_do_not_fit(vector):
    with pytest.raises(KnowledgeBaseError, match=r"relations: expected a finite vector \[2\] of 'in'"):
        compose_vectors(knowledge_base(KB), [("x:new", "in", "x:graz")], relations={"in": vector})


@pytest.mark.parametrize("vector", ["far", None, {"x": 1}, [[1.0], [1.0, 2.0]]])
def test_what_is_no_vector_of_a_relation(vector):
    with pytest.raises(KnowledgeBaseError, match="relations: expected a finite vector"):
        compose_vectors(knowledge_base(KB), [("x:new", "in", "x:graz")], relations={"in": vector})
    with pytest.raises(KnowledgeBaseError, match="relations: expected a vector by relation, found"):
        compose_vectors(knowledge_base(KB), [("x:new", "in", "x:graz")], relations=[vector])


@pytest.mark.parametrize("vector", [torch.ones(2, dtype=torch.bfloat16), torch.ones(2, requires_grad=True), (1, 1)])
def test_vectors_of_relations_come_in_any_kind_of_numbers(vector):
    composed = compose_vectors(knowledge_base(KB), [("x:new", "in", "x:graz")], relations={"in": vector})
    assert composed.vectors.tolist() == [[0.0, -1.0]]


def test_vectors_of_other_relations():
    with pytest.raises(KnowledgeBaseError, match="expected vectors of 'in', which the triples name, found 'P131'"):
        compose_vectors(knowledge_base(KB), [("x:new", "in", "x:graz")], relations={"P131": [0.0, 0.0]})


def test_one_id_is_no_list_of_ids():
    with pytest.raises(KnowledgeBaseError, match="entities: expected a list of ids, found the text 'x:new'"):
        compose_vectors(knowledge_base(KB), [("x:new", "in", "x:graz")], "x:new")
