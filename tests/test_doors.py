"""Laws of the doors over all families: a callable of a wrong output, wrong labels, wrong values.

Each is refused by `fit` before anything is compiled, in one line with the name of what is wrong.
"""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import gen_jax
from gen_jax import (
    autoregressive,
    classical,
    conditions,
    data,
    diffusion,
    discrete_diffusion,
    energy,
    flow_matching,
    flows,
    gan,
    gan_nets,
    mcmc,
    nets,
    paths,
    training,
    transport,
    vae,
)
from gen_jax.autoregressive.pixels import factorise
from gen_jax.energy import Annealing, ChainOptions
from gen_jax.errors import ConfigError, DataError
from gen_jax.flows import Bijector, Layer
from gen_jax.model import GenerativeModel

ADAM, B = optax.adam(1e-3), 6
POINTS = {"x": np.random.default_rng(0).uniform(-1, 1, (B, 2)).astype(np.float32)}
IMAGES = {"x": np.random.default_rng(1).integers(0, 256, (B, 8, 8, 1)).astype(np.uint8)}
PAIRS = {"x": np.random.default_rng(2).integers(0, 256, (B, 8, 16, 1)).astype(np.uint8)}
UNITS = data.chain(data.to_unit(), data.to_symmetric())
CHAINS = ChainOptions(num_steps=1, buffer_size=0)
ENERGY = {"shape": (2,), "annealing": Annealing(levels=2, chains=2)}


class Logits(nn.Module):
    """Logits and features of noisy points, as a classifier returns them."""

    @nn.compact
    def __call__(self, x, noise=None):
        return nn.Dense(3)(x), x


LIKE_X = {
    "one column": lambda out: out[..., :1],
    "a further axis": lambda out: out[..., None],
    "whole numbers": lambda out: out.astype(jnp.int32),
    "a sum": lambda out: out.sum(),
    "a pair": lambda out: (out, out),
}
PER_POINT = {
    "a column": lambda out: out[:, None],
    "a mean": lambda out: out.mean(),
    "whole numbers": lambda out: out.astype(jnp.int32),
    "all pairs": lambda out: out[:, None] - out,
}


class Damaged(nn.Module):
    """A network with something done to its output."""

    network: nn.Module
    damage: object

    def __call__(self, *inputs, **options):
        return self.damage(self.network(*inputs, **options))


class DamagedMaker(nn.Module):
    """The same of a generator, with its face."""

    network: nn.Module
    damage: object

    def __call__(self, z, condition=None, *, train=False):
        return self.damage(self.network(z, condition, train=train))


def critic_with(damage):
    return lambda said: said._replace(score=damage(said.score))


def energy_net():
    return nets.EnergyNet((8,))


def bent(damage):
    """A flow whose log-determinant is damaged."""
    layer = flows.actnorm()

    def bijector(params, condition=None):
        inner = layer.bijector(params, condition)
        change = lambda f: lambda x: (f(x)[0], damage(f(x)[1]))
        return Bijector(change(inner.forward), change(inner.inverse))

    return Layer(layer.init, bijector, layer.base_shape, layer.start)


def made_of_pixels(damage):
    likelihood = autoregressive.LIKELIHOODS["categorical"](256)
    net = nets.PixelCNN(outputs=256, units=1, width=4, depth=1)
    good = factorise(net, likelihood, (8, 8, 1))
    raw = lambda *arguments, **options: damage(good.raw(*arguments, **options))
    options = {"shape": (8, 8, 1), "transform": data.integers()}
    return autoregressive.autoregressive(good._replace(raw=raw), likelihood, ADAM, **options)


MLP = nets.MLP((8, 8))
POINT_GAN = {"shape": (2,), "latent": 2}
WIDE = lambda make: lambda damage: lambda size: Damaged(make(size), damage)
CODER = {"shape": (2,), "latent": 2, "likelihood": "gaussian"}
TRANSLATION = {"shape": (8, 16, 1), "transform": UNITS}
MAKER, PATCHES = gan_nets.UNetGenerator(1, (4, 4)), gan_nets.PatchCritic(4, 1)
VIEWS = {"shape": (8, 8, 1), "content": 2, "view": 1, "views": lambda key, x: x}


