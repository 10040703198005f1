"""Configurations as strict dataclasses, and their way to and from ``config.json``.

A config file is untrusted input: types are checked, sizes are bounded before anything is allocated, duplicate
keys and NaN are refused, and nothing in it names code to import. Unknown keys are kept out with a warning, so
that a file of a newer minor version still opens; a newer *major* ``format_version`` is refused.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
import warnings
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

from knowledge_plugin.errors import ArtifactError, ConfigError, FormatVersionError
from knowledge_plugin.registry import find_method

CONFIG_NAME = "config.json"
KNOWLEDGE_BASE_FOLDER = "knowledge_base"  # inside a plugin's folder
LIBRARY_NAME = "knowledge-plugin"
FORMAT_VERSION = "1.0"

try:
    LIBRARY_VERSION = version(LIBRARY_NAME)
except PackageNotFoundError:  # imported from a checkout that was never installed
    LIBRARY_VERSION = "0.0.0"

MAX_CONFIG_BYTES = 16 * 2**20
MAX_ROWS = 2**31 - 1
MAX_WIDTH = 2**16
MAX_FILES = 10_000
MAX_HISTORY = 1_000
MAX_MAPPING_WEIGHTS = 2**28
MAX_LAYERS = 1_000

MappingKind = Literal["affine", "mlp"]
Form = Literal["concat", "replace"]
Case = Literal["insensitive", "sensitive"]
StorageDType = Literal["float32", "float16", "bfloat16", "int8"]
LinkerKind = Literal["dictionary", "external"]

_Config = TypeVar("_Config")
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def check_bound(name: str, value: int, upper: int, lower: int = 1) -> None:
    """Raise :class:`ConfigError` unless ``lower <= value <= upper``."""
    if not lower <= value <= upper:
        raise ConfigError(f"{name}: expected a number from {lower} to {upper}, found {value}.")


def parse_fields(config: Any) -> None:
    """Check the type of every field of a frozen config, whether it comes from a file or from a caller.

    Raises:
        ConfigError: A value is of another type than the field's hint says: it could be saved, but never opened again.
    """
    hints = typing.get_type_hints(type(config))
    for item in dataclasses.fields(config):
        object.__setattr__(config, item.name, parse(hints[item.name], getattr(config, item.name), item.name))


@dataclass(frozen=True)
class FileConfig:
    """Size in bytes and SHA-256 of one file of an artifact."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("size", self.size, 2**50, lower=0)
        if len(self.sha256) != 64 or not set(self.sha256) <= set("0123456789abcdef"):
            raise ConfigError(f"sha256: expected 64 lower-case hexadecimal digits, found {self.sha256[:80]!r}.")


@dataclass(frozen=True)
class EmbedderConfig:
    """How the vectors of a knowledge base were made.

    Attributes:
        name: The embedder in words, for people.
        measures: What was measured of it, such as ``{"hits@10": 0.41}``.
    """

    name: str
    measures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("length of the embedder's name", len(self.name), 10_000)
        check_bound("number of measures", len(self.measures), 1_000, lower=0)


@dataclass(frozen=True)
class VersionConfig:
    """One step in the history of a knowledge base.

    Attributes:
        version: Version or dump date after this step.
        rows: Number of entities after it.
        added: How many came.
        replaced: How many changed.
        removed: How many went.
    """

    version: str | None
    rows: int
    added: int = 0
    replaced: int = 0
    removed: int = 0

    def __post_init__(self) -> None:
        parse_fields(self)
        for name in ("rows", "added", "replaced", "removed"):
            check_bound(name, getattr(self, name), MAX_ROWS, lower=0)


