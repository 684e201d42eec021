"""Tells by tracing, before any compute, whether a derivative can be taken at all.

Rounding, comparing, `argmax` and `stop_gradient` have the derivative zero everywhere,
and JAX knows it without a number: the tangent of the output does not depend on the
tangent of the input. A loss that trains by such derivatives would train on nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal

from .._types import Sample

# Calls whose inner program has the same inputs and outputs.
_CALLS = {"jit", "pjit", "closed_call", "checkpoint", "remat", "custom_jvp_call"}


def require_differentiable(
    owner: str, what: str, fn: Callable[[Sample], Sample], x: Sample
) -> None:
    """Refuses a function that looks at `x` and is cut off from its derivative.

    A function that does not look at `x` is a constant, whose derivative is right. One
    that is cut off in some of its branches only, or within a loop, is not found out.

    **Raises:** `ValueError` for a derivative that vanishes identically, `TypeError` for
    an output that is not floating-point.
    """
    program = jax.make_jaxpr(fn)(x)
    for aval in program.out_avals:
        if not jnp.issubdtype(aval.dtype, jnp.floating):
            raise TypeError(
                f"`{owner}` takes derivatives of {what}, which returns {aval.dtype}; "
                "expected floating-point numbers."
            )
    if not _reaches(program.jaxpr, [True])[0]:
        return
    push = jax.linearize(fn, x)[1]
    if not _reaches(jax.make_jaxpr(push)(x).jaxpr, [True])[0]:
        raise ValueError(
            f"`{owner}` takes derivatives of {what}, and they are zero whatever it is "
            "given: on every way from input to output something is rounded, compared, "
            "cast to integers or under `stop_gradient`. Use smooth operations, or a "
            "loss that needs no derivative, such as `DenoisingScoreMatching`."
        )


def _reaches(jaxpr: Jaxpr, marked: list[bool]) -> list[bool]:
    """Finds the outputs that depend on the marked inputs."""
    live = {v for v, mark in zip(jaxpr.invars, marked, strict=True) if mark}

    def seen(variables) -> list[bool]:
        return [not isinstance(v, Literal) and v in live for v in variables]

    for equation in jaxpr.eqns:
        given = seen(equation.invars)
        if not any(given):
            continue
        outputs = [True] * len(equation.outvars)
        if equation.primitive.name in _CALLS:
            inner: Any = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            outputs = _reaches(getattr(inner, "jaxpr", inner), given)
        live |= {v for v, out in zip(equation.outvars, outputs, strict=True) if out}
    return seen(jaxpr.outvars)
