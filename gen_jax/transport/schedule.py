"""The numbers of a TemperFlow run, and its learning rate within a stage."""

from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp

from gen_jax.errors import check_choice
from gen_jax.ranges import MaybePositive, Positive, Range, check_ranges
from gen_jax.types import Array, Float

UP, START, END = 0.3, 1 / 25, 1 / 25e4
"""Share of a stage in which the rate rises; where it starts and ends, in units of its peak."""

MAX_STEPS = 2**31 - 1
POLISHES = ("reverse_kl", "forward_kl")


@dataclass(frozen=True)
class Schedule:
    """How TemperFlow goes along its curve (the authors' values for targets in the plane).

    Fields:
      first_beta: inverse temperature of the first stage, fitted by reverse KL; 1 is reverse KL
        alone (rezende2015), without a curve.
      kl_factor: what a stage should leave of KL(p_b || p); nearer 1 is more and smaller steps.
      stage_steps: optimizer steps of a stage; twice as many while b < 0.5.
      first_steps, polish_steps: of the first stage and of each polish at b = 1.
      polish: what these minimise: "reverse_kl" as the authors do, which may drop modes, or
        "forward_kl" by importance sampling from the flow as it was, which corrects their weights.
      polish_rounds: how many; each begins with the flow as it is by then for the reference, and so
        reaches further where the one before has begun to put mass.
      polish_rate: their peak learning rate; None goes on as in the stages before.
      learning_rate: peak of a stage is learning_rate decay^stage / sqrt(b).
      max_stages: then b jumps to 1.
    """

    first_beta: Annotated[float, Range(0, 1, open_low=True)] = 0.1
    kl_factor: Annotated[float, Range(0, 0.999)] = 0.5
    first_steps: Annotated[int, Range(1, MAX_STEPS)] = 1001
    stage_steps: Annotated[int, Range(1, MAX_STEPS)] = 1001
    polish_steps: Annotated[int, Range(0, MAX_STEPS)] = 0
    polish: str = "reverse_kl"
    polish_rounds: Annotated[int, Range(1, MAX_STEPS)] = 1
    polish_rate: MaybePositive = None
    batch_size: Annotated[int, Range(2, 2**20)] = 2000
    learning_rate: Positive = 1e-3
    decay: Annotated[float, Range(0, 1, open_low=True)] = 0.9
    max_stages: Annotated[int, Range(1, MAX_STEPS)] = 100

    def check(self) -> None:
        """Raise ConfigError for numbers that cannot work."""
        check_ranges(self)
        check_choice("polish", self.polish, POLISHES)


def one_cycle(count: Array, length: Array, peak: Array) -> Float[Array, ""]:
    """Learning rate at step `count` of `length`: up to the peak by a cosine, down by another."""
    share = count / jnp.maximum(length, 1)
    rising = share < UP
    low = peak * jnp.where(rising, START, END)
    phase = jnp.where(rising, 1 - share / UP, (share - UP) / (1 - UP))
    return low + (peak - low) * (1 + jnp.cos(jnp.pi * phase)) / 2