@dataclass(frozen=True)
class KnowledgeBaseConfig:
    """What ``config.json`` of a knowledge base says.

    Attributes:
        name: What the knowledge base is called, for people.
        rows: Number of entities; row ``i`` of the embeddings belongs to row ``i`` of the entity table.
        dim: Width of an entity vector.
        aliases: Number of rows of the alias table.
        dtype: How vectors are stored. They always come back as float32.
        id_scheme: What entity ids mean, for example ``"geonames"`` or ``"wikidata"``.
        license: Licence of the *knowledge*, which need not be that of a plugin made with it.
        version: Version or dump date.
        linker: ``"external"`` says that mentions come from elsewhere, and allows entities without a name.
        embedder: How the vectors were made, if that is known.
        history: What :meth:`~knowledge_plugin.KnowledgeBase.upsert` and ``remove`` did to it, the oldest first; empty
            if it never changed.
        files: Size and checksum of each file.
    """

    name: str
    rows: int
    dim: int
    aliases: int
    dtype: StorageDType = "float32"
    id_scheme: str | None = None
    license: str | None = None
    version: str | None = None
    linker: LinkerKind = "dictionary"
    embedder: EmbedderConfig | None = None
    history: list[VersionConfig] = field(default_factory=list)
    files: dict[str, FileConfig] = field(default_factory=dict)

    artifact: typing.ClassVar[str] = "knowledge-base"

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("rows", self.rows, MAX_ROWS)
        check_bound("dim", self.dim, MAX_WIDTH)
        check_bound("aliases", self.aliases, MAX_ROWS, lower=0)
        check_bound("length of the history", len(self.history), MAX_HISTORY, lower=0)
        check_bound("number of files", len(self.files), MAX_FILES, lower=0)


@dataclass(frozen=True)
class FingerprintConfig:
    """A few dozen rows of the word-embedding matrix, by which the space is known again.

    Attributes:
        token_ids: Which rows, ascending.
        vectors: The rows as float16, little-endian, row by row, in base64.
        tokens: The word of each row, if the tokenizer was known; empty where it has none.
    """

    token_ids: list[int]
    vectors: str
    tokens: list[str] | None = None

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("number of fingerprint rows", len(self.token_ids), 1024)
        if self.tokens is not None and len(self.tokens) != len(self.token_ids):
            raise ConfigError(f"tokens: expected {len(self.token_ids)} words, found {len(self.tokens)}.")


@dataclass(frozen=True)
class BaseModelConfig:
    """The family of language models whose word-embedding space a mapping leads to."""

    name: str | None
    vocab_size: int
    embedding_dim: int
    fingerprint: FingerprintConfig
    revision: str | None = None

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("vocab_size", self.vocab_size, MAX_ROWS)
        check_bound("embedding_dim", self.embedding_dim, MAX_WIDTH)


@dataclass(frozen=True)
class MappingConfig:
    """Shape of a mapping network. ``hidden_dim`` is for ``"mlp"`` alone."""

    kind: MappingKind
    input_dim: int
    output_dim: int
    hidden_dim: int | None = None

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("input_dim", self.input_dim, MAX_WIDTH)
        check_bound("output_dim", self.output_dim, MAX_WIDTH)
        if (self.hidden_dim is not None) != (self.kind == "mlp"):
            raise ConfigError(f"hidden_dim belongs to an 'mlp' mapping and to no other; kind is {self.kind!r}.")
        if self.hidden_dim is not None:
            check_bound("hidden_dim", self.hidden_dim, MAX_WIDTH)
        weights = sum(i * o for i, o in pairwise(self.widths))
        check_bound("number of weights of the mapping", weights, MAX_MAPPING_WEIGHTS)

    @property
    def widths(self) -> list[int]:
        """What goes in, what is between, and what comes out."""
        return [self.input_dim, *([self.hidden_dim] if self.hidden_dim else []), self.output_dim]


