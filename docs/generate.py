"""Pages that are made from the code: the API, what there is, what is proved, the gallery.

Marks in pages are expanded: `<!-- scripts: NAME ... -->` to the docstrings of experiments,
`<!-- papers: FOLDER ... -->` to the papers that a folder cites, `<!-- names: FOLDER ... -->` to
links into the API.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from gallery import gallery

import gen_jax

ROOT = Path(__file__).parents[1]
FOLDER = "generated"
KEY = re.compile(r"(?<![\w/.-])[a-z]+(?:19|20)\d\d[a-z]*(?!\w)")
MARK = re.compile(r"<!-- (scripts|papers|names): ([\w. -]+?) -->")
INSIDE = {"../CHANGELOG.md": "changelog.md", "../CONTRIBUTING.md": "contributing.md"}
"""Files of the repository that are pages of the site."""
SPINE = ("model", "paths", "parameterisations", "conditions", "frozen", "types", "errors")


def write_all(docs: Path) -> None:
    """Write every generated page below docs/generated; what has not changed is left alone."""
    pages = {**api(), "methods.md": methods(), "proofs.md": proofs(), "gallery.md": gallery()}
    for name, text in pages.items():
        path = docs / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in (docs / FOLDER).rglob("*.*"):
        if path.suffix in (".md", ".rst") and str(path.relative_to(docs / FOLDER)) not in pages:
            path.unlink()
    (docs / FOLDER / "notebooks").mkdir(exist_ok=True)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy2(path, docs / FOLDER / "notebooks" / path.name)


# The API.


def modules() -> dict[str, ModuleType]:
    """Name -> module, of the sub-packages and of the spine."""
    found = [m.name for m in pkgutil.iter_modules(gen_jax.__path__)]
    wanted = [m.name for m in pkgutil.iter_modules(gen_jax.__path__) if m.ispkg]
    wanted += [name for name in SPINE if name in found]
    return {name: importlib.import_module(f"gen_jax.{name}") for name in sorted(wanted)}


def public(module: ModuleType) -> dict[str, Any]:
    """Public names of a module that are not modules: `__all__`, or what it defines itself."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    found = {name: getattr(module, name) for name in names}
    return {name: value for name, value in found.items() if not inspect.ismodule(value)}


def _directive(value: Any) -> str:
    if inspect.isclass(value):
        return "autoclass"
    return "autofunction" if inspect.isroutine(value) else "autodata"


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _literal(text: str) -> str:
    lines = inspect.cleandoc(text or "").split("\n")
    return "\n".join(["::", "", *(f"    {line}".rstrip() for line in lines), ""])


def api() -> dict[str, str]:
    """File -> text of a page for each module, and of their index."""
    found = modules()
    pages = {}
    for name, module in found.items():
        parts = [_title(f"gen_jax.{name}", "="), _literal(module.__doc__ or "")]
        for member, value in sorted(public(module).items(), key=lambda pair: pair[0].lower()):
            directive = _directive(value)
            options = "   :no-value:\n" if directive == "autodata" else ""
            parts.append(f".. {directive}:: gen_jax.{name}.{member}\n{options}")
        pages[f"api/{name}.rst"] = "\n".join(parts)
    lines = [
        f"* :doc:`gen_jax.{name} <{name}>`: {_first(module)}" for name, module in found.items()
    ]
    tree = "\n".join(f"   {name}" for name in found)
    pages["api/index.rst"] = (
        f"{_title('API reference', '=')}\n"
        + "\n".join(lines)
        + f"\n\n.. toctree::\n   :hidden:\n\n{tree}\n"
    )
    return pages


def _first(thing: Any) -> str:
    line = (getattr(thing, "__doc__", None) or "").strip().split("\n")[0]
    return re.sub(r"([*`|_\\])", r"\\\1", line)


