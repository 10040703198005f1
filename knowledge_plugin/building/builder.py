"""From files to the folder of a knowledge base, in stages that an interruption does not undo."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knowledge_plugin.building.arguments import check_embedder, check_sources
from knowledge_plugin.building.embedders import GraphEmbedder, TextEmbedder
from knowledge_plugin.building.embedders.base import Embedder, Embedding, Source, describe, fingerprint
from knowledge_plugin.building.embedders.foreign import ForeignVectors
from knowledge_plugin.building.file_state import state_of
from knowledge_plugin.building.progress import counted
from knowledge_plugin.building.readers import Triple, read_columns, read_triples
from knowledge_plugin.building.stages import Stages, working_folder
from knowledge_plugin.building.summary import BuildSummary
from knowledge_plugin.config import (
    CONFIG_NAME,
    EmbedderConfig,
    KnowledgeBaseConfig,
    LinkerKind,
    StorageDType,
    read_config,
)
from knowledge_plugin.errors import ArtifactError, ConfigError, KnowledgeBaseError, SaveError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.columns import COLUMNS, codes, mask, nameless, numbers, popularity_order
from knowledge_plugin.knowledge_base.normalization import strip_column

_BATCH = 65_536
_TRIPLES = {"head": pa.string(), "relation": pa.string(), "tail": pa.string()}
_ENTITIES_FILE, _TRIPLES_FILE, _VECTORS_FILE, _IDS_FILE = (
    "entities.parquet",
    "triples.parquet",
    "vectors.npy",
    "ids.parquet",
)


def build_knowledge_base(
    output: str | Path,
    entities: str | Path,
    *,
    triples: str | Path | None = None,
    vectors: str | Path | None = None,
    embedder: Embedder | None = None,
    name: str,
    id_scheme: str | None = None,
    license: str | None = None,
    version: str | None = None,
    dtype: StorageDType = "float32",
    linker: LinkerKind = "dictionary",
    reader_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> BuildSummary:
    """Build a knowledge base from files.

    Four stages, read, embed, index and aliases, leave their results in ``OUTPUT.building``. An interrupted build goes
    on from the last of them that is done when it is called again; a file or an option that changed starts its stage
    and those after it anew. The folder itself appears whole at the end, or not at all. It replaces an
    earlier build of the same name; a knowledge base of another name, or one that was changed since it was built, is
    never replaced unasked.

    Args:
        output: The folder to write.
        entities: As for :func:`~knowledge_plugin.building.readers.read_entities`.
        triples: As for :func:`~knowledge_plugin.building.readers.read_triples`.
        vectors: As for :func:`~knowledge_plugin.building.readers.read_vectors`; ids are those of the entities.
        embedder: Makes the vectors, if there are none: see :mod:`knowledge_plugin.building.embedders`.
        name: What the knowledge base is called.
        id_scheme: What the ids mean, for example ``"wikidata"``.
        license: Licence of the knowledge.
        version: Version or dump date.
        dtype: How vectors are stored.
        linker: ``"external"`` if mentions will come from elsewhere; only then may an entity lack a name.
        reader_options: For the reader of entities, such as ``{"id_prefix": "wikidata:"}``.
        overwrite: Replace whatever knowledge base ``output`` holds; it stands until the new one is whole.
        progress: Show progress on stderr.

    Returns:
        What was made.

    Raises:
        ReaderError: A file is damaged or in another form; with file and line.
        KnowledgeBaseError: Neither vectors nor an embedder, or both; an argument of another kind; no entity has a
            vector; an entity without a name; an id twice.
        SaveError: The disk is full, the folder is somebody else's or holds a knowledge base of another name or one that
            was changed since it was built, or another process builds it.
        HubError: The model of an embedder is neither in the cache nor to be had from the Hub.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "drugs.csv").write_text("id,label,aliases\\nx:1,Aspirin,ASA\\nx:2,Ibuprofen,Advil|Nurofen\\n")
        >>> def letters(source):
        ...     labels = source.entities["label"].to_pylist()
        ...     vectors = np.array([[label.count(x) for x in "aeiou"] for label in labels], np.float32)
        ...     return Embedding(source.entities["id"].to_pylist(), vectors)
        >>> summary = build_knowledge_base(folder / "kb", folder / "drugs.csv", embedder=letters, name="drugs")
        >>> summary.entities, summary.aliases, summary.dim
        (2, 5, 5)
        >>> KnowledgeBase.from_pretrained(folder / "kb")["x:2"].aliases
        ('Advil', 'Nurofen')
    """
    if (vectors is None) == (embedder is None):
        raise KnowledgeBaseError(
            "expected either vectors or an embedder. Type: vectors=PATH (--vectors FILE), or embedder="
            "GraphEmbedder() with triples=PATH (--embedder TransE --triples FILE), or embedder=TextEmbedder()."
        )
    check_sources(entities, triples, vectors)
    if embedder is not None:
        check_embedder(embedder)
    output = Path(output)
    if not overwrite:
        _refuse_to_replace(output, name)
    make: Embedder = ForeignVectors(vectors) if vectors is not None else embedder  # type: ignore[assignment]
    made_by = f"vectors of {Path(vectors).name}" if vectors is not None else describe(make)
    options = dict(reader_options or {})
    about: dict[str, Any] = {"name": name, "id_scheme": id_scheme, "license": license, "version": version}
    about |= {"linker": linker, "dtype": dtype}
    seconds: dict[str, float] = {}
    with working_folder(output) as folder:
        stages = Stages(folder)

        def run(stage: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict]:
            began = time.perf_counter()
            found = stages.run(stage, inputs, work)
            seconds[stage] = time.perf_counter() - began
            return found

        files = {"entities": state_of(entities), "triples": state_of(triples), "options": options}
        read, counts = run("read", files, partial(_read, make, entities, triples, options, progress))
        named = None if linker == "external" else entities  # whose file is to be named if an entity has no name
        embedded, made = run(
            "embed",
            {"embedder": fingerprint(make)},
            partial(_embed, make, read, bool(counts["triples"]), named, progress),
        )
        about["embedder"] = EmbedderConfig(made_by[:10_000], made["measures"])
        index, kept = run(
            "index",
            {key: str(value) for key, value in about.items()},
            partial(_index, read, embedded, made, about, named),
        )
        _, names = run("aliases", {}, partial(_aliases, index / "kb"))
        kb = KnowledgeBase.from_pretrained(index / "kb")
        kb.save_pretrained(output)
    return BuildSummary(
        name=name,
        entities=len(kb),
        without_vector=kept["without_vector"],
        triples=counts["triples"],
        aliases=kb.config.aliases,
        other_names=names["other_names"],
        described=names["described"],
        names=names["names"],
        ambiguous=names["ambiguous"],
        most_ambiguous=tuple((alias, count) for alias, count in names["most_ambiguous"]),
        id_scheme=id_scheme,
        license=license,
        version=version,
        embedder=made_by,
        measures=made["measures"],
        dim=kb.config.dim,
        dtype=kb.config.dtype,
        size=sum(file.size for file in kb.config.files.values()),
        seconds=seconds,
    )


def _refuse_to_replace(output: Path, name: str) -> None:
    """Refuse a folder whose knowledge base files do not make again. What else may be there, saving refuses."""
    if not (output / CONFIG_NAME).is_file():
        return
    about = ""
    try:
        there = read_config(output, KnowledgeBaseConfig)
        if there.name == name and there.embedder is not None and not there.history:
            return  # an earlier build of the same one
        changed = ", changed since it was built" if there.history else ""
        about = f" ({there.name!r:.80}, {there.rows:,} entities{changed})"
    except ArtifactError:
        return
    except ConfigError:  # of a later version, or altered
        pass
    raise SaveError(
        f"{output} holds a knowledge base already{about}. Nothing was changed. To build anew and lose what is there, "
        "type: overwrite=True (--overwrite). To add to it, type: kb.upsert(...) (knowledge-plugin kb upsert). Or name "
        "another folder."
    )


def _read(
    embedder: Embedder,
    entities: str | Path,
    triples: str | Path | None,
    options: dict[str, Any],
    progress: bool,
    folder: Path,
) -> dict[str, Any]:
    _load_models(embedder)
    tables = counted(read_columns(entities, **options), "entities", progress)
    count = _write(folder / _ENTITIES_FILE, tables, COLUMNS)
    if not count:
        raise KnowledgeBaseError(f"{entities}: expected at least one entity, found none.")
    _check_ids(entities, folder / _ENTITIES_FILE)
    found = 0
    if triples is not None:
        found = _write(folder / _TRIPLES_FILE, counted(_columns(read_triples(triples)), "triples", progress), _TRIPLES)
    return {"entities": count, "triples": found}


def _load_models(embedder: Embedder) -> None:
    """Load what has a name on the Hub: better that it is not found now than after minutes of reading."""
    for part in getattr(embedder, "embedders", (embedder,)):
        if isinstance(part, TextEmbedder):
            _ = part.encoder


def _write(path: Path, tables: Iterable[pa.Table], kinds: dict[str, pa.DataType]) -> int:
    count = 0
    with pq.ParquetWriter(path, pa.schema(kinds), compression="zstd", compression_level=1) as writer:
        for table in tables:
            writer.write_table(table.select(list(kinds)))
            count += table.num_rows
    return count


def _columns(triples: Iterator[Triple]) -> Iterator[pa.Table]:
    while some := list(islice(triples, _BATCH)):
        columns = zip(*some, strict=True)
        yield pa.table(
            {name: pa.array(column, kind) for (name, kind), column in zip(_TRIPLES.items(), columns, strict=True)}
        )


def _check_ids(entities: str | Path, path: Path) -> None:
    """Readers that go entity by entity have said so before, with the line; of columns it is known only now."""
    ids = pq.read_table(path, columns=["id"])["id"]
    if pc.count_distinct(ids).as_py() != len(ids):
        counts = pc.value_counts(ids)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0]
        rows = np.flatnonzero(mask(pc.equal(ids, twice)))[:2] + 1
        raise KnowledgeBaseError(
            f"{entities}: the id {twice.as_py()!r:.200} comes more than once, in rows {rows[0]} and {rows[1]}. "
            "Expected one row for each entity, with all of its aliases."
        )


def _refuse_nameless(file: str | Path, entities: pa.Table, has_vector: np.ndarray) -> None:
    rows = np.flatnonzero(has_vector & mask(pc.equal(strip_column(entities["label"]), "")))
    if not len(rows):
        return
    rows = rows[nameless(entities.select(["label", "aliases"]).take(pa.array(rows)))]
    if len(rows):
        raise KnowledgeBaseError(
            f"{file}: {len(rows):,} entities have no name, for example {entities['id'][int(rows[0])].as_py()!r:.200} "
            f"(row {rows[0] + 1}): nothing in a text could ever lead to them. Give each a label or an alias, or leave "
            "its row out; in Python, linker='external' if mentions come from elsewhere."
        )


def _sure_of_a_vector(embedder: Embedder, entities: pa.Table, triples: pa.Table | None) -> np.ndarray:
    """Return bool ``[entities]``: of whom it is known before that they will have a vector."""
    if isinstance(embedder, TextEmbedder):
        return np.ones(entities.num_rows, bool)
    if isinstance(embedder, GraphEmbedder) and triples is not None:
        return mask(pc.or_(*(pc.is_in(entities["id"], value_set=triples[end]) for end in ("head", "tail"))))
    return np.zeros(entities.num_rows, bool)


def _embed(
    embedder: Embedder, read: Path, has_triples: bool, named: str | Path | None, progress: bool, folder: Path
) -> dict[str, Any]:
    entities = pq.read_table(read / _ENTITIES_FILE)
    triples = pq.read_table(read / _TRIPLES_FILE) if has_triples else None
    if named is not None:
        _refuse_nameless(named, entities, _sure_of_a_vector(embedder, entities, triples))
    own = folder / "own"
    own.mkdir(exist_ok=True)
    made = embedder(Source(entities, triples, own, progress))
    if not isinstance(made, Embedding) or made.vectors.ndim != 2 or len(made.ids) != len(made.vectors):
        raise KnowledgeBaseError(
            f"the embedder {describe(embedder)}: expected an Embedding of n ids and vectors [n, dim], found "
            f"{made!r:.200}."
        )
    file = getattr(made.vectors, "filename", None)
    if not (file and str(file).endswith(".npy") and made.vectors.dtype == np.float32):  # else it is mapped again
        file = folder / _VECTORS_FILE
        np.save(file, np.asarray(made.vectors, np.float32))
    pq.write_table(pa.table({"id": pa.array(made.ids, pa.string())}), folder / _IDS_FILE)
    return {"vectors": str(file), "measures": {str(key): float(value) for key, value in made.measures.items()}}


def _index(
    read: Path, embedded: Path, made: dict[str, Any], about: dict[str, Any], named: str | Path | None, folder: Path
) -> dict[str, Any]:
    columns = pq.read_table(read / _ENTITIES_FILE)
    ids = pq.read_table(embedded / _IDS_FILE)["id"]
    if pc.count_distinct(ids).as_py() != len(ids):
        code = codes(ids)
        twice = ids[int(np.flatnonzero(np.bincount(code)[code] > 1)[0])]
        raise KnowledgeBaseError(f"the id {twice.as_py()!r:.200} has more than one vector.")
    place = pc.index_in(columns["id"], value_set=ids)
    missing = place.null_count
    if missing == len(columns):
        raise KnowledgeBaseError(
            f"no entity has a vector: entities have ids like {columns['id'][0].as_py()!r:.80}, and vectors like "
            f"{ids[0].as_py()!r:.80}. Type: reader_options={{'id_prefix': ...}} (--id-prefix), or rename them."
        )
    if named is not None:
        _refuse_nameless(named, columns, mask(pc.is_valid(place)))
    if missing:
        columns, place = columns.filter(pc.is_valid(place)), place.drop_null()
    rows = numbers(place.cast(pa.int64()))
    if (order := popularity_order(columns)) is not None:
        columns, rows = columns.take(pa.array(order)), rows[order]
    vectors = _in_order(Path(made["vectors"]), rows, folder / _VECTORS_FILE)
    kb = KnowledgeBase.from_table(columns, vectors, **about)
    kb.save_pretrained(folder / "kb")
    (folder / _VECTORS_FILE).unlink(missing_ok=True)
    return {"without_vector": missing}


def _aliases(kb: Path, folder: Path) -> dict[str, Any]:
    """Build the lookup of names too: whoever attaches the knowledge base on this machine finds it built."""
    made = KnowledgeBase.from_pretrained(kb)
    counts = {"other_names": made.count_other_names(), "described": made.count_described()}
    return made.ambiguity()._asdict() | counts


def _in_order(source: Path, rows: np.ndarray, target: Path) -> Path:
    """Return a file whose row ``i`` is row ``rows[i]`` of the source, which may be that very file."""
    opened = np.load(source, mmap_mode="r")
    if len(rows) == len(opened) and bool((rows == np.arange(len(rows))).all()):
        return source
    place = np.full(len(opened), -1)
    place[rows] = np.arange(len(rows))
    shape = (len(rows), opened.shape[1])
    np.lib.format.open_memmap(target, "w+", np.float32, shape).flush()
    for start in range(0, len(opened), _BATCH):
        to = place[start : start + _BATCH]
        # Both are mapped anew each time: pages of large files would stay in memory otherwise.
        piece = np.load(source, mmap_mode="r")[start : start + _BATCH][to >= 0]
        np.load(target, mmap_mode="r+")[to[to >= 0]] = piece
    return target
