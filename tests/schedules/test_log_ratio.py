"""Logarithms of ratios: single precision against double, on the steps users take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.schedules import (
    EDM,
    VP,
    AbstractSchedule,
    BoundedCosineVP,
    Constant,
    Cosine,
    CosineVP,
    Geometric,
    Linear,
    PiecewiseLinear,
    Sigmoid,
    SoftmaxWarp,
    SubVP,
    TimeWarp,
    TwoPhase,
)

# Every schedule that can be a noise, and the time at which it is positive first. Kinks
# are at times that single precision holds exactly.
NOISES = {
    "ve": (lambda: Geometric(0.01, 50.0), 0.0),
    "ve of large images": (lambda: Geometric(0.01, 348.0), 0.0),
    "edm": (lambda: EDM(0.002, 80.0), 0.0),
    "vp": (VP, 1e-3),
    "subvp": (SubVP, 1e-3),
    "cosine vp": (CosineVP, 1e-3),
    "bounded cosine vp": (BoundedCosineVP, 0.0),
    "two phases": (lambda: TwoPhase(0.01, 0.1, 0.25), 0.0),
    "piecewise": (lambda: PiecewiseLinear([0.25, 0.5, 1], [0.01, 2.0, 18.0]), 0.0),
    "rectified flow": (lambda: Linear(0.0, 1.0), 1e-3),
    "sigmoid": (lambda: Sigmoid(0.01, 1.0), 0.0),
    "sigmoid from zero": (lambda: Sigmoid(0.0, 1.0), 1e-3),
    "cosine": (lambda: Cosine(0.01, 1.0), 0.0),
    "cosine from zero": (lambda: Cosine(0.0, 1.0), 1e-3),
    "warp": (lambda: TimeWarp(Geometric(0.01, 50.0), Cosine(0.0, 1.0)), 0.0),
    "warp with kinks": (
        lambda: TimeWarp(
            Geometric(0.01, 50.0),
            PiecewiseLinear([0, 0.30001, 0.70003, 1], [0, 0.1, 0.8, 1]),
        ),
        0.0,
    ),
    "softmax warp": (
        lambda: TimeWarp(EDM(), SoftmaxWarp(np.linspace(0.0, 1.0, 7))),
        0.0,
    ),
}


class _Plain(AbstractSchedule):
    """A schedule without a closed form of the ratio."""

    base: AbstractSchedule

    def __call__(self, t):
        return self.base(t)

    def inverse(self, value):
        return self.base.inverse(value)


def evenly(start):
    """The ends of 200, 1000 and 4000 even steps, later and earlier."""
    grids = [np.linspace(start, 1.0, steps + 1) for steps in (200, 1000, 4000)]
    grids = [grid.astype(np.float32) for grid in grids]
    return [np.concatenate([grid[part] for grid in grids]) for part in (LATER, EARLIER)]


LATER, EARLIER = slice(1, None), slice(None, -1)


@pytest.mark.parametrize("name", NOISES)
def test_the_share_of_a_step_is_right_in_single_precision(name):
    """The noise that a step takes away, over what there is: 1 - exp(-2 ratio)."""
    make, start = NOISES[name]
    later, earlier = evenly(start)
    with jax.enable_x64(True):
        # In double precision, of the very same times, the difference is right.
        schedule = jax.jit(jax.vmap(make()))
        value, value_next = (
            np.asarray(schedule(jnp.asarray(t, jnp.float64))) for t in (later, earlier)
        )
        expected = -np.expm1(-2 * np.log(value / value_next))
    for schedule in (make(), _Plain(make())):
        ratio = jax.jit(jax.vmap(schedule.log_ratio))(later, earlier)
        assert ratio.dtype == jnp.float32
        got = -np.expm1(-2 * np.asarray(ratio, np.float64))
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-15)


@pytest.mark.parametrize("name", NOISES)
def test_it_is_the_difference_of_logarithms_in_double_precision(x64, name):
    """Forwards and backwards, over steps of any length."""
    make, start = NOISES[name]
    schedule = make()
    times = jnp.array([start, 0.1, 0.35, 0.8, 1.0])
    t, t_next = (grid.ravel() for grid in jnp.meshgrid(times, times))
    logs = np.log(np.asarray(jax.vmap(schedule)(times)))
    expected = (logs[None, :] - logs[:, None]).ravel()
    for either in (schedule, _Plain(schedule)):
        got = jax.jit(jax.vmap(either.log_ratio))(t, t_next)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


ZEROS = {
    "constant": Constant(0.0),
    "flat": PiecewiseLinear([0.0, 0.6, 1.0], [0.0, 0.0, 2.0]),
    "flat default": _Plain(PiecewiseLinear([0.0, 0.6, 1.0], [0.0, 0.0, 2.0])),
    "linear": Linear(0.0, 1.0),
}


@pytest.mark.parametrize("name", ZEROS)
def test_zero_at_both_times_is_no_change(name):
    schedule = ZEROS[name]
    t, t_next = (0.0, 0.0) if name == "linear" else (0.4, 0.1)
    both = lambda t, t_next: schedule.log_ratio(t, t_next)
    value, gradient = jax.jit(jax.value_and_grad(both, (0, 1)))(
        jnp.float32(t), jnp.float32(t_next)
    )
    assert float(value) == 0
    assert [float(g) for g in gradient] == [0, 0]


@pytest.mark.parametrize("plain", [False, True])
def test_zero_at_one_time_is_infinite(plain):
    schedule = Linear(0.0, 1.0)
    schedule = _Plain(schedule) if plain else schedule
    assert float(schedule.log_ratio(0.5, 0.0)) == np.inf
    assert float(schedule.log_ratio(0.0, 0.5)) == -np.inf


@pytest.mark.parametrize("name", ["ve", "edm", "rectified flow", "piecewise", "warp"])
def test_gradients_are_those_of_the_logarithm(x64, name):
    schedule = NOISES[name][0]()
    rate = lambda t: float(schedule.derivative(t) / schedule(t))
    t, t_next = jnp.asarray(0.82), jnp.asarray(0.79)
    for either in (schedule, _Plain(schedule)):
        to, back = jax.jit(jax.grad(either.log_ratio, (0, 1)))(t, t_next)
        assert float(to) == pytest.approx(rate(t), rel=1e-6)
        assert float(back) == pytest.approx(-rate(t_next), rel=1e-6)
