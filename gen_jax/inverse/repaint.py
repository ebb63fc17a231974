"""RePaint (lugmayr2022, algorithm 1): replacement, with steps back to the noise in between."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gen_jax.checks import no_type_check
from gen_jax.diffusion.sampler import Stepper, check_stepper
from gen_jax.errors import check_range
from gen_jax.inverse.replacement import check_mask, with_known_values
from gen_jax.randomness import fold_in, normal


@no_type_check
def repaint(stepper: Stepper, mask: ArrayLike, y: ArrayLike, resamples: int = 10) -> Stepper:
    """`replacement`, with each transition made `resamples` times; in between x_s is noised to t:

        x_t = (alpha_t / alpha_s) x_s + sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) z.

    The transition that ends at the data is made once. A stepper of several steps sees at each
    repetition what it saw at the first.

    Args:
      mask, y: as for `replacement`.
      resamples: at least 1; 1 is `replacement`. Network calls are multiplied by it.
    """
    check_range("resamples", resamples, 1, integer=True)
    mask, y = check_mask(mask, y)
    check_stepper(stepper)

    def step(keys, denoise, path, x, carry, transition):
        now, arrival = transition.now, transition.next

        def once(index, x):
            used = fold_in(keys, index)
            moved, after = stepper.step(used, denoise, path, x, carry, transition)
            return with_known_values(used, moved, transition, mask, y), after

        def again(index, x):
            moved, _ = once(index, x)
            ratio = now.alpha / arrival.alpha
            added = jnp.sqrt(jnp.maximum(now.sigma**2 - (ratio * arrival.sigma) ** 2, 0))
            noise = normal(fold_in(fold_in(keys, index), 2), x.shape[1:], x.dtype)
            return ratio.astype(x.dtype) * moved + added.astype(x.dtype) * noise

        repeats = jnp.where(transition.last, 0, resamples - 1)
        return once(resamples, jax.lax.fori_loop(0, repeats, again, x))

    return stepper._replace(step=step)
