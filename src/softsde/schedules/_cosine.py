"""Half a period of a cosine, from one value to another."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule
from ._between import between, check_ends, share_of


class Cosine(AbstractSchedule):
    r"""$a + (b - a)\, \frac12 (1 - \cos \pi t)$ for $t \in [0, 1]$.

    $a$ is `start`, $b$ is `end`. The derivative is zero at both ends. The cosine
    schedule of Nichol and Dhariwal is a different one: see
    [`softsde.schedules.CosineVP`][].
    """

    start: ArrayLike
    end: ArrayLike

    def __check_init__(self):
        check_ends("Cosine", self.start, self.end)

    def __call__(self, t: ScalarLike) -> Scalar:
        # sin^2(pi t / 2) is (1 - cos(pi t)) / 2 without the cancellation near 0.
        share = jnp.sin(0.5 * jnp.pi * jnp.asarray(t)) ** 2
        return between(self.start, self.end, share)

    def inverse(self, value: ScalarLike) -> Scalar:
        share = share_of(self.start, self.end, value)
        return 2 / jnp.pi * jnp.arcsin(jnp.sqrt(share))
