"""Backend, devices and versions, as a run would see them.

    python -m experiments.info

Nothing is changed.
"""

import platform
from dataclasses import dataclass
from importlib.metadata import version

import jax

from experiments.shared.command_line import read_options
from gen_jax import training

PACKAGES = ("gen_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclass(frozen=True)
class Config:
    """There is nothing to choose."""


def main() -> None:
    read_options(Config, __doc__)
    backend = training.configure_backend()
    print(f"backend   {backend}")
    print(f"devices   {', '.join(str(device) for device in jax.devices())}")
    print(f"python    {platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        print(f"{name:18s}{version(name)}")


if __name__ == "__main__":
    training.run_main(main)
