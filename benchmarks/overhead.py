"""What the loops cost above the network: ratios measured in one run, on a quiet machine.

    python -m benchmarks.overhead

- sampler: time of a compiled sampler over (network calls x one compiled call);
- training: time of a step with batches from the device over a step with a constant batch.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.measuring import machine, time_ratio, write
from gen_jax import conditions, data, diffusion, nets, training
from gen_jax.diffusion import GRIDS, STEPPERS, sample_with_info
from gen_jax.paths import cosine

BATCH = 128


def networks() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Network and shape of one example."""
    return {
        "MLP 1.2 M, 8x8": (nets.MLP(features=(256,) * 4), (8, 8, 1)),
        "DiT 1.9 M, 28x28": (nets.DiT(4, 128, 6, 4), (28, 28, 1)),
    }


def sampler_ratio(network: Any, shape: tuple[int, ...], name: str, steps: int) -> float:
    """Compiled sampler over its number of calls times one compiled call."""
    path = cosine()
    params = network.init(jax.random.key(0), jnp.zeros((1, *shape)), jnp.zeros(1))
    p = diffusion.Preconditioned(network.apply, path, "v", 1.0)
    denoise = diffusion.network_denoiser(p, params)
    stepper = STEPPERS[name]()
    times = GRIDS[stepper.grid](path, steps)
    x = jax.random.normal(jax.random.key(1), (BATCH, *shape))
    t = jnp.full(BATCH, 0.5)
    one = jax.jit(denoise)
    run = jax.jit(lambda x: sample_with_info(jax.random.key(2), denoise, path, x, times, stepper))
    calls = int(run(x)[1].calls)

    def all_calls():
        result = x
        for _ in range(calls):
            result = one(result, t)
        return result

    return time_ratio(lambda: run(x), all_calls, repeats=5)


def training_ratio(network: Any, shape: tuple[int, ...]) -> float:
    """A step with its batch gathered from the dataset over a step with one fixed batch."""
    size = 4096
    x = jax.random.randint(jax.random.key(0), (size, *shape), 0, 256).astype(jnp.uint8)
    y = jnp.zeros(size, jnp.int32)
    model = diffusion.diffusion(
        network,
        "cosine",
        optax.adam(1e-3),
        shape=shape,
        condition=conditions.labels(10),
        transform=data.symmetric_images(),
    )
    state = model.init(jax.random.key(1), {"x": x[:2], "y": y[:2]})
    key = jax.random.key(2)

    def gathered(state, k):
        batch = data.take({"x": x, "y": y}, data.batch_indices(key, k, size, BATCH))
        return model.step(jax.random.fold_in(key, k), state, batch)[0]

    def constant(state, k):
        batch = {"x": x[:BATCH], "y": y[:BATCH]}
        return model.step(jax.random.fold_in(key, k), state, batch)[0]

    with_data, without = jax.jit(gathered), jax.jit(constant)
    return time_ratio(lambda: with_data(state, 3), lambda: without(state, 3), repeats=41)


def main() -> None:
    training.configure_backend(1)
    facts = machine()
    rows: dict[str, Any] = {}
    for title, (network, shape) in networks().items():
        for name in ("ddim", "ddpm", "dpm_solver_pp", "edm_heun"):
            rows[f"sampler {name}, {title}"] = round(sampler_ratio(network, shape, name, 20), 3)
        rows[f"training data, {title}"] = round(training_ratio(network, shape), 3)
    for name, ratio in rows.items():
        print(f"{name:42s} {ratio:.3f}", flush=True)
    write("overhead", facts, {"ratios": rows})


if __name__ == "__main__":
    training.run_main(main)
