from __future__ import annotations

import numpy as np
import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.readers.published import read_published_entities, read_published_vectors
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import write

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "transe.npy", VECTORS)
    write(tmp_path, "entity2id.txt", "4\nQ64\t2\nQ5\t0\nQ42\t1\nQ7\t3\n")
    write(tmp_path, "entity_map.txt", "Berlin\tQ64\nDouglas Adams\tQ42\nBerlin, Germany\tQ64\nBerlin\tQ64\n")
    return tmp_path


def test_ids_come_in_the_order_of_their_rows_and_the_vectors_stay_on_disk(folder):
    found = read_published_vectors(folder)
    assert found.ids == ["wikidata:Q5", "wikidata:Q42", "wikidata:Q64", "wikidata:Q7"]
    assert isinstance(found.vectors, np.memmap)
    np.testing.assert_array_equal(found.vectors, VECTORS)


def test_rows_without_an_id_are_left_out(folder):
    write(folder, "entity2id.txt", "2\nQ64\t3\nQ5\t1\n")
    found = read_published_vectors(folder)
    assert found.ids == ["wikidata:Q5", "wikidata:Q64"]
    np.testing.assert_array_equal(found.vectors, VECTORS[[1, 3]])
    write(folder, "entity2id.txt", "2\nQ64\t1\nQ5\t0\n")
    assert isinstance(read_published_vectors(folder).vectors, np.memmap)


def test_the_other_vectors_and_ids_without_a_prefix(folder):
    (folder / "transe.npy").rename(folder / "transr.npy")
    assert read_published_vectors(folder, vectors="transr.npy", id_prefix="").ids[0] == "Q5"


def test_names_are_gathered_by_entity(folder):
    assert list(read_published_entities(folder)) == [
        Entity("wikidata:Q64", "Berlin", ("Berlin, Germany",)),
        Entity("wikidata:Q42", "Douglas Adams"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4\nQ64\t2\n", "expected 4 ids as line 1 says, found 1"),
        ("1\nQ64\n", ":2: expected an id and a row"),
        ("1\nQ64\t-1\n", ":2: expected an id and a row"),
        ("1\nQ64\t4\n", ":2: expected a row from 0 to 3, found 4"),
        ("1\nQ64\t99999999999999999999\n", ":2: expected an id and a row"),
        ("2\nQ64\t1\nQ65\t1\n", ":3: .*row 1 was given before .*Q64"),
        ("2\nQ64\t1\nQ64\t2\n", ":3: .*has row 1"),
        ("2\nQ64\t1\nQ64\t1\n", ":3: .*before"),
        ("999999999\n", "expected 999,999,999 ids"),
        ("", "expected ids, found none"),
    ],
)
def test_wrong_ids_are_refused_with_their_line(folder, text, message):
    write(folder, "entity2id.txt", text)
    with pytest.raises(ReaderError, match=rf"entity2id\.txt.*{message}"):
        read_published_vectors(folder)


@pytest.mark.parametrize("line", ["Berlin", "\tQ64", "Berlin\t "])
def test_a_line_that_is_no_name_is_refused(folder, line):
    write(folder, "entity_map.txt", "a\tQ1\n" + line + "\n")
    with pytest.raises(ReaderError, match=r"entity_map\.txt:2: expected a name, a tab and an id"):
        list(read_published_entities(folder))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ReaderError, match=r"transe\.npy"):
        read_published_vectors(tmp_path)
    with pytest.raises(ReaderError, match=r"entity_map\.txt"):
        list(read_published_entities(tmp_path))
