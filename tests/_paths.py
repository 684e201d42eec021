"""A Brownian path whose normals are given, so that a solve is a function of them."""

import contextlib
from unittest import mock

import diffrax
import jax.numpy as jnp
import numpy as np

from softsde.solvers import Step


class TablePath(diffrax.AbstractBrownianPath):
    """The increment over the `i`-th step of a uniform grid is `sqrt(h) normals[i]`.

    A table of one row serves any step. With `areas` the space-time Levy area of a step
    is `sqrt(h / 12) areas[i]`.
    """

    normals: jnp.ndarray
    length: float = 1.0
    areas: jnp.ndarray | None = None

    @property
    def levy_area(self):
        area = diffrax.SpaceTimeLevyArea
        return diffrax.BrownianIncrement if self.areas is None else area

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return self.length

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        steps = self.normals.shape[0]
        width = jnp.asarray(t1 - t0)
        step = 0 if steps == 1 else jnp.round(t0 * steps / self.length).astype(int)
        increment = jnp.sqrt(width) * self.normals[step]
        if not use_levy:
            return increment
        assert self.areas is not None
        area = jnp.sqrt(width / 12) * self.areas[step]
        return diffrax.SpaceTimeLevyArea(dt=width, W=increment, H=area)


@contextlib.contextmanager
def given_fresh(normals):
    """Within it, what a solver draws of its own are the given normals, in every step.

    A corrector gets those after the first, which is the predictor's. The law of what
    they draw otherwise is tested in `tests/terms/test_noise.py`.
    """
    given = lambda step, index=0: normals[index + step.part]
    with mock.patch.object(Step, "fresh", given):
        yield


def fresh_normals(term, s0, s1, x, number, *, part=0):
    """The first normals of its own that a solver draws in a step, of a real path."""
    step = Step("the test", term, s0, s1, jnp.asarray(x), None, part)
    return [np.asarray(step.fresh(i)) for i in range(number)]