def vq(damage):
    good = vae.independent_codes(4, 4)
    step = lambda key, state, batch: (
        state,
        {"loss": damage(good.log_prob(key, state, batch["x"]))},
    )
    options = {"shape": (8, 8, 1), "codes": 4, "dim": 2, "width": 4}
    return vae.vqvae(ADAM, good._replace(step=step), transform=data.integers(), **options)


MLP_WIDE = WIDE(vae.mlp((8,)))
DCGAN = gan_nets.DCGANGenerator((8, 8, 1), (4,)), gan_nets.DCGANCritic((4,))
CALLABLES = {
    "diffusion.diffusion/network": (
        lambda f: diffusion.diffusion(Damaged(MLP, f), "linear", ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "diffusion.diffusion/source": (
        lambda f: diffusion.diffusion(
            MLP, "linear", ADAM, shape=(2,), source=lambda k: f(jax.random.normal(k, (2,)))
        ),
        LIKE_X,
        POINTS,
    ),
    "diffusion.diffusion/time_density": (
        lambda f: diffusion.diffusion(
            MLP,
            "vp",
            ADAM,
            shape=(2,),
            time_density=lambda k, p, n: f(jnp.linspace(0.1, 0.9, n)),
        ),
        {name: PER_POINT[name] for name in ("a column", "a mean")},
        POINTS,
    ),
    "diffusion.diffusion/weighting": (
        lambda f: diffusion.diffusion(
            MLP, "vp", ADAM, shape=(2,), weighting=lambda c, kind, sd: f(c.alpha)
        ),
        {name: PER_POINT[name] for name in ("a column", "a mean")},
        POINTS,
    ),
    "flow_matching.flow_matching/network": (
        lambda f: flow_matching.flow_matching(Damaged(MLP, f), ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "energy.ncsn/network": (
        lambda f: energy.ncsn(Damaged(MLP, f), ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "energy.ebm/network": (
        lambda f: energy.ebm(Damaged(energy_net(), f), ADAM, chains=CHAINS, **ENERGY),
        PER_POINT,
        POINTS,
    ),
    "energy.score_model/network": (
        lambda f: energy.score_model(Damaged(energy_net(), f), ADAM, **ENERGY),
        PER_POINT,
        POINTS,
    ),
    "energy.score_model/loss": (
        lambda f: energy.score_model(
            energy_net(),
            ADAM,
            loss=lambda key, score, x: f(energy.implicit(key, score, x)),
            **ENERGY,
        ),
        PER_POINT,
        POINTS,
    ),
    "energy.nce/network": (
        lambda f: energy.nce(Damaged(energy_net(), f), ADAM, **ENERGY),
        PER_POINT,
        POINTS,
    ),
    "energy.jem/network": (
        lambda f: energy.jem(
            Damaged(nn.Dense(3), f),
            ADAM,
            condition=conditions.labels(3),
            chains=CHAINS,
            **ENERGY,
        ),
        LIKE_X,
        {**POINTS, "y": np.arange(B) % 3},
    ),
    "gan.gan/generator": (
        lambda f: gan.gan(
            Damaged(gan_nets.MLPGenerator((2,), (4,)), f),
            gan_nets.MLPCritic((4,)),
            ADAM,
            ADAM,
            **POINT_GAN,
        ),
        LIKE_X,
        POINTS,
    ),
    "gan.gan/critic": (
        lambda f: gan.gan(
            gan_nets.MLPGenerator((2,), (4,)),
            Damaged(gan_nets.MLPCritic((4,)), critic_with(f)),
            ADAM,
            ADAM,
            **POINT_GAN,
        ),
        PER_POINT,
        POINTS,
    ),
    "gan.multi_view/generator": (
        lambda f: gan.multi_view(
            DamagedMaker(DCGAN[0], f),
            DCGAN[1],
            ADAM,
            ADAM,
            transform=data.symmetric_images(),
            **VIEWS,
        ),
        {"one column": lambda out: out[:, :, :1]},
        IMAGES,
    ),
    "gan.pix2pix/generator": (
        lambda f: gan.pix2pix(Damaged(MAKER, f), PATCHES, ADAM, ADAM, **TRANSLATION),
        {"one row": lambda out: out[:, :1], "a sum": LIKE_X["a sum"]},
        PAIRS,
    ),
    "gan.pix2pix/critic": (
        lambda f: gan.pix2pix(MAKER, Damaged(PATCHES, f), ADAM, ADAM, **TRANSLATION),
        {"channels": lambda out: out[..., None], "a mean": lambda out: out.mean()},
        PAIRS,
    ),
    "gan.cyclegan/generator": (
        lambda f: gan.cyclegan(
            Damaged(gan_nets.ResNetGenerator(1, (4, 4), 1), f), PATCHES, ADAM, ADAM, **TRANSLATION
        ),
        {"one row": lambda out: out[:, :1]},
        PAIRS,
    ),
    "gan.cyclegan/critic": (
        lambda f: gan.cyclegan(
            gan_nets.ResNetGenerator(1, (4, 4), 1), Damaged(PATCHES, f), ADAM, ADAM, **TRANSLATION
        ),
        {"channels": lambda out: out[..., None], "a mean": lambda out: out.mean()},
        PAIRS,
    ),
    "gan.style_transfer/decoder": (
        lambda f: gan.style_transfer(
            lambda x: [x], Damaged(nn.Conv(1, (3, 3)), f), ADAM, **TRANSLATION
        ),
        {"one row": lambda out: out[:, :1], "a further axis": LIKE_X["a further axis"]},
        PAIRS,
    ),
    "vae.vae/encoder": (
        lambda f: vae.vae(MLP_WIDE(f), vae.mlp((8,)), ADAM, **CODER),
        {**LIKE_X, "two more": lambda out: jnp.concatenate([out, out[:, :2]], 1)},
        POINTS,
    ),
    "vae.vae/decoder": (
        lambda f: vae.vae(vae.mlp((8,)), MLP_WIDE(f), ADAM, **CODER),
        LIKE_X,
        POINTS,
    ),
    "flow_matching.flow_map_model/network": (
        lambda f: flow_matching.flow_map_model(Damaged(MLP, f), "linear", ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "discrete_diffusion.discrete_diffusion/network": (
        lambda f: discrete_diffusion.discrete_diffusion(
            Damaged(nets.TokenTransformer(4, 2, 8, 1, 2), f), ADAM, shape=(2,), size=3
        ),
        LIKE_X,
        {"x": np.arange(2 * B).reshape(B, 2) % 3},
    ),
    "diffusion.noisy_classifier/network": (
        lambda f: diffusion.noisy_classifier(
            Damaged(Logits(), lambda out: (f(out[0]), out[1])),
            paths.linear(),
            ADAM,
            shape=(2,),
            num_classes=3,
        ),
        LIKE_X,
        {**POINTS, "y": np.arange(B) % 3},
    ),
    "vae.semi_supervised/classifier": (
        lambda f: vae.semi_supervised(
            vae.mlp((8,)), vae.mlp((8,)), MLP_WIDE(f), ADAM, condition=conditions.labels(3), **CODER
        ),
        LIKE_X,
        {**POINTS, "y": np.arange(B) % 4},
    ),
    "vae.discrete_vae/encoder": (
        lambda f: vae.discrete_vae(
            MLP_WIDE(f), vae.mlp((8,)), ADAM, shape=(2,), likelihood="gaussian", variables=2
        ),
        LIKE_X,
        POINTS,
    ),
    "vae.discrete_vae/decoder": (
        lambda f: vae.discrete_vae(
            vae.mlp((8,)), MLP_WIDE(f), ADAM, shape=(2,), likelihood="gaussian", variables=2
        ),
        LIKE_X,
        POINTS,
    ),
    "vae.vqvae/prior": (
        vq,
        {"a column": lambda out: out},
        IMAGES,
    ),
    "flows.flow/layer": (
        lambda f: flows.flow(bent(f), ADAM, shape=(2,)),
        PER_POINT,
        POINTS,
    ),
    "flows.manifold_flow/layer": (
        lambda f: flows.manifold_flow(bent(f), flows.actnorm(), ADAM, shape=(2,), latent=1),
        PER_POINT,
        POINTS,
    ),
    "autoregressive.autoregressive/network": (
        made_of_pixels,
        {name: LIKE_X[name] for name in ("one column", "a further axis", "a sum")},
        IMAGES,
    ),
    "mcmc.markov_chains/log_density": (
        lambda f: mcmc.markov_chains(
            lambda x: f(-(x**2).sum(1)),
            lambda h: mcmc.random_walk(lambda x: f(-(x**2).sum(1)), h),
            2,
        ),
        PER_POINT,
        POINTS,
    ),
    "transport.temperflow/log_density": (
        lambda f: transport.temperflow(lambda x: f(-(x**2).sum(1)), 2, flows.actnorm()),
        PER_POINT,
        POINTS,
    ),
}
"""`FAMILY/CALLABLE`: a model of a damaged callable, the damages, data."""

NONE_GIVEN = {
    "autoregressive.made",
    "autoregressive.pixel_model",
    "autoregressive.transformer",
    "classical.gaussian_mixture",
    "flows.ffjord",
    "vae.hierarchical_vae",
    "vae.independent_codes",
}
"""Families whose networks are made inside, from names and sizes."""


def families():
    """`PACKAGE.NAME` of every public function that returns a model."""
    found = set()
    for module in pkgutil.iter_modules(gen_jax.__path__):
        package = importlib.import_module(f"gen_jax.{module.name}")
        for name in getattr(package, "__all__", ()):
            function = inspect.unwrap(getattr(package, name))
            if inspect.isfunction(function):
                if name == "model_from_parts":  # what the family's own constructor ends with
                    continue
                returns = inspect.signature(function).return_annotation
                found |= {f"{module.name}.{name}"} if returns is GenerativeModel else set()
    return found


def fit(model, arrays, **options):
    options = {"steps": 1, "batch_size": B, "progress": False} | options
    return training.fit(jax.random.key(0), model, arrays, **options)


def test_every_family_is_in_the_law():
    assert {name.split("/")[0] for name in CALLABLES} | NONE_GIVEN == families()


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_of_a_wrong_output_is_refused(name):
    make, damages, arrays = CALLABLES[name]
    for what, damage in damages.items():
        with pytest.raises(ConfigError) as caught:
            fit(make(damage), arrays)
        line = str(caught.value)
        assert "\n" not in line
        assert len(line) < 300, what


@pytest.mark.parametrize("name", CALLABLES)
def test_the_right_output_is_not_refused(name):
    make, _, arrays = CALLABLES[name]
    model = make(lambda out: out)
    if name == "vae.vqvae/prior":
        model = make(jnp.mean)
    first = {key: np.asarray(value) for key, value in arrays.items()}
    key = jax.random.key(0)
    state = jax.eval_shape(lambda key: model.init(key, first), key)
    jax.eval_shape(model.step, key, state, first)


LABELS = np.arange(B) % 3
CODER_OF = {**CODER, "condition": conditions.labels(3)}
CONDITIONAL = {
    "diffusion": lambda: diffusion.diffusion(
        nets.MLP((8, 8)), "linear", ADAM, shape=(2,), condition=conditions.labels(3)
    ),
    "flow_matching": lambda: flow_matching.flow_matching(
        nets.MLP((8, 8)), ADAM, shape=(2,), condition=conditions.labels(3)
    ),
    "ncsn": lambda: energy.ncsn(
        nets.MLP((8, 8)), ADAM, shape=(2,), condition=conditions.labels(3), levels=4
    ),
    "jem": lambda: energy.jem(
        nn.Dense(3), ADAM, chains=CHAINS, condition=conditions.labels(3), **ENERGY
    ),
    "flow": lambda: flows.flow(
        flows.make_flow("nice", 2, (8,)), ADAM, shape=(2,), condition=conditions.labels(3)
    ),
    "ffjord": lambda: flows.ffjord(
        ADAM, shape=(2,), hidden=(8,), num_steps=1, condition=conditions.labels(3)
    ),
    "vae": lambda: vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, **CODER_OF),
    "semi_supervised": lambda: vae.semi_supervised(
        vae.mlp((8,)), vae.mlp((8,)), vae.mlp((8,)), ADAM, **CODER_OF
    ),
    "made": lambda: autoregressive.made(
        ADAM, shape=(2,), likelihood="gaussian", hidden=(8,), condition=conditions.labels(3)
    ),
    "gan": lambda: gan.gan(
        gan_nets.MLPGenerator((2,), (4,)),
        gan_nets.MLPCritic((4,), "projection"),
        ADAM,
        ADAM,
        conditional="projection",
        condition=conditions.labels(3),
        **POINT_GAN,
    ),
}
WRONG_LABELS = {
    "from 1": LABELS + 1,
    "below 0": LABELS - 1,
    "far out": LABELS + 2**31,
    "numbers": LABELS.astype(np.float32),
    "a column": LABELS[:, None],
    "missing": None,
}


def labelled(labels):
    return POINTS if labels is None else {**POINTS, "y": labels}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_wrong_labels_are_refused_by_fit_and_by_a_step(name):
    """Also where the last example alone is wrong, and in a step that is called by hand."""
    model, key, more = CONDITIONAL[name](), jax.random.key(0), name == "semi_supervised"
    wrong = {what: y + more if what == "from 1" else y for what, y in WRONG_LABELS.items()}
    right = labelled(LABELS + more)
    state = jax.eval_shape(lambda key: model.init(key, right), key)
    jax.eval_shape(lambda key, state: model.step(key, state, right), key, state)
    for labels in wrong.values():
        with pytest.raises((ConfigError, DataError), match="label|'y'"):
            fit(model, labelled(labels))
        with pytest.raises((ConfigError, DataError), match="label|'y'"):
            jax.eval_shape(lambda key, s, y=labels: model.step(key, s, labelled(y)), key, state)
    last = {"x": np.tile(POINTS["x"], (4, 1)), "y": np.append(np.zeros(23, int), 3 + more)}
    with pytest.raises(DataError, match="'y'"):
        fit(model, last)


@pytest.mark.parametrize("classes", [2, 5])
def test_one_number_of_classes(classes):
    network = nets.MLP((8, 8), num_classes=classes)
    with pytest.raises(ConfigError, match=rf"labels\(3\).*network.*num_classes={classes}"):
        diffusion.diffusion(network, "linear", ADAM, shape=(2,), condition=conditions.labels(3))
    sizes = {"num_classes": classes}
    with pytest.raises(ConfigError, match=rf"labels\(3\).*num_classes={classes}"):
        autoregressive.pixel_model(
            ADAM, shape=(8, 8, 1), condition=conditions.labels(3), sizes=sizes
        )
    with pytest.raises(ConfigError, match=r"labels\(3\).*generator"):
        gan.gan(
            gan_nets.MLPGenerator((2,), (4,), classes),
            gan_nets.MLPCritic((4,), "projection"),
            ADAM,
            ADAM,
            conditional="projection",
            condition=conditions.labels(3),
            **POINT_GAN,
        )


def test_a_later_batch_of_a_stream_is_refused():
    model = CONDITIONAL["made"]()
    batches = [labelled(LABELS), labelled(LABELS[::-1]), labelled(LABELS + 1)]
    with pytest.raises(DataError, match=r"'y'.* 1 to 3, must be integers in \[0, 2\]"):
        fit(model, lambda start: iter(batches[start:]), steps=3)


OUTSIDE = {
    "diffusion": lambda t: diffusion.diffusion(MLP, "linear", ADAM, shape=(2,), transform=t),
    "score_model": lambda t: energy.score_model(energy_net(), ADAM, transform=t, **ENERGY),
    "gan": lambda t: gan.gan(
        gan_nets.MLPGenerator((2,), (4,)),
        gan_nets.MLPCritic((4,)),
        ADAM,
        ADAM,
        transform=t,
        **POINT_GAN,
    ),
    "vae": lambda t: vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, transform=t, **CODER),
    "discrete_vae": lambda t: vae.discrete_vae(
        vae.mlp((8,)), vae.mlp((8,)), ADAM, transform=t, shape=(2,), likelihood="gaussian"
    ),
    "hierarchical_vae": lambda t: vae.hierarchical_vae(
        ADAM, transform=t, shape=(2,), likelihood="gaussian", latents=(2,), width=4
    ),
    "flow": lambda t: flows.flow(flows.actnorm(), ADAM, transform=t, shape=(2,)),
    "ffjord": lambda t: flows.ffjord(ADAM, transform=t, shape=(2,), hidden=(4,), num_steps=1),
    "manifold_flow": lambda t: flows.manifold_flow(
        flows.actnorm(), flows.actnorm(), ADAM, transform=t, shape=(2,), latent=1
    ),
    "made": lambda t: autoregressive.made(
        ADAM, transform=t, shape=(2,), likelihood="gaussian", hidden=(8,)
    ),
    "mixture": lambda t: classical.gaussian_mixture(2, transform=t, shape=(2,)),
    "gaussian_image": lambda t: classical.gaussian_image.gaussian_image(transform=t, shape=(2,)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_values_that_the_transform_refuses_do_not_train(name):
    """In the first batch; in the last example; behind a first transform that takes them."""
    inside = np.linspace(0.1, 0.9, 8 * B).reshape(4 * B, 2).astype(np.float32)
    late = inside.copy()
    late[-1, 0] = 1.5
    unit = data.to_symmetric()
    for transform, x in ((unit, 255 * inside), (unit, late), (unit, -late)):
        with pytest.raises(DataError, match=r"to_symmetric: data in"):
            fit(OUTSIDE[name](transform), {"x": x})
    shifted = data.chain(data.standardize(0.5, 0.1), unit)
    with pytest.raises(DataError, match=r"to_symmetric: data in"):
        fit(OUTSIDE[name](shifted), {"x": inside})


def test_binary_likelihoods_see_the_values_of_the_first_batch():
    model = vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, shape=(2,), latent=2)
    with pytest.raises(DataError, match="binary"):
        fit(model, POINTS)


@pytest.mark.parametrize("shape", [2, (), (0,), (2.0,), "2", None, (-1, 2)])
def test_shapes_that_are_none(shape):
    makers = [
        lambda: diffusion.diffusion(MLP, "linear", ADAM, shape=shape),
        lambda: energy.nce(energy_net(), ADAM, shape=shape),
        lambda: gan.gan(*DCGAN, ADAM, ADAM, shape=shape, latent=2),
        lambda: gan.pix2pix(MAKER, PATCHES, ADAM, ADAM, shape=shape),
        lambda: vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, shape=shape, latent=2),
        lambda: vae.vqvae(ADAM, shape=shape),
        lambda: vae.hierarchical_vae(ADAM, shape=shape),
        lambda: flows.flow(flows.actnorm(), ADAM, shape=shape),
        lambda: flows.ffjord(ADAM, shape=shape),
        lambda: flows.manifold_flow(flows.actnorm(), flows.actnorm(), ADAM, shape=shape, latent=1),
        lambda: autoregressive.made(ADAM, shape=shape),
        lambda: autoregressive.transformer(ADAM, shape=shape, vocabulary=4),
        lambda: classical.gaussian_mixture(2, shape=shape),
        lambda: classical.gaussian_image.gaussian_image(shape=shape),
        lambda: classical.stationary_field.stationary_field(shape=shape),
    ]
    for make in makers:
        with pytest.raises(ConfigError, match="^shape="):
            make()
