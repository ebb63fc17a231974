"""A batch without examples: an answer without rows, or a line that names the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import divergences, energy, flow_matching, metrics, paths, transport, vae
from gen_jax.divergences import couplings
from gen_jax.errors import ConfigError

NONE, SOME, TIMES = jnp.zeros((0, 2, 3)), jnp.ones((4, 2, 3)), jnp.zeros(0)
PATH, KEY = paths.linear(), jax.random.key(0)
still = lambda x, *times: 0 * x
normal = lambda x: -0.5 * jnp.sum(x**2, (1, 2))
WITHOUT_ROWS = {
    "drift": (lambda: flow_matching.drift(NONE, SOME, SOME, 1.0), (0, 2, 3)),
    "moment_matching": (
        lambda: flow_matching.moment_matching_loss(still, PATH, NONE, NONE, *[TIMES] * 3)[0],
        (0,),
    ),
    "moment_matching_steps": (
        lambda: flow_matching.moment_matching_steps_loss(still, PATH, NONE, NONE, TIMES, TIMES)[0],
        (0,),
    ),
    "log_base": (lambda: energy.log_base(NONE, 1.0), (0,)),
    "pixels": (lambda: metrics.PixelFeatures().features(np.zeros((0, 2, 2, 1), np.uint8)), (0, 4)),
}
REFUSED = {
    "x": lambda: energy.noise_contrastive(normal, normal, NONE, SOME),
    "generated": lambda: flow_matching.drifting_map_loss(still, PATH, NONE, NONE, TIMES, TIMES),
    "energy": lambda: transport.tempering_curve(TIMES, TIMES, 1.0),
    "log_q": lambda: transport.log_l2_distance(TIMES, TIMES, TIMES),
    "means": lambda: vae.active_units(NONE[:, 0]),
    "a": lambda: divergences.assignment_wasserstein(NONE, SOME),
}


@pytest.mark.parametrize("name", WITHOUT_ROWS)
def test_no_rows_are_answered_by_none(name):
    call, shape = WITHOUT_ROWS[name]
    assert call().shape == shape


@pytest.mark.parametrize("argument", REFUSED)
def test_what_needs_an_example_names_the_argument(argument):
    with pytest.raises(ConfigError, match=f"^{argument} (has shape|must hold at least)"):
        REFUSED[argument]()


@pytest.mark.parametrize("name", couplings.COUPLINGS)
def test_couplings_of_no_examples(name):
    with pytest.raises(ConfigError, match="^x0 has shape"):
        couplings.COUPLINGS[name](KEY, NONE, NONE)