@dataclass(frozen=True)
class InjectionConfig:
    """How knowledge enters a model; each method has a subclass of its own, with its settings.

    Attributes:
        method: Which one; see :mod:`knowledge_plugin.registry`.
    """

    method: str

    def __post_init__(self) -> None:
        parse_fields(self)

    def check(self, plugin: KnowledgePluginConfig) -> None:
        """Hold the section against the others of a plugin, or raise :class:`ConfigError`."""

    def weights(self, mapping: MappingConfig) -> int:
        """Return how many weights, biases among them, the mapping network has."""
        return sum((i + 1) * o for i, o in pairwise(mapping.widths))

    def in_words(self) -> dict[str, str]:
        """Return the settings for people, by name."""
        return {key.replace("_", " "): str(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def variant(cls, data: dict[str, Any]) -> type[InjectionConfig]:
        """Return the class that reads a section: that of the method which it names.

        Raises:
            ConfigError: Nobody knows the method.
        """
        return find_method(data.get("method")).config


@dataclass(frozen=True)
class TokenInjectionConfig(InjectionConfig):
    """How knowledge enters the text, of methods that put tokens there.

    Attributes:
        form: ``"concat"`` puts ``[entity] separator`` before a mention, ``"replace"`` puts ``[entity]`` in its place.
        separator: Text between the entity and its mention.
    """

    form: Form = "concat"
    separator: str = "/"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bound("length of the separator", len(self.separator), 64, lower=0)

    def in_words(self) -> dict[str, str]:
        """Return the settings for people, by name."""
        how = "put before the mention" if self.form == "concat" else "put in the mention's place"
        return {"method": self.method, "form": f"{self.form}: the entity is {how}"}


@dataclass(frozen=True)
class LayerInjectionConfig(InjectionConfig):
    """How knowledge enters layers of the model, of methods that look entries up where the text is read.

    Attributes:
        layers: Numbers of the layers, from 0, ascending.
        key_dim: The first numbers of a vector, by which an entry is found; the rest is what it says. As wide as the
            whole vector, it is both.
        causal: Whether each token looks up for itself, as in decoders, where it must not see what follows.
    """

    layers: list[int] = field(default_factory=list)
    key_dim: int = 1
    causal: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bound("number of layers", len(self.layers), MAX_LAYERS)
        for number in self.layers:
            check_bound("number of a layer", number, MAX_LAYERS, lower=0)
        if self.layers != sorted(set(self.layers)):
            raise ConfigError(f"layers: expected numbers that ascend, found {self.layers!r:.80}.")
        check_bound("key_dim", self.key_dim, MAX_WIDTH)

    def value_start(self, dim: int) -> int:
        """Return where in a vector of ``dim`` numbers begins what an entry says."""
        return self.key_dim if self.key_dim < dim else 0

    def lookup_weights(self, width: int, dim: int) -> int:
        """Return how many weights a look-up has, from hidden states of ``width`` and keys to queries of ``dim``."""
        pool = 0 if self.causal else (width + 1) * dim + dim + 1
        return (width + 1) * dim + (self.key_dim + 1) * dim + pool + 1

    def check(self, plugin: KnowledgePluginConfig) -> None:
        """Hold the section against the others: keys are within vectors, and the network is of a size to be made."""
        if plugin.mapping.kind != "affine":
            raise ConfigError(
                f"kind: this method's network is 'affine' in all its parts, found {plugin.mapping.kind!r}."
            )
        check_bound("key_dim", self.key_dim, plugin.mapping.input_dim)
        check_bound("number of weights of the mapping", self.weights(plugin.mapping), MAX_MAPPING_WEIGHTS)


@dataclass(frozen=True)
class LinkerConfig:
    """Settings of the dictionary linker that a plugin was made with."""

    case: Case = "insensitive"
    min_length: int = 2
    stop_words: list[str] | None = None

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("min_length", self.min_length, 1000)
        check_bound("number of stop words", len(self.stop_words or []), 100_000, lower=0)


@dataclass(frozen=True)
class KnowledgeBaseReference:
    """A knowledge base in a dataset repo of its own, which many plugins share, pinned to one commit.

    Attributes:
        repo_id: ``"user/name"``.
        revision: The commit, 40 hexadecimal digits: a branch could change under the mapping.
    """

    repo_id: str
    revision: str

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("length of the repo id", len(self.repo_id), 200)
        if self.repo_id.count("/") != 1 or self.repo_id.startswith(("/", ".", "~")) or ".." in self.repo_id:
            raise ConfigError(f"repo_id: expected 'user/name', found {self.repo_id!r:.80}.")
        if len(self.revision) != 40 or not set(self.revision) <= set("0123456789abcdef"):
            raise ConfigError(f"revision: expected a commit of 40 hexadecimal digits, found {self.revision!r:.80}.")


@dataclass(frozen=True)
class TrainingConfig:
    """How a mapping learned, for whoever wants to know, and for the card.

    Attributes:
        objective: ``"task"``, ``"mention-mlm"`` and the like, or ``"align"``.
        rows: Rows of the training data; for ``"align"``, what was fitted to.
        rows_with_mention: Share of them, from 0 to 1, that mention an entity, as far as that was looked at.
        epochs: How often it went through the data.
        steps: Steps of the optimizer.
        batch_size: Rows a step, on all devices.
        learning_rate: The highest.
        base_dropout: Dropout of the frozen model; ``None`` for its own.
        loss: Mean over the training.
        seconds: How long it took, on the machine that it ran on.
        seed: Of Trainer.
        measures: What else was found, such as ``{"held_out_r2": 0.21}``.
        data: Name of the data, if it has one.
        versions: Of the libraries.
    """

    objective: str
    rows: int | None = None
    rows_with_mention: float | None = None
    epochs: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    base_dropout: float | None = None
    loss: float | None = None
    seconds: float | None = None
    seed: int | None = None
    measures: dict[str, float] = field(default_factory=dict)
    data: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("length of the objective", len(self.objective), 100)
        check_bound("length of the data's name", len(self.data or ""), 1_000, lower=0)
        for name in ("measures", "versions"):
            check_bound(f"number of {name}", len(getattr(self, name)), 100, lower=0)


@dataclass(frozen=True)
class KnowledgePluginConfig:
    """What ``config.json`` of a plugin says: all that its constructor needs, and the checksums of its files."""

    base_model: BaseModelConfig
    mapping: MappingConfig
    injection: InjectionConfig = field(default_factory=lambda: find_method("map-tuning").config())
    linker: LinkerConfig = field(default_factory=LinkerConfig)
    files: dict[str, FileConfig] = field(default_factory=dict)
    knowledge_base: KnowledgeBaseReference | None = None
    training: TrainingConfig | None = None

    artifact: typing.ClassVar[str] = "knowledge-plugin"

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("number of files", len(self.files), MAX_FILES, lower=0)
        self.injection.check(self)

    @property
    def leads_to_words(self) -> bool:
        """Whether the mapping leads from a vector to one row of the word embeddings, so that names can be targets."""
        in_text = isinstance(self.injection, TokenInjectionConfig)
        return in_text and self.mapping.output_dim == self.base_model.embedding_dim


def to_json(config: Any) -> str:
    """Return the text of ``config.json`` of a config that says which ``artifact`` it describes."""
    head = {
        "library_name": LIBRARY_NAME,
        "library_version": LIBRARY_VERSION,
        "format_version": FORMAT_VERSION,
        "artifact": config.artifact,
    }
    return json.dumps(head | dataclasses.asdict(config), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_config(folder: str | Path, cls: type[_Config]) -> _Config:
    """Read and check ``folder/config.json``.

    Args:
        folder: The artifact.
        cls: :class:`KnowledgeBaseConfig` or :class:`KnowledgePluginConfig`.

    Returns:
        An instance of ``cls``.

    Raises:
        ArtifactError: There is no such folder, or no ``config.json`` in it, or it describes another thing.
        FormatVersionError: The file is in a newer, or an older, major format than this package reads.
        ConfigError: The file is no JSON object, or a value is missing, of the wrong type or out of bounds.
    """
    path = Path(folder) / CONFIG_NAME
    expected: str = cls.artifact  # type: ignore[attr-defined]
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in Path(folder).iterdir())[:10]) if Path(folder).is_dir() else "no folder"
        raise ArtifactError(
            f"{folder} is not a {expected}: expected a file {CONFIG_NAME} in it, found {found or 'an empty folder'}."
        )
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path} has {path.stat().st_size} bytes; at most {MAX_CONFIG_BYTES} are read.")
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=no_duplicates, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not the JSON that this package writes: {error}") from error
    if not isinstance(data, dict) or data.pop("library_name", None) != LIBRARY_NAME:
        raise ArtifactError(
            f'{path} does not describe a {expected}: expected "library_name": "{LIBRARY_NAME}" in it. '
            "Is this the folder of another library's model?"
        )
    _check_format_version(path, data.pop("format_version", None), data.pop("library_version", None))
    if (artifact := data.pop("artifact", None)) != expected:
        raise ArtifactError(f"{folder} holds a {artifact!s:.80}, not a {expected}.")
    return parse(cls, data, where=str(path))


