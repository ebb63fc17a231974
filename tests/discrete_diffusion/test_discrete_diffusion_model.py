"""Token diffusion as a model: exact denoisers give exact bounds, and what is refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, data, nets
from gen_jax import discrete_diffusion as dd
from gen_jax.errors import ConfigError, DataError

KEY = jax.random.key(0)
LAW = np.array([[0.3, 0.05, 0.05], [0.02, 0.2, 0.03], [0.05, 0.1, 0.2]])
PAIRS = np.array([[i, j] for i in range(3) for j in range(3)], np.int32)


class Table(nn.Module):
    """Exact logits for a joint law of two tokens; of three classes, token 0 is the class."""

    kind: str
    by_class: bool = False

    @nn.compact
    def __call__(self, tokens, noise, condition=None):
        self.param("unused", nn.initializers.zeros, ())
        path = dd.TOKEN_PATHS[self.kind](3)
        size = len(path.noise)
        table = jnp.zeros((size, size)).at[:3, :3].set(LAW)
        # What the others say of a token: its posterior over its likelihood.
        q = jnp.stack([dd.marginal(path, jnp.full_like(tokens, v), noise) for v in range(size)], -1)
        q = jnp.take_along_axis(q, tokens[..., None, None], 2)[:, :, 0]
        others = lambda log_p: jnp.where(q > 0, log_p - jnp.log(jnp.where(q > 0, q, 1)), 0)
        if not self.by_class:
            return others(dd.table_denoiser(table, path)(tokens, noise))
        known = jnp.zeros((4, size, size)).at[3].set(table)
        for y in range(3):
            known = known.at[y, y].set(table[y] / table[y].sum())
        one = lambda y, x, t: dd.table_denoiser(known[y], path)(x[None], t[None])[0]
        return others(jax.vmap(one)(condition, tokens, noise))


def build(path, by_class=False, **options):
    if by_class:
        options["condition"] = conditions.labels(3)
    network = Table(path, by_class)
    model = dd.discrete_diffusion(network, optax.sgd(0.1), shape=(2,), size=3, path=path, **options)
    batch = {"x": jnp.asarray(PAIRS), "y": jnp.asarray(PAIRS[:, 0])}
    return model, model.init(KEY, batch), batch


@pytest.mark.parametrize("path", dd.TOKEN_PATHS)
def test_the_bound_of_the_exact_denoiser_is_the_log_probability(path):
    model, state, _ = build(path)
    many = np.repeat(PAIRS, 400, 0)
    nats = np.asarray(model.log_prob(KEY, state, many, num_times=128)).reshape(9, 400)
    error = nats.std(1) / np.sqrt(400)
    assert np.all(np.abs(nats.mean(1) - np.log(LAW).ravel()) < 4.5 * error + 5e-3)


@pytest.mark.parametrize("path", dd.TOKEN_PATHS)
def test_samples_follow_the_law_and_the_label(path):
    model, state, _ = build(path, by_class=True)
    label = np.arange(3000) % 3
    x = np.asarray(model.sample(KEY, state, 3000, label=label, num_steps=24))
    np.testing.assert_array_equal(x[:, 0], label)
    truth = LAW / LAW.sum(1, keepdims=True)
    found = np.stack([np.bincount(x[label == y, 1], minlength=3) / 1000 for y in range(3)])
    assert 0.5 * np.abs(found - truth).sum(1).max() < 0.07
    free = np.asarray(model.sample(KEY, state, 3000, num_steps=24))
    joint = np.bincount(3 * free[:, 0] + free[:, 1], minlength=9) / 3000
    assert 0.5 * np.abs(joint - LAW.ravel()).sum() < 0.06
    guided = model.sample(KEY, state, 64, label=1, guidance=2.0, num_steps=24)
    np.testing.assert_array_equal(guided[:, 0], 1)
    with pytest.raises(ConfigError, match="guidance"):
        model.sample(KEY, state, 4, guidance=2.0)
    never, _, _ = build(path, by_class=True, condition_dropout=0.0)
    with pytest.raises(ConfigError, match=r"guidance=2\.0 needs .* condition_dropout above 0"):
        never.sample(KEY, state, 4, label=1, guidance=2.0)


NETWORKS = {
    "absorbing": (nets.TokenTransformer(4, 2, 16, 1, 2), (2,)),
    "uniform": (nets.TokenTransformer(3, 2, 16, 1, 2), (2,)),
    "absorbing, one patch of two": (nets.TokenDiT(4, (1, 2, 1), 2, 16, 1, 2), (1, 2, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_of_the_transformers_is_finite_and_lowers_the_loss(name):
    """From uniform logits, log 3 nats per token of the data at most, in a few steps."""
    path = name.split(",")[0]
    network, shape = NETWORKS[name]
    model = dd.discrete_diffusion(network, optax.adam(1e-2), shape=shape, size=3, path=path)
    x = np.repeat(PAIRS, np.round(100 * LAW).astype(int).ravel(), 0).reshape(-1, *shape)
    state = model.init(KEY, {"x": x})

    @jax.jit
    def run(state):
        one = lambda state, key: model.step(key, state, {"x": x})
        return jax.lax.scan(one, state, jax.random.split(KEY, 200))

    state, metrics = run(state)
    loss = np.asarray(metrics["loss"])
    assert np.isfinite(loss).all()
    assert np.isfinite(np.asarray(metrics["gradient_norm"])).all()
    entropy = -(LAW * np.log(LAW)).sum()
    assert abs(loss[:10].mean() - 2 * np.log(3)) < 0.35
    assert abs(loss[-50:].mean() - entropy) < 0.25


def test_every_token_of_an_image_is_seen_at_the_border_too(key):
    """Logits start at zero, and change with each token; one out of range is seen by its NaN."""
    network = nets.TokenDiT(5, (3, 5, 2), 2, width=8, depth=1)
    x = jax.random.randint(key, (1, 30), 0, 5)
    variables = network.init(key, x, jnp.zeros(1))
    assert not network.apply(variables, x, jnp.zeros(1)).any()
    wave = lambda leaf: 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape)
    params = jax.tree.map(wave, variables)
    logits = jax.jit(lambda x: network.apply(params, x, jnp.zeros(1))[0])
    for place in range(30):
        moved = np.abs(logits(x.at[0, place].set((x[0, place] + 1) % 5)) - logits(x)).max(-1)
        assert moved.max() > 0
    assert np.isnan(logits(x.at[0, 3].set(5))).any()
    with pytest.raises(ConfigError, match=r"29 tokens .* shape=\(3, 5, 2\)"):
        network.apply(params, x[:, 1:], jnp.zeros(1))
    for bad in ((3, 5), (3, 0, 1)):
        with pytest.raises(ConfigError, match="shape="):
            nets.TokenDiT(5, bad)


def test_bad_input_is_refused():
    make = lambda **o: dd.discrete_diffusion(
        nets.TokenTransformer(4, 2, 16, 1, 2), optax.sgd(0.1), **{"shape": (2,), "size": 3, **o}
    )
    for options, message in (
        ({"path": "maskd"}, "path='maskd'"),
        ({"size": 1}, "size=1"),
        ({"stepper": "eulr"}, "did you mean 'euler'"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"path": dd.absorbing(7)}, "8 tokens"),
        ({"size": 4, "path": dd.absorbing(3)}, "mask that is one of the data's 4 tokens: 3"),
        ({"path": "uniform", "stepper": "by_confidence"}, "mask"),
        ({"stepper": "first_hitting", "num_steps": 1}, "a step for each of 2 tokens"),
        ({"stepper": 3}, "stepper=3"),
    ):
        with pytest.raises(ConfigError, match=message):
            make(**options)
    with pytest.raises(DataError, match=r"\[0, 3\].*\[0, 2\]"):
        make().init(KEY, {"x": np.full((2, 2), [0, 3])})
    images = make(shape=(2, 1, 1), size=2, transform=data.binarize(), path="absorbing")
    with pytest.raises(ConfigError, match="shape"):
        images.init(KEY, {"x": np.zeros((2, 3, 1, 1), np.uint8)})
