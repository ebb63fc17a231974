"""What caches save in decoding: tokens per second of a transformer, images per second of PixelCNNs.

    python -m benchmarks.decoding
    python -m benchmarks.decoding --context 32 --side 8 --batch 2 --repeats 1     # a quick look

The transformer is also timed against a PyTorch one of the same size with the same cache. Sides of
a ratio are measured in turns in one process; a ratio is the median over the pairs.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.measuring import machine, seconds, time_ratio, write
from gen_jax import autoregressive as ar
from gen_jax import data, training
from gen_jax.errors import check_range
from gen_jax.model import GenerativeModel


@dataclass(frozen=True)
class Config:
    """Sizes, and how often they are measured."""

    batch: int = 16
    context: int = 256
    vocabulary: int = 1024
    width: int = 128
    depth: int = 4
    heads: int = 4
    side: int = 28
    pixel_width: int = 32
    pixel_depth: int = 6
    repeats: int = 3
    threads: int = 0
    """Of PyTorch; as many as there are cores if 0."""

    def check(self) -> None:
        """Raise ConfigError for sizes that cannot be measured."""
        for name in ("batch", "context", "side", "repeats"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_range("threads", self.threads, 0, integer=True)


def sampler(model: GenerativeModel, x: np.ndarray, batch: int, cached: bool) -> Callable[[], Any]:
    """`() -> samples` of a model with random parameters, compiled."""
    state = model.init(jax.random.key(0), {"x": x})
    random = np.random.default_rng(0)
    fill = lambda p: jnp.asarray(0.1 * random.normal(size=p.shape), p.dtype)
    state = state._replace(ema=jax.tree.map(fill, state.ema))
    run = jax.jit(lambda key, state: model.sample(key, state, batch, cached=cached))
    return lambda: run(jax.random.key(1), state)


def compare(fast: Callable, slow: Callable, units: int, config: Config) -> dict[str, float]:
    """Units per second of the fast one, and how many times faster it is."""
    ratio = time_ratio(slow, fast, config.repeats)
    best = min(seconds(fast) for _ in range(config.repeats))
    return {"per_second": round(units / best, 1), "times_faster": round(ratio, 2)}


def transformer_rows(config: Config) -> dict[str, dict[str, float]]:
    """Tokens per second with the cache, and the ratios to what it is compared with."""
    import torch

    from benchmarks.torch_decoding import Transformer

    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    sizes = {"width": config.width, "depth": config.depth, "heads": config.heads}
    model = ar.transformer(
        optax.sgd(1.0), shape=(config.context,), vocabulary=config.vocabulary, **sizes
    )
    x = np.zeros((2, config.context), np.int32)
    ours = {c: sampler(model, x, config.batch, c) for c in (True, False)}
    theirs = Transformer(config.vocabulary, config.context, **sizes).eval()
    tokens = config.batch * config.context
    others = {
        "without the cache": ours[False],
        "PyTorch with a cache": lambda: theirs.generate(config.batch, True).numpy(),
        "PyTorch without a cache": lambda: theirs.generate(config.batch, False).numpy(),
    }
    return {
        f"transformer over {title}": compare(ours[True], other, tokens, config)
        for title, other in others.items()
    }


def pixel_rows(config: Config) -> dict[str, dict[str, float]]:
    """Images per second with the caches, and the ratio to a whole pass per pixel."""
    rows, shape = {}, (config.side, config.side, 1)
    x = np.zeros((2, *shape), np.uint8)
    for network in ("pixelcnn", "gated"):
        model = ar.pixel_model(
            optax.sgd(1.0),
            shape=shape,
            network=network,
            likelihood="bernoulli",
            sizes={"width": config.pixel_width, "depth": config.pixel_depth},
            transform=data.binarize(),
        )
        fast, slow = (sampler(model, x, config.batch, c) for c in (True, False))
        rows[f"{network} over whole passes"] = compare(fast, slow, config.batch, config)
    return rows


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    facts = machine("torch")
    rows = transformer_rows(config) | pixel_rows(config)
    for name, row in rows.items():
        print(f"{name:42s} {row['per_second']:10.1f} /s  {row['times_faster']:8.2f} times")
    write("decoding", facts, {"rows": rows, "config": asdict(config)})


if __name__ == "__main__":
    training.run_main(main)
