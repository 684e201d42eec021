"""Mean and covariance of features that arrive batch by batch."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from ._arrays import AnyArray, as_features, check_comparable


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureMoments:
    r"""Count, mean and scatter matrix of a set of features, in float64.

    Moments of disjoint sets add up, by the update of Chan, Golub and LeVeque:

    $$n = n_a + n_b, \qquad \mu = \mu_a + \tfrac{n_b}{n} \delta, \qquad
    S = S_a + S_b + \tfrac{n_a n_b}{n} \delta \delta^T, \qquad
    \delta = \mu_b - \mu_a.$$

    Each batch is centred on its own mean, so that a large common offset costs no
    digits. The result does not depend on how the data were split.

    ```{ .python .no-run }
    moments = ss.metrics.FeatureMoments.empty(dim=128)
    for batch in loader:
        features = ss.metrics.extract_features(classifier.features, batch["image"])
        moments = moments.update(features)
    moments = moments.across_processes()
    ```
    """

    count: int
    mean: Float[np.ndarray, " dim"]
    scatter: Float[np.ndarray, "dim dim"]

    @classmethod
    def empty(cls, dim: int) -> "FeatureMoments":
        """The moments of no features at all: the zero of the addition."""
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    @classmethod
    def of(cls, features: Shaped[AnyArray, "num dim"]) -> "FeatureMoments":
        """The moments of one `(num, dim)` array that fits in memory."""
        features = as_features("features", features).astype(np.float64)
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def __add__(self, other: "FeatureMoments") -> "FeatureMoments":
        check_comparable("self", self.scatter, "other", other.scatter)
        count = self.count + other.count
        if count == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + (other.count / count) * delta
        between = (self.count * other.count / count) * np.outer(delta, delta)
        return FeatureMoments(count, mean, self.scatter + other.scatter + between)

    def update(self, features: Shaped[AnyArray, "num dim"]) -> "FeatureMoments":
        """These moments with the rows of `features` counted in."""
        return self + FeatureMoments.of(features)

    @classmethod
    def total(cls, parts: Sequence["FeatureMoments"]) -> "FeatureMoments":
        """The moments of the union of disjoint sets, of which there is at least one."""
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part
        return whole

    def across_processes(self) -> "FeatureMoments":
        """The moments of the features of all processes, the same on each of them.

        Every process calls this, with the moments of its own share of the features.
        Without `jax.distributed` it returns the moments themselves.
        """
        import jax
        from jax.experimental import multihost_utils

        if jax.process_count() == 1:
            return self
        dim = len(self.mean)
        numbers = np.concatenate([[self.count], self.mean, self.scatter.ravel()])
        # As 32-bit words: JAX would make float32 of float64, and lose half the digits.
        words = np.ascontiguousarray(numbers, np.float64).view(np.uint32)
        gathered = np.asarray(multihost_utils.process_allgather(words))
        parts = np.ascontiguousarray(gathered).view(np.float64)
        return FeatureMoments.total(
            [
                FeatureMoments(
                    int(part[0]), part[1 : dim + 1], part[dim + 1 :].reshape(dim, dim)
                )
                for part in parts
            ]
        )

    @property
    def covariance(self) -> Float[np.ndarray, "dim dim"]:
        r"""The unbiased covariance $S / (n - 1)$."""
        if self.count < 2:
            raise ValueError(
                f"A covariance needs at least 2 features, but {self.count} were seen."
                " Draw more samples."
            )
        return self.scatter / (self.count - 1)
