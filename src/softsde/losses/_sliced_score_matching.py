"""Sliced score matching: Hyvarinen's objective along random directions."""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from .._types import Key, Sample, Scalar
from ._score import AbstractScoreLoss
from ._weights import Weight, check_weight

_DRAW = {"rademacher": jax.random.rademacher, "normal": jax.random.normal}


class SlicedScoreMatching(AbstractScoreLoss):
    r"""$\frac{w(t)}{d} \big(\lVert s \rVert^2 + 2 v^\top \nabla s\, v\big)$ for random
    directions $v$ with $E[v v^\top] = I$.

    The trace of [`softsde.losses.ImplicitScoreMatching`][] by Hutchinson's estimator,
    hence the same expectation.

    !!! example

        ```python
        loss = ss.losses.SlicedScoreMatching(projections=2)
        value = loss(denoiser, x0, t, key=key)
        ```

    ??? cite "Reference"

        Song, Garg, Shi and Ermon, *Sliced Score Matching: A Scalable Approach to
        Density and Score Estimation*, UAI 2019.
    """

    weight: Weight
    projections: int = eqx.field(static=True)
    variance_reduced: bool = eqx.field(static=True)
    directions: Literal["rademacher", "normal"] = eqx.field(static=True)

    def __init__(
        self,
        weight: Weight = "one",
        projections: int = 1,
        variance_reduced: bool = True,
        directions: Literal["rademacher", "normal"] = "rademacher",
    ):
        r"""**Arguments:**

        - `weight`: a name or a function `(process, t)`, see
            [`softsde.losses.weight_function`][].
        - `projections`: the number of directions to average over. Each costs one
            derivative.
        - `variance_reduced`: the formula above, SSM-VR. `False` replaces $\lVert s
            \rVert^2$ by $(v^\top s)^2$, which is plain SSM.
        - `directions`: the distribution of the components of $v$.

        **Raises:** `ValueError` for an unknown name, or no direction.
        """
        check_weight("SlicedScoreMatching", weight)
        if projections < 1:
            raise ValueError(
                "`SlicedScoreMatching` needs at least one direction, got "
                f"`projections={projections}`."
            )
        if directions not in _DRAW:
            raise ValueError(
                f"`SlicedScoreMatching` got `directions={directions!r}`; expected "
                "'rademacher' or 'normal'."
            )
        self.weight = weight
        self.projections = projections
        self.variance_reduced = variance_reduced
        self.directions = directions

    def objective(
        self, score: Callable[[Sample], Sample], x: Sample, *, key: Key
    ) -> Scalar:
        # (|s|^2 + 2 v . (ds/dx) v) / d, the mean over the directions v
        shape = (self.projections, *x.shape)
        directions = _DRAW[self.directions](key, shape, x.dtype)
        value, push = jax.linearize(score, x)
        curvature = jnp.mean(jax.vmap(lambda v: jnp.vdot(v, push(v)))(directions))
        if self.variance_reduced:
            square = jnp.vdot(value, value)
        else:
            square = jnp.mean(jax.vmap(lambda v: jnp.vdot(v, value) ** 2)(directions))
        return (square + 2 * curvature) / x.size
