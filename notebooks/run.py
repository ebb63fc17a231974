"""Execute notebooks in place, so that what is committed is what the code does.

    python notebooks/run.py                                    # all notebooks
    python notebooks/run.py diffusion_and_flow_matching        # the named ones
    python notebooks/run.py --check     # every cell, with short trainings; writes nothing

Stops with exit status 1 at the first cell that raises, and leaves that notebook as it was. What
differs from run to run without meaning (times, versions, ids of progress bars) is left out.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import re
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

FOLDER = Path(__file__).resolve().parent
RECORDS = FOLDER.parent / "docs" / "results" / "records"
AT_ONCE = 2
"""Notebooks that are checked at the same time."""

CELL_TIMEOUT, STARTUP_TIMEOUT = 900, 300
"""Seconds that one cell and the start of the kernel may take."""

QUICK_STEPS, QUICK_PAIRS = 20, 500
QUICK = f"""
import inspect

from gen_jax import flow_matching, training
from gen_jax.divergences import variational


def quickly(train, amount="steps", most={QUICK_STEPS}):
    signature = inspect.signature(train)

    def short(*given, **named):
        bound = signature.bind(*given, **named)
        bound.arguments[amount] = min(bound.arguments.get(amount, most), most)
        return train(*bound.args, **bound.kwargs)

    return short


training.fit = quickly(training.fit)
flow_matching.paired_data = quickly(flow_matching.paired_data, "n", {QUICK_PAIRS})
variational.train_critic = quickly(variational.train_critic)
"""
"""Put before a notebook that is only checked."""

OWN_TRAINING = re.compile(r"^def (train)\(.*\bsteps\b", re.MULTILINE)
"""Where a notebook defines a training of its own."""

KEPT = ("gallery",)
"""Metadata of a notebook that an execution leaves: its level and its tags."""

EMITTERS = "--xla_cpu_use_fusion_emitters=false "
"""Not a flag of jax 0.12 and later, which end at a flag that they have not."""

OLD = tuple(map(int, version("jax").split(".")[:2])) < (0, 12)
CHEAP = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": f"{EMITTERS if OLD else ''}--xla_cpu_parallel_codegen_split_count=1",
}
"""Environment of a check, most of which is compiling: XLA compiles several times faster so."""


def code_hash(notebook: nbformat.NotebookNode) -> str:
    """A short hash of all code cells: stored when they are executed, compared by the tests."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def slim(picture: str) -> str:
    """A PNG, as base64, of at most 256 colours where that is shorter; curves lose nothing."""
    image, kept = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA"), io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(kept, "png", optimize=True)
    return min(picture, base64.b64encode(kept.getvalue()).decode(), key=len)


def pictures_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The data of all outputs that have a PNG."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.data for output in outputs if "image/png" in output.get("data", {})]


def execute(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Run every cell in a fresh kernel, then leave nothing but code, results and the hash.

    Raises SystemExit at the first cell that raises.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        startup_timeout=STARTUP_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise SystemExit(f"{path.name}: {error}") from None
    for picture in pictures_of(notebook):
        picture["image/png"] = slim(picture["image/png"])
    for cell in notebook.cells:
        cell.metadata.clear()
    kept = {name: notebook.metadata[name] for name in KEPT if name in notebook.metadata}
    notebook.metadata.clear()
    notebook.metadata.update(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        code_hash=code_hash(notebook),
        **kept,
    )


def cpu_seconds() -> float:
    """CPU time of all kernels that have ended, with what they started."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def record(path: Path, notebook: nbformat.NotebookNode, seconds: float) -> None:
    """Keep what the execution cost, where the results of this repository are."""
    if RECORDS.is_dir():
        kept = {"kind": "notebook", "name": f"notebook-{path.stem}", "cpu_seconds": round(seconds)}
        kept |= {"code_hash": notebook.metadata.code_hash}
        kept |= {"python": sys.version.split()[0], "jax": version("jax")}
        text = json.dumps(kept, indent=1) + "\n"
        (RECORDS / f"{kept['name']}.json").write_text(text, encoding="utf-8")


def chosen(names: list[str]) -> list[Path]:
    """The notebooks of these names (with or without ending), or all of them."""
    available = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    wanted = [Path(name).name.removesuffix(".ipynb") for name in names] or list(available)
    if unknown := [name for name in wanted if name not in available]:
        sys.exit(f"no notebook named {', '.join(unknown)} (choose from: {', '.join(available)})")
    return [available[name] for name in wanted]


def shorten(notebook: nbformat.NotebookNode) -> None:
    """Put `QUICK` before the cells, and have it shorten the trainings that they define."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for name in OWN_TRAINING.findall(cell.source):
                cell.source += f"\n\n\n{name} = quickly({name})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(QUICK))


def check(path: Path) -> str:
    """Execute a notebook with short trainings, and write nothing."""
    notebook, start = nbformat.read(path, as_version=4), time.perf_counter()
    shorten(notebook)
    execute(notebook, path)
    return f"{path.name}: {time.perf_counter() - start:.0f} s"


def renew(path: Path) -> str:
    """Execute a notebook and write it, with what that cost."""
    notebook, start, spent = nbformat.read(path, as_version=4), time.perf_counter(), cpu_seconds()
    execute(notebook, path)
    nbformat.write(notebook, path)
    record(path, notebook, cpu_seconds() - spent)
    return f"{path.name}: {time.perf_counter() - start:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks; all when none is named")
    parser.add_argument(
        "--check", action="store_true", help="execute with short trainings, write nothing"
    )
    arguments = parser.parse_args()
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "3"
    )  # XLA says when a busy machine compiles slowly
    if arguments.check:
        os.environ.update({**CHEAP, **os.environ})
    one = check if arguments.check else renew
    with ThreadPoolExecutor(AT_ONCE if arguments.check else 1) as workers:
        for line in workers.map(one, chosen(arguments.names)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
