"""Generators and critics of images: conditions against formulas, running statistics, shapes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.signal import convolve2d

from gen_jax.errors import ConfigError
from gen_jax.gan_nets import CriticHead, DCGANCritic, DCGANGenerator, ResidualCritic
from gen_jax.gan_nets.conditioning import condition_vector, join

N, K, LATENT = 6, 3, 5
SHAPE = (8, 8, 1)
LABEL = jnp.array([0, 1, 2, 0, 1, 2])


def test_the_projection_is_the_log_ratio_of_class_posteriors():
    """Of two mixtures of Gaussians with the same |mean|, where the ratio is linear in x."""
    rng = np.random.default_rng(0)
    turn = lambda: np.linalg.qr(rng.normal(size=(4, 4)))[0][:K]
    real, fake = turn(), turn()  # rows: the mean of each class
    x = jnp.asarray(rng.normal(size=(N, 4)), jnp.float32)
    ratio = stats.norm.logpdf(x, real[LABEL]).sum(1) - stats.norm.logpdf(x, fake[LABEL]).sum(1)
    head = CriticHead("projection", K)
    variables = jax.tree.map(jnp.zeros_like, head.init(jax.random.key(0), x, LABEL))
    variables["params"]["projection"]["kernel"] = jnp.asarray(real - fake, jnp.float32)
    np.testing.assert_allclose(head.apply(variables, x, LABEL).score, ratio, rtol=1e-4, atol=1e-5)
    # marginal part and posterior part (miyato2018cgans, eq. 2): log q(x)/p(x) + log q(y|x)/p(y|x)
    log_p = lambda means: np.stack([stats.norm.logpdf(x, m).sum(1) for m in means], 1)
    marginal = np.logaddexp.reduce(log_p(real), 1) - np.logaddexp.reduce(log_p(fake), 1)
    posterior = lambda means: log_p(means) - np.logaddexp.reduce(log_p(means), 1, keepdims=True)
    rows = np.arange(N)
    parts = marginal + (posterior(real) - posterior(fake))[rows, LABEL]
    np.testing.assert_allclose(parts, ratio, rtol=1e-6)


def test_no_label_is_the_unconditional_part_of_the_projection():
    head, f = CriticHead("projection", K), jax.random.normal(jax.random.key(0), (N, 4))
    variables = head.init(jax.random.key(1), f, LABEL)
    w = variables["params"]["score"]
    wanted = (f @ w["kernel"] + w["bias"])[:, 0]
    np.testing.assert_allclose(head.apply(variables, f).score, wanted, rtol=1e-5)
    outside = head.apply(variables, f, jnp.full(N, K + 1)).score
    assert np.isnan(outside).all()


@pytest.mark.parametrize(
    ("conditional", "codes", "logits", "code"),
    [("none", 0, None, None), ("ac", 0, (N, K), None), ("info", 4, None, (N, 4))],
)
def test_what_a_critic_says_beside_its_score(conditional, codes, logits, code):
    critic = DCGANCritic((4, 4), conditional, K, codes, norm="none")
    x = jax.random.normal(jax.random.key(0), (N, *SHAPE))
    said, _ = critic.init_with_output(jax.random.key(1), x)
    assert said.score.shape == (N,)
    assert said.features.shape == (N, 16)
    for value, shape in ((said.logits, logits), (said.code, code)):
        assert (value is None) == (shape is None)
        assert value is None or value.shape == shape


def test_concatenated_labels_are_constant_channels():
    x = jax.random.normal(jax.random.key(0), (N, 2, 3, 1))
    planes = join(x, condition_vector(LABEL, K, N))
    np.testing.assert_array_equal(planes[..., :1], x)
    np.testing.assert_array_equal(
        planes[..., 1:], jnp.eye(K)[LABEL][:, None, None].repeat(2, 1).repeat(3, 2)
    )
    vectors = jax.random.normal(jax.random.key(1), (N, K))
    np.testing.assert_array_equal(condition_vector(vectors, K, N), vectors)
    assert not condition_vector(None, K, N).any()


@pytest.mark.parametrize("conditional", ["concat", "projection"])
def test_the_label_matters(conditional):
    critic = DCGANCritic((4,), conditional, K, norm="none")
    x = jax.random.normal(jax.random.key(0), (N, *SHAPE))
    variables = critic.init(jax.random.key(1), x, LABEL)
    a, b = (critic.apply(variables, x, y).score for y in (LABEL, (LABEL + 1) % K))
    assert np.abs(a - b).min() > 1e-5


def test_the_generator_doubles_by_transposed_convolutions():
    """The last layer against zeros between the pixels and scipy's convolution."""
    network = DCGANGenerator(SHAPE, (3, 2))
    z = jax.random.normal(jax.random.key(0), (2, LATENT))
    variables = network.init(jax.random.key(1), z)
    image, made = network.apply(variables, z, capture_intermediates=True)
    inner = made["intermediates"]
    before = np.maximum(np.asarray(inner["BatchNorm_1"]["__call__"][0]), 0)
    layer = variables["params"]["ConvTranspose_1"]
    spread = np.zeros((9, 9))
    wanted = float(layer["bias"][0])
    for channel in range(2):
        spread[1::2, 1::2] = 0
        spread[1:8:2, 1:8:2] = before[0, ..., channel]
        kernel = np.asarray(layer["kernel"][:, :, channel, 0])
        wanted = wanted + convolve2d(np.pad(spread, 1), kernel[::-1, ::-1], "valid")[:8, :8]
    assert before.shape == (2, 4, 4, 2)
    assert image.shape == (2, *SHAPE)
    np.testing.assert_allclose(image[0, ..., 0], np.tanh(wanted), rtol=1e-4, atol=1e-6)


