"""A loss on a finite set of noise levels, in the place of all times."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_positive, concrete
from .._types import DenoiserFn, Key, Sample, Scalar, ScalarLike
from ..processes import Process


class AtNoiseLevels(eqx.Module):
    r"""`loss` at the times at which $\sigma_t$ takes one of the values `sigmas`.

    The interval of times is cut into as many equal parts as there are levels; a time
    stands for the level of its part. So times that are drawn uniformly, as
    [`softsde.losses.batch_loss`][] does, are levels that are drawn uniformly.
    """

    loss: Callable[..., Scalar]
    sigmas: Float[Array, " levels"]

    def __init__(self, loss: Callable[..., Scalar], sigmas):
        """**Arguments:**

        - `loss`: `loss(denoiser, process, x0, t, *, key) -> scalar`.
        - `sigmas`: the levels, in any order; positive.

        **Raises:** `ValueError` for no levels, or one that is not positive.
        """
        if np.ndim(sigmas) != 1 or np.shape(sigmas)[0] < 1:
            raise ValueError(
                "`AtNoiseLevels` needs a vector of at least one level, got shape "
                f"{np.shape(sigmas)}."
            )
        check_positive("AtNoiseLevels", "sigmas", sigmas)
        self.loss = loss
        self.sigmas = jnp.sort(jnp.asarray(sigmas, jnp.result_type(float)))

    def __call__(
        self,
        denoiser: DenoiserFn,
        process: Process,
        x0: Sample,
        t: ScalarLike,
        *,
        key: Key,
    ) -> Scalar:
        """The loss of one sample at the level that `t` stands for.

        **Arguments:** as those of `loss`.

        **Returns:** a scalar.

        **Raises:** `ValueError` for levels that the process does not reach, or noise
        that has no inverse.
        """
        self._check_range(process)
        share = (jnp.asarray(t, x0.dtype) - process.t0) / (process.t1 - process.t0)
        number = self.sigmas.size
        index = jnp.clip(jnp.floor(share * number), 0, number - 1).astype(int)
        time = process.noise.inverse(self.sigmas.astype(x0.dtype)[index])
        return self.loss(denoiser, process, x0, time, key=key)

    def _check_range(self, process: Process) -> None:
        ends = [
            concrete(process.sigma(jnp.asarray(t))) for t in (process.t0, process.t1)
        ]
        levels = concrete(self.sigmas)
        if levels is None or ends[0] is None or ends[1] is None:
            return
        # Levels that are the ends themselves differ from them by rounding.
        if levels[0] < ends[0] * (1 - 1e-5) or levels[-1] > ends[1] * (1 + 1e-5):
            raise ValueError(
                f"`AtNoiseLevels` has levels from {levels[0]} to {levels[-1]}, but the "
                f"noise of this process runs from {ends[0]} to {ends[1]}. Choose other "
                "levels, or a process such as `ve(levels.min(), levels.max())`."
            )
