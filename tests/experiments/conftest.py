"""What the tests of experiments share: commands run in this process, small finished runs."""

import contextlib
import importlib
import io
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import pytest

# The repository's `experiments`, not this folder, which has its name.
sys.path.insert(0, str(Path(__file__).parents[2]))

from gen_jax.training import run_main


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run_command(name: str, *words: object) -> Ended:
    """`python -m experiments.NAME WORDS` without starting another Python."""
    out, err = io.StringIO(), io.StringIO()
    module = importlib.import_module(f"experiments.{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, words)])
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with streams[0], streams[1], pytest.raises(SystemExit) as end:
            run_main(module.main)
    return Ended(int(end.value.code or 0), out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _elsewhere(folders):
    compiled = jax.config.jax_compilation_cache_dir
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folders.mktemp("work"))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of other processes
        patch.setenv("XDG_CACHE_HOME", str(folders.mktemp("cache")))
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled))
        yield


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory):
    """A working folder and a cache folder of their own; the tests' compilation cache."""
    with _elsewhere(tmp_path_factory):
        yield


@pytest.fixture(scope="module")
def command():
    """`command("sample", RUN, "--num", 4)` -> how it ended."""
    return run_command


SMALL = ("--network.width", 16, "--network.depth", 1, "--batch-size", 16, "--sampling-steps", 4)
CLASSIFIER = ("--widths", 16, "--features", 16, "--batch-size", 32, "--shift", 0)


@pytest.fixture(scope="module")
def small():
    """Options of the smallest network."""
    return SMALL


@pytest.fixture(scope="module")
def small_classifier():
    """Options of the smallest classifier."""
    return CLASSIFIER


def _trained(folders, name: str, *words: object) -> Path:
    """A run that several files of tests read, and may evaluate, but leave as it is."""
    folder = folders.mktemp("runs") / name
    with _elsewhere(folders):
        ended = run_command(name, *words, "--directory", folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A diffusion run on digits with steps 2 and 4 saved."""
    return _trained(tmp_path_factory, "diffusion", *SMALL, "--steps", 4, "--save-every", 2)


@pytest.fixture(scope="session")
def dit_run(tmp_path_factory):
    """A diffusion run of digits with a transformer."""
    words = ("--network.name", "dit", "--network.patch", 4, "--steps", 2)
    return _trained(tmp_path_factory, "diffusion", *SMALL, *words)


@pytest.fixture(scope="session")
def points_run(tmp_path_factory):
    """A flow-matching run on points, with an optimal coupling."""
    words = ("--dataset", "8gaussians", "--coupling", "optimal_assignment", "--steps", 2)
    return _trained(tmp_path_factory, "flow_matching", *SMALL, *words)


@pytest.fixture(scope="session")
def coder_run(tmp_path_factory):
    """A VAE of digits whose latents are images [2, 2, 2], hardly trained."""
    words = ("--convolutional", "--latent", 2, "--width", 8, "--batch-size", 16, "--steps", 2)
    return _trained(tmp_path_factory, "vae", *words)


@pytest.fixture(scope="session")
def codes_run(tmp_path_factory):
    """A VQ-VAE of digits whose vectors are images [4, 4, 4], hardly trained."""
    words = ("--codes", 8, "--dim", 4, "--width", 8, "--prior", "counts", "--batch-size", 16)
    return _trained(tmp_path_factory, "vqvae", *words, "--steps", 2)


@pytest.fixture(scope="session")
def mixture_run(tmp_path_factory):
    """A mixture of digits: a run without steps of sampling and without labels."""
    words = ("--dataset", "digits", "--batch-size", 16, "--components", 2, "--steps", 1)
    return _trained(tmp_path_factory, "mixture", *words)


@pytest.fixture(scope="session")
def guide_run(tmp_path_factory):
    """A noise-conditioned classifier of digits, trained enough to tell some of them."""
    words = ("--noise-conditioned", "--steps", 600, "--learning-rate", 1e-2)
    return _trained(tmp_path_factory, "classifier", *CLASSIFIER, *words)
