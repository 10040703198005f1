"""What is fuzzed: a whole plugin in which a stranger has changed one file, opened and used in every way."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import warnings
from pathlib import Path

import torch

from knowledge_plugin import DictionaryLinker, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.evaluation import count_unlinkable
from knowledge_plugin.knowledge_base import lookup
from tests import tiny
from tests.attacks.hostile import SHARD, make_plugin, redeclare
from tests.fuzz.mutations import STRUCTURES, Choices, edited_bytes

FILES = [
    "config.json",
    "mapping.safetensors",
    "knowledge_base/config.json",
    f"knowledge_base/{SHARD}",
    "knowledge_base/entities.parquet",
    "knowledge_base/aliases.parquet",
]
WAYS = 3
_MARK = 12_345.0  # the vectors of what lies outside the folder


class Finding(Exception):
    """Something that no file may bring about, however hostile."""


class Target:
    """Called with the bytes of an engine, it ends without an error, or there is something to mend.

    The first byte says which file is changed, the second how, the others to what.

    Args:
        root: An empty folder; all that is read and written must stay within.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "plugin"
        self.cache = root / "cache"
        self.refused = self.opened = 0
        make_plugin().save_pretrained(self.folder)
        self._whole = {name: (self.folder / name).read_bytes() for name in FILES}
        tiny.knowledge_base().with_vectors(torch.full((5, 8), _MARK)).save_pretrained(root / "decoy")
        for path in (root / "decoy").iterdir():  # where "../" of either config leads
            shutil.copyfile(path, root / path.name)
            shutil.copyfile(path, root / "outside.parquet")
        self.cache.mkdir()
        lookup.cached_assets_path = lambda *args, **kwargs: self.cache
        self._calls = 0
        self._watch = _Watch(root)

    def seeds(self) -> list[bytes]:
        """Return inputs that lead to every file in every way, for an engine to begin with."""
        found = [bytes([i, 0]) + self._whole[name] for i, name in enumerate(FILES)]
        for i in range(len(FILES)):
            found += [bytes([i, way, *steps]) for way in (1, 2) for steps in ([], [1, 2, 3], [9, 0, 40, 3, 3, 200])]
        return found

    def __call__(self, data: bytes) -> None:
        """Change one file and use the plugin.

        Raises:
            Finding: An error that is not ours, a file outside of the folder, or more memory than there is.
        """
        self._clean()
        name = FILES[data[0] % len(FILES)] if data else FILES[0]
        (self.folder / name).write_bytes(self._contents(name, data))
        config = (self.folder / name).parent
        if not name.endswith(".json"):
            redeclare(config, Path(name).name)
        before = {path.name for path in self.root.iterdir()}
        try:
            with warnings.catch_warnings(), self._watch:
                warnings.simplefilter("ignore")
                self._use()
            self.opened += 1
        except KnowledgePluginError as error:
            self.refused += 1
            str(error)
            cause: BaseException | None = error
            while (cause := cause and cause.__cause__) is not None:
                if isinstance(cause, MemoryError):
                    raise Finding(f"{name}: {cause}") from error
        except Exception as error:
            raise Finding(f"{name}: {type(error).__name__}: {error}") from error
        if self._watch.escaped:
            raise Finding(f"{name}: {self._watch.escaped[:5]}")
        if strange := {path.name for path in self.root.iterdir()} - before - {"copy"}:
            raise Finding(f"{name}: files outside of the folder: {strange}")

    def _contents(self, name: str, data: bytes) -> bytes:
        way, rest = (data[1] % WAYS, data[2:]) if len(data) > 1 else (0, b"")
        if way == 0:
            return rest
        edit = edited_bytes if way == 1 else STRUCTURES[Path(name).suffix]
        return edit(self._whole[name], Choices(rest))

    def _clean(self) -> None:
        for name, data in self._whole.items():
            (self.folder / name).write_bytes(data)
        shutil.rmtree(self.root / "copy", ignore_errors=True)
        self._calls += 1
        if self._calls % 200 == 0:  # each content leaves lookups of its own
            shutil.rmtree(self.cache)
            self.cache.mkdir()

    def _use(self) -> None:
        errors = []
        # What is wrong with one part must not hide another.
        for use in (self._use_knowledge_base, self._verify, self._use_plugin, self._save):
            try:
                use()
            except KnowledgePluginError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _use_knowledge_base(self) -> None:
        kb = KnowledgeBase.from_pretrained(self.folder / "knowledge_base")
        if bool((kb.vectors(range(min(len(kb), 1000))) == _MARK).any()):
            raise Finding("vectors of another folder were read")
        ids = [kb.entity_id(row) for row in range(min(len(kb), 1000))]
        for entity_id in ids[:50]:
            assert kb.entity_id(kb.row(entity_id)) == entity_id
            assert kb[entity_id].id == entity_id
        assert [entity.id for entity in kb][:1000] == ids
        for case in ("insensitive", "sensitive"):
            kb.alias_lookup(case).candidates("paris")
        kb.best_entity("Paris", of_type="city")
        list(kb.labels())
        if kb.config.aliases:
            DictionaryLinker(kb)(["The mayor of New York was born in Paris. a 0.9"])
            count_unlinkable(kb)

    def _verify(self) -> None:
        KnowledgeBase.from_pretrained(self.folder / "knowledge_base").verify()

    def _use_plugin(self) -> None:
        plugin = KnowledgePlugin.from_pretrained(self.folder)
        first = plugin.knowledge_base.entity_id(0)
        plugin.word_embeddings([first])
        repr(plugin)
        plugin.default_linker()

    def _save(self) -> None:
        plugin = KnowledgePlugin.from_pretrained(self.folder)
        plugin.save_pretrained(self.root / "copy")
        KnowledgePlugin.from_pretrained(self.root / "copy").knowledge_base.verify()


class _Watch:
    """Notes what Python opens, makes, moves and removes outside of a folder."""

    _EVENTS = {"os.rename": 2, "os.link": 2, "os.symlink": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1}

    def __init__(self, root: Path) -> None:
        package = Path(lookup.__file__).parents[2]  # whose templates of cards are read
        readable = [package, *sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev"]
        self._writable = os.path.realpath(root)
        self._readable = [os.path.realpath(path) for path in readable]
        self._on = False
        self.escaped: list[str] = []
        sys.addaudithook(self._see)

    def __enter__(self) -> None:
        self._on, self.escaped = True, []

    def __exit__(self, *error: object) -> None:
        self._on = False

    def _see(self, event: str, arguments: tuple) -> None:
        if not self._on:
            return
        if event in self._EVENTS:
            # Relative names are those of an open folder, which comes last.
            folder = arguments[-1] if isinstance(arguments[-1], int) and arguments[-1] >= 0 else None
            base = "." if folder is None else f"/proc/self/fd/{folder}"
            paths = [os.path.join(base, os.fsdecode(path)) for path in arguments[: self._EVENTS[event]]]
            self._check(event, paths, writes=True)
        elif event == "open" and not isinstance(arguments[0], int):
            mode, flags = arguments[1], arguments[2]
            writes = bool(set(mode or "") & set("wxa+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            self._check(event, [os.fsdecode(arguments[0])], writes)

    def _check(self, event: str, paths: list[str], writes: bool) -> None:
        self._on = False  # asking where a path leads is no event
        for path in paths:
            real = os.path.realpath(path)
            if not any(_within(real, folder) for folder in [self._writable, *([] if writes else self._readable)]):
                self.escaped.append(f"{event} {real}")
        self._on = True


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)
