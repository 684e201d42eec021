"""Implicit score matching: Hyvarinen's objective with the exact trace."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .._types import Key, Sample, Scalar
from ._score import AbstractScoreLoss
from ._weights import Weight, check_weight


class ImplicitScoreMatching(AbstractScoreLoss):
    r"""$\frac{w(t)}{d} \big(\lVert s(x_t) \rVert^2 + 2 \operatorname{tr} \nabla
    s(x_t)\big)$ with the exact trace.

    In expectation it is $\frac1d \lVert s - \nabla \log q_t \rVert^2$, the scale of
    [`softsde.losses.DenoisingScoreMatching`][], up to a constant, so it may be
    negative. (Hyvarinen's objective is this times $d / 2$.) It costs $d$ derivatives:
    for images see [`softsde.losses.SlicedScoreMatching`][].

    ??? cite "Reference"

        Hyvarinen, *Estimation of Non-Normalized Statistical Models by Score Matching*,
        JMLR 2005.
    """

    weight: Weight

    def __init__(self, weight: Weight = "one"):
        """**Arguments:**

        - `weight`: a name or a function `(process, t)`, see
            [`softsde.losses.weight_function`][].

        **Raises:** `ValueError` for an unknown name.
        """
        check_weight("ImplicitScoreMatching", weight)
        self.weight = weight

    def objective(
        self, score: Callable[[Sample], Sample], x: Sample, *, key: Key
    ) -> Scalar:
        del key
        # (|s|^2 + 2 sum_i e_i . (ds/dx) e_i) / d
        value, push = jax.linearize(score, x)
        basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        trace = jnp.sum(jax.vmap(lambda e: jnp.vdot(e, push(e)))(basis))
        return (jnp.vdot(value, value) + 2 * trace) / x.size
