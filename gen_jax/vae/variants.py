"""Objectives of the VAE family: what is minimised, per example, given the coder.

vae              -ELBO, with beta, warm-up and free bits (higgins2017: beta-VAE)
iwae, dreg       the importance weighted bound and its doubly reparameterised gradient
factor           -ELBO + weight TC(z), by a critic's density ratio (kim2018)
info             -E log p(x | z) + beta KL + weight MMD^2(q(z), p(z)) (zhao2019)
wae_mmd, wae_gan a deterministic encoder; MMD^2, or a critic of z, in place of the KL
                 (tolstikhin2018)
vae_gan          reconstruction in the features of a critic of x, which also judges samples
                 (larsen2016); weight is that of the reconstruction, for the encoder too, where
                 larsen2016 (algorithm 1) has it for the decoder only and 1 for the encoder
autoencoder      -log p(x | z) at z = f(x) alone; with a linear network, PCA
denoising        the same from f(x + weight noise) (vincent2008)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Float, Key, Num
from gen_jax.vae.coder import VAEFunctions
from gen_jax.vae.elbo import elbo, log_likelihood
from gen_jax.vae.iwae import iwae
from gen_jax.vae.options import Options
from gen_jax.vae.penalties import discriminate, mmd_squared, permute_dimensions
from gen_jax.vae.posterior import choose_stratum

Loss = tuple[Float[Array, "B"], dict[str, Array]]


class LossInputs(NamedTuple):
    """What a loss is given: functions, values u and the encoder's inputs of a batch, options.

    `critic` is `[N, E] -> (logits [N], features [N, F])` or None.
    """

    functions: VAEFunctions
    u: Num[Array, "B ..."]
    inputs: Float[Array, "B E"]
    options: Options
    beta: Float[Array, ""]
    critic: Any = None


class Variant(NamedTuple):
    """An objective.

    Fields:
      loss: `(key, LossInputs) -> (loss [B], aux)`, minimised by encoder, decoder and prior.
      critic_loss: `(key, LossInputs) -> [B]`, minimised by the critic; None without one.
      critic_sees: "latent" or "data".
      deterministic: z is the posterior's mean; there is no bound on log p(x).
      reads: those of `options.OPTIONAL` that have a meaning.
      description: one line.
    """

    loss: Callable[[Array, LossInputs], Loss]
    critic_loss: Callable[[Array, LossInputs], Array] | None = None
    critic_sees: str = "latent"
    deterministic: bool = False
    reads: tuple[str, ...] = ()
    description: str = ""

    @property
    def samples_codes(self) -> bool:
        """Whether samples come from the codes seen in training, as there is no prior."""
        return self.deterministic and "prior" not in self.reads


def bound(key: Key[Array, ""], case: LossInputs) -> Loss:
    """-ELBO."""
    value, aux = elbo(
        key,
        case.functions.encode,
        case.functions.decode,
        case.u,
        likelihood=case.functions.likelihood,
        prior=case.functions.prior,
        num_samples=case.options.num_samples,
        kl=case.options.kl,
        beta=case.beta,
        free_bits=case.options.free_bits,
        encoder_input=case.inputs,
    )
    aux.pop("kl_groups")
    return -value, aux


def weighted_bound(key: Key[Array, ""], case: LossInputs, gradient: str) -> Loss:
    """-L_K."""
    value, aux = iwae(
        key,
        case.functions,
        case.u,
        num_samples=case.options.num_samples,
        gradient=gradient,
        encoder_input=case.inputs,
    )
    return -value, aux


def latents(key: Key[Array, ""], case: LossInputs) -> Float[Array, "B D"]:
    """One draw of z per example; of a mixture, from a stratum chosen by its share."""
    keys, posterior = sample_keys(key, len(case.u)), case.functions.encode(case.inputs)
    drawn = posterior.draw(posterior.params, fold_in(keys, 0))
    return choose_stratum(fold_in(keys, 1), drawn)


def codes(case: LossInputs) -> Float[Array, "B D"]:
    """z = f(x): the mean of a diagonal posterior."""
    moments = case.functions.encode(case.inputs).moments
    assert moments is not None, "checked when the model is made"
    return moments[0]


def reconstruct(case: LossInputs, z: Float[Array, "B D"]) -> Loss:
    """-log p(x | z)."""
    value = log_likelihood(case.functions.decode, case.functions.likelihood, z, case.u)
    return -value, {"log_likelihood": value}


def prior_draws(key: Key[Array, ""], case: LossInputs) -> Float[Array, "B D"]:
    prior = case.functions.prior_of(case.options.latent)
    return prior.sample(sample_keys(key, len(case.u)))


def _factor(key, case):
    loss, aux = bound(key, case)
    correlation = case.critic(latents(key, case))[0]
    return loss + case.options.weight * correlation, {**aux, "total_correlation": correlation}


def _factor_critic(key, case):
    z = latents(key, case)
    permuted = permute_dimensions(jax.random.fold_in(key, 2), z)
    return discriminate(case.critic(z)[0], case.critic(permuted)[0])


def _info(key, case):
    loss, aux = bound(key, case)
    distance = mmd_squared(latents(key, case), prior_draws(jax.random.fold_in(key, 2), case))
    return loss + case.options.weight * distance, {**aux, "mmd": distance}


def _wae_mmd(key, case):
    z = codes(case)
    loss, aux = reconstruct(case, z)
    distance = mmd_squared(z, prior_draws(key, case))
    return loss + case.options.weight * distance, {**aux, "mmd": distance}


def _wae_gan(key, case):
    z = codes(case)
    loss, aux = reconstruct(case, z)
    seen = jax.nn.softplus(-case.critic(z)[0])
    return loss + case.options.weight * seen, {**aux, "adversarial": seen}


def _wae_critic(key, case):
    return discriminate(case.critic(prior_draws(key, case))[0], case.critic(codes(case))[0])


def _autoencoder(key, case):
    return reconstruct(case, codes(case))


def _denoising(key, case):
    noise = normal(sample_keys(key, len(case.inputs)), case.inputs.shape[1:], case.inputs.dtype)
    spoilt = case.inputs + case.options.weight * noise
    return reconstruct(case, codes(case._replace(inputs=spoilt)))


def _images(case: LossInputs, z: Float[Array, "B D"]) -> Float[Array, "B E"]:
    """What the critic of x sees of decoded means."""
    means = case.functions.likelihood.mean(case.functions.decode(z))
    return case.functions.likelihood.network_input(means).reshape(len(z), -1)


def _real(case: LossInputs) -> Float[Array, "B E"]:
    return case.functions.likelihood.network_input(case.u).reshape(len(case.u), -1)


def _vae_gan(key, case):
    negative, aux = bound(key, case)
    divergence = negative + aux["log_likelihood"]  # with its beta and free bits
    z, fresh = latents(key, case), prior_draws(jax.random.fold_in(key, 2), case)
    target = jax.lax.stop_gradient(case.critic(_real(case))[1])
    features = 0.5 * jnp.sum((case.critic(_images(case, z))[1] - target) ** 2, -1)
    # The judgement of samples trains the decoder alone: it must not reach the encoder.
    judged = [_images(case, jax.lax.stop_gradient(v)) for v in (z, fresh)]
    fooled = sum(jax.nn.softplus(-case.critic(image)[0]) for image in judged)
    loss = divergence + case.options.weight * features + fooled
    return loss, {**aux, "features": features, "adversarial": fooled}


def _vae_gan_critic(key, case):
    z, fresh = latents(key, case), prior_draws(jax.random.fold_in(key, 2), case)
    real = case.critic(_real(case))[0]
    fake = [case.critic(_images(case, v))[0] for v in (z, fresh)]
    return discriminate(real, fake[0]) + jax.nn.softplus(fake[1])


IMPORTANCE = ("prior", "num_samples", "evaluation_samples")
DIVERGENCE = ("prior", "kl", "beta", "warm_up", "free_bits", "evaluation_samples")
BOUND = ("num_samples", *DIVERGENCE)

VARIANTS: dict[str, Variant] = {
    "vae": Variant(
        bound,
        reads=BOUND,
        description="The negative ELBO, with beta, warm-up, free bits (kingma2014, higgins2017).",
    ),
    "iwae": Variant(
        partial(weighted_bound, gradient="reparameterised"),
        reads=IMPORTANCE,
        description="The importance weighted bound (burda2016).",
    ),
    "dreg": Variant(
        partial(weighted_bound, gradient="doubly_reparameterised"),
        reads=IMPORTANCE,
        description="The same with its doubly reparameterised gradient (tucker2019).",
    ),
    "factor": Variant(
        _factor,
        _factor_critic,
        reads=(*BOUND, "weight"),
        description="The ELBO less the total correlation of z, by a critic (kim2018).",
    ),
    "info": Variant(
        _info,
        reads=(*BOUND, "weight"),
        description="Reconstruction, beta KL and the MMD of q(z) and p(z) (zhao2019).",
    ),
    "wae_mmd": Variant(
        _wae_mmd,
        deterministic=True,
        reads=("prior", "weight"),
        description="A deterministic encoder, and the MMD in place of the KL (tolstikhin2018).",
    ),
    "wae_gan": Variant(
        _wae_gan,
        _wae_critic,
        deterministic=True,
        reads=("prior", "weight"),
        description="A deterministic encoder, and a critic of z in place of the KL.",
    ),
    "vae_gan": Variant(
        _vae_gan,
        _vae_gan_critic,
        "data",
        reads=(*DIVERGENCE, "weight"),
        description="Reconstruction in the features of a critic of images (larsen2016).",
    ),
    "autoencoder": Variant(
        _autoencoder,
        deterministic=True,
        description="Reconstruction from a deterministic code alone.",
    ),
    "denoising": Variant(
        _denoising,
        deterministic=True,
        reads=("weight",),
        description="Reconstruction from a code of a noisy input (vincent2008).",
    ),
}
"""Every objective by name."""
