"""Models of every family with one callable damaged, and `fit` on a few examples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from gen_jax import (
    autoregressive,
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
from gen_jax.flows import Bijector, Layer

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
    "flow_matching.coupled/network": (
        lambda f: flow_matching.coupled(
            Damaged(nets.MLP((8,), condition=conditions.image((2,))), f),
            ADAM,
            lambda key, x0: x0,
            shape=(2,),
        ),
        LIKE_X,
        POINTS,
    ),
    "flow_matching.coupled/degrade": (
        lambda f: flow_matching.coupled(MLP, ADAM, lambda key, x0: f(x0), shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "diffusion.variational_diffusion/network": (
        lambda f: diffusion.variational_diffusion(Damaged(MLP, f), ADAM, shape=(2,)),
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
    "autoregressive.text_to_codes",
    "autoregressive.transformer",
    "classical.gaussian_mixture",
    "diffusion.with_prior_preservation",
    "flows.ffjord",
    "vae.hierarchical_vae",
    "vae.independent_codes",
    "vae.latent_model",
    "vae.with_prior",
}
"""Families whose networks are made inside, from names and sizes."""


def fit(model, arrays, **options):
    options = {"steps": 1, "batch_size": B, "progress": False} | options
    return training.fit(jax.random.key(0), model, arrays, **options)
