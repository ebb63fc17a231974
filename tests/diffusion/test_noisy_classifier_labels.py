"""Labels of the classifier that guides: K would be a row of zeros, whose loss is 0."""

import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn

from gen_jax import diffusion, paths
from gen_jax.errors import DataError


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
