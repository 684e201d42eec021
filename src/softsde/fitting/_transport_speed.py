r"""The local transport cost: how fast a process moves its law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Key, Scalar, ScalarLike
from ..processes import Process
from ._candidates import check_process


class TransportSpeed(eqx.Module):
    """The function of time that `transport_speed` returns."""

    process: Process
    data: Float[Array, "number *shape"]

    def __call__(self, t: ScalarLike, key: Key | None = None) -> Scalar:
        r"""The speed at time `t`, in units of the data per unit of time.

        `key` is not used: it is there for [`softsde.fitting.fit_warp`][], whose costs
        may be random.
        """
        del key
        t = jnp.asarray(t, self.data.dtype)
        moved = jax.vmap(lambda x: self.process.apply_dot(t, x))(self.data)
        components = self.data[0].size
        signal = jnp.sum(moved**2) / len(self.data)
        return jnp.sqrt(signal + components * self.process.noise.derivative(t) ** 2)


def transport_speed(
    process: Process, data: Float[Array | np.ndarray, "number *shape"]
) -> TransportSpeed:
    r"""$t \mapsto \sqrt{E \lVert \dot C_t x_0 \rVert^2 + n\, \dot\sigma_t^2}$.

    This is the speed of the coupling that keeps the clean sample and the noise. Where
    that coupling is optimal, it is the speed of the law in the 2-Wasserstein metric:
    without noise, for symmetric positive semi-definite operators that commute.
    Elsewhere it is an upper bound. Along a schedule by optimal transport the speed is
    constant.

    **Arguments:**

    - `process`: one whose corruption has a derivative in its level.
    - `data`: clean samples stacked in front. A hundred are enough, since it is a mean.

    **Returns:** a function of the time.

    **Raises:** `ValueError` for no data, or a corruption that jumps.

    !!! example

        ```python
        speed = ss.fitting.transport_speed(process, images)
        fitted = ss.fitting.fit_warp(speed, num_knots=8, num_steps=5, key=key)
        ```
    """
    check_process("transport_speed", process)
    if len(data) < 1:
        raise ValueError("`transport_speed` got no data.")
    process.require_smooth("`transport_speed`", tuple(data.shape[1:]))
    return TransportSpeed(process, jnp.asarray(data))
