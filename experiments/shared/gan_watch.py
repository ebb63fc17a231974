"""Training with an eye on the Frechet distance: the best checkpoint, and an end when it rises."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.shared.pictures import draw, write_samples
from experiments.shared.registry import Experiment
from experiments.shared.runner import Run, rebuild, run
from gen_jax import metrics, plotting, training
from gen_jax.errors import ConfigError, check_range
from gen_jax.gan.patience import Verdict, verdict
from gen_jax.model import GenerativeModel

FRECHET = "frechet_train"
"""To training images: to choose a checkpoint by the test set would be to fit it."""


SMALLEST = 10
"""Fewer samples have no covariance worth comparing."""


def check_watch(watch: int, most: int | None = None) -> None:
    """Raise ConfigError for numbers of samples without a distance; `most` real ones there are."""
    if watch:
        check_range("watch", watch, SMALLEST, most, integer=True)


class NoLongerBetter(Exception):
    """The distance has not fallen for as long as --patience allows."""


def history_of(begun: Run) -> list[tuple[int, float]]:
    """(step, distance) of all measurements, those before a resumption included."""
    path = begun.directory / "metrics.jsonl"
    records = plotting.read_metrics(path) if path.is_file() else []
    return [(int(r["step"]), float(r[FRECHET])) for r in records if FRECHET in r]


def watching(config: Any) -> Callable[[Run, GenerativeModel], dict[str, Any]]:
    """The options of `training.fit` that measure, keep the best and end the run."""

    def options(begun: Run, model: GenerativeModel) -> dict[str, Any]:
        if not config.watch:
            return {}
        if begun.spec.kind != "images":
            raise ConfigError(f"watch={config.watch} is for images, not {begun.spec.name!r}")
        check_watch(config.watch, len(begun.train["x"]))
        extractor = metrics.load_classifier(begun.spec.name)
        order = np.random.default_rng(0).permutation(len(begun.train["x"]))[: config.watch]
        real = extractor.features(begun.train["x"][np.sort(order)])

        def evaluate(step, state):
            samples = draw(model, begun.spec, state, config.watch)
            value = metrics.frechet_from_features(real, extractor.features(samples))
            found = verdict([*history_of(begun), (step, value)], config.patience)
            if found.stop:
                raise NoLongerBetter(f"{FRECHET} {value:.2f} at step {step}")
            return {FRECHET: value}

        return {"evaluate": evaluate, "best": (FRECHET, "min")}

    return options


def say(begun: Run) -> Verdict | None:
    """Print the best and the last distance."""
    history = history_of(begun)
    if not history:
        return None
    found = verdict(history, 0)
    print(f"{FRECHET}: best {found.best:.2f} at step {found.best_step}, last {found.last:.2f}")
    return found


def run_watched(experiment: Experiment, config: Any, more: Callable) -> None:
    """`run`, and where --patience ends it the pictures of its best checkpoint."""
    seen: list[Run] = []

    def options(begun: Run, model: GenerativeModel) -> dict[str, Any]:
        seen.append(begun)
        return watching(config)(begun, model)

    try:
        run(experiment, config, more, fit_options=options)
    except NoLongerBetter as end:
        directory = seen[0].directory
        print(f"ended: {end}")
        saved = rebuild(directory, "best")
        path = write_samples(directory, saved.model, saved.spec, saved.state, saved.step)
        print(f"picture of the best: {path}")
        print(f"picture: {more(directory, saved.model, saved.spec, saved.state)}")
        training.write_report(directory)
    if seen:
        say(seen[0])
