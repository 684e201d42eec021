"""Denoising score matching on discrete noise levels, as NCSN is trained."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..denoisers import AbstractDenoiser
from ._base import AbstractLoss, check_denoiser
from ._noise_levels import as_levels, time_of_level
from ._soft_score_matching import SoftScoreMatching


class AnnealedDSM(AbstractLoss):
    r"""$\lambda(\sigma)\, \frac1d \lVert s(x_t) + \eta / \sigma \rVert^2$ with
    $\lambda(\sigma) = \sigma^2$, at the levels $\sigma$ of NCSN.

    The factor $\lambda$ brings all levels to one scale. A time stands for a level as in
    [`softsde.losses.AtNoiseLevels`][]: uniform times are uniform levels.

    The published objective sums over the components and halves, $\frac12
    \lambda(\sigma) \lVert s(x_t) + \eta / \sigma \rVert^2$, which is $d / 2$ times
    this. That changes no minimum, but learning rates and the norm at which gradients
    are clipped. `as_printed=True` computes it.

    !!! example

        ```python
        sigmas = ss.schedules.noise_sequence("geometric", 200, 1.0, 0.01)
        loss = ss.losses.AnnealedDSM(sigmas)
        denoiser = ss.Denoiser(network, ss.ve(0.01, 1.0))
        value = loss(denoiser, x0, t, key=key)
        ```

    ??? cite "Reference"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019.
    """

    sigmas: Float[Array, " levels"]
    as_printed: bool = eqx.field(static=True)

    def __init__(self, sigmas, *, as_printed: bool = False):
        """**Arguments:**

        - `sigmas`: the levels, such as those of
            [`softsde.schedules.noise_sequence`][].
        - `as_printed`: the sum over the components and the one half, as published, in
            place of the mean.

        **Raises:** `ValueError` for no levels, or one that is not positive.
        """
        self.sigmas = as_levels("AnnealedDSM", sigmas)
        self.as_printed = as_printed

    def __call__(
        self,
        denoiser: AbstractDenoiser,
        x0: Sample,
        t: ScalarLike,
        condition: Condition = None,
        *,
        key: Key,
    ) -> Scalar:
        check_denoiser("AnnealedDSM", denoiser)
        t = jnp.asarray(t, x0.dtype)
        time = time_of_level("AnnealedDSM", self.sigmas, denoiser.process, t)
        # s + eta / sigma = C (x0_hat - x0) / sigma^2, so sigma^2 times its square is
        # Soft Score Matching at 1 / sigma^2.
        value = SoftScoreMatching("inverse_variance")(
            denoiser, x0, time, condition, key=key
        )
        return 0.5 * x0.size * value if self.as_printed else value
