"""Commands that make knowledge bases and change them: ``kb build``, ``kb upsert``, ``kb remove``.

Readers and embedders are loaded when they are called: all other commands start without them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from knowledge_plugin.cli.columns import column_names
from knowledge_plugin.cli.output import AsJson, print_json, print_values
from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base import KnowledgeBase

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the knowledge base to.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the knowledge base.")]
Entities = Annotated[
    Path,
    typer.Option(
        exists=True,
        help="CSV, JSON Lines or Parquet with the columns id, label, aliases (with | between them), description; OBO, "
        "OWL, a Wikidata dump, WordNet's folder.",
    ),
]
Version = Annotated[str | None, typer.Option("--kb-version", help="Version or dump date of the knowledge.")]
IdPrefix = Annotated[str, typer.Option(help="Put before every id of the entities, for example wikidata:")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="FIELD=COLUMN", help="What a column of the table is called: label=name. Repeat."),
]
_IDS_BESIDE = "v.npy (or .safetensors) needs v.txt beside it, with one id a line, in the order of the vectors."
_GRAPH = ("TransE", "RotatE", "DistMult", "ComplEx")


def build(
    out: Out,
    entities: Entities,
    name: Annotated[str, typer.Option(help="What it is called.")],
    triples: Annotated[Path | None, typer.Option(exists=True, help="TSV, CSV, N-Triples, Turtle, OBO, OWL.")] = None,
    vectors: Annotated[
        Path | None, typer.Option(exists=True, help=f".npy, .safetensors, word2vec, PyKEEN. {_IDS_BESIDE}")
    ] = None,
    embedder: Annotated[str | None, typer.Option(help=f"{', '.join(_GRAPH)}, or text.")] = None,
    text_model: Annotated[str | None, typer.Option(help="sentence-transformers model for text.")] = None,
    dim: Annotated[int, typer.Option(min=1, help="Width of graph embeddings.")] = 128,
    id_scheme: Annotated[str | None, typer.Option(help="What the ids mean, for example wikidata.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the knowledge.")] = None,
    version: Version = None,
    dtype: Annotated[str, typer.Option(help="float32, float16, bfloat16 or int8.")] = "float32",
    id_prefix: IdPrefix = "",
    columns: Columns = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace whatever OUT holds.")] = False,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Build a knowledge base from files; called again, an interrupted build goes on."""
    from knowledge_plugin.building.builder import build_knowledge_base

    if embedder is not None and vectors is None:
        made: Any = _embedder(embedder, text_model, dim, seed)
    else:
        made = embedder  # with vectors, or without either: the builder says what is wrong
    summary = build_knowledge_base(
        out,
        entities,
        triples=triples,
        vectors=vectors,
        embedder=made,
        name=name,
        id_scheme=id_scheme,
        license=license,
        version=version,
        dtype=dtype,  # type: ignore[arg-type]
        reader_options=_reader_options(id_prefix, columns),
        overwrite=overwrite,
    )
    if as_json:
        print_json(summary.to_dict())
    else:
        typer.echo(str(summary))


def upsert(
    folder: Folder,
    entities: Entities,
    vectors: Annotated[
        Path, typer.Option(exists=True, help=f"A vector for each, by id, as for kb build. {_IDS_BESIDE}")
    ],
    version: Version = None,
    id_prefix: IdPrefix = "",
    columns: Columns = None,
    as_json: AsJson = False,
) -> None:
    """Add entities, or replace those that are there; a mapping that was trained with it keeps working."""
    from knowledge_plugin.building.readers import read_entities, read_vectors

    kb = KnowledgeBase.from_pretrained(folder)
    new = list(read_entities(entities, **_reader_options(id_prefix, columns)))
    found = read_vectors(vectors)
    row_of = {entity_id: row for row, entity_id in enumerate(found.ids)}
    if missing := [entity.id for entity in new if entity.id not in row_of]:
        raise KnowledgeBaseError(
            f"{vectors}: expected a vector for each of the {len(new)} entities, found none for {len(missing)}, for "
            f"example {missing[0]!r:.200}. Nothing was changed."
        )
    kb.upsert(new, found.vectors[[row_of[entity.id] for entity in new]], version=version)
    _save(kb, folder, as_json)


def remove(
    folder: Folder,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Whom to remove.")],
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Remove entities with their vectors and names; a mapping that was trained with it keeps working."""
    kb = KnowledgeBase.from_pretrained(folder)
    kb.remove(ids, version=version)
    _save(kb, folder, as_json)


def _reader_options(id_prefix: str, columns: list[str] | None) -> dict[str, Any]:
    named = column_names(columns)
    return ({"id_prefix": id_prefix} if id_prefix else {}) | ({"columns": named} if named else {})


def _embedder(name: str, text_model: str | None, dim: int, seed: int) -> Any:
    from knowledge_plugin.building.embedders import GraphEmbedder, TextEmbedder

    if name.lower() == "text":
        return TextEmbedder() if text_model is None else TextEmbedder(text_model)
    known = {model.lower(): model for model in _GRAPH}
    if (model := known.get(name.lower())) is None:
        raise typer.BadParameter(f"expected {', '.join(_GRAPH)} or text, found {name!r}", param_hint="--embedder")
    return GraphEmbedder(model, dim=dim, seed=seed)


def _save(kb: KnowledgeBase, folder: Path, as_json: bool) -> None:
    kb.save_pretrained(folder)
    step = kb.config.history[-1] if kb.config.history else None
    values: dict[str, Any] = {"entities": len(kb), "version": kb.config.version}
    if step is not None:
        values |= {"added": step.added, "replaced": step.replaced, "removed": step.removed}
    if as_json:
        print_json(values)
    else:
        print_values(str(folder), values)
