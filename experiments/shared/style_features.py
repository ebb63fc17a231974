"""Feature maps in which styles are compared."""

from typing import Any

from gen_jax import metrics
from gen_jax.data import DatasetSpec, pairs
from gen_jax.gan.translation import check_pair


def features_of(config: Any, spec: DatasetSpec) -> Any:
    """`x -> maps`, x itself and then from fine to coarse: the classifier's norms hide brightness.

    Raises ConfigError where there is no classifier.
    """
    name = pairs.parse(spec.name)
    maps = metrics.load_classifier(name.bases[-1] if name else spec.name).maps
    levels = config.levels or (1 if max(check_pair(spec.shape)[:2]) < 16 else 2)
    return lambda x: (x, *maps(x)[:levels])
