"""The tables of the results are what the records say."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

from benchmarks import speed_tables

DOCS = Path(__file__).parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("render", DOCS / "results" / "render.py")
render = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(render)
RECORDS = render.read()
PAGES = render.pages()
SCRIPTS = sorted((DOCS.parent / "experiments").glob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_is_rendered_from_the_records(page):
    assert render.render(PAGES[page], RECORDS) == PAGES[page]


def test_every_table_has_a_record_and_every_record_is_shown():
    blocks = [match["name"] for page in PAGES.values() for match in render.BLOCK.finditer(page)]
    assert len(blocks) == len({*blocks})
    tables = {name for name, record in RECORDS.items() if record["kind"] == "table"}
    assert {*blocks} == tables | {"runs"}
    for page in PAGES.values():
        assert not re.findall(r"^\|", render.BLOCK.sub("", page), re.MULTILINE)


def test_a_changed_number_is_noticed():
    name = next(name for name, record in RECORDS.items() if record["kind"] == "table")
    page = next(text for text in PAGES.values() if f"<!-- table: {name} -->" in text)
    changed = json.loads(json.dumps(RECORDS))
    changed[name]["rows"][0][-1] = "0.123"
    assert render.render(page, changed) != page


ELSEWHERE = {"generated", "_build", "references.md", "changelog.md"}
"""Pages that `make docs` makes, titles of papers, and what changed."""
WRITTEN = [page for page in DOCS.rglob("*.md") if not ELSEWHERE & {*page.relative_to(DOCS).parts}]


@pytest.mark.parametrize(
    "page",
    [DOCS.parent / "README.md", *sorted(WRITTEN)],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_number_in_the_text_stands_in_a_table(page):
    """Decimals are those of a rendered table, or their paragraph names the file that has them."""
    tables = "".join(match[0] for text in PAGES.values() for match in render.BLOCK.finditer(text))
    known = {*re.findall(r"\d+\.\d+", tables)} | {"3.11", "3.12", "3.13"}  # versions of Python
    text = re.sub(r"```.*?```|\$\$.*?\$\$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    free = [part for part in text.split("\n\n") if not re.search(r"/records/|/results/\w+\.", part)]
    prose = re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)", "", "\n\n".join(free))
    assert {*re.findall(r"\d+\.\d+", prose)} <= known


def prose(docstring):
    """A docstring without its indented blocks (commands, formulas) and what stands in backticks."""
    lines = [line for line in docstring.split("\n") if not line.startswith("    ")]
    return re.sub(r"`[^`]*`", "", "\n".join(lines))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_docstring_of_a_script_has_no_measurements(script):
    """They stand in a record: no decimals and no errors in the text that help and site show."""
    text = prose(ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "")
    assert not re.findall(r"\d\.\d+|\+-|±", text)


def test_a_measurement_in_a_docstring_is_noticed():
    assert "3.65" in prose("Trains.\n\n    python -m x --a 0.1\n\nMeasured: 3.65 bits/dim.")
    assert "0.1" not in prose("Trains.\n\n    python -m x --a 0.1\n\nTake `--a 0.1`.")


@pytest.mark.parametrize("name", [n for n, r in RECORDS.items() if r["kind"] == "run"])
def test_a_record_says_how_it_was_made(name):
    record = RECORDS[name]
    for field in ("command", "commit", "device", "python", "seed", "dataset"):
        assert record[field] is not None, field
    assert record["packages"]["jax"]
    assert record["cpu_seconds"] > 0
    assert record["evaluation"]["num_samples"] >= 100
    assert record["picture"] is None or (render.RECORDS / record["picture"]).exists()


def test_records_are_small():
    for path in render.RECORDS.iterdir():
        assert path.stat().st_size <= 60_000, path.name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"value": 0.4512, "standard_error": 0.263}, "0.45 ± 0.26"),
        ({"value": 12.0, "standard_error": 3.4}, "12.0 ± 3.4"),
        ({"value": 0.99501, "standard_error": 0.0029}, "0.9950 ± 0.0029"),
        ({"value": 0.5, "standard_error": 0.0}, "0.5"),
        (0.123456, "0.1235"),
        (8, "8"),
    ],
)
def test_numbers_are_shown_to_their_error(value, text):
    assert render.number(value) == text


def test_tables_of_speed_are_what_the_benchmarks_measured():
    """Each record is made again from benchmarks/results."""
    assert {*speed_tables.TABLES} <= RECORDS.keys()
    for name in speed_tables.TABLES:
        assert speed_tables.record(name) == RECORDS[name], "run `python -m benchmarks.speed_tables`"
