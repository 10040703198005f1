from __future__ import annotations

import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.readers.wordnet import DEFAULT_FOLDER, read_wordnet, read_wordnet_triples
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import drain, write

NOUNS = """  1 The head of the file, with its licence.
  2 It begins with two blanks.
00001740 03 n 01 animal 0 001 ~ 00002000 n 0000 | a living thing that moves
00002000 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 003 @ 00001740 n 0000 ! 00003000 a 0101 @ 00001740 n 0102 | PET
""".replace("PET", 'a pet; "the dog barked"')
ADJECTIVES = """00003000 00 a 02 galore(ip) 0 stray(a) 0 001 \\ 00002000 n 0101 | in great numbers
00003100 00 s 01 homeless 0 001 & 00003000 a 0000 | without a home
"""
VERBS = "00004000 38 v 01 run 0 001 * 00005000 v 0000 02 + 08 00 + 22 00 | move fast\n"


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "data.noun", NOUNS)
    write(tmp_path, "data.adj", ADJECTIVES)
    write(tmp_path, "data.verb", VERBS)
    return tmp_path


def test_synsets_become_entities(folder):
    dog = Entity(
        "wordnet:00002000-n",
        "dog",
        ("domestic dog", "Canis familiaris"),
        'a pet; "the dog barked"',
        ("noun.animal",),
    )
    animal = Entity("wordnet:00001740-n", "animal", (), "a living thing that moves", ("noun.Tops",))
    assert list(read_wordnet(folder)) == [animal, dog]


def test_the_place_of_an_adjective_is_no_part_of_its_name_and_satellites_are_adjectives(folder):
    galore, homeless, run = read_wordnet(folder, parts_of_speech=("adj", "verb"))
    assert (galore.label, galore.aliases, homeless.id) == ("galore", ("stray",), "wordnet:00003100-a")
    assert (run.label, run.types) == ("run", ("verb.motion",))


def test_pointers_become_triples_within_what_is_asked_for(folder):
    nouns = list(read_wordnet_triples(folder))
    assert nouns == [
        ("wordnet:00001740-n", "hyponym", "wordnet:00002000-n"),
        ("wordnet:00002000-n", "hypernym", "wordnet:00001740-n"),
    ]
    more = list(read_wordnet_triples(folder, parts_of_speech=("noun", "adj")))
    assert ("wordnet:00002000-n", "antonym", "wordnet:00003000-a") in more
    assert ("wordnet:00003000-a", "pertainym", "wordnet:00002000-n") in more
    assert ("wordnet:00003100-a", "similar_to", "wordnet:00003000-a") in more


def test_how_often_a_synset_was_tagged_is_its_popularity(folder):
    write(
        folder,
        "cntlist.rev",
        "animal%1:03:00:: 1 7\ndog%1:05:00:: 1 42\ndog%2:38:00:: 1 9\ndomestic_dog%1:05:00:: 2 1\n",
    )
    assert [entity.popularity for entity in read_wordnet(folder)] == [None, None]
    licence = "  1 The licence\n"
    index = "dog n 1 2 @ ! 1 1 00002000\ndomestic_dog n 2 1 @ 2 1 00001740 00002000\nanimal n 1 0 1 0 00001740\n"
    write(folder, "index.noun", licence + index)
    assert [entity.popularity for entity in read_wordnet(folder)] == [7.0, 43.0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cntlist.rev", "dog%1:05:00:: 1\n", "cntlist"),
        ("cntlist.rev", "dog%9:05:00:: 1 4\n", "cntlist"),
        ("index.noun", "dog n\n", "wndb"),
        ("index.noun", "dog n 1 0 1 0 2000\n", "wndb"),
        ("index.noun", "dog n x 0 1 0 00002000\n", "wndb"),
    ],
)
def test_wrong_counts_are_refused_with_their_line(folder, name, text, message):
    write(folder, "cntlist.rev", "dog%1:05:00:: 1 42\n")
    write(folder, name, text)
    with pytest.raises(ReaderError, match=rf"{name}:1: expected .*{message}"):
        drain(read_wordnet(folder))


@pytest.mark.parametrize(
    "line",
    [
        "00001740 03 n 01 entity 0 000",  # no gloss
        "00001740 03 n 02 entity 0 000 | too few words",
        "00001740 03 n ff entity 0 000 | too few words",
        "00001740 03 n 00 000 | no word",
        "00001740 99 n 01 entity 0 000 | no such file",
        "00001740 03 x 01 entity 0 000 | no such part of speech",
        "1740 03 n 01 entity 0 000 | no offset",
        "00001740 03 n 01 entity 0 001 ?? 00002000 n 0000 | no such pointer",
        "00001740 03 n 01 entity 0 999999999 @ 00002000 n 0000 | more pointers than there are",
        "00001740 03 n zz entity 0 000 | no number",
        "something else",
    ],
)
def test_a_line_that_is_no_synset_is_named(folder, line):
    write(folder, "data.noun", NOUNS + line + "\n")
    for read in (read_wordnet, read_wordnet_triples):
        with pytest.raises(ReaderError, match=r"data\.noun:5: expected a synset as in wndb"):
            drain(read(folder))


def test_a_missing_file_is_said_with_the_package_that_brings_it(folder):
    with pytest.raises(ReaderError, match=r"data\.adv in it.*wordnet-base"):
        drain(read_wordnet(folder, parts_of_speech=["adv"]))
    with pytest.raises(ReaderError, match="expected some of noun, verb, adj, adv"):
        drain(read_wordnet(folder, parts_of_speech=["pronoun"]))


@pytest.mark.skipif(not (DEFAULT_FOLDER / "data.noun").is_file(), reason="wordnet-base is not installed here")
def test_the_real_files_are_read():
    parts = ("noun", "verb", "adj", "adv")
    entities = {entity.id: entity for entity in read_wordnet(parts_of_speech=parts)}
    ids = set(entities)
    assert len(ids) > 117_000
    dog = entities["wordnet:02084071-n"]
    assert (dog.label, dog.aliases) == ("dog", ("domestic dog", "Canis familiaris"))
    assert dog.popularity > 10
    edges = list(read_wordnet_triples(parts_of_speech=parts))
    assert len(edges) > 280_000
    assert {edge.head for edge in edges} | {edge.tail for edge in edges} <= ids
