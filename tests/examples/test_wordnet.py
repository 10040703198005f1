from __future__ import annotations

import pytest

pytest.importorskip("pykeen")

from examples.wordnet import __main__ as wordnet
from knowledge_plugin.building.readers.wordnet import DEFAULT_FOLDER

NOUNS = """  1 The licence stands here.
00001740 03 n 02 living_thing 0 organism 0 002 ~ 00002000 n 0000 ~ 00003000 n 0000 | something that lives
00002000 05 n 02 dog 0 domestic_dog 0 001 @ 00001740 n 0000 | a pet that barks
00003000 05 n 01 cat 0 001 @ 00001740 n 0000 | a pet that does not
"""


def check(folder, tmp_path, **options):
    summary = wordnet.build(folder, tmp_path / "kb", dim=8, **options)
    assert summary.entities >= 3
    found = wordnet.found_words(tmp_path / "kb", wordnet.TEXT)
    assert {"dog", "living thing", "cat"} <= {word for word, _, _ in found}
    return found


def test_a_small_one(tmp_path):
    (tmp_path / "data.noun").write_text(NOUNS)
    with pytest.warns(UserWarning, match="too few to hold any out"):
        found = check(tmp_path, tmp_path)
    assert found[0] == ("dog", "wordnet:00002000-n", "a pet that barks")


@pytest.mark.skipif(not (DEFAULT_FOLDER / "data.noun").is_file(), reason="Debian's wordnet-base is not installed")
def test_the_real_one(tmp_path):
    check(DEFAULT_FOLDER, tmp_path, epochs=1)  # all nouns of English, and no time to learn them


def test_without_wordnet(tmp_path):
    with pytest.raises(SystemExit, match="skipped: WordNet is not in"):
        wordnet.main(["--folder", str(tmp_path)])
