"""Two processes are one if all their parts are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde.corruptions as corruptions
import softsde.schedules as schedules
from softsde.processes import (
    Process,
    edm,
    rectified_flow,
    same_process,
    soft_blur,
    ve,
    vp,
)

MAKERS = {
    "ve": lambda: ve(0.01, 5.0),
    "ve, wider": lambda: ve(0.01, 6.0),
    "vp": vp,
    "edm": edm,
    "rectified flow": rectified_flow,
    "rectified flow, later": lambda: rectified_flow(t0=0.01),
    "blur": lambda: soft_blur((8, 8, 1), max_blur=4.0),
    "blur of other images": lambda: soft_blur((8, 8, 3), max_blur=4.0),
    "blur, stronger": lambda: soft_blur((8, 8, 1), max_blur=4.1),
}


@pytest.mark.parametrize("one", MAKERS)
@pytest.mark.parametrize("other", MAKERS)
def test_the_same_if_made_alike(one, other):
    assert same_process(MAKERS[one](), MAKERS[other]()) is (one == other)


def test_rounding_does_not_count():
    process = soft_blur((8, 8, 1))
    floats = lambda tree, f: jax.tree.map(
        lambda leaf: f(leaf) if eqx.is_inexact_array(leaf) else leaf, tree
    )
    assert same_process(process, floats(process, lambda v: v * (1 + 1e-6)))
    assert not same_process(process, floats(process, lambda v: v * (1 + 1e-3)))


def test_dtypes_do_not_count(x64):
    with jax.enable_x64(False):
        single = ve(0.01, 5.0)
    assert same_process(single, ve(0.01, 5.0))


def test_traced_numbers_are_taken_to_be_equal():
    verdicts = []

    @jax.jit
    def trace(sigma):
        traced = Process(
            corruptions.Identity(),
            schedules.Constant(0.0),
            schedules.Geometric(0.01, sigma),
        )
        verdicts.extend(same_process(traced, p) for p in (ve(0.01, 5.0), vp()))
        return sigma

    trace(jnp.array(6.0))
    assert verdicts == [True, False]


def test_functions_are_compared_by_identity():
    def make(fn):
        corruption = corruptions.FunctionCorruption(fn, (4,))
        return Process(
            corruption, schedules.Linear(0.0, 1.0), schedules.Linear(0.01, 1.0)
        )

    fade = lambda theta, x: (1 - theta) * x
    again = lambda theta, x: (1 - theta) * x
    assert same_process(make(fade), make(fade))
    assert not same_process(make(fade), make(again))


def test_other_lengths_differ():
    def make(n):
        levels = schedules.PiecewiseLinear(np.linspace(0, 1, n), np.linspace(0, 0.5, n))
        fade = corruptions.FunctionCorruption(lambda theta, x: (1 - theta) * x, (4,))
        return Process(fade, levels, schedules.Linear(0.01, 1.0))

    assert not same_process(make(4), make(5))
