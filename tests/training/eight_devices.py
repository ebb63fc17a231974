"""Runs in a process with eight CPU devices; prints what it saw as one line of JSON.

python eight_devices.py DIRECTORY
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import tiny

from gen_jax import training
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.training import session, sharding

WIDE = {"steps": 4, "batch_size": 8, "save_every": 2, "progress": False}


def wide_model() -> GenerativeModel:
    """One weight of 512 x 256, big enough to be sharded, and a momentum like it."""

    def init(key, batch):
        weight = jax.random.normal(key, (512, 256)) / 20
        return {"w": weight, "momentum": jnp.zeros_like(weight), "bias": jnp.zeros(256)}

    def step(key, state, batch):
        loss = lambda w: jnp.mean((batch["x"] @ w + state["bias"] - 1) ** 2)
        value, gradient = jax.value_and_grad(loss)(state["w"])
        momentum = 0.9 * state["momentum"] + gradient
        return {**state, "w": state["w"] - momentum, "momentum": momentum}, {"loss": value}

    return GenerativeModel(init, step, lambda key, state, n: state["w"][:n])


def wide_data() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(3).normal(size=(16, 512)).astype(np.float32)}


def train_wide(directory=None, **options):
    return training.fit(
        jax.random.key(0), wide_model(), wide_data(), directory=directory, **{**WIDE, **options}
    )


def refused(**options) -> str:
    try:
        tiny.train(**options)
    except ConfigError as error:
        return str(error)
    return ""


def main() -> None:
    directory = Path(sys.argv[1])
    session.write_report = lambda path, numbers: None
    state = tiny.train(directory / "tiny")
    wide = train_wide(directory / "wide", fsdp=True)
    six = tiny.train(steps=2, batch_size=6)
    seen = {
        "devices": jax.device_count(),
        "used": len(state.params["w"].sharding.device_set),
        "used_by_batch_of_6": len(six.params["w"].sharding.device_set),
        "again": tiny.bits(tiny.train()) == tiny.bits(state),
        "w": state.params["w"].tolist(),
        "specs": {name: list(x.sharding.spec) for name, x in wide.items()},
        "shard": wide["w"].addressable_shards[0].data.shape,
        "refused": refused(batch_size=6, mesh=sharding.make_mesh(4)),
        "refused_mesh": refused(mesh=jax.make_mesh((8,), ("x",))),
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    training.set_cpu_devices(8)
    main()
