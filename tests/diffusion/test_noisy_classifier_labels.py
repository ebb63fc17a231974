"""Labels of the classifier that guides: K would be a row of zeros, whose loss is 0."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn

from gen_jax import diffusion, energy, paths
from gen_jax.errors import ConfigError, DataError


class Logits(nn.Module):
    @nn.compact
    def __call__(self, x, noise):
        return nn.Dense(3)(x), None


@pytest.mark.parametrize("labels", [[1, 2, 3, 1], [-1, 0, 1, 2], [0.0, 1.0, 2.0, 0.0]])
def test_labels_from_0_to_k_less_1_alone(labels, key):
    model = diffusion.noisy_classifier(
        Logits(), paths.linear(), optax.sgd(0.1), shape=(2,), num_classes=3
    )
    with pytest.raises(DataError, match=r"integers in \[0, 2\]"):
        model.init(key, {"x": jnp.zeros((4, 2)), "y": jnp.array(labels)})


@pytest.mark.parametrize("wrong", [-1, 3])
def test_probabilities_of_labels_that_are_no_classes_are_refused(wrong, key):
    """An index counts -1 from the end; inside jit too, where the labels are constants."""
    x, t, label = jnp.ones((2, 2)), jnp.full(2, 0.5), jnp.array([0, wrong])
    params = Logits().init(key, x, t)
    log_p = diffusion.label_log_prob(Logits(), paths.linear(), params, label)
    calls = [lambda x: log_p(x, t), lambda x: energy.joint_energy(x @ jnp.eye(2, 3), label)]
    for call in calls:
        for function in (call, jax.jit(call)):
            with pytest.raises(ConfigError, match=rf"label.*{wrong}.* integers in \[0, 2\]"):
                function(x)
