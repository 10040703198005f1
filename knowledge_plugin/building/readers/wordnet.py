"""WordNet's database files ``data.noun``, ``data.verb``, ``data.adj`` and ``data.adv``, as in ``wndb(5WN)``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from knowledge_plugin.building.readers.fields import check_bounds
from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.building.readers.triples import Triple
from knowledge_plugin.errors import KnowledgeBaseError, ReaderError
from knowledge_plugin.knowledge_base.entity import Entity

DEFAULT_FOLDER = Path("/usr/share/wordnet")  # where Debian's wordnet-base puts the files
FILES = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_MAX_WORDS = 1000
# lexnames(5WN): the lexicographer's file, by number, is the broad kind of the synset.
_KINDS = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person "
    "noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social "
    "verb.stative verb.weather adj.ppl"
).split()
# wninput(5WN): the pointer symbols.
_RELATIONS = {
    "!": "antonym",
    "@": "hypernym",
    "@i": "instance_hypernym",
    "~": "hyponym",
    "~i": "instance_hyponym",
    "#m": "member_holonym",
    "#s": "substance_holonym",
    "#p": "part_holonym",
    "%m": "member_meronym",
    "%s": "substance_meronym",
    "%p": "part_meronym",
    "=": "attribute",
    "+": "derivationally_related",
    "*": "entailment",
    ">": "cause",
    "^": "also_see",
    "$": "verb_group",
    "&": "similar_to",
    "<": "participle_of",
    ";c": "domain_topic",
    "-c": "member_of_domain_topic",
    ";r": "domain_region",
    "-r": "member_of_domain_region",
    ";u": "domain_usage",
    "-u": "member_of_domain_usage",
}
_SENSES = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}


class _Synset(NamedTuple):
    id: str
    kind: str
    words: list[str]
    pointers: list[tuple[str, str]]  # relation and the other synset's id
    gloss: str


def read_wordnet(
    folder: str | Path = DEFAULT_FOLDER, *, parts_of_speech: Sequence[str] = ("noun",)
) -> Iterator[Entity]:
    """Yield the synsets of WordNet, one at a time.

    The label is the first word, the other words are aliases, the gloss is the description, the lexicographer's file
    (``noun.animal``) is the type. Ids are ``wordnet:02084071-n``. If ``cntlist.rev`` and ``index.noun`` are there, the
    popularity is how often the synset was met in tagged texts.

    Args:
        folder: Where ``data.noun`` and the others are.
        parts_of_speech: Some of ``"noun"``, ``"verb"``, ``"adj"``, ``"adv"``.

    Raises:
        ReaderError: With file and line: a file is missing or has another format.
    """
    counts = _tag_counts(Path(folder), _checked(parts_of_speech))
    for where, synset in _synsets(folder, parts_of_speech):
        label, *others = synset.words
        try:
            entity = Entity(
                synset.id, label, tuple(others), synset.gloss or None, (synset.kind,), counts.get(synset.id)
            )
        except KnowledgeBaseError as error:
            raise ReaderError(f"{where}: {error}") from error
        check_bounds(where, entity)
        yield entity


def read_wordnet_triples(
    folder: str | Path = DEFAULT_FOLDER, *, parts_of_speech: Sequence[str] = ("noun",)
) -> Iterator[Triple]:
    """Yield the pointers between synsets (hypernym, part_meronym, ...), within the parts of speech that are asked for.

    A pointer between two words stands for one between their synsets; each edge comes once.

    Raises:
        ReaderError: As for :func:`read_wordnet`.
    """
    letters = {FILES[name] for name in _checked(parts_of_speech)}
    for _, synset in _synsets(folder, parts_of_speech):
        for relation, other in dict.fromkeys(synset.pointers):
            if other[-1] in letters:
                yield Triple(synset.id, relation, other)


def _checked(parts_of_speech: Sequence[str]) -> list[str]:
    names = [parts_of_speech] if isinstance(parts_of_speech, str) else list(parts_of_speech)
    if not names or set(names) - set(FILES):
        raise ReaderError(f"parts_of_speech: expected some of {', '.join(FILES)}, found {names!r:.80}.")
    return names


def _synsets(folder: str | Path, parts_of_speech: Sequence[str]) -> Iterator[tuple[str, _Synset]]:
    for name in _checked(parts_of_speech):
        path = Path(folder) / f"data.{name}"
        if not path.is_file():
            raise ReaderError(f"{folder}: expected WordNet's data.{name} in it. Type: apt-get install wordnet-base")
        for number, line in read_lines(path):
            if line.startswith("  ") or not line:  # the licence, at the head of each file
                continue
            try:
                synset = _parse(line)
            except (ValueError, IndexError, KeyError) as error:
                raise ReaderError(
                    f"{path}:{number}: expected a synset as in wndb(5WN), found {line!r:.80} ({error!s:.80})."
                ) from None
            yield f"{path}:{number}", synset


def _parse(line: str) -> _Synset:
    data, bar, gloss = line.partition("|")
    if not bar:
        raise ValueError("no gloss")
    cells = iter(data.split())
    try:
        offset, kind, part, count = next(cells), int(next(cells)), next(cells), int(next(cells), 16)
        if not 1 <= count <= _MAX_WORDS:
            raise ValueError(f"{count} words")
        words = []
        for _ in range(count):
            words.append(_word(next(cells)))
            next(cells)  # lex_id
        pointers = []
        for _ in range(int(next(cells))):
            symbol, other, other_part, _ = next(cells), next(cells), next(cells), next(cells)
            pointers.append((_relation(symbol, part), _id(other, other_part)))
    except StopIteration:
        raise ValueError("the line ends too early") from None
    if not 0 <= kind < len(_KINDS):
        raise ValueError(f"no lexicographer's file {kind}")
    return _Synset(_id(offset, part), _KINDS[kind], list(dict.fromkeys(words)), pointers, gloss.strip())


def _id(offset: str, part: str) -> str:
    if len(offset) != 8 or not (offset.isascii() and offset.isdigit()) or part not in "nvasr" or len(part) != 1:
        raise ValueError(f"no synset {offset!r:.20} {part!r:.20}")
    # Satellites (s) live among the adjectives, and pointers call them so.
    return f"wordnet:{offset}-{'a' if part == 's' else part}"


def _word(text: str) -> str:
    for marker in ("(p)", "(a)", "(ip)"):  # where an adjective may stand
        text = text.removesuffix(marker)
    return text.replace("_", " ")


def _relation(symbol: str, part: str) -> str:
    if symbol == "\\":
        return "derived_from" if part == "r" else "pertainym"
    return _RELATIONS[symbol]


def _tag_counts(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Count how often each synset was tagged: ``cntlist.rev`` counts a word's senses, ``index.*`` names them."""
    counts: dict[str, int] = {}
    path = folder / "cntlist.rev"
    if not path.is_file():
        return counts
    tagged: dict[tuple[str, str, int], int] = {}
    for number, line in read_lines(path):
        try:
            key, sense, count = line.split()
            word, _, rest = key.rpartition("%")
            tagged[word, _SENSES[rest[0]], int(sense)] = int(count)
        except (ValueError, KeyError, IndexError) as error:
            raise ReaderError(
                f"{path}:{number}: expected a count as in cntlist(5WN), found {line!r:.80} ({error!s:.80})."
            ) from None
    for name in names:
        path, part = folder / f"index.{name}", FILES[name]
        for number, line in read_lines(path) if path.is_file() else ():
            if line.startswith("  ") or not line:
                continue
            try:
                word, _, senses, *cells = line.split()
                for place, offset in enumerate(cells[len(cells) - int(senses) :], 1):
                    id = _id(offset, part)
                    counts[id] = counts.get(id, 0) + tagged.get((word, part, place), 0)
            except ValueError as error:
                raise ReaderError(
                    f"{path}:{number}: expected a word as in wndb(5WN), found {line!r:.80} ({error!s:.80})."
                ) from None
    return counts
