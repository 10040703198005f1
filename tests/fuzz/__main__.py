"""Fuzzes the reading of artifacts: ``python -m tests.fuzz --seconds 60``, or with files to run these findings again.

Guided by coverage where atheris is installed, else with bytes of hypothesis. A finding ends the run with exit code 1
and stays in the folder that is named.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MEMORY = 3 * 2**30  # above what the imports take


def main() -> int:
    """Run the engine in a process of its own, in a folder that goes unless something was found."""
    arguments = _parser().parse_args()
    if arguments.root is not None:
        return _fuzz(arguments)
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    environment = os.environ | {"HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.fuzz", *sys.argv[1:], "--root", str(root)]
    code = subprocess.run(command, env=environment, check=False).returncode
    if code == 0:
        shutil.rmtree(root)
    else:
        print(f"Found something: {[str(path) for path in root.glob('finding-*')]}", file=sys.stderr)  # noqa: T201
    return int(code != 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=0, help="how long; 0 for as long as --runs takes")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs; -1 for as long as --seconds say")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["atheris", "hypothesis"], default=_default_engine())
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help="inputs to run instead")
    return parser


def _default_engine() -> str:
    return "atheris" if importlib.util.find_spec("atheris") else "hypothesis"


def _fuzz(arguments: argparse.Namespace) -> int:
    if arguments.files:
        target = _target(arguments)
        for path in arguments.files:
            target(path.read_bytes())
        return 0
    return (_with_atheris if arguments.engine == "atheris" else _with_hypothesis)(arguments)


def _target(arguments: argparse.Namespace):
    from tests.fuzz.target import Target

    (arguments.root / "work").mkdir()
    target = Target(arguments.root / "work")
    _limit_memory()
    return target


def _limit_memory() -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))


def _with_atheris(arguments: argparse.Namespace) -> int:
    import atheris

    with atheris.instrument_imports(include=["knowledge_plugin"]):
        target = _target(arguments)
    corpus = arguments.root / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(target.seeds()):
        (corpus / f"seed-{i}").write_bytes(seed)
    options = {
        "runs": arguments.runs,
        "max_total_time": arguments.seconds,
        "seed": arguments.seed,
        "max_len": 4096,
        "len_control": 0,
        "timeout": 60,
        "rss_limit_mb": MEMORY // 2**20 + 2048,
        "artifact_prefix": f"{arguments.root}/finding-",
        "print_final_stats": 1,
        "close_fd_mask": 1,
    }
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)], target)
    atheris.Fuzz()  # ends the process
    return 0


def _with_hypothesis(arguments: argparse.Namespace) -> int:
    import time

    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    target = _target(arguments)
    end = time.monotonic() + (arguments.seconds or 10**9)
    last = arguments.root / "finding-last"
    runs = 0

    def run(data: bytes) -> None:
        nonlocal runs
        runs += 1
        last.write_bytes(data)
        target(data)

    for i in range(10**9):
        left = arguments.runs - runs if arguments.runs >= 0 else 1000
        if left <= 0 or time.monotonic() >= end:
            break
        inputs = st.binary(max_size=200)
        examples = settings(
            max_examples=min(left, 1000), database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        seed(arguments.seed + i)(examples(given(inputs)(run)))()
    last.unlink()
    print(f"Done {runs} runs: {target.opened} opened, {target.refused} refused", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
