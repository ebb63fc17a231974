"""Samplers of tokens against the law of their chain, summed over all states."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.discrete_diffusion import (
    TOKEN_PATHS,
    TOKEN_STEPPERS,
    bound,
    euler,
    extrapolate,
    prior,
    ratios,
    reverse,
    sample,
    table_denoiser,
)
from gen_jax.errors import ConfigError

SIZE = 3
TABLE = np.array([[0.05, 0.2, 0.1], [0.15, 0.0, 0.1], [0.1, 0.25, 0.05]])


def setting(name):
    path = TOKEN_PATHS[name](SIZE)
    x_t = jnp.array(list(itertools.product(range(len(path.noise)), repeat=2)))
    return path, x_t, table_denoiser(jnp.asarray(TABLE, jnp.float32), path)


def product_of(each):
    """Transition matrix [states, states] of pairs whose tokens move independently."""
    first, second = np.asarray(each[:, 0]), np.asarray(each[:, 1])
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)


def start_of(path):
    return np.outer(path.noise, path.noise).ravel()


def drawn(key, stepper, path, denoise, times, n=30_000):
    x = prior(jax.random.fold_in(key, 1), path, (n, 2))
    run = jax.jit(lambda key, x: sample(key, denoise, path, x, times, stepper))
    x = np.asarray(run(key, x))
    size = len(path.noise)
    return np.bincount(x[:, 0] * size + x[:, 1], minlength=size**2) / n


def assert_same_law(found, law, n=30_000):
    """Every share within 5.2 standard errors (1e-7 two-sided)."""
    error = 5.2 * np.sqrt(law * (1 - law) / n) + 1e-5
    assert np.all(np.abs(found - law) < error), np.abs(found - law).max()


def step_law(name, stepper_name, t, s, path, x_t, denoise):
    full = lambda u: jnp.full(len(x_t), u)
    log_x0 = denoise(x_t, full(t))
    if stepper_name == "ancestral" or s == 0:
        each = jnp.exp(reverse(path, log_x0, x_t, full(t), full(s)))
    else:
        same = jax.nn.one_hot(x_t, len(path.noise))
        rate = path.noise[x_t][..., None] * ratios(path, log_x0, x_t, full(t)) / max(1 - t, 1e-6)
        if t == 1 and name == "absorbing":  # 0 / 0: a mask becomes v at the rate -a' p(v)
            rate = jnp.where((x_t == SIZE)[..., None], jnp.exp(log_x0), 0)
        leap = (t - s) * rate * (1 - same)
        total = leap.sum(-1, keepdims=True)
        leap = leap / jnp.maximum(total, 1)
        each = leap + same * jnp.maximum(1 - total, 0)
    return product_of(each)


@pytest.mark.parametrize("n", [1, 3, 4])
@pytest.mark.parametrize("stepper", ["ancestral", "euler"])
@pytest.mark.parametrize("name", TOKEN_PATHS)
def test_law_of_the_chain(name, stepper, n, key):
    path, x_t, denoise = setting(name)
    times = np.linspace(1, 0, n + 1)
    law = start_of(path)
    for t, s in itertools.pairwise(times):
        law = law @ step_law(name, stepper, t, s, path, x_t, denoise)
    found = drawn(key, TOKEN_STEPPERS[stepper](), path, denoise, jnp.asarray(times))
    assert_same_law(found, law)


@pytest.mark.parametrize("name", TOKEN_PATHS)
def test_euler_leaves_pure_noise_as_the_exact_step_does(name, key):
    """The first step unmasks a(s) of the tokens; uniform noise is drawn anew."""
    path, _, denoise = setting(name)
    x = prior(jax.random.fold_in(key, 1), path, (20_000, 2))
    times = jnp.array([1.0, 0.6, 0.0])
    _, info = sample(key, denoise, path, x, times, euler(), info=True)
    moved = np.mean(np.asarray(info.trajectory[0] != x))
    wanted = 0.4 if name == "absorbing" else 1.0
    assert abs(moved - wanted) < 5 * np.sqrt(0.25 / x.size)


@pytest.mark.parametrize("name", TOKEN_PATHS)
def test_many_steps_draw_the_data(name, key):
    path, _, denoise = setting(name)
    wanted = np.zeros((len(path.noise),) * 2)
    wanted[:SIZE, :SIZE] = TABLE
    for stepper in (TOKEN_STEPPERS["ancestral"](), euler(), euler(corrector=1.0)):
        found = drawn(key, stepper, path, denoise, jnp.linspace(1, 0, 49), n=10_000)
        # Sampling alone gives 0.011, 48 steps another 0.01.
        assert 0.5 * np.abs(found - wanted.ravel()).sum() < 0.03


@pytest.mark.parametrize("n", [2, 4])
def test_first_hitting_is_exact(n, key):
    """One token at a time from the exact conditionals: the data's own law, in as many calls."""
    path, _, denoise = setting("absorbing")
    wanted = np.zeros((SIZE + 1, SIZE + 1))
    wanted[:SIZE, :SIZE] = TABLE
    found = drawn(key, TOKEN_STEPPERS["first_hitting"](), path, denoise, jnp.linspace(1, 0, n + 1))
    assert_same_law(found, wanted.ravel())


