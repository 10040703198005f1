"""What the tests of this folder share: whole artifacts, and the ways to damage them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.hub.folder import describe_files
from tests import tiny
from tests.contract.architectures import build

SHARD = "embeddings-00001-of-00001.safetensors"
MAPPING = "mapping.safetensors"


def save_kb(folder: Path, **kwargs) -> Path:
    tiny.knowledge_base(**kwargs).save_pretrained(folder)
    return folder


def make_plugin(seed: int = 0) -> KnowledgePlugin:
    model = tiny.classifier()
    torch.manual_seed(seed)
    return KnowledgePlugin.for_model(model, tiny.knowledge_base(seed=seed), mapping="affine")


def save_plugin(folder: Path, seed: int = 0) -> Path:
    make_plugin(seed).save_pretrained(folder)
    return folder


SETTINGS: dict[str, dict] = {
    "kformer": {"layers": [0, 1], "key_dim": 4},
    "memory": {"layers": [0, 1], "key_dim": 4},
    "kb-attention": {"every": 1, "key_dim": 4},
    "passage": {"tokens": 2},
}


def save_plugin_of(folder: Path, method: str) -> Path:
    torch.manual_seed(0)
    kb = tiny.knowledge_base()
    KnowledgePlugin.for_model(build("llama"), kb, method=method, **SETTINGS[method]).save_pretrained(folder)
    return folder


def read_json(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def edit_config(folder: Path, **changes) -> None:
    """Overwrite keys of a config; a dotted name, written ``a__b``, reaches into an object."""
    data = read_json(folder)
    for key, value in changes.items():
        *path, last = key.split("__")
        place = data
        for step in path:
            place = place[step]
        place[last] = value
    (folder / "config.json").write_text(json.dumps(data), encoding="utf-8")


def redeclare(folder: Path, *names: str) -> None:
    """Write the true size and sum of files into the config, as someone would who means to deceive."""
    data = read_json(folder)
    for name, file in describe_files(folder, list(names)).items():
        data["files"][name] = vars(file)
    (folder / "config.json").write_text(json.dumps(data), encoding="utf-8")


def use(folder: Path) -> None:
    """Open a knowledge base and touch every part of it."""
    kb = KnowledgeBase.from_pretrained(folder)
    entities = list(kb)
    kb.rows([entity.id for entity in entities])
    kb[entities[0].id]
    kb.vectors(range(len(kb)))
    for case in ("insensitive", "sensitive"):
        kb.alias_lookup(case).best("paris")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def truncate(path: Path, keep: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def flip(path: Path, place: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * place), len(data) - 1)] ^= 0xFF
    path.write_bytes(data)
