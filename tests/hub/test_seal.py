"""What of a README is ours, and what a person's, whatever stands in it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin.hub.seal import Parts, merged, readdressed, sealed

OURS = "---\nlibrary_name: ours\nlicense: cc0-1.0\ntags: [knowledge-plugin]\n---\n# Ours\n"
NEWER = "---\nlibrary_name: ours\nlicense: mit\nlanguage: de\ntags: [knowledge-plugin, towns]\n---\n# Ours, newer\n"


def metadata(card):
    start, head, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head)


def edited(card, old, new):
    assert old in card
    return card.replace(old, new, 1)


MINE = "---\nlicense: mit\n---\n# Mine\n"


@pytest.mark.parametrize(
    ("standing", "expected_head", "expected_body"),
    [
        (MINE, {"license": "mit", "tags": ["knowledge-plugin"], "library_name": "ours"}, "# Mine\n"),
        ("# Mine\n", {"license": "cc0-1.0", "tags": ["knowledge-plugin"], "library_name": "ours"}, "# Mine\n"),
        ("", {"license": "cc0-1.0", "tags": ["knowledge-plugin"], "library_name": "ours"}, ""),
        ("---\n---\nx", {"license": "cc0-1.0", "tags": ["knowledge-plugin"], "library_name": "ours"}, "x"),
        ("\n\n" + MINE, {"license": "mit", "tags": ["knowledge-plugin"], "library_name": "ours"}, "# Mine\n"),
        ("\ufeff" + MINE, {"license": "mit", "tags": ["knowledge-plugin"], "library_name": "ours"}, "# Mine\n"),
        ("---\nlicense: mit\n---", {"license": "mit", "tags": ["knowledge-plugin"], "library_name": "ours"}, ""),
    ],
)
def test_a_card_of_a_persons_own_gets_our_metadata_and_keeps_its_text(standing, expected_head, expected_body):
    text = merged(standing, sealed(OURS))
    assert metadata(text) == expected_head
    assert text.split("---\n", 2)[2] == expected_body
    assert merged(text, sealed(OURS)) == text


@pytest.mark.parametrize(
    "head",
    ["a: [", "- a", "a", "? [b]\n: c", "a: *b", "a: &x [*x", "%YAML 9.9", "a: \x00", "[" * 5000, "a: b: c", '"'],
)
def test_metadata_that_are_no_mapping_of_names_stay(head):
    broken = f"---\n{head}\n---\n# Mine\n"
    assert merged(broken, sealed(OURS)) == broken


@pytest.mark.parametrize(
    "line",
    [
        "language: no",
        "version: 010",
        "date: 2024-13-45",
        "n: " + "1" * 5000,
        "text: |\n  one\n  two",
        'quoted: "a: b"',
        "a: !mine b",
        "x: &anchor [1, 2]\ny: *anchor",
        "empty:",
        "'odd key': 1",
        "ünï: cödé",
        "on: 1\n2: 3",
    ],
)
def test_values_come_back_as_they_were_written(line):
    text = merged(f"---\n{line}\n---\n# Mine\n", sealed(OURS))
    written = yaml.compose(text.split("---\n")[1], Loader=yaml.SafeLoader)
    expected = yaml.compose(f"{line}\n", Loader=yaml.SafeLoader)
    found = {key.value: (key.tag, yaml.serialize(value)) for key, value in written.value}
    for key, value in expected.value:
        assert found[key.value] == (key.tag, yaml.serialize(value))
    assert merged(text, sealed(OURS)) == text


def test_a_value_that_aliases_make_endless_costs_nothing():
    laughs = "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    card = sealed(f"---\nlicense: mit\n{laughs}---\n# Ours\n")  # so that their sums are asked for
    text = merged(edited(card, "license: mit", "license: gpl"), sealed(OURS))
    assert "license: gpl" in text
    assert len(text) < 5000


def test_metadata_that_nobody_touched_follow_the_artifact():
    card = edited(sealed(OURS), "license:", "extra: mine\nlicense:")
    assert metadata(merged(card, sealed(NEWER))) == {
        "library_name": "ours",
        "license": "mit",
        "language": "de",
        "tags": ["knowledge-plugin", "towns"],
        "extra": "mine",
    }
    assert set(metadata(merged(sealed(NEWER).replace("# Ours", "# My"), sealed(OURS)))) == {
        "library_name",
        "license",
        "tags",
    }


def test_metadata_that_a_person_changed_or_removed_stay_so():
    card = edited(sealed(NEWER), "license: mit", "license: gpl-3.0")
    card = edited(card, "language: de\n", "")
    card = edited(card, "[knowledge-plugin, towns]", "[mine, towns]")
    found = metadata(merged(card, sealed(NEWER)))
    assert found == {"library_name": "ours", "license": "gpl-3.0", "tags": ["mine", "towns", "knowledge-plugin"]}


def test_metadata_that_the_artifact_says_stay_right():
    card = edited(sealed(OURS), "library_name: ours", "library_name: theirs")
    assert metadata(merged(card, sealed(OURS)))["library_name"] == "ours"


def test_metadata_written_otherwise_is_no_edit():
    card = edited(sealed(OURS), "tags: [knowledge-plugin]", "tags:\n  - 'knowledge-plugin'\nmore: 1")
    assert metadata(merged(card, sealed(NEWER)))["tags"] == ["knowledge-plugin", "towns"]


def test_a_text_that_was_edited_once_does_not_freeze_the_metadata():
    card = edited(sealed(OURS), "# Ours", "# Mine")
    for fresh in (NEWER, OURS, NEWER):
        card = merged(card, sealed(fresh))
        assert metadata(card) == metadata(fresh)
        assert "# Mine" in card
    assert not Parts(card).text_is_ours


def test_a_second_seal_is_a_persons():
    below = "\nFrom me.\n" + sealed(OURS)
    text = merged(sealed(OURS) + below, sealed(NEWER))
    assert text == sealed(NEWER) + below


@pytest.mark.parametrize("place", ["# Ours", "-->\n"])
def test_a_seal_with_other_sums_makes_nothing_ours(place):
    forged = sealed(OURS).replace("# Ours", "# Forged").splitlines()[-1]
    card = edited(sealed(OURS), "# Ours", f"{forged}\n# Ours")
    text = merged(card, sealed(NEWER))
    assert "# Ours\n" in text
    assert "# Ours, newer" not in text


def test_what_holds_the_seal_already_is_not_sealed():
    with pytest.raises(ValueError, match="holds the line"):
        sealed(sealed(OURS))


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))
KEYS = st.dictionaries(
    st.text("abcdefgh_-", min_size=1, max_size=6).filter(lambda key: key.strip("-")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(WORDS, KEYS)
def test_every_word_below_and_every_key_survives(below, keys):
    head, body = sealed(OURS).split("---\n", 2)[1:]
    theirs = yaml.safe_dump(keys, allow_unicode=True) if keys else ""
    keys = yaml.safe_load(theirs) or {}  # PyYAML itself alters some rare line ends
    card = f"---\n{theirs}{head}---\n{body}{below}"
    text = merged(card, sealed(NEWER))
    assert text.endswith(f"-->\n{below}")
    found = metadata(text)
    assert {key: found[key] for key in keys} == keys
    assert found["license"] == "mit"
    assert merged(text, sealed(NEWER)) == text


@given(WORDS)
def test_every_word_of_a_card_of_their_own_survives(card):
    text = merged(card, sealed(NEWER))
    assert Parts(text).body == Parts(card).body or text == card
    assert merged(text, sealed(NEWER)) == text


def test_another_address_is_no_edit():
    card = readdressed(sealed("---\na: here\n---\nfrom here, there"), "here", "user/name")
    assert card.startswith("---\na: here\n---\nfrom user/name, tuser/name")
    assert Parts(card).text_is_ours
    assert Parts(card).head_is_ours


@pytest.mark.parametrize("edit", [("# Ours", "# here"), ("license:", "here: 1\nlicense:")])
def test_a_card_that_was_edited_keeps_its_address(edit):
    card = edited(sealed(OURS), *edit)
    assert readdressed(card, "here", "user/name") == card


def test_what_stands_below_keeps_its_address():
    assert readdressed(sealed("here") + "here\n", "here", "x").endswith("-->\nhere\n")
