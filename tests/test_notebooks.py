"""Committed notebooks are executed, show pictures, stay small, and match their code."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from gen_jax import flow_matching, training
from gen_jax.divergences import variational

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURES = {"image/png", "image/svg+xml"}
MAX_BYTES = 1_000_000


@pytest.fixture(scope="module")
def runner():
    """notebooks/run.py as a module; the folder is no package."""
    specification = importlib.util.spec_from_file_location("notebook_runner", FOLDER / "run.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_valid_and_small(path, notebook):
    nbformat.validate(notebook)
    assert path.stat().st_size < MAX_BYTES


def test_says_how_to_install_and_what_a_gpu_changes(notebook):
    first = notebook.cells[0].source
    assert "pip install" in first
    assert "GPU" in first


def test_executed_once_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_the_code_is_what_was_executed(runner, notebook):
    """`python notebooks/run.py` stores the hash; an edited cell without a new run shows here."""
    assert notebook.metadata.get("code_hash") == runner.code_hash(notebook)


def test_no_errors_or_warnings(notebook):
    assert [o for o in outputs(notebook) if o.output_type == "error"] == []
    assert [o.text for o in outputs(notebook) if o.get("name") == "stderr"] == []


def test_has_pictures(notebook):
    assert sum(bool(PICTURES & set(o.get("data", {}))) for o in outputs(notebook)) >= 3


def test_cells_are_short(notebook):
    assert max(len(cell.source.splitlines()) for cell in code_cells(notebook)) <= 20


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The runner copied beside other notebooks, so that it acts on those."""
    script = folder / "run.py"
    script.write_text((FOLDER / "run.py").read_text())
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def write(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_run_executes_in_place_and_repeats_itself(tmp_path, runner):
    write(tmp_path / "one.ipynb", "x = 1 + 1", "x")
    before = (tmp_path / "one.ipynb").read_bytes()
    assert run(tmp_path, "--check").returncode == 0
    assert (tmp_path / "one.ipynb").read_bytes() == before
    assert run(tmp_path, "one").returncode == 0
    first = (tmp_path / "one.ipynb").read_bytes()
    notebook = nbformat.reads(first.decode(), as_version=4)
    assert notebook.cells[1].outputs[0].data["text/plain"] == "2"
    assert notebook.metadata["code_hash"] == runner.code_hash(notebook)
    assert run(tmp_path, "one.ipynb").returncode == 0
    assert (tmp_path / "one.ipynb").read_bytes() == first


def test_a_check_shortens_every_training(runner, monkeypatch):
    """Those of the package, and one that a notebook defines, however its steps are given."""
    for module, name in ((training, "fit"), (variational, "train_critic")):
        monkeypatch.setattr(module, name, lambda x, *, steps=5: (x, steps))
    monkeypatch.setattr(flow_matching, "paired_data", lambda x, n: (x, n))
    own = nbformat.v4.new_code_cell("def train(x, steps, size=1):\n    return x, steps, size")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("train("), own])
    runner.shorten(notebook)
    names: dict = {}
    for cell in code_cells(notebook):
        exec(cell.source, names)
    assert names["train"]("a", 3000) == names["train"]("a", steps=3000) == ("a", 20, 1)
    assert names["train"]("a", 7, 2) == ("a", 7, 2)
    assert training.fit("b", steps=3000) == variational.train_critic("b") == ("b", 20)
    assert flow_matching.paired_data("c", 20_000) == ("c", 500)


def test_an_error_stops_the_run(tmp_path):
    write(tmp_path / "bad.ipynb", "1 / 0")
    before = (tmp_path / "bad.ipynb").read_bytes()
    result = run(tmp_path)
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr
    assert (tmp_path / "bad.ipynb").read_bytes() == before


def test_an_unknown_name_is_refused(tmp_path):
    write(tmp_path / "one.ipynb", "1")
    result = run(tmp_path, "two")
    assert result.returncode == 1
    assert "choose from: one" in result.stderr


def test_an_edited_cell_changes_the_hash(runner):
    cells = [nbformat.v4.new_code_cell("x = 1", id="a")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    before = runner.code_hash(notebook)
    notebook.cells[0].source = "x = 2"
    assert runner.code_hash(notebook) != before
