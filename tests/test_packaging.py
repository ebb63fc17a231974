"""The sdist and the wheel: what they hold, and that the wheel trains in a clean environment."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.13")
TRAIN = """
import jax, optax
from gen_jax import data, diffusion, errors, nets, training
digits = data.load("digits", "train")
model = diffusion.diffusion(nets.MLP(features=(16,)), "cosine", optax.adam(1e-3), shape=(8, 8, 1),
                            transform=data.symmetric_images())
state = training.fit(jax.random.key(0), model, digits, steps=10, batch_size=8, directory="run")
assert model.sample(jax.random.key(1), state, 2, num_steps=2).shape == (2, 8, 8, 1)
try:
    import experiments
except ImportError:
    print("trained")
"""


def python(version: str) -> str | None:
    """An interpreter of this version: on the path, or one of pyenv's."""
    found = shutil.which(f"python{version}")
    kept = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    return next((str(path) for path in kept), found)


def run(*command, **options) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "JAX"))}
    environment |= {"JAX_PLATFORMS": "cpu", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ended = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, **options
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    listed = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    run(sys.executable, "-m", "venv", folder / "builder")
    run(folder / "builder/bin/pip", "install", "-q", "build")
    run(folder / "builder/bin/python", "-m", "build", "-o", folder / "dist", cwd=source)
    return folder / "dist"


@pytest.mark.slow
def test_wheel_is_the_library_alone(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"gen_jax"}
    assert {"gen_jax/py.typed", "gen_jax/data/texts/genesis.txt"} <= {*names}


@pytest.mark.slow
def test_sdist_is_the_whole_project(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CHANGELOG.md", "README.md", "LICENSE", "Makefile", "requirements.txt"} <= names
    assert {"tests/test_packaging.py", "docs/references.md", "experiments/list.py"} <= names
    assert {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")} <= names


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_wheel_trains_in_a_clean_environment(version, built, tmp_path):
    interpreter = python(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} here")
    (wheel,) = built.glob("*.whl")
    run(interpreter, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/pip", "install", "-q", wheel)
    assert run(tmp_path / "venv/bin/python", "-c", TRAIN, cwd=tmp_path).strip().endswith("trained")
