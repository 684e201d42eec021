"""Guidance by a weaker model."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .._types import Condition, Sample
from ..denoisers import AbstractDenoiser
from ..processes import same_process
from ._parts import AbstractGuidance, Interval, as_interval, as_scale, check_denoiser


class AutoGuidance(AbstractGuidance):
    r"""Guidance by a weaker model: $D = D_0 + w\, (D_1 - D_0)$.

    The weaker model makes the same mistakes, only larger ones, so moving away from it
    reduces them. Both are evaluated with the same condition.

    ??? cite "Reference"

        Karras et al., *Guiding a Diffusion Model with a Bad Version of Itself*, 2024.
    """

    denoiser: AbstractDenoiser
    weaker: AbstractDenoiser
    scale: Float[Array, "..."]
    interval: Interval = eqx.field(static=True)

    def __init__(
        self,
        denoiser: AbstractDenoiser,
        weaker: AbstractDenoiser,
        scale: Float[ArrayLike, "..."],
        interval: Interval = None,
    ):
        """**Arguments:**

        - `denoiser`: $D_1$, the one to improve.
        - `weaker`: $D_0$, a smaller network or one that was trained for less time, for
            the same data and process.
        - `scale`: $w$; 1 is the denoiser itself.
        - `interval`: the times `(t_low, t_high)` of guidance; at others $D_1$ is
            evaluated alone. `None` is all times.
        """
        self.denoiser = check_denoiser("AutoGuidance", "denoiser", denoiser)
        self.weaker = check_denoiser("AutoGuidance", "weaker", weaker)
        self.scale, self.interval = as_scale(scale), as_interval(interval)
        if not same_process(denoiser.process, weaker.process):
            raise ValueError(
                "`AutoGuidance` got denoisers of two processes; expected one process. "
                "Train `weaker` on `denoiser.process`."
            )

    def guided(self, t: Array, x: Sample, condition: Condition, key: Any) -> Sample:
        weak = self.weaker(t, x, condition, key=key)
        strong = self.denoiser(t, x, condition, key=key)
        return weak + self.scale.astype(weak.dtype) * (strong - weak)
