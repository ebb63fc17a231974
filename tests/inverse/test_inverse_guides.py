"""Guides against Gaussian conditioning: E[x0 | x_t, y] is known when the data are Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import inverse
from gen_jax.diffusion import STEPPERS, classifier_free, mixture_denoiser, prior, sample
from gen_jax.errors import ConfigError, DataError
from gen_jax.paths import PATHS, linear

MATRIX = np.array([[1.0, 0.5, 0.0], [0.0, -1.0, 2.0]])
MEAN = np.array([0.3, -0.4, 0.1])
FACTOR = np.array([[1.0, 0.0, 0.0], [0.6, 0.7, 0.0], [-0.5, 0.2, 0.4]])
COVARIANCES = {"isotropic": 0.49 * np.eye(3), "any": FACTOR @ FACTOR.T}
POINTS = np.array([[0.2, -1.0, 0.7], [1.5, 0.3, -0.2]])
Y = np.array([[0.4, -0.3], [-1.0, 0.6]])
NOISE = 0.3


def gaussian_denoiser(covariance, path):
    return mixture_denoiser(
        jnp.ones(1), jnp.asarray(MEAN)[None], jnp.asarray(covariance)[None], path
    )


def given_noisy(covariance, path, t, x, center=MEAN):
    """Mean [3] and covariance of x0 given x_t = x: the Gaussian conditioned once."""
    a, s = float(path.alpha(t)), float(path.sigma(t))
    gain = a * covariance @ np.linalg.inv(a**2 * covariance + s**2 * np.eye(3))
    return center + gain @ (x - a * center), covariance - gain @ (a * covariance)


def given_both(covariance, path, t, x, y, noise_std, center=MEAN):
    """E[x0 | x_t = x, y]: conditioned once more."""
    mean, covariance = given_noisy(covariance, path, t, x, center)
    marginal = MATRIX @ covariance @ MATRIX.T + noise_std**2 * np.eye(2)
    return mean + covariance @ MATRIX.T @ np.linalg.solve(marginal, y - MATRIX @ mean)


def expected(covariance, path, t, noise_std=NOISE):
    return np.stack([given_both(covariance, path, t, x, y, noise_std) for x, y in zip(POINTS, Y)])


def guides(covariance, path):
    """Those that are exact: with one number as the spread of the data, and with any covariance."""
    denoise, operator, y = gaussian_denoiser(covariance, path), inverse.dense(MATRIX), Y
    return {
        "pseudo_inverse_guidance": inverse.pseudo_inverse_guidance(
            denoise, path, operator, y, NOISE, 0.7
        ),
        "proximal": inverse.proximal(denoise, path, operator, y, NOISE, 0.7),
        "moment_matching": inverse.moment_matching(denoise, path, operator, y, NOISE),
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("guide", "kind"),
    [
        ("pseudo_inverse_guidance", "isotropic"),
        ("proximal", "isotropic"),
        ("moment_matching", "isotropic"),
        ("moment_matching", "any"),
    ],
)
def test_exact_for_gaussian_data(guide, kind, path, x64):
    path, covariance = PATHS[path](), COVARIANCES[kind]
    guided = jax.jit(guides(covariance, path)[guide])
    for t in (1e-3, 0.3, 0.9):
        found = guided(jnp.asarray(POINTS), jnp.full(2, t))
        np.testing.assert_allclose(found, expected(covariance, path, t), atol=1e-5)


@pytest.mark.parametrize("path", ["linear", "cosine"])
def test_limit_at_pure_noise(path):
    """alpha(1) = 0: x_1 says nothing, so that the guided point is E[x0 | y]."""
    path, covariance = PATHS[path](), COVARIANCES["any"]
    guided = guides(covariance, path)["moment_matching"]
    found = guided(jnp.asarray(POINTS, jnp.float32), jnp.ones(2))
    np.testing.assert_allclose(found, expected(covariance, path, 1.0), atol=3e-3)


def test_a_known_point_stays(x64):
    """At t = 0 of the linear path x0 is x itself, whatever was measured."""
    for guided in guides(COVARIANCES["any"], linear()).values():
        np.testing.assert_allclose(guided(jnp.asarray(POINTS), jnp.zeros(2)), POINTS, atol=1e-9)


def test_dps_is_the_gradient_of_its_likelihood(x64):
    """D + C A^T (y - A D) / n^2 with the exact C; and half of the step with half of the weight."""
    path, covariance = linear(), COVARIANCES["any"]
    denoise, operator = gaussian_denoiser(covariance, path), inverse.dense(MATRIX)
    t = 0.4
    steps = []
    for x, y in zip(POINTS, Y):
        mean, spread = given_noisy(covariance, path, t, x)
        steps.append((mean, spread @ MATRIX.T @ (y - MATRIX @ mean) / NOISE**2))
    for weight in (1.0, 0.5):
        guided = inverse.dps(denoise, path, operator, Y, NOISE, weight)
        wanted = np.stack([mean + weight * step for mean, step in steps])
        found = guided(jnp.asarray(POINTS), jnp.full(2, t))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    residual_norm = inverse.dps(denoise, path, operator, Y, NOISE, 1.0, scale="residual_norm")
    norms = [np.linalg.norm(y - MATRIX @ mean) for (mean, _), y in zip(steps, Y)]
    wanted = np.stack([m + s * NOISE**2 / n for (m, s), n in zip(steps, norms)])
    np.testing.assert_allclose(
        residual_norm(jnp.asarray(POINTS), jnp.full(2, t)), wanted, atol=1e-6
    )


def test_null_space_agrees_with_the_measurement(x64):
    path, covariance = linear(), COVARIANCES["isotropic"]
    guided = inverse.null_space(gaussian_denoiser(covariance, path), inverse.dense(MATRIX), Y)
    found = guided(jnp.asarray(POINTS), jnp.full(2, 0.3))
    np.testing.assert_allclose(found @ MATRIX.T, Y, atol=1e-9)
    np.testing.assert_allclose(found, expected(covariance, path, 0.3, 0.0), atol=1e-9)


def all_guides(denoise, path):
    operator, y = inverse.dense(MATRIX), Y[0]
    return {
        "dps": inverse.dps(denoise, path, operator, y, NOISE, 0.1),
        "null_space": inverse.null_space(denoise, operator, y),
        **guides(COVARIANCES["any"], path),
    }


@pytest.mark.parametrize("path", PATHS)
def test_every_guide_on_every_path(path, key):
    path = PATHS[path]()
    start = prior(key, path, (2, 3))
    times = jnp.array([1.0, 0.6, 0.2, 0.0])

    @jax.jit
    def run():
        found = all_guides(gaussian_denoiser(COVARIANCES["any"], path), path)
        return [sample(key, g, path, start, times, STEPPERS["ddim"]()) for g in found.values()]

    for x in run():
        assert x.shape == (2, 3)
        assert bool(jnp.all(jnp.isfinite(x)))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_every_guide_is_finite_at_both_ends(path):
    """At the data and at pure noise, also where sigma(0) = 0 or alpha(1) = 0."""
    path = PATHS[path]()
    points = jnp.asarray(POINTS, jnp.float32)

    @jax.jit
    def ends(t):
        found = all_guides(gaussian_denoiser(COVARIANCES["any"], path), path)
        return {name: guided(points, t) for name, guided in found.items()}

    for t in (0.0, 1.0):
        for name, x in ends(jnp.full(2, t)).items():
            assert x.dtype == jnp.float32
            assert bool(jnp.all(jnp.isfinite(x))), (name, t)


@pytest.mark.slow
@pytest.mark.parametrize("stepper", STEPPERS)
def test_every_guide_with_every_stepper_on_every_path(stepper, key):
    for name, make in PATHS.items():
        path = make()
        start, times = prior(key, path, (2, 3)), jnp.array([1.0, 0.5, 0.0])

        @jax.jit
        def run(path=path, start=start, times=times):
            found = all_guides(gaussian_denoiser(COVARIANCES["any"], path), path)
            walk = lambda guided: sample(key, guided, path, start, times, STEPPERS[stepper]())
            return {guide: walk(guided) for guide, guided in found.items()}

        for guide, x in run().items():
            assert (x.shape, x.dtype) == (start.shape, start.dtype)
            assert bool(jnp.all(jnp.isfinite(x))), (name, guide)


def test_guidance_towards_a_class_goes_inside(x64):
    """Classes that differ in their means alone: w D_class + (1 - w) D is that of a third Gaussian,
    of mean w m_class + (1 - w) m, whose measured posterior is known."""
    path, covariance, weight, t = linear(), COVARIANCES["any"], 3.0, 0.4
    shift = np.array([0.5, -0.2, 0.3])
    of_mean = lambda mean: mixture_denoiser(
        jnp.ones(1), jnp.asarray(mean)[None], jnp.asarray(covariance)[None], path
    )
    denoise = classifier_free(of_mean(MEAN + shift), of_mean(MEAN), weight)
    alone = of_mean(MEAN + weight * shift)
    operator = inverse.dense(MATRIX)

    @jax.jit
    def guided(x):
        t_all = jnp.full(2, t)
        return [
            {n: g(d, path, operator, Y, NOISE, 0.7)(x, t_all) for n, g in inverse.GUIDES.items()}
            for d in (denoise, alone)
        ]

    found, expected = guided(jnp.asarray(POINTS))
    for name in inverse.GUIDES:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6, err_msg=name)
    moved = [
        given_both(covariance, path, t, x, y, NOISE, MEAN + weight * shift)
        for x, y in zip(POINTS, Y)
    ]
    np.testing.assert_allclose(found["moment_matching"], moved, atol=1e-5)


def test_samples_of_exact_guidance_have_the_posterior(key):
    """With the exact E[x0 | x_t, y] a sampler draws from p(x0 | y): mean and covariance."""
    path, covariance = linear(), COVARIANCES["any"]
    guided = guides(covariance, path)["moment_matching"]
    n = 4000
    operator, y = inverse.dense(MATRIX), Y[0]
    denoise = gaussian_denoiser(covariance, path)
    guided = inverse.moment_matching(denoise, path, operator, y, NOISE, 2)
    times = jnp.linspace(1, 0, 33)
    x = sample(key, guided, path, prior(key, path, (n, 3)), times, STEPPERS["ddim"]())
    posterior = inverse.mixture_posterior(
        jnp.ones(1), jnp.asarray(MEAN)[None], jnp.asarray(covariance)[None],
        jnp.asarray(MATRIX), jnp.asarray(y), NOISE,
    )  # fmt: skip
    spread = np.sqrt(np.diagonal(posterior.covariances[0]))
    np.testing.assert_allclose(x.mean(0), posterior.means[0], atol=5 * spread.max() / np.sqrt(n))
    found = np.cov(np.asarray(x).T)
    np.testing.assert_allclose(found, posterior.covariances[0], atol=0.12 * spread.max() ** 2)


LINEAR = (
    inverse.pseudo_inverse_guidance,
    inverse.proximal,
    inverse.moment_matching,
    inverse.gaussian_twist,
)


@pytest.mark.parametrize("guide", LINEAR)
def test_refusals(guide):
    path, points = linear(), jnp.asarray(POINTS, jnp.float32)
    denoise = gaussian_denoiser(COVARIANCES["any"], path)
    with pytest.raises(ConfigError, match="needs a linear operator"):
        guide(denoise, path, inverse.jpeg((8, 8, 1), 50), Y, NOISE)
    with pytest.raises(ConfigError, match="noise_std=-1"):
        guide(denoise, path, inverse.dense(MATRIX), Y, -1.0)
    with pytest.raises(ConfigError, match="noise_std=nan"):
        guide(denoise, path, inverse.dense(MATRIX), Y, float("nan"))
    guided = guide(denoise, path, inverse.dense(MATRIX), np.zeros((3, 2)), NOISE)
    with pytest.raises(ConfigError, match="y must have the shape"):
        guided(points, jnp.full(2, 0.5))


@pytest.mark.parametrize("guide", inverse.GUIDES)
def test_a_measurement_of_another_shape_is_refused(guide):
    denoise = gaussian_denoiser(COVARIANCES["any"], linear())
    guided = inverse.GUIDES[guide](denoise, linear(), inverse.dense(MATRIX), np.zeros(3), NOISE, 1)
    with pytest.raises(ConfigError, match="y must have the shape"):
        guided(jnp.asarray(POINTS, jnp.float32), jnp.full(2, 0.5))


@pytest.mark.parametrize("guide", [inverse.dps, inverse.moment_matching, inverse.gaussian_twist])
def test_no_noise_is_refused_where_it_is_divided_by(guide):
    with pytest.raises(ConfigError, match="noise_std=0"):
        guide(lambda x, t: x, linear(), inverse.dense(MATRIX), Y, 0.0)


def test_null_space_needs_a_linear_operator():
    with pytest.raises(ConfigError, match="needs a linear operator"):
        inverse.null_space(lambda x, t: x, inverse.jpeg((8, 8, 1), 50), Y)


@pytest.mark.parametrize("guide", [*inverse.GUIDES, "gaussian_twist"])
def test_what_is_no_number_no_path_and_no_operator(guide):
    """Known arrays of jax are looked at as numbers are; a NaN in y made all samples NaN."""
    make = inverse.GUIDES.get(guide, inverse.gaussian_twist)
    denoise = gaussian_denoiser(COVARIANCES["any"], linear())
    usual = {
        "denoise": denoise, "path": linear(), "operator": inverse.dense(MATRIX), "y": Y,
        "noise_std": NOISE, "data_std": 1.0,
    }  # fmt: skip
    call = lambda **wrong: make(*{**usual, **wrong}.values())
    wrong = [("operator", None), ("operator", MATRIX), ("denoise", None)]
    if guide != "null_space":
        wrong += [("path", "linear")]
        numbers = (jnp.array(-0.3), jnp.array(jnp.nan), jnp.array([0.3, 0.3]), 1e30, 1e-30)
        wrong += [("noise_std", number) for number in numbers]
    if guide in ("pseudo_inverse_guidance", "proximal", "gaussian_twist"):
        wrong += [("data_std", jnp.array(0.0)), ("data_std", 1e30)]
    points = jnp.asarray(POINTS, jnp.float32), jnp.full(2, 0.5)
    for name, value in wrong:
        with pytest.raises(ConfigError, match=f"{name}|needs a linear operator"):
            call(**{name: value})(*points)
    with pytest.raises(DataError, match="y holds values that are not finite"):
        call(y=np.array([np.nan, 0.0]))(*points)


def test_dps_with_the_authors_scale_does_not_read_the_noise():
    denoise = gaussian_denoiser(COVARIANCES["any"], linear())
    given = (denoise, linear(), inverse.dense(MATRIX), Y)
    points = jnp.asarray(POINTS, jnp.float32), jnp.full(2, 0.5)
    with_noise = inverse.dps(*given, 0.3, scale="residual_norm")(*points)
    without = inverse.dps(*given, 0.0, scale="residual_norm")(*points)
    np.testing.assert_array_equal(with_noise, without)
    with pytest.raises(ConfigError, match="weight=inf"):
        inverse.dps(*given, 0.3, np.inf)


@pytest.mark.parametrize("guide", [inverse.pseudo_inverse_guidance, inverse.proximal])
def test_data_of_any_size_have_a_posterior_variance(guide):
    """Its square left float32, and the guide left the denoised point as it was."""
    denoise = lambda x, t: x / (1 - t[:, None])  # of data that can be anything
    guided = guide(denoise, linear(), inverse.dense(MATRIX), Y, NOISE, 1e18)
    x, t = jnp.asarray(POINTS, jnp.float32), jnp.full(2, 0.5)
    variance = np.eye(3)  # (sigma / alpha)^2
    gain = variance @ MATRIX.T @ np.linalg.inv(MATRIX @ MATRIX.T + NOISE**2 * np.eye(2))
    x0 = 2 * POINTS
    np.testing.assert_allclose(guided(x, t), x0 + (Y - x0 @ MATRIX.T) @ gain.T, atol=1e-4)


@pytest.mark.parametrize("guide", inverse.GUIDES)
def test_a_network_of_half_precision_is_guided(guide):
    """Its result is bfloat16, and so must be what its derivative is pulled back from."""
    half = lambda x, t: (0.5 * x).astype(jnp.bfloat16)
    whole = lambda x, t: 0.5 * x
    points = jnp.asarray(POINTS, jnp.float32), jnp.full(2, 0.5)
    run = lambda denoise: inverse.GUIDES[guide](
        denoise, linear(), inverse.dense(MATRIX), Y, NOISE, 1.0
    )(*points)
    np.testing.assert_allclose(run(half), run(whole), atol=0.2)
