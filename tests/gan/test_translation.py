"""pix2pix and CycleGAN: objectives at maps whose values are known, who learns when, sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from gen_jax import data, training
from gen_jax.errors import ConfigError
from gen_jax.gan import cyclegan, pix2pix
from gen_jax.gan.cyclegan import Domains, critics_objective, generators_objective
from gen_jax.gan.losses import lsgan
from gen_jax.gan.pix2pix import critic_objective, generator_objective
from gen_jax.gan.translation import draw_sources, first_memory, patch_loss, remember, split_pair
from gen_jax.gan_nets import PatchCritic, UNetGenerator
from gen_jax.randomness import sample_keys

SHAPE = (8, 16, 1)
KINDS = {"pix2pix": pix2pix, "cyclegan": cyclegan}


class Affine(nn.Module):
    """w x + b, of every pixel."""

    @nn.compact
    def __call__(self, x, keys=None):
        return nn.Conv(x.shape[-1], (1, 1), kernel_init=nn.initializers.zeros)(x)


class Pixels(nn.Module):
    """A score per pixel."""

    @nn.compact
    def __call__(self, x):
        return nn.Conv(1, (1, 1))(nn.leaky_relu(nn.Conv(4, (1, 1))(x)))[..., 0]


UNITS = data.chain(data.to_unit(), data.to_symmetric())
NETWORKS = UNetGenerator(1, (4, 8)), PatchCritic(4, 1)


def model_of(kind, networks=NETWORKS, optimizers=None, **options):
    optimizers = optimizers or (optax.adam(1e-3), optax.adam(1e-3))
    return KINDS[kind](*networks, *optimizers, **{"shape": SHAPE, "transform": UNITS, **options})


@pytest.fixture(scope="module")
def batch():
    return {"x": jnp.asarray(data.load("thick:digits")["x"][:6])}


@pytest.fixture(scope="module", params=KINDS)
def started(request, batch):
    """(kind, model, first state, state after a step, metrics), on pairs of digits."""
    model = (
        model_of(request.param, pool_size=9) if request.param == "cyclegan" else model_of("pix2pix")
    )
    first = jax.jit(model.init)(jax.random.key(0), batch)
    return request.param, model, first, *jax.jit(model.step)(jax.random.key(1), first, batch)


def test_patches_are_examples_of_the_loss():
    critic, generator = lsgan()
    real, fake = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    one_by_one = [jnp.mean(critic(r.ravel(), f.ravel())) for r, f in zip(real, fake)]
    np.testing.assert_allclose(patch_loss(critic, real, fake), one_by_one, rtol=1e-6)
    assert patch_loss(generator, real, jnp.ones_like(fake)).tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("back", "cycle_error", "identity_error"), [(-0.5, 0.0, 1.0), (0.0, 1.0, 0.5), (1.0, 3.0, 1.5)]
)
def test_cycles_and_identities_of_shifts(back, cycle_error, identity_error):
    """G adds 1/2 and F adds `back`: their cycle is off by |1/2 + back| on each side."""
    left, right = jax.random.normal(jax.random.key(0), (2, 4, 3, 5, 2))
    judge = lambda x: jnp.where(x.mean(-1) > 100, 0.0, 0.2)
    total, parts = generators_objective(
        lambda x: x + 0.5,
        lambda x: x + back,
        Domains(judge, judge),
        Domains(left, right),
        lsgan().generator,
        cycle_weight=10.0,
        identity_weight=3.0,
    )
    np.testing.assert_allclose(parts["cycle"], cycle_error, atol=1e-5)
    np.testing.assert_allclose(parts["identity"], identity_error, rtol=1e-5)
    adversarial = 2 * 0.5 * 0.8**2
    np.testing.assert_allclose(
        total, adversarial + 10 * cycle_error + 3 * identity_error, rtol=1e-5
    )


def test_critics_of_each_domain_see_their_own():
    """Domains apart by 10 in the mean: any mistake of sides changes the loss by far."""
    images = Domains(*(jnp.full((2, 2, 2, 1), v) for v in (10.0, 20.0)))
    shown = Domains(*(jnp.full((2, 2, 2, 1), v) for v in (12.0, 25.0)))
    judges = Domains(lambda x: x[..., 0] - 10.0, lambda x: x[..., 0] - 20.0)
    total, scores = critics_objective(judges, images, shown, lsgan().critic)
    np.testing.assert_allclose(total, 0.5 * (1 + 2**2) + 0.5 * (1 + 5**2))
    assert scores["real_score"].max() == 0
    np.testing.assert_allclose(scores["fake_score"].mean((1, 2, 3)), [2, 5])


def test_the_objective_of_pairs():
    source, target = jnp.zeros((3, 2, 2, 1)), jnp.full((3, 2, 2, 1), 0.7)
    judge = lambda source, x: (x - source)[..., 0]
    total, parts = generator_objective(judge, source, target, target + 0.3, lsgan().generator)
    np.testing.assert_allclose(parts["l1"], 0.3, rtol=1e-6)
    np.testing.assert_allclose(total, 30.0, rtol=1e-5)  # the score is 1, what the generator wants
    loss, _ = critic_objective(judge, source, target, target + 0.3, lsgan().critic)
    np.testing.assert_allclose(loss, 0.5 * 0.3**2 + 0.5, rtol=1e-5)


def test_pairs_of_an_affine_rule_are_learnt():
    """target = 0.3 - source / 2: the L1 term alone says so, the critic must not spoil it."""
    left = jax.random.uniform(jax.random.key(0), (16, 8, 8, 1), minval=-1.0)
    batch = {"x": jnp.concatenate([left, 0.3 - 0.5 * left], 2)}
    optimizers = optax.adam(optax.cosine_decay_schedule(0.02, 150)), optax.adam(1e-3)
    model = model_of("pix2pix", (Affine(), Pixels()), optimizers, ema_decay=0.0, transform=None)
    state, step = model.init(jax.random.key(1), batch), jax.jit(model.step)
    for i in range(150):
        state, _ = step(jax.random.key(i), state, batch)
    weight, bias = (state.generator.ema["Conv_0"][n].item() for n in ("kernel", "bias"))
    assert (weight, bias) == pytest.approx((-0.5, 0.3), abs=0.01)
    made = split_pair(model.sample(jax.random.key(2), state, 3, source=left[:3]))[1]
    np.testing.assert_allclose(made, 0.3 - 0.5 * left[:3], atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [0, 1])
def test_each_optimizer_moves_its_own_networks(kind, frozen, batch):
    optimizers = [optax.sgd(0.1), optax.sgd(0.1)]
    optimizers[frozen] = optax.set_to_zero()
    model = model_of(kind, (Affine(), Pixels()), optimizers)
    first = model.init(jax.random.key(0), batch)
    last, _ = jax.jit(model.step)(jax.random.key(1), first, batch)
    networks = lambda s: (s[0].params, s[1])
    moved = [
        any(np.any(a != b) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y)))
        for x, y in zip(networks(first), networks(last))
    ]
    assert moved == [frozen == 1, frozen == 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", ["generator", "critic"])
def test_the_network_that_is_lost_is_named_first(kind, lost, batch):
    """`training.fit` names what is not finite in the order of the alphabet."""
    optimizers = [optax.sgd(jnp.inf if lost == name else 0.1) for name in ("generator", "critic")]
    model = model_of(kind, (Affine(), Pixels()), optimizers)
    state = model.init(jax.random.key(0), batch)
    _, metrics = jax.jit(model.step)(jax.random.key(1), state, batch)
    names = sorted(name for name, value in metrics.items() if not np.isfinite(value))
    assert names[0].startswith(lost)


def test_pools_keep_what_the_generators_made(started, batch):
    """The first step fills them with the translations by the initial parameters."""
    kind, _, first, last, _ = started
    if kind == "cyclegan":
        left, right = split_pair(batch["x"] / 127.5 - 1)
        apply, params = jax.jit(NETWORKS[0].apply), first.generators.params
        fakes = (
            apply({"params": params["backward"]}, right),
            apply({"params": params["forward"]}, left),
        )
        for pool, fake in zip(last.pools, fakes):
            assert pool.filled == 6
            np.testing.assert_allclose(pool.images[:6], fake, atol=1e-4)


@pytest.mark.usefixtures("as_users_compile")
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(kind, tmp_path):
    """Pools, averages and remembered sources included; another seed is not the same run."""
    pairs = {"x": data.load("thick:digits")["x"][:30]}
    more = {"pool_size": 5} if kind == "cyclegan" else {}
    model = model_of(kind, (Affine(), Pixels()), **more)

    def run(folder, steps, seed=0):
        options = {"batch_size": 4, "directory": tmp_path / folder, "progress": False}
        state = training.fit(jax.random.key(seed), model, pairs, steps=steps, **options)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]

    whole, _ = run("whole", 6), run("cut", 3)
    for a, b in zip(whole, run("cut", 6)):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(whole, run("other", 6, seed=1)))


def test_a_step_reports_finite_numbers_of_both_networks(started):
    kind, _, _, _, metrics = started
    own = {"l1"} if kind == "pix2pix" else {"cycle", "identity"}
    numbers = ("loss", "gradient_norm", "norm")
    names = {f"{n}_{m}" for n in ("generator", "critic") for m in numbers}
    assert set(metrics) == names | own | {"generator_adversarial", "real_score", "fake_score"}
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())


def test_samples_are_pairs_and_stay_apart(started, batch):
    kind, model, _, state, _ = started
    run = lambda keys, state, **given: model.sample(keys, state, len(keys), **given)
    draw = jax.jit(run, static_argnames="direction")
    keys = sample_keys(jax.random.key(5), 4)
    whole = draw(keys, state)
    assert (whole.shape, whole.dtype) == ((4, *SHAPE), jnp.uint8)
    known = {row.tobytes() for row in np.asarray(split_pair(batch["x"])[0])}
    assert all(row.tobytes() in known for row in np.asarray(split_pair(whole)[0]))
    alone = draw(keys[2:3], state)
    assert np.abs(np.int16(alone[0]) - np.int16(whole[2])).max() <= 1
    source = split_pair(batch["x"])[0][:4]
    np.testing.assert_array_equal(split_pair(draw(keys, state, source=source))[0], source)
    if kind == "cyclegan":
        back = draw(keys, state, source=source, direction="backward")
        np.testing.assert_array_equal(split_pair(back)[1], source)
        with pytest.raises(ConfigError, match="direction"):
            model.sample(keys, state, 4, direction="sideways")
    with pytest.raises(ConfigError, match="source"):
        model.sample(keys, state, 3, source=source)


def test_the_memory_holds_the_newest_and_is_drawn_from_evenly():
    memory = first_memory(jnp.arange(3))
    assert np.bincount(memory).tolist() == [86, 85, 85]
    memory = remember(memory, jnp.arange(10, 20))
    assert memory.shape == (256,)
    assert memory[:11].tolist() == [*range(10, 20), 0]
    rows = draw_sources(sample_keys(jax.random.key(0), 40_000), jnp.arange(4))
    counts = np.bincount(rows, minlength=4)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 30.7  # chi-square with 3 degrees, 1e-6


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        ("pix2pix", {"shape": (8, 15, 1)}, "pair"),
        ("pix2pix", {"shape": (8,)}, "pair"),
        ("pix2pix", {"loss": "least"}, "loss"),
        ("pix2pix", {"l1_weight": -1.0}, "l1_weight"),
        ("cyclegan", {"cycle_weight": -1.0}, "cycle_weight"),
        ("cyclegan", {"pool_size": -1}, "pool_size"),
        ("cyclegan", {"ema_decay": 1.5}, "ema_decay"),
    ],
)
def test_refusals(kind, options, word):
    with pytest.raises(ConfigError, match=word):
        model_of(kind, **options)


def test_networks_with_more_than_parameters_are_refused(batch):
    class Normalised(nn.Module):
        @nn.compact
        def __call__(self, x, keys=None):
            return nn.BatchNorm(use_running_average=False)(x)

    with pytest.raises(ConfigError, match="batch_stats"):
        model_of("pix2pix", (Normalised(), Pixels())).init(jax.random.key(0), batch)
