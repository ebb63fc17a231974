"""The rooms of the code: no module imports itself through others, scripts stand on top.

Read from the sources, so that an import inside a function counts as well.
"""

import ast
import graphlib
import pkgutil
from functools import partial
from pathlib import Path

import pytest

import gen_jax
from gen_jax.registries import described, description

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
    plugins = "experiments.shared.plugins"  # a module that the user names
    assert finders == {"experiments.shared.registry", "gen_jax", "gen_jax.optional", plugins}


MODULES = [module.name for module in pkgutil.iter_modules(gen_jax.__path__)]
REGISTRIES = {
    f"{package}.{name}": getattr(getattr(gen_jax, package), name)
    for package in MODULES
    for name in getattr(getattr(gen_jax, package), "__all__", ())
    if name.isupper() and isinstance(getattr(getattr(gen_jax, package), name), dict)
}


def test_every_name_resolves_from_the_package():
    """`import gen_jax` is enough for modules, public names and registries; no name is listed."""
    assert {"vae", "diffusion", "inverse", "conditions", "optimization", "model"} <= {*MODULES}
    assert {*MODULES} <= {*dir(gen_jax)}
    for package in MODULES:
        module = getattr(gen_jax, package)
        assert module.__name__ == f"gen_jax.{package}"
        assert [n for n in getattr(module, "__all__", ()) if not hasattr(module, n)] == []
    wanted = {"diffusion.STEPPERS", "gan.GAN_LOSSES", "gan.PENALTIES", "flows.BIJECTORS"}
    assert wanted | {"data.DATASETS", "inverse.OPERATORS", "vae.LIKELIHOODS"} <= REGISTRIES.keys()
    with pytest.raises(AttributeError, match="no attribute 'vea'"):
        _ = gen_jax.vea


def test_every_row_of_a_registry_has_a_line_of_its_own():
    from experiments.list import sections

    for title, rows in sections().items():
        assert [name for name, line in rows.items() if len(line.split()) < 2] == [], title
        assert len({*rows.values()}) == len(rows), title


def test_a_row_is_described_by_its_own_words():
    row = partial(int, base=2)
    assert description(row) == description(int)
    assert description(described("Binary numbers.", row)) == "Binary numbers."
