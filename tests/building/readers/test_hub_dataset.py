from __future__ import annotations

import sys

import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.readers.hub_dataset import read_dataset
from knowledge_plugin.errors import MissingDependencyError, ReaderError
from tests.building.readers.files import write

ROWS = [{"id": 1, "title": "Berlin", "aliases": ["Berlino"]}, {"id": 2, "title": "Kyiv", "aliases": None}]
ENTITIES = [Entity("g:1", "Berlin", ("Berlino",)), Entity("g:2", "Kyiv")]
OPTIONS = {"columns": {"label": "title"}, "id_prefix": "g:"}


def test_rows_at_hand_become_entities():
    assert list(read_dataset(ROWS, **OPTIONS)) == ENTITIES


def test_a_dataset_at_hand_becomes_entities():
    datasets = pytest.importorskip("datasets")
    assert list(read_dataset(datasets.Dataset.from_list(ROWS), **OPTIONS)) == ENTITIES
    assert list(read_dataset(datasets.Dataset.from_list(ROWS).to_iterable_dataset(), **OPTIONS)) == ENTITIES


def test_a_folder_of_data_files_is_streamed(tmp_path):
    pytest.importorskip("datasets")
    write(tmp_path, "data/train.csv", "id,title,aliases\n1,Berlin,Berlino\n2,Kyiv,\n")
    assert list(read_dataset(tmp_path / "data", **OPTIONS)) == ENTITIES
    with pytest.raises(ReaderError, match="a part 'test'"):
        list(read_dataset(tmp_path / "data", split="test", **OPTIONS))


def test_a_dataset_that_is_not_there_is_said_to_be(tmp_path):
    pytest.importorskip("datasets")
    with pytest.raises(ReaderError, match="expected a dataset"):
        list(read_dataset(tmp_path / "none"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1, "name": "a"}], "row 1: expected a column 'label', found 'id', 'name'"),
        ([{"id": 1, "label": "a"}, {"id": 1, "label": "b"}], "in row 1"),
        ([{"id": 1, "label": "a"}, {"id": " ", "label": "b"}], "row 2: expected an id"),
        ([{"id": 1, "label": "a"}, 5], "row 2: expected a row with named columns"),
    ],
)
def test_wrong_rows_are_named(rows, message):
    with pytest.raises(ReaderError, match=rf"dataset.*{message}"):
        list(read_dataset(rows))


def test_an_error_on_the_way_is_ours():
    def rows():
        yield {"id": 1, "label": "a"}
        raise OSError("the line went dead")

    with pytest.raises(ReaderError, match="cannot be read to its end: the line went dead"):
        list(read_dataset(rows()))


def test_without_datasets_it_is_said_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"knowledge-plugin\[readers\]"):
        list(read_dataset("user/drugs"))
