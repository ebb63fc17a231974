"""What each variant adds to the loss: its sign and size on Gaussians, and what its gradient moves.

Encoders shift x, decoders shift z: with x ~ N(0, I) codes and images are N(shift, I). A critic of
`against(shift)` is the exact log-density ratio of N(0, I) to N(shift, I).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import vae
from gen_jax.vae.variants import LossInputs

Z = 5.1
"""Two-sided false-alarm rate 3.4e-7 of a mean of thousands of terms."""

IGNORANT = np.log(2)
"""Loss of a critic's logit 0 on one example."""

NARROW = -12.0
"""Log standard deviation of posteriors that are points."""


def normal_points(n=4000, rho=0.0):
    x = np.random.default_rng(0).normal(size=(n, 2))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]
    return jnp.asarray(x, jnp.float32)


def case_of(x, shift=0.0, bias=0.0, critic=None, **options):
    """A VAE of identities: z = x + shift, the mean of p(x | z) is z + bias."""
    encode = lambda v: vae.diagonal_gaussian(v + shift, jnp.full_like(v, NARROW))
    decode = lambda z: (z + bias)[..., None]
    likelihood = vae.make_likelihood("gaussian")
    coder = vae.VAEFunctions(encode, decode, likelihood)
    settings = vae.Options((2,), 2, **options)
    return LossInputs(coder, x, x, settings, jnp.float32(settings.beta), critic)


def against(shift, sign=1.0):
    """log N(z; 0, I) - log N(z; shift, I), which is shift^2 - shift sum(z) in two dimensions."""
    return lambda z: (sign * (shift**2 - shift * z.sum(-1)), z)


def term(key, variant, x, **case):
    """What weight 1 adds to the loss of each example."""
    loss = vae.VARIANTS[variant].loss
    with_it, without = (loss(key, case_of(x, weight=w, **case))[0] for w in (1.0, 0.0))
    return with_it - without


def score(values, truth):
    values = np.asarray(values, np.float64)
    return (values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values)))


def judged(key, variant, x, critic, **case):
    """The critic's mean loss."""
    return float(vae.VARIANTS[variant].critic_loss(key, case_of(x, critic=critic, **case)).mean())


def test_factor_adds_the_total_correlation(key):
    """TC of a Gaussian of correlation r is -log(1 - r^2) / 2; its critic is the exact ratio."""
    rho, x = 0.8, normal_points(rho=0.8)
    truth = -0.5 * np.log(1 - rho**2)

    def ratio(sign):
        def critic(z):
            joint = ((z**2).sum(-1) - 2 * rho * z.prod(-1)) / (1 - rho**2)
            return sign * (truth + 0.5 * (z**2).sum(-1) - 0.5 * joint), z

        return critic

    added = term(key, "factor", x, critic=ratio(1.0))
    assert abs(score(added, truth)) < Z
    assert abs(score(added, -truth)) > Z
    right, wrong = (judged(key, "factor", x, ratio(sign)) for sign in (1.0, -1.0))
    assert right < 2 * IGNORANT - 0.1 < 2 * IGNORANT + 0.1 < wrong


@pytest.mark.parametrize("variant", ["info", "wae_mmd"])
def test_the_discrepancy_is_positive_and_least_at_the_prior(key, variant):
    x = normal_points(400)
    added = lambda shift: term(key, variant, x, shift=shift).mean()
    assert abs(added(0.0)) < 0.05 < 0.3 < added(1.0)
    assert jax.grad(added)(1.0) > 0.1
    assert jax.grad(added)(-1.0) < -0.1


def test_wae_gan_moves_codes_to_the_prior(key):
    x = normal_points()
    added = lambda shift: term(key, "wae_gan", x, shift=shift, critic=against(1.0)).mean()
    assert jax.grad(added)(1.0) > 0.1
    right, wrong = (judged(key, "wae_gan", x, against(1.0, s), shift=1.0) for s in (1.0, -1.0))
    assert right < 2 * IGNORANT - 0.1 < 2 * IGNORANT + 0.1 < wrong


def test_vae_gan_judges_the_decoder_alone(key):
    """At weight and beta 0 the judgement is all there is; the features reach both."""
    x = normal_points()

    def slopes(weight):
        def loss(shift, bias):
            case = case_of(x, shift, bias, against(1.0), weight=weight, beta=0.0)
            return vae.VARIANTS["vae_gan"].loss(key, case)[0].mean()

        return jax.grad(loss, (0, 1))(0.0, 1.0)

    encoder, decoder = slopes(0.0)
    assert encoder == 0
    assert decoder > 0.1  # towards the data
    assert slopes(1.0)[0] > 0.5
    right, wrong = (judged(key, "vae_gan", x, against(1.0, s), bias=1.0) for s in (1.0, -1.0))
    assert right < 3 * IGNORANT - 0.1 < 3 * IGNORANT + 0.1 < wrong


def test_vae_gan_pays_for_its_divergence(key):
    """beta counts the KL, and free bits floor it: that of points is far above the floor."""
    x, loss = normal_points(200), vae.VARIANTS["vae_gan"].loss
    value = lambda **o: float(loss(key, case_of(x, critic=against(1.0), **o))[0].mean())
    kl = float(loss(key, case_of(x, critic=against(1.0)))[1]["kl"].mean())
    assert value(beta=2.0) - value() == pytest.approx(kl, rel=1e-3)
    floor = 50.0
    assert value(free_bits=floor) - value() == pytest.approx(2 * floor - kl, rel=1e-3)


def test_denoising_aims_at_the_clean_image(key):
    """Its code is x + 2 noise, its target x: 2 |noise|^2 nats, 4 in the mean; else there were 0."""
    x, loss = normal_points(), vae.VARIANTS["denoising"].loss
    spoilt, clean = (loss(key, case_of(x, weight=w))[0] for w in (2.0, 0.0))
    assert abs(score(spoilt - clean, 4.0)) < Z
    assert abs(score(spoilt - clean, 3.5)) > Z
