r"""Steps that adapt to a sample, by the tolerances that the user gave.

The tolerances of a step size controller are those of a *step*, in absolute units. The
error of a sample is the sum over tens of steps, and its size falls by decades from
$x_T$ to the data. So `sample` holds each step to a tenth of the tolerances, measured
relative to the size of the sample. It also bounds how much a step changes `sigma`: over
a longer step an error estimate, which looks at its ends, can miss what happens between.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ..processes import Process

# The share of the tolerances that one step may use up.
_SHARE = 0.1
# The largest change of log(sigma) in a step: a factor of 2.
_LARGEST = 0.6931
_BISECTIONS = 12


class SampleSteps(diffrax.AbstractAdaptiveStepSizeController):
    """A controller of diffrax, with tolerances that are those of the sample."""

    inner: diffrax.AbstractAdaptiveStepSizeController
    process: Process
    rtol: ScalarLike
    atol: ScalarLike
    norm: Callable[..., Any]

    def __init__(
        self, inner: diffrax.AbstractAdaptiveStepSizeController, process: Process
    ):
        """**Arguments:**

        - `inner`: the controller that chooses the steps.
        - `process`: whose reverse is integrated, in `s = t1 - t`.
        """
        self.inner = inner
        self.process = process
        self.rtol, self.atol, self.norm = inner.rtol, inner.atol, inner.norm

    def wrap(self, direction):
        inner: Any = self.inner.wrap(direction)
        return SampleSteps(inner, self.process)

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        after, state = self.inner.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return self._bounded(t0, after), state

    def adapt_step_size(
        self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
    ):
        size = jnp.sqrt(jnp.mean(jnp.maximum(jnp.abs(y0), jnp.abs(y1_candidate)) ** 2))
        # A sample smaller than 1 is measured in units of its own size.
        unit = jnp.where(size > 0, jnp.minimum(size, 1), 1)
        assert y_error is not None  # `sample` has refused other solvers
        y_error = y_error / (_SHARE * unit)
        keep, begin, end, jump, state, result = self.inner.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
        )
        return keep, begin, self._bounded(begin, end), jump, state, result

    def _bounded(self, s: Any, s_next: Any) -> Scalar:
        """The end of a step, brought closer until `sigma` changes little enough."""
        process, s, s_next = self.process, jnp.asarray(s), jnp.asarray(s_next)
        time = lambda s: process.t1 - s

        def far(end: Scalar):
            change = process.log_sigma_ratio(time(s), time(end))
            return jnp.abs(change) > _LARGEST

        def halve(_, bracket):
            near, beyond = bracket
            middle = 0.5 * (near + beyond)
            too_far = far(middle)
            return jnp.where(too_far, near, middle), jnp.where(too_far, middle, beyond)

        # Past the end of time there is nothing to measure; diffrax clips there too.
        s_next = jnp.minimum(s_next, jnp.asarray(process.t1 - process.t0, s_next.dtype))
        near, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, (s, s_next))
        return jnp.where(far(s_next), near, s_next)
