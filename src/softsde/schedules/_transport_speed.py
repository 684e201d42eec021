r"""How fast a process moves its law: the local transport cost."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Key, Scalar, ScalarLike


def transport_speed(
    process: Any, data: Float[Array | np.ndarray, "number *shape"]
) -> Callable[..., Scalar]:
    r"""$t \mapsto \sqrt{E \lVert \dot C_t x_0 \rVert^2 + n\, \dot\sigma_t^2}$.

    The rate at which the coupling moves that keeps the clean sample and the noise. It
    is the speed of the law itself in the 2-Wasserstein metric where that coupling is
    optimal, and an upper bound elsewhere: without noise, exact for symmetric positive
    semi-definite families that commute. A schedule by optimal transport is the one
    along which it is constant.

    **Arguments:**

    - `process`: a [`softsde.Process`][] whose corruption has a derivative in its level.
    - `data`: clean samples stacked in front; some hundred do, for it is a mean.

    **Returns:** a function of the time, and of a key that it does not use.

    **Raises:** `ValueError` for no data, or a corruption that jumps.

    !!! example

        ```python
        speed = ss.schedules.transport_speed(process, images)
        fitted = ss.schedules.fit_warp(speed, num_knots=8, num_steps=5, key=key)
        ```
    """
    if len(data) < 1:
        raise ValueError("`transport_speed` got no data.")
    if process.corruption.structure.differentiable is False:
        raise ValueError(
            f"`transport_speed` needs a corruption that moves smoothly; "
            f"`{type(process.corruption).__name__}` jumps. For its pace between levels "
            "take the distances of `transport_schedule`."
        )
    return _Speed(process, jnp.asarray(data))


class _Speed(eqx.Module):
    process: Any
    data: Float[Array, "number *shape"]

    def __call__(self, t: ScalarLike, key: Key | None = None) -> Scalar:
        del key
        t = jnp.asarray(t, self.data.dtype)
        moved = jax.vmap(lambda x: self.process.apply_dot(t, x))(self.data)
        components = self.data[0].size
        signal = jnp.sum(moved**2) / len(self.data)
        return jnp.sqrt(signal + components * self.process.noise.derivative(t) ** 2)
