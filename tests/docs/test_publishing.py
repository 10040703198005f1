"""docs/publishing.md, run as it is printed, against a Hub on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.checkpoint import save_checkpoint
from tests.hub.loopback import LoopbackHub

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "publishing.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Python blocks share their names, as in one session; Bash blocks stop at the first command that fails.
SESSION = """
import json, subprocess, sys
names = {"__name__": "__main__"}
for language, line, code in json.loads(sys.stdin.read()):
    print(f"@{line}", flush=True)
    if language == "python":
        exec(compile("\\n" * line + code, sys.argv[1], "exec"), names)
    else:
        subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=True)
"""


def blocks(language: str | None = None) -> list[tuple[str, int, str]]:
    """Language, line and code of each block that runs; of those without a language, what was printed."""
    text = PAGE.read_text(encoding="utf-8")
    found = [(match[1], text[: match.start()].count("\n") + 1, match[2]) for match in BLOCK.finditer(text)]
    return [block for block in found if block[0] == language] if language is not None else found


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def printed(hub, tmp_path) -> dict[int, str]:
    """What each block prints, by its line."""
    save_checkpoint(tmp_path / "checkpoint")
    files = {path.name: path.read_bytes() for path in (tmp_path / "checkpoint").iterdir()}
    hub.add("alice/medicine-classifier", files)
    folder = tmp_path / "work"
    shutil.copytree(PAGE.with_suffix(""), folder)
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_alice", "HF_HOME": str(tmp_path / "home")}
    env |= {"HF_HUB_DISABLE_XET": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    running = [block for block in blocks() if block[0] in ("python", "bash")]
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(PAGE)],
        input=json.dumps(running),
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pieces = re.split(r"^@(\d+)\n", done.stdout, flags=re.MULTILINE)[1:]
    return dict(zip(map(int, pieces[::2]), pieces[1::2], strict=True))


def test_it_runs_from_top_to_bottom(hub, printed):
    assert {language for language, *_ in blocks()} == {"python", "bash", ""}  # nothing on the page is left out

    def after(text: str) -> str:
        """What the block prints that holds this text."""
        (line,) = [line for language, line, code in blocks() if language and text in code]
        return printed[line]

    (shown,) = [code for _, _, code in blocks("") if "Tylenol" in code]
    assert after('"Naproxen or ibuprofen?"') == shown

    shares = {line[:16].strip(): int(line[16:].strip(" %")) for line in after("attached(tune(").splitlines()[-4:]}
    assert list(shares) == ["no plugin", "this plugin", "shuffled vectors", "random vectors"]
    assert shares.pop("this plugin") >= 90
    assert max(shares.values()) <= 50

    looked = after("inspect drugs-plugin")
    assert "made for   alice/medicine-classifier" in looked
    assert "; learned by 'task'" in looked
    assert looked.splitlines()[-1] == "drugs-plugin: whole"
    assert hub.repos["model", "alice/drugs"].commits

    met = after("search --base-model")
    assert "alice/drugs" in met
    assert met.splitlines()[-1] == "alice/drugs: whole"
    loaded = after("fits=model").splitlines()
    assert "alice/drugs same cc0-1.0" in loaded
    assert "drug:34" in loaded[-2]
    assert "infection" in loaded[-1]

    assert "Xarelto -> drug:41" in after("Xarelto, once a day.")
    head = hub.repos["model", "alice/drugs"].resolve("main")
    assert head.message == "One more drug"
    assert not any(name.startswith("knowledge_base/") for name in head.files)
    card = head.files["README.md"].decode()
    assert "## Results" in card
    assert "- medicine" in card
    assert len(hub.repos["dataset", "alice/drugs-kb"].commits) >= 1
