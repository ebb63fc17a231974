"""Acceptance and swaps as exact matrices; leapfrog's mechanics. No sampling."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from gen_jax import mcmc
from gen_jax.mcmc.hmc import leapfrog
from gen_jax.mcmc.kernel import evaluator
from gen_jax.mcmc.parallel_tempering import exchange, log_swap_ratios, swap_order


def acceptances(log_ratio):
    """Acceptance probability of each proposal, one chain each, as `metropolis` finds it."""
    zero = jnp.zeros_like(log_ratio)
    point = mcmc.ChainState(zero[:, None], zero, None)
    return mcmc.metropolis(zero + 0.5, point, point, log_ratio)[1].acceptance


def test_metropolis_hastings_is_reversible_on_five_states(x64, key):
    """p_i P_ij = p_j P_ji for a lopsided proposal matrix, and not without its ratio."""
    p = np.array([0.05, 0.3, 0.1, 0.35, 0.2])
    q = np.asarray(jax.random.dirichlet(key, jnp.ones(5), (5,)))

    def flow(hastings):
        ratio = np.log(p[None] / p[:, None]) + hastings * np.log(q.T / q)
        move = q * np.asarray(acceptances(jnp.asarray(ratio.ravel()))).reshape(5, 5)
        move -= np.diag(np.diag(move))
        return p[:, None] * (move + np.diag(1 - move.sum(1)))

    balanced = flow(True)
    np.testing.assert_allclose(balanced, balanced.T, atol=1e-15)
    np.testing.assert_allclose(balanced.sum(0), p, atol=1e-15)
    assert np.abs(flow(False).sum(0) - p).max() > 1e-3


def test_swaps_keep_the_product_of_the_levels(x64):
    """The transition matrix over all 27 places of three levels on three states, for each parity."""
    log_p, b = np.log([0.2, 0.7, 0.1]), np.array([1.0, 0.6, 0.25])
    places = list(itertools.product(range(3), repeat=3))
    energies = log_p[np.array(places)]
    product = np.exp((b * energies).sum(1))
    product /= product.sum()
    for parity in (0, 1):
        matrix = np.zeros((27, 27))
        accept = np.exp(
            np.minimum(np.asarray(log_swap_ratios(jnp.asarray(energies), jnp.asarray(b))), 0)
        )
        for row, place in enumerate(places):
            swapped = list(place)
            swapped[parity : parity + 2] = swapped[parity : parity + 2][::-1]
            matrix[row, places.index(tuple(swapped))] += accept[row, parity]
            matrix[row, row] += 1 - accept[row, parity]
        flow = product[:, None] * matrix
        np.testing.assert_allclose(flow, flow.T, atol=1e-15)


def test_exchange_does_what_its_ratio_says(x64, key):
    """Positions, densities and gradients after a swap are those of a fresh evaluation."""
    b = jnp.array([1.0, 0.6, 0.25])
    f = lambda x: -jnp.sum(x**4, 1) + x[:, 0]

    def ladder_of(x):
        tempered = lambda y: jnp.tile(b, len(x)) * f(y / jnp.sqrt(jnp.tile(b, len(x)))[:, None])
        y = (x * jnp.sqrt(b)[:, None]).reshape(-1, 2)
        values, gradient = evaluator(tempered, lambda y: y, True)(y)
        apart = lambda a: a.reshape(-1, 3, *a.shape[1:])
        return mcmc.ChainState(apart(y), apart(values), apart(gradient))

    x = jax.random.normal(key, (4, 3, 2))
    for parity, order in ((0, [1, 0, 2]), (1, [0, 2, 1])):
        moved, _ = exchange(jnp.full((4, 2), -1.0), ladder_of(x), b, jnp.full(4, parity))
        fresh = ladder_of(x[:, jnp.array(order)])
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-12), moved, fresh)
    still, _ = exchange(jnp.full((4, 2), 2.0), ladder_of(x), b, jnp.zeros(4, int))
    jax.tree.map(np.testing.assert_array_equal, still, ladder_of(x))
    accepted = jnp.array([[True, False, True], [False, True, False]])
    np.testing.assert_array_equal(swap_order(accepted), [[1, 0, 3, 2], [0, 2, 1, 3]])


PRECISION = np.array([[2.0, 0.6], [0.6, 1.0]])


def quartic(x):
    return -0.5 * jnp.einsum("bi,ij,bj->b", x, PRECISION, x) - 0.1 * jnp.sum(x**4, 1)


def trajectory(log_density, x, momentum, h, n):
    evaluate = evaluator(log_density, lambda x: x, True)
    x, momentum, values, _ = leapfrog(evaluate, x, momentum, evaluate(x)[1], h, n)
    return x, momentum, values


def test_leapfrog_is_reversible_and_keeps_volume(x64, key):
    x, momentum = jax.random.normal(key, (2, 5, 2))
    forth, end, values = trajectory(quartic, x, momentum, 0.2, 7)
    back, start, _ = trajectory(quartic, forth, -end, 0.2, 7)
    np.testing.assert_allclose(back, x, atol=1e-13)
    np.testing.assert_allclose(-start, momentum, atol=1e-13)
    np.testing.assert_allclose(values, quartic(forth), atol=1e-13)

    def flow(z):
        return jnp.concatenate(trajectory(quartic, z[None, :2], z[None, 2:], 0.2, 7)[:2], 1)[0]

    jacobian = jax.jacfwd(flow)(jnp.concatenate([x[0], momentum[0]]))
    np.testing.assert_allclose(np.linalg.det(jacobian), 1, atol=1e-12)


def test_leapfrog_has_order_two(x64):
    """Against the matrix exponential of the linear flow of a Gaussian; slope within 0.05."""
    gaussian = lambda x: -0.5 * jnp.einsum("bi,ij,bj->b", x, PRECISION, x)
    zero, one = np.zeros((2, 2)), np.eye(2)
    truth = scipy.linalg.expm(np.block([[zero, one], [-PRECISION, zero]])) @ [1, -0.5, 0.3, 0.8]
    steps, errors = [16, 32, 64, 128], []
    for n in steps:
        x, momentum = jnp.array([[1.0, -0.5]]), jnp.array([[0.3, 0.8]])
        x, momentum, _ = trajectory(gaussian, x, momentum, 1 / n, n)
        errors.append(np.abs(np.concatenate([x[0], momentum[0]]) - truth).max())
    assert abs(-np.polyfit(np.log(steps), np.log(errors), 1)[0] - 2) < 0.05


@pytest.mark.parametrize("h", [0.1, 0.5])
def test_hmc_counts_the_energy_of_its_trajectory(x64, key, h):
    """The acceptance is exp(H(start) - H(end)) of a plain kick-drift-kick loop."""
    x = jax.random.normal(key, (20, 2))
    kernel = mcmc.hmc(quartic, h, 3)
    state = kernel.init(x)
    after, info = kernel.step(key, state)
    from gen_jax.mcmc.kernel import draw
    from gen_jax.randomness import sample_keys

    momentum, u = draw(sample_keys(key, 20), x, 2)
    h = h * (0.5 + u[:, :1])  # uniform on (h / 2, 3 h / 2), one per chain
    gradient = jax.grad(lambda x: quartic(x).sum())
    y, p = x, momentum
    for _ in range(3):
        p = p + h / 2 * gradient(y)
        y = y + h * p
        p = p + h / 2 * gradient(y)
    energy = lambda x, p: -quartic(x) + 0.5 * jnp.sum(p**2, 1)
    expected = np.minimum(1, np.exp(energy(x, momentum) - energy(y, p)))
    np.testing.assert_allclose(info.acceptance, expected, rtol=1e-10)
    np.testing.assert_allclose(after.x, jnp.where(info.accepted[:, None], y, x), rtol=1e-10)