def test_running_statistics_are_the_averages_of_the_batches():
    """momentum 0.9, from mean 0 and variance 1; only in training."""
    network = DCGANGenerator(SHAPE, (3,))
    z = jax.random.normal(jax.random.key(0), (N, LATENT)) + 1
    variables = network.init(jax.random.key(1), z)
    stats_of = lambda v, train: network.apply(v, z, train=train, mutable=["batch_stats"])[1]
    h = z @ variables["params"]["Dense_0"]["kernel"]
    h = h.reshape(-1, 3)
    mean, var = jnp.zeros(3), jnp.ones(3)
    state = dict(variables)
    for _ in range(3):
        state |= stats_of(state, True)
        mean, var = 0.9 * mean + 0.1 * h.mean(0), 0.9 * var + 0.1 * h.var(0)
    found = state["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["var"], var, rtol=1e-4)
    kept = stats_of(state, False)["batch_stats"]["BatchNorm_0"]
    np.testing.assert_array_equal(kept["mean"], found["mean"])


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_examples_stay_apart_outside_training(norm):
    critic = DCGANCritic((4, 4), norm=norm)
    x = jax.random.normal(jax.random.key(1), (3, *SHAPE))
    variables = critic.init(jax.random.key(2), x)
    whole = critic.apply(variables, x).score
    np.testing.assert_allclose(critic.apply(variables, x[1:2]).score[0], whole[1], rtol=1e-4)
    collections = {"batch": {"batch_stats"}, "spectral": {"spectral"}, "none": set()}
    assert variables.keys() - {"params"} == collections[norm]


@pytest.mark.parametrize(
    "critic",
    [partial(DCGANCritic, (4,), norm="none"), partial(ResidualCritic, (4,))],
    ids=["dcgan", "residual"],
)
def test_what_a_critic_of_images_knows_of_its_batch_and_forgets_by_dropout(critic):
    x = 0.1 * jax.random.normal(jax.random.key(1), (4, *SHAPE))  # alike enough to be seen so
    for minibatch in ("none", "deviation", "discrimination"):
        made = critic(minibatch=minibatch)
        variables = made.init(jax.random.key(2), x)
        together, alone = (made.apply(variables, a).score for a in (x, x[:2]))
        assert np.allclose(together[:2], alone, atol=1e-6) == (minibatch == "none")
    made = critic(dropout=0.5)
    variables = made.init(jax.random.key(2), x)
    rows = {"rngs": {"dropout": jax.random.key(3)}, "mutable": ["spectral"]}
    noisy = made.apply(variables, x, train=True, **rows)[0].features
    kept = made.apply(variables, x).features
    dropped = (noisy == 0) & (kept != 0)
    assert 0 < dropped.mean() < 1
    np.testing.assert_allclose(noisy[~dropped], 2 * kept[~dropped], rtol=1e-5)


def test_spectral_layers_converge_to_norm_one():
    """Every matrix over its largest singular value (numpy), convolutions by output channel."""
    critic = DCGANCritic((4, 5), "projection", K, norm="spectral")
    x = jax.random.normal(jax.random.key(0), (2, *SHAPE))
    variables = critic.init(jax.random.key(1), x, LABEL[:2])
    move = jax.jit(lambda v: critic.apply(v, x, LABEL[:2], train=True, mutable=["spectral"])[1])
    for _ in range(100):
        variables = {**variables, **move(variables)}
    params, flat = variables["params"], jax.tree_util.tree_flatten_with_path(variables["spectral"])
    sigmas = {p[-1].key: v for p, v in flat[0] if p[-1].key.endswith("sigma")}
    head = params["CriticHead_0"]
    matrices = {
        "Conv_0": params["Conv_0"],
        "Conv_1": params["Conv_1"],
        "score": head["score"],
        "projection": head["projection"],
    }
    assert len(sigmas) == len(matrices)
    for name, layer in matrices.items():
        kernel = np.asarray(layer["kernel"]).reshape(-1, layer["kernel"].shape[-1])
        wanted = np.linalg.svd(kernel, compute_uv=False)[0]
        assert sigmas[f"{name}/kernel/sigma"] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: DCGANGenerator((28, 28, 1), (4, 4, 4)), "halved 3"),
        (lambda: DCGANGenerator((8, 8), (4,)), "no image"),
        (lambda: DCGANGenerator(SHAPE, ()), "widths"),
        (lambda: DCGANCritic((0,)), "widths"),
        (lambda: DCGANCritic(norm="layer"), "norm"),
        (lambda: CriticHead("projection"), "needs num_classes"),
        (lambda: CriticHead("info"), "codes=0"),
        (lambda: CriticHead("none", codes=2), "codes=2"),
        (lambda: CriticHead("auxiliary"), "conditional"),
    ],
)
def test_refusals(make, word):
    with pytest.raises(ConfigError, match=word):
        make()


def test_refusals_of_inputs():
    z = jnp.zeros((N, LATENT))
    with pytest.raises(ConfigError, match="num_classes=0"):
        DCGANGenerator(SHAPE, (4,)).init(jax.random.key(0), z, LABEL)
    with pytest.raises(ConfigError, match="must be \\[B, 3\\]"):
        DCGANGenerator(SHAPE, (4,), K).init(jax.random.key(0), z, z)
    with pytest.raises(ConfigError, match="image"):
        DCGANCritic((4,)).init(jax.random.key(0), z)
