"""Every name is defined. The linter's own check (F821) is off: it reads shape strings as code."""

import ast
import importlib
import importlib.util
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


def taken(path):
    """`(module, name)` of what a source file takes of the project's modules."""
    tree, modules = ast.parse(path.read_text(encoding="utf-8")), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in (
            "gen_jax",
            "experiments",
        ):
            for alias in node.names:
                yield node.module, alias.name
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in modules:
            yield modules[node.value.id], node.attr


def absent(paths):
    """What is taken of modules that do not have it."""

    def has(module, name):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:  # a name in a module, whose own names are not known
            return "." in module and has(*module.rsplit(".", 1))
        return hasattr(found, name) or (
            importlib.util.find_spec(f"{module}.{name}") if hasattr(found, "__path__") else False
        )

    return {f"{path.name}: {m}.{n}" for path in paths for m, n in taken(path) if not has(m, n)}


def test_what_benchmarks_take_of_the_project_is_there(tmp_path):
    """No test runs most of them, and their types are not checked."""
    assert absent((ROOT / "benchmarks").glob("*.py")) == set()
    planted = tmp_path / "planted.py"
    lines = "from experiments.shared import measures\nfrom gen_jax.lost import x\nmeasures.gone()\n"
    planted.write_text(lines)
    gone = {"experiments.shared.measures.gone", "gen_jax.lost.x"}
    assert absent([planted]) == {f"planted.py: {name}" for name in gone}
