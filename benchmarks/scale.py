"""``python -m benchmarks.scale 5000000``: building, opening and linking at Wikidata's size (budgets 1, 4 and 5).

Every measurement is a process of its own, so that memory is that of the work alone; what is compared takes turns.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.artifact import make_words, write_source
from benchmarks.results import row
from benchmarks.timing import median, ratios

DIM, ROUNDS = 128, 5
FULL = 4_800_000  # from here on the budgets hold


def rows(entities: int) -> list[dict]:
    """Measure all three at this many entities (1.4 names for each).

    Args:
        entities: How many; building is measured at a tenth of it too.
    """
    with tempfile.TemporaryDirectory(prefix="knowledge-plugin-benchmark-") as name:
        folder = Path(name)
        words = make_words(min(200_000, entities))
        small = _child("build", folder, entities // 10, words)
        large = _child("build", folder, entities, words)
        opened: dict[str, list[dict]] = {"open": [], "published": []}
        for _ in range(ROUNDS):
            for way, found in opened.items():
                found.append(_child(way, folder, entities, words))
        linked = [_child("link", folder, entities, words) for _ in range(ROUNDS)]
    new, old = opened["open"], opened["published"]
    is_full = entities >= FULL
    size = f"{entities / 1e6:g} M entities"
    growth = large["seconds"] / small["seconds"] / 10
    return [
        _row("1a", f"open a plugin of {size}", _of(old, "seconds"), _of(new, "seconds"), "s", 1 / 40, is_full),
        _row("1b", "memory for that", _of(old, "megabytes"), _of(new, "megabytes"), "MB", 1 / 30, is_full),
        _row("4a", f"words linked, {size}", None, _of(linked, "words"), "words/s", 250_000, is_full, at_least=True),
        _row("4b", "memory for that", None, _of(linked, "megabytes"), "MB", 150, is_full),
        _row("5a", f"build {size}, {DIM} wide", None, [large["seconds"]], "s", 180, is_full),
        _row("5b", "memory for that", None, [large["megabytes"]], "MB", 4_000, is_full),
        _row("5c", "time of ten times the entities, over ten times the time", None, [growth], "", 1.5, is_full),
    ]


def _row(
    row_id: str,
    work: str,
    published: list[float] | None,
    ours: list[float],
    unit: str,
    bound: float,
    is_full: bool,
    at_least: bool = False,
) -> dict:
    found = ours if published is None else ratios(ours, published)
    value = median(found)
    sign, fits = (">=", value >= bound) if at_least else ("<=", value <= bound)
    shown = f"{bound:g}" if published is None else f"1/{1 / bound:.0f}"
    return row(
        row_id,
        work,
        None if published is None else median(published),
        median(ours),
        unit,
        None if published is None else value,
        f"{sign} {shown}" + ("" if is_full else " at 4.8 M"),
        bool(fits) if is_full else None,
        found,
    )


def _of(found: list[dict[str, float]], name: str) -> list[float]:
    return [one[name] for one in found]


def _child(work: str, folder: Path, entities: int, words: list[str]) -> dict[str, float]:
    """Run one of the works below in a process of its own, with a cache of its own, on one core."""
    source = folder / f"source-{entities}"
    write_source(source, entities, DIM, words)
    environment = os.environ | {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "--child", work, str(source), str(folder / f"plugin-{entities}")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{work}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _build(source: Path, plugin_folder: Path) -> dict[str, float]:
    """From a Parquet table and a ``.npy`` file to a saved knowledge base whose lookups are built."""
    import pyarrow.parquet as pq

    from knowledge_plugin import KnowledgeBase, KnowledgePlugin

    began = time.perf_counter()
    kb = KnowledgeBase.from_table(pq.read_table(source / "entities.parquet"), source / "vectors.npy", name="benchmark")
    kb.save_pretrained(plugin_folder / "kb")
    kb = KnowledgeBase.from_pretrained(plugin_folder / "kb")
    kb.row("bench:0")
    kb.alias_lookup("insensitive")
    seconds, megabytes = time.perf_counter() - began, _peak()
    from benchmarks.models import minilm

    KnowledgePlugin.for_model(minilm(), kb).save_pretrained(plugin_folder)
    shutil.rmtree(plugin_folder / "kb")
    return {"seconds": seconds, "megabytes": megabytes}


def _open(source: Path, plugin_folder: Path) -> dict[str, float]:
    """Open a plugin whose lookups are in the cache, and look up a hundred entities by id."""
    from knowledge_plugin import KnowledgePlugin

    before, began = _resident(), time.perf_counter()
    kb = KnowledgePlugin.from_pretrained(plugin_folder).knowledge_base
    vectors = kb.vectors(kb.rows([f"bench:{i}" for i in range(100)]))
    seconds = time.perf_counter() - began
    expected = np.load(source / "vectors.npy", mmap_mode="r")[:100]
    assert np.array_equal(vectors.numpy(), expected)
    return {"seconds": seconds, "megabytes": _resident() - before}


def _published(source: Path, plugin_folder: Path) -> dict[str, float]:
    """Read all vectors into a list of arrays and all ids into a dictionary, as the published code does."""
    before, began = _resident(), time.perf_counter()
    vectors = list(np.load(source / "vectors.npy"))
    with open(source / "entity2id.txt") as file:
        count = int(file.readline())
        row_of = dict(_pair(line) for line in file)
    found = [vectors[row_of[f"bench:{i}"]] for i in range(100)]
    seconds = time.perf_counter() - began
    assert (len(found), len(row_of)) == (100, count)
    return {"seconds": seconds, "megabytes": _resident() - before}


def _pair(line: str) -> tuple[str, int]:
    entity_id, row = line.split("\t")
    return entity_id, int(row)


def _link(source: Path, plugin_folder: Path) -> dict[str, float]:
    """Link sentences of forty words, each with a name, and see how much memory that takes above the import."""
    import pyarrow.parquet as pq

    from knowledge_plugin import DictionaryLinker, KnowledgeBase

    kb_folder = plugin_folder / "knowledge_base"
    rng = random.Random(0)
    names = pq.ParquetFile(source / "entities.parquet").read_row_group(0, columns=["label"])["label"].to_pylist()
    words = [word for name in rng.sample(names, min(len(names), 20_000)) for word in name.split()]
    texts = [" ".join([*rng.choices(words, k=20), rng.choice(names), *rng.choices(words, k=20)]) for _ in range(2_000)]
    count = sum(len(text.split()) for text in texts)
    before = _resident()
    linker = DictionaryLinker(KnowledgeBase.from_pretrained(kb_folder, vectors=False))
    linker(texts[:100])
    began = time.perf_counter()
    found = linker(texts)
    seconds = time.perf_counter() - began
    assert sum(map(len, found)) >= len(texts)
    return {"words": count / seconds, "megabytes": _resident() - before}


def _resident() -> float:
    """Return megabytes in memory now, pages of mapped files among them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _peak() -> float:
    """Return the most megabytes that were in memory so far."""
    # Not ru_maxrss, which a process inherits from the one that started it, large as that one may be.
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        work = {"build": _build, "open": _open, "published": _published, "link": _link}[sys.argv[2]]
        print(json.dumps(work(Path(sys.argv[3]), Path(sys.argv[4]))))
    else:
        print(json.dumps(rows(int(sys.argv[1])), indent=2))
