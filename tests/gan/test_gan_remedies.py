"""Remedies one by one: unrolling, augmentation, noise, clipping, accumulation, critics' layers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from gen_jax.errors import ConfigError
from gen_jax.gan import AUGMENTATIONS
from gen_jax.gan.augmentation import augmentation
from gen_jax.gan.remedies import (
    accumulated,
    annealed,
    clip_weights,
    feature_matching,
    instance_noise,
    keep_where,
    split_batch,
)
from gen_jax.gan.unrolled import unrolled
from gen_jax.gan_nets import LipschitzCritic, MLPCritic
from gen_jax.gan_nets.lipschitz import group_sort, orthonormalised
from gen_jax.gan_nets.minibatch import MinibatchDiscrimination, minibatch_deviation
from gen_jax.gan_nets.spectral import normalised


def descent(loss, optimizer):
    """A step of the optimizer on the loss."""

    def step(params, moments):
        updates, moments = optimizer.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments

    return step


def ahead(generator, critic, optimizer, k):
    """The critic k steps on, of the loss sum (c - g)^2 / 2 + sum c^4 / 40."""
    loss = lambda c: jnp.sum(0.5 * (c - generator) ** 2 + c**4 / 40)
    return unrolled(descent(loss, optimizer), critic, optimizer.init(critic), k)


@pytest.mark.parametrize(
    "optimizer", [optax.sgd(0.3), optax.adam(0.1, b1=0.5)], ids=["sgd", "adam"]
)
def test_the_unrolled_gradient_against_finite_differences(x64, optimizer):
    critic, generator = jnp.array([0.4, -1.2]), jnp.array([1.5, 0.3])

    def loss(generator):
        c = ahead(generator, critic, optimizer, 4)
        return jnp.sum(jnp.sin(c) * generator)

    h = 1e-5
    steps = h * np.eye(2)
    differences = [(loss(generator + s) - loss(generator - s)) / (2 * h) for s in steps]
    np.testing.assert_allclose(jax.grad(loss)(generator), differences, rtol=1e-6)
    blind = jnp.sin(ahead(generator, critic, optimizer, 4))  # planted: the critic as a constant
    assert np.abs(blind - np.asarray(differences)).max() > 0.01


def test_unrolled_gradient_descent_in_closed_form(x64):
    """(c - g)^2 / 2 by steps of rate a: c_k = g + (1 - a)^k (c - g); 0 steps change nothing."""
    g, c, a = jnp.array(2.0), jnp.array(-1.0), 0.3
    loss = lambda c: 0.5 * (c - g) ** 2
    for k in (0, 1, 5):
        found = unrolled(descent(loss, optax.sgd(a)), c, optax.sgd(a).init(c), k)
        np.testing.assert_allclose(found, 2 + (1 - a) ** k * -3, rtol=1e-12)


def images(key, n=4, side=8, channels=3):
    return jax.random.uniform(key, (n, side, side, channels), minval=-1.0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_are_differentiable_random_and_know_one_example_only(key, name):
    x, augment = images(key), augmentation([name])
    seen = augment(key, x)
    assert seen.shape == x.shape
    assert not np.allclose(seen, augment(jax.random.fold_in(key, 1), x))
    np.testing.assert_allclose(augment(key, x[:2]), seen[:2], rtol=1e-6)
    same = augment(key, jnp.broadcast_to(x[:1], x.shape))
    assert np.unique(np.asarray(same).reshape(4, -1).round(4), axis=0).shape[0] > 1
    gradient = jax.grad(lambda x: jnp.sum(augment(key, x) ** 2))(x)
    assert (np.abs(gradient).reshape(4, -1).max(1) > 0).all()


def test_translations_move_by_whole_pixels_and_fill_with_black(key):
    x = images(key, n=40, side=16)
    seen = np.asarray(AUGMENTATIONS["translation"](jax.random.split(key, 40), x))
    padded = np.pad(np.asarray(x), ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=-1)
    moves = set()
    for before, after in zip(padded, seen):
        found = [
            (i, j) for i in range(5) for j in range(5)
            if np.array_equal(before[i : i + 16, j : j + 16], after)
        ]  # fmt: skip
        assert len(found) == 1
        moves.update(found)
    assert len(moves) > 12


def test_cutout_hides_a_square_of_half_the_side(key):
    seen = AUGMENTATIONS["cutout"](jax.random.split(key, 60), jnp.ones((60, 16, 16, 1)))
    hidden = 1 - np.asarray(seen)[..., 0]
    rows, columns = hidden.max(2).sum(1), hidden.max(1).sum(1)
    np.testing.assert_array_equal(hidden.sum((1, 2)), rows * columns)  # rectangles
    assert rows.max() <= 9
    assert np.median(rows) in (7, 8)


def test_color_keeps_the_form_of_an_image(key):
    """Grey images stay an affine function of themselves, with a slope of 0.5 to 1.5."""
    x = images(key, n=8, channels=1)
    seen = np.asarray(AUGMENTATIONS["color"](jax.random.split(key, 8), x)).reshape(8, -1)
    for before, after in zip(np.asarray(x).reshape(8, -1), seen):
        slope, offset = np.polyfit(before, after, 1)
        np.testing.assert_allclose(after, slope * before + offset, atol=1e-5)
        assert 0.5 <= slope <= 1.5
        assert abs(after.mean() - before.mean()) <= 0.5


def test_small_remedies(key):
    params = {"w": jnp.array([-3.0, 0.005, 2.0])}
    np.testing.assert_allclose(clip_weights(params, 0.01)["w"], [-0.01, 0.005, 0.01])
    falling = [annealed(0.4, jnp.int32(step), 100) for step in (0, 25, 100, 300)]
    np.testing.assert_allclose(falling, [0.4, 0.3, 0, 0], atol=1e-7)
    assert annealed(0.4, jnp.int32(10**6), 0) == np.float32(0.4)
    x = jnp.ones((40_000, 1))
    noise = np.asarray(instance_noise(key, x, 0.3) - x)
    assert abs(noise.std() / 0.3 - 1) < 5 / np.sqrt(80_000)
    np.testing.assert_array_equal(instance_noise(key, x[:3], 0.3), (x + noise)[:3])
    real, fake = jnp.array([[1.0, 2.0], [3.0, 2.0]]), jnp.array([[0.0, 0.0], [2.0, 0.0]])
    assert feature_matching(real, fake) == 1 + 4
    old, new = {"a": jnp.zeros(2)}, {"a": jnp.ones(2)}
    assert keep_where(jnp.array(True), old, new)["a"].sum() == 0
    assert keep_where(jnp.array(False), old, new)["a"].sum() == 2


def test_accumulated_gradients_are_those_of_the_whole(key):
    x, w = jax.random.normal(key, (12, 3)), jnp.array([0.2, -1.0, 0.5])
    loss = lambda batch: jax.value_and_grad(lambda w: jnp.mean(jnp.tanh(batch["x"] @ w) ** 2))(w)
    whole = loss({"x": x})
    for parts in (1, 3, 4):
        found = accumulated(loss, split_batch({"x": x}, parts))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, whole)
    with pytest.raises(ConfigError, match="batch of 12 is not divisible by n_critic=5"):
        split_batch({"x": x}, 5)
    counts = lambda x: (x, 3 + x.astype(jnp.int32))
    mean, seen = accumulated(counts, [jnp.float32(1), jnp.float32(2)])
    assert (mean, seen, seen.dtype) == (1.5, 5, jnp.int32)


class Layer(nn.Module):
    """A normalised convolution or dense layer, its bias at 1."""

    kernel: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x, train=False):
        ones = nn.initializers.ones
        bare = (
            nn.Conv(5, self.kernel, bias_init=ones) if self.kernel else nn.Dense(5, bias_init=ones)
        )
        return normalised(bare)(x, train)


@pytest.mark.parametrize("kernel", [(), (3, 3)], ids=["dense", "conv"])
def test_spectral_norms_equal_the_singular_value_and_move_on_through_jit(key, kernel):
    """The kernel as [inputs, outputs] has norm 1 after convergence; evaluation moves nothing."""
    layer, x = Layer(kernel), jnp.ones((1, 4, 4, 3))
    params, stats = (variables := layer.init(key, x))["params"], variables["spectral"]
    call = jax.jit(
        lambda stats: layer.apply(
            {"params": params, "spectral": stats}, x, True, mutable=["spectral"]
        )
    )
    vector = lambda stats: next(leaf for leaf in jax.tree.leaves(stats) if leaf.ndim)
    assert not np.allclose(vector(stats), vector(call(stats)[1]))
    for _ in range(60):
        _, moved = call(stats)
        stats = moved["spectral"]
    out = layer.apply({"params": params, "spectral": stats}, x)
    ((name, weights),) = params.items()
    matrix = np.asarray(weights["kernel"], np.float64).reshape(-1, 5)
    norm = np.linalg.svd(matrix, compute_uv=False)[0]
    plain = nn.Conv(5, kernel) if kernel else nn.Dense(5)
    scaled = {"params": {"kernel": weights["kernel"] / norm, "bias": weights["bias"]}}
    np.testing.assert_allclose(out, plain.apply(scaled, x), rtol=1e-4, atol=1e-5)
    # The output does not change with the matrix's scale: the gradient passes through its norm.
    loss = lambda params: jnp.sum(jnp.sin(layer.apply({"params": params, "spectral": stats}, x)))
    gradient = jax.grad(loss)(params)[name]["kernel"]
    size = np.linalg.norm(gradient) * np.linalg.norm(weights["kernel"])
    assert abs(np.sum(gradient * weights["kernel"])) < 1e-4 * size


def test_orthonormalised_is_the_nearest_orthonormal_matrix():
    """U V^T of the singular value decomposition."""
    rng = np.random.default_rng(2)
    for shape in ((6, 4), (4, 6), (5, 5), (7, 1)):
        w = rng.normal(size=shape).astype(np.float32)
        u, _, v = np.linalg.svd(w, full_matrices=False)
        np.testing.assert_allclose(orthonormalised(jnp.asarray(w), 40), u @ v, atol=2e-4)


def test_sorted_groups():
    x = jnp.array([[3.0, 1.0, 2.0, 5.0, 4.0, 0.0]])
    np.testing.assert_array_equal(group_sort(x), [[1, 3, 2, 5, 0, 4]])
    ties = jax.jacobian(group_sort)(jnp.ones((1, 4)))[0, :, 0]
    np.testing.assert_array_equal(ties, jnp.eye(4))  # a permutation, also where all are equal
    np.testing.assert_array_equal(group_sort(x, 3), [[1, 2, 3, 0, 4, 5]])
    with pytest.raises(ConfigError, match="not divisible by groups of 4"):
        group_sort(x, 4)


def test_a_lipschitz_critic_is_one_and_reaches_the_wasserstein_distance(key, optimized):
    """Two Gaussians 1.5 apart: W_1 = 1.5; of 20,000 pairs no slope above 1."""
    critic, shift = LipschitzCritic((16, 16)), jnp.array([0.9, -1.2])
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, 300))
    params = critic.init(key, jnp.zeros((1, 2)))
    score = lambda params, x: critic.apply(params, x).score

    def step(carry, key):
        params, moments = carry
        q = jax.random.normal(key, (256, 2))
        loss = lambda p: jnp.mean(score(p, q)) - jnp.mean(score(p, q + shift))
        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    run = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), jax.random.split(key, 300)))
    params = run(params)[0][0]
    x = 3 * jax.random.normal(jax.random.fold_in(key, 1), (20_000, 2))
    y = x[::-1]
    change = np.abs(score(params, x) - score(params, y)) / np.linalg.norm(x - y, axis=1)
    assert change.max() < 1 + 1e-4
    reached = float(jnp.mean(score(params, x + shift)) - jnp.mean(score(params, x)))
    assert 0.97 * 1.5 < reached < 1.5 * 1.001


def test_what_a_critic_knows_of_its_batch(key):
    h = jax.random.normal(key, (5, 3))
    spread = np.sqrt(np.asarray(h).var(0) + 1e-8).mean()
    np.testing.assert_allclose(minibatch_deviation(h)[:, 3], spread, rtol=1e-5)
    assert minibatch_deviation(jnp.ones((5, 3)))[0, 3] < 1e-3  # all alike
    net = MinibatchDiscrimination(rows=4, columns=2)
    params = net.init(key, h)
    m = np.asarray(h @ params["params"]["Dense_0"]["kernel"]).reshape(5, 4, 2)
    expected = [
        [
            sum(np.exp(-np.abs(m[i, b] - m[j, b]).sum()) for j in range(5) if j != i)
            for b in range(4)
        ]
        for i in range(5)
    ]
    found = net.apply(params, h)
    np.testing.assert_allclose(found[:, 3:], expected, rtol=1e-4)
    np.testing.assert_array_equal(found[:, :3], h)


def test_critics_judge_each_example_alone_but_for_minibatch_features(key):
    x = jax.random.normal(key, (4, 2))
    for critic, coupled in (
        (MLPCritic((8,), spectral=True), False),
        (LipschitzCritic((8,)), False),
        (MLPCritic((8,), minibatch="deviation"), True),
        (MLPCritic((8,), minibatch="discrimination"), True),
    ):
        variables = critic.init(key, x)
        together, alone = (critic.apply(variables, a).score for a in (x, x[:2]))
        assert np.allclose(together[:2], alone, atol=1e-6) != coupled


def test_dropout_is_of_training_only(key):
    critic, x = MLPCritic((32,), dropout=0.5), jax.random.normal(key, (3, 2))
    params = critic.init(key, x)
    np.testing.assert_array_equal(critic.apply(params, x).score, critic.apply(params, x).score)
    noisy = [
        critic.apply(params, x, train=True, rngs={"dropout": k}).score
        for k in jax.random.split(key)
    ]
    assert not np.allclose(*noisy)
