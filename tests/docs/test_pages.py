"""The pages of the site: their cells run, their commands and files exist, the site builds."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.shared import command_line, sweep_plan

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if not {"_build", "generated"} & {*path.relative_to(DOCS).parts}
}
CELLS = {
    name: re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) for name, text in PAGES.items()
}
FILES = re.compile(r"`((?:gen_jax|tests|experiments|benchmarks|docs)/[\w/.]+)`")


def run_cells(name, folder, monkeypatch):
    """All cells of a page in turn, with two steps for each training."""
    monkeypatch.chdir(folder)
    names: dict = {}
    for cell in CELLS[name]:
        cell = re.sub(r"steps=\d{3,}", "steps=2", cell)
        exec(compile(cell, name, "exec"), names)


QUICK = [name for name, cells in CELLS.items() if cells and "fit(" not in "".join(cells)]
TRAINING = [name for name, cells in CELLS.items() if "fit(" in "".join(cells)]


@pytest.mark.parametrize("name", QUICK)
def test_cells_run(name, tmp_path, monkeypatch):
    run_cells(name, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINING)
def test_cells_that_train_run(name, tmp_path, monkeypatch):
    run_cells(name, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", PAGES)
def test_commands_and_files_exist(name):
    for module in re.findall(r"python -m ((?:experiments|benchmarks)\.\w+)", PAGES[name]):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module
    for file in FILES.findall(PAGES[name]):
        assert (ROOT / file).exists() or "_build" in file, file


def test_options_of_commands_exist():
    """Every option that a page's command shows is a field of some configuration."""
    known = "".join(path.read_text() for path in (ROOT / "experiments").rglob("*.py"))
    known += "".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))
    for name, text in PAGES.items():
        for line in re.findall(r"python -m experiments\.\w+[^`\n]*", text):
            for word in shlex.split(line.replace("'", ""), comments=True):
                if word.startswith("--"):
                    field = word[2:].split("=")[0].split(".")[-1].replace("-", "_")
                    assert re.search(rf"\b{field}\b", known), (name, word)


class Read(Exception):
    """The words of a command were read as its options."""


def read_words(name, words, monkeypatch):
    """`experiments.NAME WORDS` up to where its options are known; of a sweep, those of each run.

    Raises SystemExit or an error for words that the command does not take.
    """
    if name == "sweep":
        plan = sweep_plan.parse(words)
        for run in [*plan.runs.values()]:
            read_words(plan.experiment, run, monkeypatch)
        return read_words("evaluate", ["runs/any", *plan.evaluation], monkeypatch)
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(Read):
        importlib.import_module(f"experiments.{name}").main()


def commands_in(text):
    """(NAME, WORDS) of each `python -m experiments.NAME WORDS`: lines, and code inside a line."""
    text, command = re.sub(r"\\+\n\s*", " ", text), r"python -m experiments\.(\w+)"
    found = re.findall(rf"^ *{command}(.*)", text, re.M) + re.findall(rf"`{command}([^`]*)`", text)
    return {(name, " ".join(words.partition(" #")[0].split())) for name, words in found}


@pytest.mark.slow
def test_every_command_that_is_shown_is_taken_with_its_options(monkeypatch):
    """Of the pages, the README and the docstrings of the scripts; values are not looked at."""

    def read(runs):
        raise Read

    monkeypatch.setattr(command_line, "load_plugins_of", read)
    scripts = [path.read_text(encoding="utf-8") for path in (ROOT / "experiments").glob("*.py")]
    texts = [*PAGES.values(), (ROOT / "README.md").read_text(encoding="utf-8"), *scripts]
    shown = sorted({command for text in texts for command in commands_in(text)})
    assert len(shown) > 100
    for name, words in shown:
        if words and name.islower() and not re.search(r"\.\.\.|--option", words):  # no mere form
            read_words(name, shlex.split(words), monkeypatch)
    with pytest.raises(SystemExit):
        read_words("diffusion", ["--stpes", "3"], monkeypatch)


def test_every_family_has_a_page():
    listed = re.findall(r"<!-- names: (.*?) -->", "".join(PAGES.values()))
    shown = {word for names in listed for word in names.split()}
    families = {path.parent.name for path in (ROOT / "gen_jax").glob("*/__init__.py")}
    assert families - shown <= {"data", "metrics", "nets", "plotting", "solvers", "training"}
    scripts = " ".join(re.findall(r"<!-- scripts: (.*?) -->", "".join(PAGES.values()))).split()
    assert len(scripts) == len({*scripts})
    assert all((ROOT / "experiments" / f"{name}.py").exists() for name in scripts)


# The built site.


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; the page of warnings must be empty."""
    pytest.importorskip("sphinx", reason="`make docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    ended = subprocess.run(
        [*command, str(DOCS), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_site_asks_nothing_of_other_machines(site):
    """Scripts, styles, pictures and fonts are the site's own; links may leave it."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"(?:https?:)?//[^\"]*", text)
        asked += re.findall(r"<link\b[^>]*\brel=\"stylesheet\"[^>]*href=\"(?:https?:)?//", text)
        assert not asked, (page.name, asked)


def browser() -> str | None:
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


def opened(address: str) -> str:
    """The page as a headless browser has it, after its scripts ran, without any network."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000"]
    ended = subprocess.run(
        [str(browser()), *flags, "--dump-dom", address], capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


@pytest.mark.slow
@pytest.mark.skipif(browser() is None, reason="no Chromium on this machine")
def test_site_in_a_browser(site):
    """Pages load, mathematics and pictures show, the search finds "ddim"."""
    concepts = opened((site / "concepts.html").as_uri())
    assert "mjx-container" in concepts
    assert "<mjx-merror" not in concepts  # the style sheet names it too
    family = opened((site / "families" / "diffusion.html").as_uri())
    assert "mjx-container" in family
    assert (site / re.search(r'src="\.\./(_images/[^"]+)"', family)[1]).exists()
    found = opened((site / "search.html").as_uri() + "?q=ddim")
    assert re.search(r"Search finished|found \d+ page", found)
    assert "generated/api/diffusion.html" in found