def _check_format_version(path: Path, found: object, written_by: object) -> None:
    major = found.split(".")[0] if isinstance(found, str) else ""
    if not (major.isascii() and major.isdigit()):
        raise ConfigError(f"{path}: format_version: expected a text like {FORMAT_VERSION!r}, found {found!r:.80}.")
    major, ours = major.lstrip("0"), FORMAT_VERSION.split(".")[0]
    if major == ours:
        return
    message = f"{path} is written in format {found:.20} (by {LIBRARY_NAME} {written_by!s:.20})"
    # Compared as texts: Python would not turn thousands of digits into a number.
    if (len(major), major) < (len(ours), ours):
        raise FormatVersionError(
            f"{message}, which is older than format {FORMAT_VERSION} that version {LIBRARY_VERSION} reads. Make it "
            "anew from its entities, or ask its author for a newer one."
        )
    raise FormatVersionError(
        f"{message}; version {LIBRARY_VERSION} reads format {FORMAT_VERSION}. "
        f"Type: pip install --upgrade {LIBRARY_NAME}"
    )


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON, as ``object_pairs_hook``; of two equal keys neither could be believed."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"duplicate key {Counter(key for key, _ in pairs).most_common(1)[0][0]!r:.80}")
    return found


def no_constant(name: str) -> None:
    """Refuse NaN and infinity, as ``parse_constant``."""
    raise ValueError(f"{name} is not a JSON number")


