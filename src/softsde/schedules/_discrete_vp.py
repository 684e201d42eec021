r"""The schedules of DDPM's chain: a product of betas, continuous between its steps.

The chain of $N$ steps has $\bar\alpha_i = \prod_{j \le i} (1 - \beta_j)$. Its step $i$
is the time $i / N$. Between two steps $\log \bar\alpha$ is linear, as if noise came in
evenly, so that on the grid everything is the chain's, and nothing jumps.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule, log_ratio_by_change, same_dtype

Betas = Float[Array, " steps"]


def _as_betas(owner: str, betas) -> Betas:
    known = concrete(betas)
    if np.ndim(betas) != 1 or np.shape(betas)[0] < 2:
        raise ValueError(
            f"`{owner}` needs a vector of at least two `betas`, got shape "
            f"{np.shape(betas)}. For constant noise use `VP(beta, beta)`."
        )
    if known is not None and not np.all((known > 0) & (known < 1)):
        raise ValueError(
            f"`{owner}` got `betas` from {known.min()} to {known.max()}; expected "
            "variances in (0, 1), such as `np.linspace(1e-4, 0.02, 1000)`."
        )
    return jnp.asarray(betas, jnp.result_type(float))


def _rates(betas: Betas, dtype) -> Betas:
    """`-log(1 - beta)`: what each step adds to `-log(alpha bar)`."""
    return -jnp.log1p(-betas.astype(dtype))


def _cumulative(betas: Betas, dtype) -> Float[Array, " times"]:
    """`-log(alpha bar)` at the times 0, 1/N, ..., 1."""
    return jnp.concatenate([jnp.zeros(1, dtype), jnp.cumsum(_rates(betas, dtype))])


def _lost(betas: Betas, t: Scalar) -> Scalar:
    """`-log(alpha bar)` at `t`."""
    number = betas.shape[0]
    steps = jnp.arange(number + 1, dtype=t.dtype)
    return jnp.interp(number * t, steps, _cumulative(betas, t.dtype))


def _time_of(betas: Betas, lost: Scalar) -> Scalar:
    """Inverts `_lost`."""
    number = betas.shape[0]
    steps = jnp.arange(number + 1, dtype=lost.dtype)
    return jnp.interp(lost, _cumulative(betas, lost.dtype), steps) / number


def _change(betas: Betas, t: Scalar, t_next: Scalar) -> Scalar:
    """`_lost(t) - _lost(t_next)` as a sum of terms of one sign: nothing cancels."""
    number = betas.shape[0]
    early, late = number * jnp.minimum(t, t_next), number * jnp.maximum(t, t_next)
    steps = jnp.arange(number + 1, dtype=t.dtype)
    inside = jnp.minimum(late, steps[1:]) - jnp.maximum(early, steps[:-1])
    change = jnp.sum(_rates(betas, t.dtype) * jnp.maximum(inside, 0))
    return jnp.where(t < t_next, -change, change)


def _kinks(betas: Betas) -> Float[Array, " kinks"]:
    return jnp.arange(betas.shape[0] + 1, dtype=betas.dtype) / betas.shape[0]


class DiscreteVPSignal(AbstractSchedule):
    r"""$\alpha_t = \sqrt{\bar\alpha_i}$ at $t = i / N$: the signal of DDPM's chain.

    $\bar\alpha_i = \prod_{j \le i} (1 - \beta_j)$; between the steps $\log \bar\alpha$
    is linear in time. It is the level of [`softsde.corruptions.Scale`][] in
    [`softsde.processes.ddpm`][].

    ??? cite "Reference"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020,
        Eq. 2 and 4.
    """

    betas: Betas

    def __init__(self, betas):
        r"""**Arguments:**

        - `betas`: $\beta_1, \dots, \beta_N$, the variance that each step adds.

        **Raises:** `ValueError` for fewer than two betas, or one outside (0, 1).
        """
        self.betas = _as_betas("DiscreteVPSignal", betas)

    def __call__(self, t: ScalarLike) -> Scalar:
        return jnp.exp(-0.5 * _lost(self.betas, jnp.asarray(t)))

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = same_dtype(t, t_next)
        return -0.5 * _change(self.betas, t, t_next)

    def kinks(self) -> Float[Array, " kinks"]:
        return _kinks(self.betas)

    def inverse(self, value: ScalarLike) -> Scalar:
        return _time_of(self.betas, -2 * jnp.log(jnp.asarray(value)))


class DiscreteVP(AbstractSchedule):
    r"""$\sigma_t = \sqrt{1 - \bar\alpha_i}$ at $t = i / N$: the noise of DDPM's chain.

    It belongs to the signal [`softsde.schedules.DiscreteVPSignal`][] of the same betas.
    """

    betas: Betas

    def __init__(self, betas):
        r"""**Arguments:**

        - `betas`: $\beta_1, \dots, \beta_N$, the variance that each step adds.

        **Raises:** `ValueError` for fewer than two betas, or one outside (0, 1).
        """
        self.betas = _as_betas("DiscreteVP", betas)

    def __call__(self, t: ScalarLike) -> Scalar:
        return jnp.sqrt(-jnp.expm1(-_lost(self.betas, jnp.asarray(t))))

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = same_dtype(t, t_next)
        lost, lost_next = _lost(self.betas, t), _lost(self.betas, t_next)
        # (1 - e^-l) - (1 - e^-m) = -e^-m expm1(-(l - m)).
        change = -jnp.exp(-lost_next) * jnp.expm1(-_change(self.betas, t, t_next))
        of_variance = log_ratio_by_change(
            -jnp.expm1(-lost), -jnp.expm1(-lost_next), change
        )
        return 0.5 * of_variance

    def kinks(self) -> Float[Array, " kinks"]:
        return _kinks(self.betas)

    def inverse(self, value: ScalarLike) -> Scalar:
        return _time_of(self.betas, -jnp.log1p(-(jnp.asarray(value) ** 2)))
