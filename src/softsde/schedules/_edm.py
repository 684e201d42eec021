"""The noise levels of EDM, as a function of time on [0, 1]."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_positive, concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule, log_ratio_by_change, same_dtype


class EDM(AbstractSchedule):
    r"""$\big(a^{1/\rho} + t\,(b^{1/\rho} - a^{1/\rho})\big)^\rho$ for $t \in [0, 1]$.

    $a$ is `sigma_min`, $b$ is `sigma_max`. EDM uses $\sigma$ itself as time, and this
    formula to place its *steps* (their Eq. 5). Here the formula is the schedule, so
    evenly spaced times give the steps of EDM.

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """

    sigma_min: ArrayLike = 0.002
    sigma_max: ArrayLike = 80.0
    rho: ArrayLike = 7.0

    def __check_init__(self):
        for name in ("sigma_min", "sigma_max", "rho"):
            check_positive("EDM", name, getattr(self, name))
        low, high = concrete(self.sigma_min), concrete(self.sigma_max)
        if low is not None and high is not None and not low < high:
            raise ValueError(
                f"`EDM` needs `sigma_min` < `sigma_max`, got {low} and {high}."
            )

    def _roots(self, dtype) -> tuple[Scalar, Scalar, Scalar]:
        rho = jnp.asarray(self.rho, dtype)
        low = jnp.asarray(self.sigma_min, dtype) ** (1 / rho)
        return low, jnp.asarray(self.sigma_max, dtype) ** (1 / rho), rho

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        low, high, rho = self._roots(t.dtype)
        return (low + t * (high - low)) ** rho

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = same_dtype(t, t_next)
        low, high, rho = self._roots(t.dtype)
        speed = high - low
        root, root_next = low + t * speed, low + t_next * speed
        return rho * log_ratio_by_change(root, root_next, speed * (t - t_next))

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        low, high, rho = self._roots(value.dtype)
        return (value ** (1 / rho) - low) / (high - low)
