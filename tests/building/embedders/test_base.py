from __future__ import annotations

from dataclasses import dataclass

from knowledge_plugin.building.embedders import CombinedEmbedder, ForeignVectors, GraphEmbedder, TextEmbedder, describe
from knowledge_plugin.building.embedders.base import fingerprint


def test_in_words_without_folders(tmp_path):
    (tmp_path / "model").mkdir()
    assert "RotatE" in describe(GraphEmbedder("RotatE"))
    assert describe(ForeignVectors(tmp_path / "v.npy")) == "ForeignVectors('v.npy', prefix='', by='id')"
    both = CombinedEmbedder([TextEmbedder(str(tmp_path / "model")), GraphEmbedder(seed=7)], dim=3)
    assert "TextEmbedder(model='model')" in describe(both)
    assert "seed=7" in describe(both)
    assert str(tmp_path) not in describe(both)
    assert describe(lambda source: None).endswith("<lambda>")


def test_the_same_options_and_files_are_the_same(tmp_path):
    (tmp_path / "v.npy").write_bytes(b"1")
    first = fingerprint(ForeignVectors(tmp_path / "v.npy"))
    assert first == fingerprint(ForeignVectors(tmp_path / "v.npy"))
    (tmp_path / "v.npy").write_bytes(b"22")
    assert first != fingerprint(ForeignVectors(tmp_path / "v.npy"))
    assert fingerprint(GraphEmbedder(seed=1)) != fingerprint(GraphEmbedder(seed=2))
    combined = fingerprint(CombinedEmbedder([GraphEmbedder()], dim=3))
    assert combined == fingerprint(CombinedEmbedder([GraphEmbedder()], dim=3))


def test_what_may_have_changed_without_a_sign_is_never_the_same():
    @dataclass(frozen=True)
    class WithModel:
        model: object

        def __call__(self, source):
            raise NotImplementedError

    for embedder in (lambda source: None, WithModel(object()), CombinedEmbedder([lambda source: None])):
        assert fingerprint(embedder) != fingerprint(embedder)