def parse(hint: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into what a type hint says, or raise :class:`ConfigError` naming the place."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        present = [option for option in arguments if option is not types.NoneType]
        return None if value is None else parse(present[0], value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise ConfigError(f"{where}: expected one of {', '.join(map(repr, arguments))}, found {value!r:.80}.")
        return value
    if origin is list:
        _expect(list, value, where)
        return [parse(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        _expect(dict, value, where)
        return {
            parse(arguments[0], key, f"{where}: a key"): parse(arguments[1], item, f"{where}: {key}")
            for key, item in value.items()
        }
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        data = _expect(dict, value, where)
        return _parse_dataclass(_variant(hint, data, where), data, where)
    return _expect(hint, value, where)


def _variant(cls: Any, data: dict[str, Any], where: str) -> Any:
    """Return the dataclass that an object is of, where it says so itself."""
    if not hasattr(cls, "variant"):
        return cls
    try:
        return cls.variant(data)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _parse_dataclass(cls: Any, data: dict[str, Any], where: str) -> Any:
    fields = {item.name: item for item in dataclasses.fields(cls)}
    if unknown := sorted(set(data) - set(fields)):
        warnings.warn(
            f"{where}: ignoring keys that this version does not know: {', '.join(unknown)[:200]}.", stacklevel=2
        )
    for item in fields.values():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and item.name not in data:
            raise ConfigError(f"{where}: the key {item.name!r} is missing.")
    try:
        return cls(**{key: value for key, value in data.items() if key in fields})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _expect(cls: Any, value: Any, where: str) -> Any:
    # bool is an int to Python; in a config it is a mistake.
    if not isinstance(value, cls) or (isinstance(value, bool) and cls is not bool):
        raise ConfigError(f"{where}: expected {cls.__name__}, found {type(value).__name__} ({value!r:.80}).")
    if isinstance(value, str) and _HALF_A_PAIR.search(value):
        # JSON can say it, but no file name, table or card can hold it.
        raise ConfigError(f"{where}: expected Unicode, found half a surrogate pair ({value!r:.80}).")
    return value
