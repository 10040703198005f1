from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from knowledge_plugin.building.pykeen_import import import_pykeen
from knowledge_plugin.building.readers.pykeen_result import IDS, MODEL, read_pykeen
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import write

TRIPLES = np.array([[f"e{i}", "next", f"e{(i + 1) % 7}"] for i in range(7)] + [["e0", "likes", "e 3"]])


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, tuple[Path, torch.Tensor, dict]]:
    """What PyKEEN itself saves of two models, with the vectors and ids that it holds in memory."""
    pytest.importorskip("pykeen")
    import_pykeen()
    from pykeen.pipeline import pipeline
    from pykeen.triples import TriplesFactory

    factory = TriplesFactory.from_labeled_triples(TRIPLES)
    found = {}
    for model in ("TransE", "RotatE"):
        result = pipeline(
            training=factory,
            testing=factory,
            model=model,
            model_kwargs={"embedding_dim": 4},
            training_kwargs={"num_epochs": 1, "use_tqdm": False},
            evaluation_kwargs={"use_tqdm": False},
            random_seed=0,
            device="cpu",
        )
        folder = tmp_path_factory.mktemp(model)
        result.save_to_directory(folder)
        vectors = result.model.entity_representations[0]().detach()
        found[model] = folder, vectors, factory.entity_to_id
    return found


@pytest.fixture
def folder(results, tmp_path):
    return Path(shutil.copytree(results["TransE"][0], tmp_path / "copy"))


@pytest.mark.parametrize("model", ["TransE", "RotatE"])
def test_vectors_and_ids_are_those_that_pykeen_had(results, model):
    folder, vectors, entity_to_id = results[model]
    found = read_pykeen(folder)
    expected = torch.view_as_real(vectors).flatten(1) if vectors.is_complex() else vectors
    assert found.ids == sorted(entity_to_id, key=entity_to_id.get)
    assert isinstance(found.vectors, np.memmap)
    np.testing.assert_array_equal(found.vectors, expected.numpy())


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_that_a_pickle_names_is_called(folder, tmp_path, protocol):
    with zipfile.ZipFile(folder / MODEL, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Attack(tmp_path / "owned"), protocol))
    with pytest.raises(ReaderError, match="one plain vector for each entity"):
        read_pykeen(folder)
    assert not (tmp_path / "owned").exists()


def test_an_attack_beside_the_tensors_is_passed_over(folder, tmp_path, results):
    model = torch.load(folder / MODEL, weights_only=False)
    model.attack = Attack(tmp_path / "owned")
    torch.save(model, folder / MODEL)
    np.testing.assert_array_equal(read_pykeen(folder).vectors, results["TransE"][1].numpy())
    assert not (tmp_path / "owned").exists()


def test_a_model_without_plain_vectors_is_refused(folder):
    torch.save(torch.nn.Linear(2, 2), folder / MODEL)
    with pytest.raises(ReaderError, match="one plain vector for each entity"):
        read_pykeen(folder)


@pytest.mark.parametrize("cut", [0, 10, 1000, -1])
def test_a_damaged_model_is_refused(folder, cut):
    path = folder / MODEL
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ReaderError, match="a whole model of PyKEEN"):
        read_pykeen(folder)


def test_a_model_that_declares_more_than_it_holds_is_refused(folder):
    model = torch.load(folder / MODEL, weights_only=False)
    torch.save(model, folder / MODEL)
    with zipfile.ZipFile(folder / MODEL) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(folder / MODEL, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, b"" if "/data/" in name else data)
    with pytest.raises(ReaderError, match="as the model says"):
        read_pykeen(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\tlabel\n0\ta\n", "expected an id for each of 8 vectors; 7 have none"),
        ("id\tlabel\n0\ta\n0\tb\n", ":3: expected each row"),
        ("id\tlabel\n8\ta\n", ":2: expected each row from 0 to 7 once, found 8"),
        ("id\tlabel\nx\ta\n", ":2: expected a row number"),
        ("id\tlabel\n" + "".join(f"{i}\ta\n" for i in range(8)), "7 come twice"),
    ],
)
def test_wrong_ids_are_refused(folder, text, message):
    write(folder, IDS, text)
    with pytest.raises(ReaderError, match=rf"entity_to_id.*{message}"):
        read_pykeen(folder)


def test_missing_files_are_named(folder, tmp_path):
    (folder / IDS).unlink()
    with pytest.raises(ReaderError, match="save_training=True"):
        read_pykeen(folder)
    with pytest.raises(ReaderError, match="trained_model"):
        read_pykeen(tmp_path)
