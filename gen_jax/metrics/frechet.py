"""Frechet distance between Gaussians fitted to two sets of features (heusel2017, dowson1982).

    d^2 = |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2),

the squared 2-Wasserstein distance of N(m_a, C_a) and N(m_b, C_b). All of it in float64 on the host.

The estimate from samples is biased: for two sets of N examples of the same law with white
D-dimensional features it is about D^2 / (2 N), never "close to 0". So compare only at equal N,
print the value between two real sets of that size beside it (`calibrate`), or use the unbiased
`kernel_distance`.
"""

from dataclasses import dataclass

import numpy as np

from gen_jax.checks import no_type_check, on_host
from gen_jax.errors import ConfigError
from gen_jax.metrics.pairwise import as_pair, as_points
from gen_jax.types import Array, Float, Num


@dataclass(frozen=True)
class Moments:
    """Running mean and scatter of features, so that a set need not fit in memory.

    Each batch is centred before it is squared (chan1979), so the result depends on the size and the
    order of the batches only through rounding. Start from `Moments.empty(D)`.
    """

    count: int
    mean: np.ndarray
    """[D]"""
    scatter: np.ndarray
    """[D, D], the sum of (x - mean)(x - mean)^T."""

    @classmethod
    def empty(cls, num_features: int) -> "Moments":
        """No examples yet, of D features each."""
        return cls(0, np.zeros(num_features), np.zeros((num_features, num_features)))

    def add(self, features: Num[Array | np.ndarray, "N ..."]) -> "Moments":
        """With a batch of features [N, D] added; raises ConfigError when D differs."""
        x = as_points("features", features, minimum=1)
        mean = x.mean(0)
        return self.merge(Moments(len(x), mean, (x - mean).T @ (x - mean)))

    def merge(self, other: "Moments") -> "Moments":
        """Of both sets together; raises ConfigError when the numbers of features differ."""
        if self.mean.shape != other.mean.shape:
            raise ConfigError(
                f"moments of {self.mean.size} and {other.mean.size} features cannot be merged"
            )
        count = self.count + other.count
        if count == 0:
            return self
        shift = other.mean - self.mean
        between = np.outer(shift, shift) * (self.count * other.count / count)
        mean = self.mean + shift * (other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    @property
    def cov(self) -> np.ndarray:
        """Unbiased covariance [D, D] (divided by N - 1); raises ConfigError below two examples."""
        if self.count < 2:
            raise ConfigError(f"a covariance needs at least 2 examples, got {self.count}")
        return self.scatter / (self.count - 1)


@no_type_check
def moments(
    features: Num[Array | np.ndarray, "N ..."],
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D D"]]:
    """Mean [D] and unbiased covariance [D, D] of features [N, D], in float64."""
    x = as_points("features", features)
    total = Moments.empty(x.shape[1]).add(x)
    return total.mean, total.cov


def _factor(name: str, cov: np.ndarray) -> np.ndarray:
    """F with F F^T = cov, by `eigh`; eigenvalues within rounding of zero become zero."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    rounding = len(values) * np.finfo(np.float64).eps * np.abs(values).max()
    # A covariance computed in float32 is still accepted; anything more negative is a mistake.
    if values.min() < -max(rounding, 1e-5 * np.abs(values).max()):
        raise ConfigError(f"{name} has the eigenvalue {values.min():.3g}; it must not be negative")
    return vectors * np.sqrt(np.where(values > rounding, values, 0))


@no_type_check
def frechet_distance(
    mean_a: Float[Array | np.ndarray, "..."],
    cov_a: Float[Array | np.ndarray, "..."],
    mean_b: Float[Array | np.ndarray, "..."],
    cov_b: Float[Array | np.ndarray, "..."],
) -> float:
    """Squared distance, as FID is quoted, of N(mean_a, cov_a) and N(mean_b, cov_b) (heusel2017).

    With factors C = F F^T the trace of the root is the sum of the singular values of F_a^T F_b: no
    root of a product, hence no imaginary parts, and accurate for covariances of any rank.

    Args: means [D] and covariances [D, D].
    Raises ConfigError for shapes that differ or negative eigenvalues, DataError for values that are
    not finite.
    """
    given = {"mean_a": mean_a, "cov_a": cov_a, "mean_b": mean_b, "cov_b": cov_b}
    mean_a, cov_a, mean_b, cov_b = (
        on_host(name, value).astype(np.float64) for name, value in given.items()
    )
    d = mean_a.size
    shapes = (mean_a.shape, cov_a.shape, mean_b.shape, cov_b.shape)
    if shapes != ((d,), (d, d), (d,), (d, d)):
        raise ConfigError(f"means and covariances have shapes {shapes}; need [D], [D, D] twice")
    root = np.linalg.svd(_factor("cov_a", cov_a).T @ _factor("cov_b", cov_b), compute_uv=False)
    distance = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * root.sum()
    return float(max(distance, 0.0))


@no_type_check
def frechet_from_features(
    a: Num[Array | np.ndarray, "N ..."], b: Num[Array | np.ndarray, "M ..."]
) -> float:
    """`frechet_distance` of two sets of features [N, D] and [M, D]; bias about D^2 / (2 N).

    Sets smaller than their dimension are their covariances' factors themselves: no [D, D] matrix.
    """
    a, b = as_pair(a, b)
    if len(a) + len(b) >= 2 * a.shape[1]:
        return frechet_distance(*moments(a), *moments(b))
    shift = a.mean(0) - b.mean(0)
    a, b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    root = np.linalg.svd(a @ b.T, compute_uv=False)
    return float(max(np.sum(shift**2) + np.sum(a**2) + np.sum(b**2) - 2 * root.sum(), 0.0))
