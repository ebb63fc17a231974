"""The importance weighted bound (burda2016) and its gradients.

    L_K = E log (1/K) sum_k w_k,   w_k = p(x, z_k) / q(z_k | x),   L_1 = ELBO <= L_K <= log p(x)

The plain gradient of the encoder drowns in noise as K grows (rainforth2018); the doubly
reparameterised one does not (tucker2019).
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key, Num
from gen_jax.vae.coder import VAEFunctions
from gen_jax.vae.elbo import log_likelihood, prior_log_prob
from gen_jax.vae.posterior import Draw, Posterior, draw

GRADIENTS = ("reparameterised", "doubly_reparameterised")


def log_joint(
    functions: VAEFunctions, z: Float[Array, "*K B D"], x: Num[Array, "B ..."]
) -> Float[Array, "*K B"]:
    """log p(x, z) of every draw."""
    prior = functions.prior_of(z.shape[-1])
    own = log_likelihood(functions.decode, functions.likelihood, z, x)
    return own + prior_log_prob(prior, z)


def log_weights(
    functions: VAEFunctions, sampled: Draw, x: Num[Array, "B ..."]
) -> Float[Array, "K S B"]:
    """log p(x, z) - log q(z | x) + log of the stratum's share."""
    joint = log_joint(functions, sampled.z, x)
    return joint - sampled.log_q + sampled.log_share


@jax.custom_jvp
def scale_gradient(z: Float[Array, "*K D"], scale: Float[Array, "*K"]) -> Float[Array, "*K D"]:
    """z itself, whose gradient is multiplied by `scale`."""
    return z


@scale_gradient.defjvp
def _scale_gradient_jvp(primals, tangents):
    z, scale = primals
    return z, tangents[0] * scale[..., None]


def iwae(
    key: Key[Array, "*batch"],
    functions: VAEFunctions,
    x: Num[Array, "B ..."],
    *,
    num_samples: int = 5,
    gradient: str = "reparameterised",
    encoder_input: Array | None = None,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """The bound L_K with K = `num_samples` per example in nats, to be maximised: (bound [B], aux).

    Args:
      gradient: one of GRADIENTS. The doubly reparameterised one changes the encoder's alone; with
        K = 1 it is "sticking the landing" (roeder2017).
      encoder_input: what the encoder is given, `functions.inputs(x)` if not given.
    Returns aux: "elbo", "log_likelihood", "kl" (by Monte Carlo) [B], and "effective_samples" [B],
    from 1 to K.
    Raises ConfigError for unknown names, and for a doubly reparameterised mixture.
    """
    check_range("num_samples", num_samples, 1, integer=True)
    check_choice("gradient", gradient, GRADIENTS)
    given = functions.inputs(x) if encoder_input is None else encoder_input
    posterior = functions.encode(given)
    sampled = draw(posterior, sample_keys(key, len(x)), num_samples)
    terms = log_weights(functions, sampled, x)
    bound = logsumexp(terms, (0, 1)) - jnp.log(num_samples)
    share = jax.nn.softmax(logsumexp(terms, 1), 0)
    each = jnp.exp(sampled.log_share)
    lower = jnp.sum(each * (terms - sampled.log_share), 1).mean(0)
    cost = sampled.log_q - prior_log_prob(functions.prior_of(sampled.z.shape[-1]), sampled.z)
    kl = jnp.sum(each * cost, 1).mean(0)
    aux = {
        "elbo": lower,
        "log_likelihood": lower + kl,
        "kl": kl,
        "effective_samples": 1 / jnp.sum(share**2, 0),
    }
    if gradient == "doubly_reparameterised":
        return _doubly_reparameterised(functions, posterior, sampled, x, bound), aux
    return bound, aux


def _doubly_reparameterised(
    functions: VAEFunctions, posterior: Posterior, sampled: Draw, x: Array, bound: Array
) -> Array:
    """The bound, with a surrogate's gradient: w for decoder and prior, w^2 through the draws."""
    if sampled.z.shape[1] > 1:
        raise ConfigError("gradient='doubly_reparameterised' does not fit a mixture posterior")
    stopped = jax.lax.stop_gradient(posterior.params)
    log_q = jax.vmap(lambda z: posterior.log_prob(stopped, z))

    def terms(z):
        at = sampled._replace(z=z, log_q=log_q(z[:, 0])[:, None])
        return log_weights(functions, at, x)

    share = jax.lax.stop_gradient(jax.nn.softmax(terms(sampled.z), 0))
    surrogate = jnp.sum(share * terms(scale_gradient(sampled.z, share)), (0, 1))
    return jax.lax.stop_gradient(bound - surrogate) + surrogate
