"""The numbers of a TemperFlow run, and its learning rate within a stage."""

from dataclasses import dataclass

import jax.numpy as jnp

from gen_jax.errors import check_choice, check_range
from gen_jax.types import Array, Float

UP, START, END = 0.3, 1 / 25, 1 / 25e4
"""Share of a stage in which the rate rises; where it starts and ends, in units of its peak."""

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
        "forward_kl" by importance sampling from the flow as it was, which mends their weights.
      polish_rounds: how many; each begins with the flow as it is by then for the reference, and so
        reaches further where the one before has begun to put mass.
      polish_rate: their peak learning rate; None goes on as in the stages before.
      learning_rate: peak of a stage is learning_rate decay^stage / sqrt(b).
      max_stages: then b jumps to 1.
    """

    first_beta: float = 0.1
    kl_factor: float = 0.5
    first_steps: int = 1001
    stage_steps: int = 1001
    polish_steps: int = 0
    polish: str = "reverse_kl"
    polish_rounds: int = 1
    polish_rate: float | None = None
    batch_size: int = 2000
    learning_rate: float = 1e-3
    decay: float = 0.9
    max_stages: int = 100

    def check(self) -> None:
        """Raise ConfigError for numbers that cannot work."""
        check_range("first_beta", self.first_beta, 0, 1, open_low=True)
        check_range("kl_factor", self.kl_factor, 0, 0.999)
        for name in ("first_steps", "stage_steps", "max_stages", "polish_rounds"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_range("polish_steps", self.polish_steps, 0, integer=True)
        check_choice("polish", self.polish, POLISHES)
        if self.polish_rate is not None:
            check_range("polish_rate", self.polish_rate, 0, open_low=True)
        check_range("batch_size", self.batch_size, 2, integer=True)
        check_range("learning_rate", self.learning_rate, 0, open_low=True)
        check_range("decay", self.decay, 0, 1, open_low=True)


def one_cycle(count: Array, length: Array, peak: Array) -> Float[Array, ""]:
    """Learning rate at step `count` of `length`: up to the peak by a cosine, down by another."""
    share = count / jnp.maximum(length, 1)
    rising = share < UP
    low = peak * jnp.where(rising, START, END)
    phase = jnp.where(rising, 1 - share / UP, (share - UP) / (1 - UP))
    return low + (peak - low) * (1 + jnp.cos(jnp.pi * phase)) / 2
