"""A step changes in single precision what it changes in double precision.

The times are those that single precision has: the error is that of the formula alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss

SHAPE = (4, 4, 1)

PROCESSES = {
    "ve": ss.ve,
    "ve to 348": lambda: ss.ve(0.01, 348.0),
    "vp": ss.vp,
    "subvp": ss.subvp,
    "cosine_vp": ss.cosine_vp,
    "edm": ss.edm,
    "rectified_flow": ss.rectified_flow,
    "soft_blur": lambda: ss.soft_blur(SHAPE),
    "soft_mask": lambda: ss.soft_mask(SHAPE),
    "hard_mask": lambda: ss.processes.hard_mask(SHAPE),
    "heat_dissipation": lambda: ss.heat_dissipation(SHAPE),
    "blurring_diffusion": lambda: ss.blurring_diffusion(SHAPE),
}


def _vp_signal(t):
    return np.exp(-0.25 * 19.9 * t**2 - 0.05 * t)


def _cosine(t):
    phase = np.pi / 2 / 1.008
    return np.cos(phase * (t + 0.008)) / np.cos(phase * 0.008)


def _two_phase(t):
    return 0.01 * 10 ** np.minimum(t / 0.2, 1)


def _blurring(t):
    first, last = np.arctan(np.exp(-5.0)), np.arctan(np.exp(5.0))
    return np.sin(first + (last - first) * t)


# sigma(t) by the published formulas, in double precision.
SIGMAS = {
    "ve": lambda t: 0.01 * 5000**t,
    "ve to 348": lambda t: 0.01 * 34800**t,
    "vp": lambda t: np.sqrt(1 - _vp_signal(t) ** 2),
    "subvp": lambda t: 1 - _vp_signal(t) ** 2,
    "cosine_vp": lambda t: np.sqrt(1 - _cosine(t) ** 2),
    "edm": lambda t: (0.002 ** (1 / 7) + t * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7,
    "rectified_flow": lambda t: t,
    "soft_blur": _two_phase,
    "soft_mask": _two_phase,
    "hard_mask": _two_phase,
    "heat_dissipation": lambda t: 0.01 + 0 * t,
    "blurring_diffusion": _blurring,
}


def steps(process, number):
    """The ends of `number` even steps, in single precision."""
    return np.linspace(process.t1, process.t0, number + 1).astype(np.float32)


@pytest.mark.parametrize("number", [10, 1000, 4000])
@pytest.mark.parametrize("name", PROCESSES)
def test_the_noise_of_a_step_in_single_precision(name, number):
    """To 1e-4 of each step that changes sigma by more than a hundred thousandth.

    (Differences of two values are rounded by 1e-7 of the values: by 1e-4 of a step in
    which sigma grows by a thousandth, and by all of one in which it grows by 1e-7, as
    it does at the end of `vp`.)
    """
    process, sigma = PROCESSES[name](), SIGMAS[name]
    grid = steps(process, number)
    t, t_next = jnp.asarray(grid[:-1]), jnp.asarray(grid[1:])
    exact = sigma(grid.astype(np.float64))
    log_ratio = jax.jit(jax.vmap(process.log_sigma_ratio))(t, t_next)
    drop = jax.jit(jax.vmap(process.variance_drop))(t, t_next)
    assert log_ratio.dtype == drop.dtype == jnp.float32
    truth = np.log(exact[:-1] / exact[1:])
    assert truth.max() > 1e-4 or name == "heat_dissipation"
    np.testing.assert_allclose(log_ratio, truth, rtol=1e-4, atol=1e-9)
    squares = exact**2
    relative = (squares[:-1] - squares[1:]) / squares[:-1]
    np.testing.assert_allclose(drop / squares[:-1], relative, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_step_back_is_the_opposite(x64, name):
    process = PROCESSES[name]()
    there = process.log_sigma_ratio(0.7, 0.3)
    back = process.log_sigma_ratio(0.3, 0.7)
    assert float(there) == pytest.approx(-float(back), rel=1e-12, abs=1e-15)
    sigma = SIGMAS[name]
    truth = np.log(sigma(0.7) / sigma(0.3))
    assert float(there) == pytest.approx(truth, rel=1e-10, abs=1e-14)
    drop = sigma(0.7) ** 2 - sigma(0.3) ** 2
    assert float(process.variance_drop(0.7, 0.3)) == pytest.approx(drop, abs=1e-9)
    assert float(process.variance_drop(0.3, 0.7)) == pytest.approx(-drop, abs=1e-9)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_derivative_of_log_sigma(x64, name):
    """By central differences of the published formula."""
    process, h = PROCESSES[name](), 1e-5
    for t in (0.13, 0.5177, 0.9033):
        ends = np.log([SIGMAS[name](t + h), SIGMAS[name](t - h)])
        slope = (ends[0] - ends[1]) / (2 * h)
        found = float(process.log_sigma_derivative(t))
        assert found == pytest.approx(slope, rel=1e-7, abs=1e-9)
        variance = 2 * slope * SIGMAS[name](t) ** 2
        found = float(process.variance_derivative(t))
        assert found == pytest.approx(variance, rel=1e-7, abs=1e-9)


def test_without_noise_nothing_is_divided():
    process = ss.cold(ss.corruptions.Fade(), ss.schedules.Linear())
    assert process.is_noiseless
    assert float(process.log_sigma_derivative(0.5)) == 0
    assert float(process.log_sigma_ratio(0.7, 0.3)) == 0
    assert float(process.variance_drop(0.7, 0.3)) == 0
    x = jnp.array([1.0, -2.0])
    # u = dC/dt D alone.
    np.testing.assert_array_equal(process.velocity(0.5, x, 3 * x), -3 * x)
    assert not ss.ve().is_noiseless
    rising = ss.Process(
        ss.corruptions.Fade(), ss.schedules.Linear(), ss.schedules.Linear()
    )
    assert not rising.is_noiseless


def test_kinks_are_those_of_both_schedules():
    """Kinks outside of the process are put at its start, where nothing is stepped."""
    process = ss.Process(
        ss.corruptions.Fade(),
        ss.schedules.PiecewiseLinear([0.0, 0.3, 0.6, 1.0], [0.0, 0.1, 0.8, 1.0]),
        ss.schedules.TwoPhase(0.01, 0.1, 0.2),
    )
    inside = {round(float(t), 6) for t in process.kinks()} - {0.0}
    assert inside == {0.2, 0.3, 0.6}
    late = ss.Process(
        process.corruption, process.levels, process.noise, t0=0.25, t1=0.5
    )
    assert {round(float(t), 6) for t in late.kinks()} == {0.25, 0.3}
    assert late.kinks().shape == process.kinks().shape
    assert ss.ve().kinks().size == 0


def test_all_noise_is_drawn_in_one_place(key):
    """`perturb` adds what `draw_noise` gives, which is standard normal."""
    process = ss.ve(0.01, 5.0)
    like = jnp.zeros((100, 100), jnp.bfloat16)
    eta = process.draw_noise(key, like)
    assert eta.shape == like.shape and eta.dtype == jnp.bfloat16
    x0 = jnp.ones((100, 100))
    eta = np.asarray(process.draw_noise(key, x0))
    # Within four standard errors of 10,000 draws.
    assert abs(eta.mean()) < 4e-2 and abs(eta.var() - 1) < 4 * np.sqrt(2e-4)
    x, returned = process.perturb(0.5, x0, key=key)
    np.testing.assert_array_equal(returned, eta)
    np.testing.assert_allclose(x, 1 + 0.01 * 500**0.5 * eta, rtol=1e-4)
