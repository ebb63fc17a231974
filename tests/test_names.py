"""Every name is defined. The linter's own check (F821) is off: it reads shape strings as code."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def undefined(*paths):
    """Names that ruff finds undefined outside strings."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821"]
    ended = subprocess.run(
        [*command, "--output-format", "json", *map(str, paths)], capture_output=True, text=True
    )
    found = []
    for case in json.loads(ended.stdout):
        row, column = case["location"]["row"], case["location"]["column"]
        line = Path(case["filename"]).read_text(encoding="utf-8").splitlines()[row - 1]
        if line[: column - 1].count('"') % 2 == 0:
            found.append(f"{case['filename']}:{row}: {case['message']}")
    return found


def test_every_name_is_defined(tmp_path):
    folders = [ROOT / name for name in ("gen_jax", "experiments", "benchmarks", "tests")]
    assert undefined(*folders) == []
    planted = tmp_path / "planted.py"
    planted.write_text('def f(x: "B D"):\n    return missing(x)\n')
    assert len(undefined(planted)) == 1
