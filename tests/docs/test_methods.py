"""docs/methods.md: its Python runs as it is printed, with a tiny decoder in place of yours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.architectures import build

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture
def session(tmp_path, monkeypatch, wordpiece, capsys):
    """What the page's blocks leave behind, and what they print."""
    build("llama").save_pretrained(tmp_path / "decoder")
    wordpiece.save_pretrained(tmp_path / "decoder")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(code.replace('"path/to/your/decoder"', '"decoder"'), names)
    return names, capsys.readouterr().out


def test_the_python_runs(session):
    names, printed = session
    assert "shuffled vectors" in printed
    assert "Mention(start=0, end=18, entity_id='person:" in printed
    ((linked,),) = names["linker"](["Where does Zorva Melin live?"])
    assert linked.entity_id == "passage:1"
    assert names["plugin"].config.training.objective == "distil"
