"""Each density in the plane has integral 1 in the units of the data, and its samples' moments.

Of every family whose `log_prob` is a density, with parameters that training never saw: a factor of
the transform, of the base or of the volume that is missing shows as another integral.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import classical, conditions, data, diffusion, flow_matching, flows, nets, vae

KEY = jax.random.key(0)
MEAN, STD = np.array([5.0, -2.0], np.float32), np.array([3.0, 0.5], np.float32)
OPTIONS = {"shape": (2,), "transform": data.standardize(MEAN, STD)}
ADAM, MLP = optax.adam(1e-3), nets.MLP((16,))


def layers(*names):
    return flows.chain(*(flows.make_bijector(name) for name in names))


FAMILIES = {
    "mixture": lambda: classical.gaussian_mixture(3, **OPTIONS),
    "probabilistic PCA": lambda: classical.probabilistic_pca.probabilistic_pca(1, **OPTIONS),
    "flow": lambda: flows.flow(
        layers("actnorm", "affine_coupling", "reverse", "rational_quadratic_coupling"),
        ADAM,
        **OPTIONS,
    ),
    "flow by labels": lambda: flows.flow(
        flows.masked_autoregressive(flows.affine(), (8,)),
        ADAM,
        condition=conditions.labels(3),
        **OPTIONS,
    ),
    "FFJORD": lambda: flows.ffjord(ADAM, **OPTIONS),
    "diffusion": lambda: diffusion.diffusion(MLP, "cosine", ADAM, **OPTIONS),
    "diffusion by labels": lambda: diffusion.diffusion(
        MLP, "vp", ADAM, condition=conditions.labels(3), condition_dropout=0.1, **OPTIONS
    ),
    "flow matching": lambda: flow_matching.flow_matching(MLP, ADAM, **OPTIONS),
    "flow map": lambda: flow_matching.flow_map_model(MLP, "linear", ADAM, **OPTIONS),
    "VAE": lambda: vae.vae(
        vae.mlp((8,)), vae.mlp((8,)), ADAM, latent=2, likelihood="gaussian", **OPTIONS
    ),
}
SAMPLE = {"flow map": {"stepper": "heun", "num_steps": 16}}
"""Options of `sample`: the law of one call of a few-step model is not that of its velocity."""

OF_LOG_PROB = {"estimate": {"num_steps": 12}, "lower bound": {"num_samples": 64}, "exact": {}}
CLOSED = ("mixture", "probabilistic PCA")
"""Their parameters are no free numbers."""


def moved_state(name, model):
    """A state that is no special case: after one update, or with all free parameters moved."""
    x = np.random.default_rng(0).normal(size=(64, 2)) * STD + MEAN
    batch = {"x": x.astype(np.float32), "y": np.arange(64) % 3}
    state = model.init(KEY, batch)
    if name in CLOSED:
        return model.step(KEY, state, batch)[0]
    moved = lambda a: a + 0.2 * jnp.sin(jnp.arange(a.size, dtype=a.dtype) + 1).reshape(a.shape)
    is_float = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
    return jax.tree.map(lambda a: moved(a) if is_float(a) else a, state)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_density_integrates_to_one_and_has_its_samples_moments(name):
    model = FAMILIES[name]()
    state = moved_state(name, model)
    condition = {"label": 1} if "label" in model.conditions else {}
    drawn = np.asarray(
        model.sample(KEY, state, 2000, **condition, **SAMPLE.get(name, {})), np.float64
    )
    low, high = drawn.min(0) - drawn.std(0), drawn.max(0) + drawn.std(0)
    axes = [np.linspace(a, b, 61) for a, b in zip(low, high)]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
    options = condition | OF_LOG_PROB[model.log_prob_kind]
    log_p = np.asarray(model.log_prob(KEY, state, x, **options), np.float64)
    mass = np.exp(log_p) * np.prod([axis[1] - axis[0] for axis in axes])
    mean = mass @ x
    std = np.sqrt(mass @ (x - mean) ** 2)
    assert mass.sum() == pytest.approx(1, abs=0.005)
    error = std / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(0) - mean) < 5 * error).all()
    np.testing.assert_allclose(drawn.std(0), std, rtol=0.1)
