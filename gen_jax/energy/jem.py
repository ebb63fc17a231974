"""JEM: a classifier that is also an energy (grathwohl2020), as a `GenerativeModel`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.checks import no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.data_units import to_data
from gen_jax.energy.chains import run_chains
from gen_jax.energy.contrastive import contrastive
from gen_jax.energy.ebm import DEFAULT_CHAINS, chain_settings, negatives_of, start_from_buffer
from gen_jax.energy.joint import joint_energy, label_loss, marginal_energy
from gen_jax.energy.model import assemble, outputs
from gen_jax.energy.normalizer import log_base
from gen_jax.energy.options import ChainOptions, EnergyState, Method, Options, check_chains
from gen_jax.errors import check_range
from gen_jax.model import GenerativeModel
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float


def logits_of(
    network, state: EnergyState, u: Float[Array | np.ndarray, "B ..."]
) -> Float[Array, "B K"]:
    """The classifier of a trained JEM, for encoded images; softmax gives p(y | x)."""
    return outputs(network, state.ema, state.stats, jnp.asarray(u))


@no_type_check
def jem(
    network,
    optimizer: optax.GradientTransformation,
    *,
    chains: ChainOptions = DEFAULT_CHAINS,
    energy_weight: float = 1.0,
    regulariser: float = 0.0,
    **options,
) -> GenerativeModel:
    """-log p(y | x) plus energy_weight times the contrastive loss of p(x) (grathwohl2020 eq. 7).

    Args:
      network: Flax module, `x [B, *shape] -> logits [B, K]`.
      chains, regulariser, options: as for `ebm`.
    `sample` takes `label`, [n] or one number: then rows of the buffer, as draws of p(x), are chosen
    with weights p(y | x), which makes them draws of p(x | y), and moved on along log f(x)[y]; and
    `steps`. Chains rarely cross between modes apart, so the energy hardly learns their weights, nor
    those of the classes: do not trust these. `log_prob` is an estimate of log p(x). Raises
    ConfigError for numbers out of range, labels among them, and for data without labels.
    """
    settings = Options(**options)
    check_chains(chains)
    check_range("regulariser", regulariser, 0)
    check_range("energy_weight", energy_weight, 0)

    def objective(params, stats, key, x, batch, negatives):
        logits = outputs(network, params, stats, x)
        y = batch_labels(batch, logits.shape[1])
        energy = lambda x: marginal_energy(outputs(network, params, stats, x))
        pulled, aux = contrastive(energy, x, negatives.x, negatives.valid, regulariser=regulariser)
        label = label_loss(logits, y)
        right = (logits.argmax(1) == y).astype(x.dtype)
        return label + energy_weight * pulled, {"label_loss": label, "accuracy": right, **aux}

    @functools.cache
    def num_classes():
        one = jnp.zeros((1, *settings.shape))
        return jax.eval_shape(network.init_with_output, jax.random.key(0), one)[0].shape[1]

    def checked(label, n):
        return checked_labels(label, n, num_classes())

    def sample(key, state, n, *, label=None, steps=None):
        keys = sample_keys(key, n)
        usual = chains.steps if state.buffer is None else chains.sample_steps
        plan = chain_settings(chains, usual if steps is None else steps)
        of = lambda x: logits_of(network, state, x)
        y = checked(label, n)
        if y is None:
            weights, energy = None, lambda x: marginal_energy(of(x))
        else:
            energy = lambda x: joint_energy(of(x), y)
            weights = None
            if state.buffer is not None:
                every = of(state.buffer)
                weights = (every + marginal_energy(every)[:, None]).T[y]
        start = start_from_buffer(fold_in(keys, 0), state, settings, weights)
        whole = lambda x: energy(x) - log_base(x, settings.base_std)
        return to_data(settings, run_chains(fold_in(keys, 1), whole, start, **plan).x)

    method = Method(
        objective,
        negatives_of(network, settings, chains),
        buffer_size=chains.buffer_size,
        logits=True,
    )
    return assemble(network, optimizer, settings, method, sample, per_sample={"label": checked})
