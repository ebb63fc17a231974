"""Autoregressive flows inverted by Jacobi's iteration beside one by one: what sampling costs.

    python -m benchmarks.inversion
    python -m benchmarks.inversion --steps 20 --samples 16 --repeats 1     # a quick look

How many passes Jacobi's iteration needs depends on what a flow has learnt, so each is trained on
digits first; both inversions then draw from the same parameters and noise, in turns, and the ratio
is the median over the pairs. `apart` is the largest difference of the samples, in grey levels.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import jax
import numpy as np
import optax
import tyro

from benchmarks.measuring import machine, seconds, time_ratio, write
from gen_jax import data, flows, training
from gen_jax.errors import check_range
from gen_jax.flows import Layer
from gen_jax.model import GenerativeModel

SHAPE = (8, 8, 1)


@dataclass(frozen=True)
class Config:
    """How long flows are trained, and how much they draw."""

    steps: int = 200
    batch_size: int = 128
    samples: int = 64
    repeats: int = 5

    def check(self) -> None:
        """Raise ConfigError for sizes that cannot be measured."""
        for name in ("steps", "batch_size", "samples", "repeats"):
            check_range(name, getattr(self, name), 1, integer=True)


def maf(inversion: str, layers: int = 5) -> Layer:
    """Masked autoregressive flow of the 64 pixels, one by one."""
    one = flows.masked_autoregressive(flows.affine(), (128, 128), inversion=inversion)
    parts = (one, flows.actnorm(), flows.reverse()) * layers
    return flows.chain(*parts[:-1], flows.as_image(SHAPE))


CONTESTANTS: dict[str, Callable[[str], Layer]] = {
    "MAF, 64 pixels": maf,
    "TarFlow, 16 patches": lambda inversion: flows.tarflow(2, 4, inversion=inversion),
    "TarFlow, 64 patches": lambda inversion: flows.tarflow(1, 4, inversion=inversion),
}
"""`inversion -> flow` by title."""


def model_of(layer: Layer) -> GenerativeModel:
    """A flow of dequantised digits in [-1, 1]."""
    return flows.flow(layer, optax.adam(1e-3), shape=SHAPE, transform=data.symmetric_images())


def compare(make: Callable[[str], Layer], config: Config) -> dict[str, float]:
    """Samples per second by Jacobi's iteration, and how many times faster it is."""
    models = {inversion: model_of(make(inversion)) for inversion in flows.INVERSIONS}
    state = training.fit(
        jax.random.key(0),
        models["sequential"],
        data.load("digits", "train"),
        steps=config.steps,
        batch_size=config.batch_size,
        progress=False,
    )

    def drawing(model):
        run = jax.jit(lambda key, state: model.sample(key, state, config.samples))
        return lambda: run(jax.random.key(1), state)

    one_by_one, at_once = (drawing(models[name]) for name in ("sequential", "jacobi"))
    apart = np.abs(np.asarray(at_once(), np.float64) - np.asarray(one_by_one(), np.float64)).max()
    ratio = time_ratio(one_by_one, at_once, config.repeats)
    best = min(seconds(at_once) for _ in range(config.repeats))
    rate = round(config.samples / best, 1)
    return {"per_second": rate, "times_faster": round(ratio, 2), "apart": float(apart)}


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    facts = machine()
    rows = {title: compare(make, config) for title, make in CONTESTANTS.items()}
    for title, row in rows.items():
        print(f"{title:24s} {row}")
    write("inversion", facts, {"rows": rows, "config": asdict(config)})


if __name__ == "__main__":
    training.run_main(main)
