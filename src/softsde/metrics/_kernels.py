"""Kernels: how alike two vectors of features are."""

import abc
import dataclasses

import numpy as np
from jaxtyping import Float

from ._pairwise import squared_distances


class AbstractKernel(abc.ABC):
    """A positive semi-definite function of two vectors, for many pairs at once.

    - `name`: the kernel with its parameters, in words.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The kernel with its parameters, in words."""

    @abc.abstractmethod
    def __call__(
        self, x: Float[np.ndarray, "num_x dim"], y: Float[np.ndarray, "num_y dim"]
    ) -> Float[np.ndarray, "num_x num_y"]:
        """The kernel of all pairs."""


@dataclasses.dataclass(frozen=True)
class PolynomialKernel(AbstractKernel):
    r"""$k(x, y) = (x \cdot y / d + c)^m$; by default the cubic one of KID.

    **Arguments:**

    - `degree`: $m$. Moments up to this order are compared.
    - `offset`: $c$.
    """

    degree: int = 3
    offset: float = 1.0

    @property
    def name(self) -> str:
        """The kernel with its parameters, in words."""
        return f"polynomial of degree {self.degree}, offset {self.offset:g}"

    def __call__(
        self, x: Float[np.ndarray, "num_x dim"], y: Float[np.ndarray, "num_y dim"]
    ) -> Float[np.ndarray, "num_x num_y"]:
        root = x @ y.T
        root /= x.shape[1]
        root += self.offset
        power = root.copy()
        # Many times faster than `root**degree`.
        for _ in range(self.degree - 1):
            power *= root
        return power


@dataclasses.dataclass(frozen=True)
class GaussianKernel(AbstractKernel):
    r"""$k(x, y) = \exp(-\|x - y\|^2 / (2 \sigma^2))$, which sees all moments.

    With $\sigma = 10$ and CLIP's embeddings, 1000 times the kernel distance is the CMMD
    of Jayasumana et al. (2024) without its bias: they also count the pairs of a sample
    with itself.

    **Arguments:**

    - `bandwidth`: $\sigma$.
    """

    bandwidth: float

    @property
    def name(self) -> str:
        """The kernel with its parameters, in words."""
        return f"Gaussian of bandwidth {self.bandwidth:g}"

    def __call__(
        self, x: Float[np.ndarray, "num_x dim"], y: Float[np.ndarray, "num_y dim"]
    ) -> Float[np.ndarray, "num_x num_y"]:
        exponent = squared_distances(x, y)
        exponent *= -0.5 / self.bandwidth**2
        return np.exp(exponent, out=exponent)
