from __future__ import annotations

import numpy as np

from knowledge_plugin.building.embedders import ForeignVectors
from tests.building.embedders.common import source_of


def test_by_id(tmp_path):
    np.save(tmp_path / "v.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "v.txt").write_text("x:3\nx:9\n")
    found = ForeignVectors(tmp_path / "v.npy")(source_of(tmp_path))
    assert list(found.ids) == ["x:3", "x:9"]
    assert np.array_equal(found.vectors, np.eye(2))


def test_titles_of_wikipedia2vec_go_to_the_most_popular_of_a_label(tmp_path):
    (tmp_path / "w.txt").write_text("4 2\nENTITY/New_York 1 2\nparis 9 9\nENTITY/Paris 3 4\nENTITY/Oslo 5 6\n")
    found = ForeignVectors(tmp_path / "w.txt", prefix="ENTITY/", by="label")(source_of(tmp_path))
    assert dict(zip(found.ids, found.vectors.tolist(), strict=True)) == {"x:4": [1, 2], "x:1": [3, 4]}
