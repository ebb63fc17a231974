"""Lists, whole numbers, the other byte order and masks: numbers count as they are, or are refused.

jax reads the bytes of a big-endian array as if they were little-endian ones where numpy hands it
the buffer, and rounds options to whole numbers with the data that they are cast to.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import diffusion, divergences, energy, inverse, mcmc, nets, paths, sampling
from gen_jax.checks import one_or_each
from gen_jax.classical import kmeans
from gen_jax.errors import ConfigError, DataError
from gen_jax.paths import GaussianPath

KEY = jax.random.key(0)
X = np.array([[3, -1], [0, 2], [-2, 5], [4, 1]], np.float32)
GREY = np.round(np.cos(np.arange(64)).reshape(8, 8, 1)).astype(np.float32)
SMALL = inverse.super_resolution((4, 4, 1), 2)
MIXTURE = np.array([0.5, 0.5]), np.array([[0, 1], [2, 3]]), np.stack([np.eye(2)] * 2)
normal = lambda x: -0.5 * jnp.sum(x**2, 1)
of_x = lambda x, t: x

CASES = {
    "slerp": (lambda x: sampling.slerp(x, X[::-1].copy(), 0.25), X),
    "effective_sample_size": (mcmc.effective_sample_size, X.reshape(4, 2, 1)),
    "split_r_hat": (mcmc.split_r_hat, X.reshape(4, 2, 1)),
    "start of chains": (
        lambda x: mcmc.adaptation.start_points(x).sum() if np.ndim(x) else x,
        X,
    ),
    "denoising_loss": (
        lambda x: diffusion.denoising_loss(of_x, paths.linear(), x, x, jnp.full(4, 0.5))[0],
        X,
    ),
    "contrastive": (lambda x: energy.contrastive(normal, x, x[::-1], regulariser=0.1)[0], X),
    "log_base": (lambda x: energy.log_base(x, 0.5), X),
    "apply": (SMALL.apply, GREY[:4, :4]),
    "solve": (lambda y: SMALL.solve(y, 0.5, 0.1), 9 * GREY[:2, :2]),
    "jpeg": (inverse.jpeg((8, 8, 1), 50).apply, GREY),
    "mixture_posterior": (
        lambda y: inverse.mixture_posterior(*MIXTURE, [[1, 0]], y, 0.5).means,
        np.array([3], np.float32),
    ),
    **{
        f"discrete {name}": (
            lambda p, name=name: divergences.DISCRETE[name](p, [2, 1, 4]),
            X[:3, 1] + 2,
        )
        for name in ("kl", "chi_square")
    },
    "generator": (lambda p: divergences.discrete.discrete("kl", p, [2, 1, 4]), X[:3, 1] + 2),
    "monte_carlo": (lambda r: divergences.monte_carlo.from_p("kl", r).value, X[:, 0]),
    "gaussian_kl": (lambda m: divergences.gaussian_kl(m, [1, 2], [0, 1], 2), X[0]),
    "dual": (lambda s: divergences.variational.donsker_varadhan(s, [0, 1]), X[:, 0]),
    "coupling": (lambda x: divergences.couplings.optimal_assignment(KEY, x, X[::-1].copy()), X),
    "guidance": (lambda w: one_or_each("guidance", w, 3), np.array([1, 2, 3], np.float32)),
}
FORMS = {
    "list": lambda x: x.tolist(),
    "whole": lambda x: x.astype(np.int32),
    "big-endian": lambda x: x.astype(">f4"),
    "no mask": np.ma.masked_array,
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_count_as_they_are(name):
    function, x = CASES[name]
    expected = np.asarray(function(jnp.asarray(x)))
    assert np.isfinite(expected).all()
    for form, changed in FORMS.items():
        if (name, form) == ("start of chains", "whole"):
            continue  # whole positions are refused
        np.testing.assert_allclose(function(changed(x)), expected, rtol=1e-5, err_msg=form)
    with pytest.raises(DataError, match="masked"):
        function(np.ma.masked_array(x, x == x.max()))


@pytest.mark.parametrize("weight", [np.array([np.nan, 1, 1]), jnp.float32(jnp.inf)])
def test_guidance_of_arrays_is_finite(weight):
    with pytest.raises(ConfigError, match="guidance=an array of float.* finite"):
        one_or_each("guidance", weight, 3)


@pytest.mark.parametrize("weight", [[2.0, 3.0], None, jnp.ones((4, 1))])
@pytest.mark.parametrize(
    "guided",
    [
        lambda w: diffusion.extrapolate(of_x, of_x, w)(jnp.asarray(X), jnp.full(4, 0.5)),
        lambda w: diffusion.classifier(of_x, lambda x, t: x[:, 0], paths.vp(), w)(
            jnp.asarray(X), jnp.full(4, 0.5)
        ),
    ],
)
def test_weights_of_guidance_are_one_or_one_for_each(guided, weight):
    np.testing.assert_allclose(guided([2.0, 1, 1, 1]), guided(np.array([2.0, 1, 1, 1])))
    with pytest.raises(ConfigError, match=r"weight.* must be (one|a) number"):
        guided(weight)


def test_an_interval_is_two_times():
    with pytest.raises(ConfigError, match=r"interval=0.5 must be two times"):
        diffusion.extrapolate(of_x, of_x, 2.0, 0.5)


def test_a_path_whose_ends_are_swapped_is_refused_wherever_it_is_given():
    swapped = GaussianPath(lambda t: t, lambda t: 1 - t)
    times = jnp.array([1.0, 0.5, 0.0])
    with pytest.raises(ConfigError, match="path: alpha / sigma must fall"):
        diffusion.sample(KEY, of_x, swapped, jnp.asarray(X), times, diffusion.ddim())
    options = {"shape": (2,), "num_classes": 3}
    with pytest.raises(ConfigError, match="path: alpha / sigma must fall"):
        diffusion.noisy_classifier(nets.MLP((4,)), swapped, optax.adam(1e-3), **options)


def test_a_path_of_numbers_is_refused():
    with pytest.raises(ConfigError, match=r"path\.alpha=1.0 must be a function"):
        paths.check_path(paths.GaussianPath._make((1.0, 2.0)))


def test_times_of_the_ddpm_loss_are_not_rounded_to_the_data():
    seen = []
    predict = lambda x, t: (seen.append(t), x)[1]
    x0 = jnp.zeros((512, 1), jnp.bfloat16)
    diffusion.ddpm_loss(KEY, predict, paths.vp(), x0)
    assert seen[0].dtype == jnp.float32
    assert len(np.unique(np.round(1000 * np.asarray(seen[0])))) > 300


@pytest.mark.parametrize("bound", [diffusion.variational_bound, diffusion.continuous_bound])
def test_bounds_of_half_precision_are_those_of_their_numbers(bound):
    options = {"num_steps" if bound is diffusion.variational_bound else "num_times": 4}
    of = lambda x: bound(KEY, lambda x, t: 0.5 * x, paths.vp(), x, bin_width=None, **options)
    narrow = jnp.asarray(X / 5, jnp.bfloat16)
    expected = of(narrow.astype(jnp.float32))
    for name, value in of(narrow).items():
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: sampling.gaussian.sample(key, 2, [0, 1], 1),
        lambda key: kmeans.start_mixture(key, X, 2),
        lambda key: divergences.couplings.independent(key, X, X),
        lambda key: diffusion.ddpm_loss(key, of_x, paths.vp(), X),
        lambda key: diffusion.TIME_DENSITIES["uniform"](key, paths.vp(), 3),
        lambda key: sampling.rejection.rejection(key, normal, lambda k, n: X, normal, 0.0, 3),
    ],
)
def test_seeds_and_batches_of_keys_are_named(draw):
    for key, form in (
        (3, r"key=3 must be a key of jax.random"),
        (jax.random.split(KEY), "one key"),
    ):
        with pytest.raises(ConfigError, match=form):
            draw(key)


def test_rows_in_a_list_start_chains():
    kernel = mcmc.random_walk(normal, 0.5)
    np.testing.assert_array_equal(kernel.init(X.tolist()).x, X)
    with pytest.raises(ConfigError, match=r"x has shapes \[\(\)\]"):
        mcmc.run(KEY, kernel, 0.0, 1)