def as_it_is(app, what, name, obj, options, lines) -> None:
    """Docstrings are plain text with formulas: they are shown as they are written."""
    if what == "data":  # of a registry, the docstring is that of its type: say what it holds
        lines[:] = _names_in(obj) if isinstance(obj, dict) else []
    elif lines:
        lines[:] = _literal("\n".join(lines)).split("\n")


def _names_in(registry: dict) -> list[str]:
    names = ", ".join(f"``{name}``" for name in registry if isinstance(name, str))
    return [f"Registry of {names}.", ""] if names else []


# What there is.


def methods() -> str:
    """Every name that an option takes, from the registries."""
    from experiments.list import sections

    parts = [
        "# Methods and data sets",
        "",
        "Generated from the registries; `python -m experiments.list all` prints the same.",
    ]
    for title, rows in sections().items():
        parts += ["", f"## {title[0].upper()}{title[1:]}", "", "| name | |", "| --- | --- |"]
        parts += [f"| `{name}` | {_cell(line)} |" for name, line in rows.items()]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"([|*_<$])", r"\\\1", text)


# What is proved.


def proofs() -> str:
    """The tests as claims: the name of each in words, and its docstring."""
    parts = [
        "# What is proved",
        "",
        "A formula is tested against something that does not share its code: a closed form,",
        "quadrature, enumeration, automatic differentiation, an order of convergence, another",
        "library. This page is made from the tests: each line is a test, as a claim; the words",
        "behind it are the test's own.",
    ]
    for folder in sorted((ROOT / "tests").iterdir()):
        files = sorted(folder.glob("test_*.py")) if folder.is_dir() else []
        if files and folder.name != "docs":
            parts += ["", f"## {folder.name.replace('_', ' ').capitalize()}"]
            parts += [line for file in files for line in _claims(file)]
    return "\n".join(parts) + "\n"


def _claims(file: Path) -> Iterable[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    about = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
    yield from ("", f"**{_cell(about)}** `tests/{file.parent.name}/{file.name}`", "")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            words = node.name.removeprefix("test_").replace("_", " ").removeprefix("a ")
            said = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            yield f"- {words}{': ' + _cell(said) if said else ''}"


def scripts() -> dict[str, str]:
    """Name -> docstring of every script and command."""
    files = sorted((ROOT / "experiments").glob("[a-z]*.py"))
    trees = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    return {name: ast.get_docstring(tree) or "" for name, tree in trees.items()}


# Marks inside pages.


def expand(app, page: str, source: list[str]) -> None:
    """Expand the marks of a page, and lead links to files of the repository to their pages."""
    text = source[0]
    for old, new in INSIDE.items():
        text = text.replace(f"]({old}", f"]({new}")
    text = re.sub(r"\]\(\.\./notebooks/(\w+)\.ipynb\)", rf"]({FOLDER}/notebooks/\1.ipynb)", text)
    makers = {"scripts": _scripts, "papers": _papers, "names": _links}
    source[0] = MARK.sub(lambda mark: makers[mark[1]](mark[2].split(), page.count("/")), text)


def _scripts(names: list[str], depth: int) -> str:
    """The docstring of each: commands, what the script does, and where it fails."""
    texts = scripts()
    return "\n\n".join(f"### experiments.{name}\n\n```text\n{texts[name]}\n```" for name in names)


def _papers(folders: list[str], depth: int) -> str:
    page = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|$", page, re.MULTILINE))
    files = [f for name in folders for f in (ROOT / "gen_jax").glob(f"{name}/*.py")]
    files += [ROOT / "gen_jax" / f"{name}.py" for name in folders]
    cited = {key for f in files if f.exists() for key in KEY.findall(f.read_text(encoding="utf-8"))}
    return "\n".join(
        f"- `{key}`: {rows[key].replace(' |', '')}" for key in sorted(cited & rows.keys())
    )


def _links(names: list[str], depth: int) -> str:
    up = "../" * depth
    return ", ".join(f"[gen_jax.{name}]({up}{FOLDER}/api/{name}.rst)" for name in names)