def test_by_confidence(key):
    """One step draws independent tokens; two steps unmask the more certain token first."""
    path, _, denoise = setting("absorbing")
    stepper = TOKEN_STEPPERS["by_confidence"]()
    independent = np.zeros((SIZE + 1, SIZE + 1))
    independent[:SIZE, :SIZE] = np.outer(TABLE.sum(1), TABLE.sum(0))
    found = drawn(key, stepper, path, denoise, jnp.array([1.0, 0.0]))
    assert_same_law(found, independent.ravel())

    # By hand: both tokens are drawn, the likelier value stays, the other is drawn again given it.
    first, second = TABLE.sum(1), TABLE.sum(0)
    law = np.zeros((SIZE + 1, SIZE + 1))
    for i, j in itertools.product(range(SIZE), repeat=2):
        if first[i] > second[j]:
            law[i, :SIZE] += first[i] * second[j] * TABLE[i] / TABLE[i].sum()
        else:
            law[:SIZE, j] += first[i] * second[j] * TABLE[:, j] / TABLE[:, j].sum()
    found = drawn(key, stepper, path, denoise, jnp.array([1.0, 0.5, 0.0]))
    assert_same_law(found, law.ravel())


@pytest.mark.parametrize("name", TOKEN_STEPPERS)
def test_no_mask_is_left_and_samples_stand_alone(name, key):
    path, _, denoise = setting("absorbing")
    start = jnp.full((6, 2), SIZE)
    keys = jax.random.split(key, 6)
    times = jnp.linspace(1, 0, 4)
    x, info = sample(keys, denoise, path, start, times, TOKEN_STEPPERS[name](), info=True)
    assert int(x.max()) < SIZE
    assert info.trajectory.shape == (3, 6, 2)
    alone = sample(keys[2:3], denoise, path, start[2:3], times, TOKEN_STEPPERS[name]())
    np.testing.assert_array_equal(alone[0], x[2])


@pytest.mark.parametrize("name", ["by_confidence", "first_hitting"])
def test_refusals(name, key):
    path, _, denoise = setting("uniform")
    start = jnp.zeros((1, 2), int)
    with pytest.raises(ConfigError, match="mask"):
        sample(key, denoise, path, start, jnp.linspace(1, 0, 4), TOKEN_STEPPERS[name]())


def test_more_refusals(key):
    path, _, denoise = setting("absorbing")
    start = jnp.full((1, 2), SIZE)
    with pytest.raises(ConfigError, match="a step for each of 2 tokens"):
        sample(key, denoise, path, start, jnp.array([1.0, 0.0]), TOKEN_STEPPERS["first_hitting"]())
    with pytest.raises(ConfigError, match="corrector=-1"):
        euler(-1)
    with pytest.raises(ConfigError, match="times end at 0.5, must end at 0"):
        bound(key, denoise, path, jnp.zeros((1, 2), int), jnp.array([1.0, 0.5]))


@pytest.mark.parametrize("wrong", [(1, 4), (2, 1)])
def test_a_denoiser_of_another_shape_is_refused(wrong, key):
    """Both would broadcast."""
    path, _, _ = setting("absorbing")
    start, denoise = jnp.full((3, 2), SIZE), lambda x, t: jnp.zeros((len(x), *wrong))
    with pytest.raises(ConfigError, match="denoise returned shape"):
        sample(key, denoise, path, start, jnp.linspace(1, 0, 4), TOKEN_STEPPERS["ancestral"]())
    with pytest.raises(ConfigError, match="denoise returned shape"):
        bound(key, denoise, path, jnp.zeros((3, 2), int), jnp.linspace(1, 0, 4))


@pytest.mark.parametrize("times", [[0.0, 0.5, 1.0], [1.0, 0.5, 0.5, 0.0], [1.5, 0.0]])
def test_times_that_do_not_fall_from_1_are_refused(times, key):
    path, _, denoise = setting("absorbing")
    start = jnp.full((3, 2), SIZE)
    for run in (
        lambda: sample(key, denoise, path, start, jnp.array(times), TOKEN_STEPPERS["ancestral"]()),
        lambda: bound(key, denoise, path, jnp.zeros((3, 2), int), jnp.array(times)),
    ):
        with pytest.raises(ConfigError, match="times must fall"):
            run()


def test_calls_are_those_of_the_network(key):
    """Guidance calls two networks at each step."""
    path, _, denoise = setting("absorbing")
    start, times = jnp.full((3, 2), SIZE), jnp.linspace(1, 0, 6)
    calls = lambda f: sample(key, f, path, start, times, euler(), info=True)[1].calls
    assert int(calls(denoise)) == 5
    assert int(calls(extrapolate(denoise, denoise, 2.0))) == 10
    assert int(calls(extrapolate(extrapolate(denoise, denoise, 2.0), denoise, 3.0))) == 15


@pytest.mark.parametrize("name", TOKEN_STEPPERS)
def test_dtypes_under_x64(name, x64, key):
    """Tokens keep theirs; times may be float32."""
    path, _, _ = setting("absorbing")
    denoise = table_denoiser(jnp.asarray(TABLE), path)
    for dtype, whole in itertools.product((jnp.float32, jnp.float64), (jnp.int32, jnp.int64)):
        start, times = jnp.full((3, 2), SIZE, whole), jnp.linspace(1, 0, 4, dtype=dtype)
        assert sample(key, denoise, path, start, times, TOKEN_STEPPERS[name]()).dtype == whole
