"""Files as the published code of map-tuning writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

IDS = ["Q90", "Q64", "Q60", "Q1741", "Q1085"]
NAMES = (
    "Paris\tQ90\nBerlin\tQ64\nNew York\tQ60\nBig Apple\tQ60\nVienna\tQ1741\nPrague\tQ1085\nParis\tQ1085\nNobody\tQ5\n"
)


def write_files(folder: Path) -> Path:
    """Write vectors of five cities, their ids in another order than the rows, their names, and a mapping to 16."""
    rng = np.random.default_rng(0)
    np.save(folder / "transe.npy", rng.normal(size=(5, 8)).astype(np.float32))
    lines = [f"{IDS[row]}\t{row}" for row in (3, 0, 4, 1, 2)]
    (folder / "entity2id.txt").write_text("\n".join(["5", *lines]) + "\n")
    (folder / "entity_map.txt").write_text(NAMES)
    state = {"model.weight": torch.randn(16, 8), "model.bias": torch.randn(16)}
    torch.save(state, folder / "Affine_5.bin")
    return folder
