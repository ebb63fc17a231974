"""The rooms of the code: no module imports itself through others, scripts stand on top.

Read from the sources, so that an import inside a function counts as well.
"""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("gen_jax", "experiments")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
SCRIPTS = {name for name in FILES if name.count(".") == 1 and name.startswith("experiments.")} - {
    "experiments.shared"
}


def imported(path):
    """Modules of FILES that a source file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & FILES.keys() or {node.module}
            found |= {node.module} if inner - FILES.keys() else set()
    return found & FILES.keys()


IMPORTS = {name: imported(path) for name, path in FILES.items()}


def test_no_import_goes_in_a_circle():
    try:
        order = list(graphlib.TopologicalSorter(IMPORTS).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
    assert len(order) == len(FILES) > 300


def test_no_script_is_imported():
    """What scripts share lies in `experiments/shared`, which never imports a script."""
    found = {f"{name} -> {other}" for name in FILES for other in IMPORTS[name] & SCRIPTS}
    assert found == set()


def test_the_library_imports_no_experiment():
    assert {n for n in FILES if n.startswith("gen_jax") and IMPORTS[n] & SCRIPTS} == set()
    assert not any(
        other.startswith("experiments") for n in FILES if n[:7] == "gen_jax" for other in IMPORTS[n]
    )


def test_scripts_are_found_by_name_in_one_place():
    """A module looked up by its name could hide a circle: only the registry does it."""
    finders = {name for name, path in FILES.items() if "import_module" in path.read_text("utf-8")}
    assert finders == {"experiments.shared.registry", "gen_jax"}
