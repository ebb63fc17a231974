"""The experiments: found in the package, each declared by its own script.

A script whose runs can be sampled and evaluated ends with `EXPERIMENT = Experiment(...)`, one whose
runs guide the sampling of others with `GUIDE = Experiment(...)`. The names are read from the
sources: only the script that is asked for is imported.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from experiments.shared.config import RunConfig
from gen_jax.data import DatasetSpec
from gen_jax.model import GenerativeModel
from gen_jax.sampling import Target
from gen_jax.types import Array, Key, State

FOLDER = Path(__file__).parents[1]


class Saved(NamedTuple):
    """A run rebuilt from its directory."""

    name: str
    directory: Path
    config: Any
    spec: DatasetSpec
    model: GenerativeModel
    state: State
    step: int
    digests: Mapping[str, str] = {}
    """Of its data, see `data.digests`; none in runs that are older than these."""


class MeasureTest(Protocol):
    """What an experiment measures of a run besides what `evaluate` measures of all."""

    def __call__(self, saved: Saved, test: dict[str, np.ndarray], num: int, /) -> dict[str, Any]:
        """Name -> number, by at most `num` examples of the test set."""


class MeasureTarget(Protocol):
    """What an experiment measures of a run that was fitted to a known density."""

    def __call__(
        self, key: Key[Array, ""], saved: Saved, target: Target, n: int, /
    ) -> dict[str, Any]:
        """Name -> number, by n samples."""


class Bound(Protocol):
    """A lower bound on log p of images, where `log_prob` is an estimate."""

    def __call__(
        self, key: Key[Array, ""], model: GenerativeModel, state: State, x: Array, /
    ) -> Array:
        """Nats [B] of uint8 images x [B, H, W, C]."""


class Experiment(NamedTuple):
    """What a script offers to the commands.

    Fields:
      name: of its module.
      build: `(config, spec) -> model`; describes the data itself where `spec` is None.
      family: the heading under which the lists show it; written as a string, see `families`.
      kinds: of the data that it takes: "images", "points", "text", or several; a string likewise.
      bases: the experiments of which it needs a trained run (`--from`), whose model is frozen in
        its own; `build` is then `(config, spec, base: Saved) -> model`.
      needs_base: whether a configuration needs one of these.
      measure_test, measure_target, bound: further measures of `evaluate`.
      more_labels: classes that its model has besides those of the data.
      more_data: `config -> arrays by name` that it reads besides the dataset, whose digests a run
        records too.
      level: "first" of those to begin with, "method", or "research" where one page does not explain
        all of its parts.
    """

    name: str
    config: type[RunConfig]
    build: Callable[..., GenerativeModel]
    family: str
    measure_test: MeasureTest | None = None
    measure_target: MeasureTarget | None = None
    bound: Bound | None = None
    kinds: str = "images points"
    bases: tuple[str, ...] = ()
    more_labels: int = 0
    more_data: Callable[[Any], Mapping[str, np.ndarray]] | None = None
    level: str = "method"
    needs_base: Callable[[Any], bool] = lambda config: True

    def bases_for(self, config: Any) -> tuple[str, ...]:
        """The experiments of which a run of this configuration needs a trained one."""
        return self.bases if self.needs_base(config) else ()


SOURCES = {
    module.name: (FOLDER / f"{module.name}.py").read_text(encoding="utf-8")
    for module in pkgutil.iter_modules([str(FOLDER)])
    if not module.ispkg
}
"""The text of every script and command."""


def declared(name: str) -> tuple[str, ...]:
    """Scripts with a line that begins with `name = Experiment(`, in order."""
    line = re.compile(rf"^{name} = Experiment\(", re.MULTILINE)
    return tuple(sorted(script for script, source in SOURCES.items() if line.search(source)))


def described() -> dict[str, str]:
    """Every script and command with the first sentence of its docstring."""
    docstrings = {n: ast.get_docstring(ast.parse(source)) or "" for n, source in SOURCES.items()}
    return {name: " ".join(text.split("\n\n")[0].split()) for name, text in docstrings.items()}


def declaration(script: str) -> ast.Call:
    """The call of `Experiment` in a script's source."""
    nodes = ast.walk(ast.parse(SOURCES[script]))
    return next(n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "Experiment")


def families() -> dict[str, list[str]]:
    """Family -> its experiments and guides, as the calls in their sources say; alphabetical."""
    found: dict[str, list[str]] = {}
    for script in sorted((*EXPERIMENTS, *GUIDES)):
        found.setdefault(ast.literal_eval(declaration(script).args[3]), []).append(script)
    return dict(sorted(found.items()))


def kinds_of(script: str) -> list[str]:
    """The kinds of data that an experiment takes, as its source says."""
    words = {word.arg: word.value for word in declaration(script).keywords}
    default = Experiment._field_defaults["kinds"]
    return (ast.literal_eval(words["kinds"]) if "kinds" in words else default).split()


TITLES = {"gan": "GAN", "mcmc": "Markov chains", "vae": "VAE"}
"""Of families whose title is not their name."""


def title_of(family: str) -> str:
    """The heading of a family."""
    return TITLES.get(family, f"{family[:1].upper()}{family[1:]}")


EXPERIMENTS = declared("EXPERIMENT")
"""Experiments whose runs can be sampled and evaluated."""

GUIDES = declared("GUIDE")
"""Those whose runs guide the sampling of others."""


def find(name: str) -> Experiment:
    """An experiment or a guide by its name; its script is imported."""
    module = importlib.import_module(f"experiments.{name}")
    return module.EXPERIMENT if name in EXPERIMENTS else module.GUIDE
