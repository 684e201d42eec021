"""A convex combination of corruptions."""

import functools
import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import concrete
from .._types import Sample, ScalarLike
from ._machinery import (
    AbstractCombination,
    AbstractCorruption,
    Structure,
    check_members,
    common_structure,
    working_dtype,
)


class Mix(AbstractCombination):
    r"""A convex combination, $C(\theta) = \sum_i w_i\, C_i(\theta)$.

    All members get the same level; wrap a member in [`softsde.corruptions.Relevel`][]
    to give it a level of its own. The mixture is symmetric (or positive) if all members
    are. If all members are diagonal in one basis, their eigenvalues mix.

    !!! example

        ```python
        shape = (28, 28, 1)
        halo = ss.corruptions.Mix(
            ss.corruptions.Identity(),
            ss.corruptions.HeatBlur(shape),
            weights=[0.6, 0.4],
        )
        halo.apply(3.0, image)
        ```
    """

    members: tuple[AbstractCorruption, ...]
    weights: Float[Array, " members"]

    def __init__(self, *members: AbstractCorruption, weights: Any):
        """**Arguments:**

        - `members`: the corruptions; at least one.
        - `weights`: one for each member, not negative, with the sum 1.

        **Raises:** `ValueError` for no members, members that share no range of levels
        or were made for different shapes, or other weights; `TypeError` for anything
        but corruptions.
        """
        self.members = check_members("Mix", members)
        weights = jnp.asarray(weights)
        floating = jnp.issubdtype(weights.dtype, jnp.floating)
        self.weights = weights if floating else weights.astype(jnp.result_type(float))
        if self.weights.shape != (len(members),):
            raise ValueError(
                f"`Mix` got {len(members)} corruptions and `weights` of shape "
                f"{self.weights.shape}; expected one weight each."
            )
        known = concrete(self.weights)
        if known is not None and not (
            np.all(known >= 0) and abs(known.sum() - 1) < 1e-6
        ):
            raise ValueError(
                f"`Mix` got `weights={known.tolist()}`; expected numbers that are not "
                "negative, with the sum 1."
            )

    @property
    def structure(self) -> Structure:
        return common_structure([m.structure for m in self.members], product=False)

    def apply_members(self, theta: ScalarLike, x: Sample) -> Sample:
        return self._sum([m.apply(theta, x) for m in self.members], x)

    def adjoint(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        return self._sum([m.adjoint(theta, x) for m in self.members], x)

    def combine(self, values: list[Float[Array, "..."]]) -> Float[Array, "..."]:
        weights = self.weights.astype(values[0].dtype)
        pairs = zip(weights, values, strict=True)
        return functools.reduce(operator.add, [w * value for w, value in pairs])

    def _sum(self, parts: list[Sample], x: Sample) -> Sample:
        dtype = working_dtype(x)
        pairs = zip(self.weights.astype(dtype), parts, strict=True)
        terms = [w * part.astype(dtype) for w, part in pairs]
        return functools.reduce(operator.add, terms).astype(x.dtype)
