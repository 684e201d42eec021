"""Time grids: what they make equal is equal, and mistakes are named."""

import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss


def test_karras_times_are_karras_levels(x64):
    """Karras et al., Eq. 5, on a process whose own clock is another."""
    process, steps, rho = ss.ve(0.002, 80.0), 9, 7.0
    i = np.arange(steps + 1)
    expected = 80 ** (1 / rho) + i / steps * (0.002 ** (1 / rho) - 80 ** (1 / rho))
    times = ss.karras_times(process, steps)
    got = [float(process.sigma(t)) for t in times]
    np.testing.assert_allclose(got, expected**rho, rtol=1e-9)
    # On EDM's process they are evenly spaced times.
    np.testing.assert_allclose(
        ss.karras_times(ss.edm(), 6), ss.uniform_times(ss.edm(), 6), atol=1e-9
    )


def test_arc_length_of_noise_alone_is_its_logarithm(x64):
    times = ss.arc_length_times(ss.edm(), 8, np.ones((1, 2)))
    logs = np.log([float(ss.edm().sigma(t)) for t in times])
    np.testing.assert_allclose(np.diff(logs), np.diff(logs).mean(), rtol=1e-3)


def test_arc_length_of_data_alone_is_its_movement(x64):
    r"""$C_t = (1 - t^2) I$ under constant noise: equal steps of $t^2$."""
    process = ss.Process(
        ss.corruptions.Scale(), _OneMinusSquare(), ss.schedules.Constant(0.1)
    )
    times = ss.arc_length_times(process, 5, np.ones((3, 4)))
    np.testing.assert_allclose(np.diff(times**2), -0.2, atol=1e-4)


class _OneMinusSquare(ss.schedules.AbstractSchedule):
    def __call__(self, t):
        return 1 - jnp.asarray(t) ** 2

    def inverse(self, value):
        return jnp.sqrt(1 - jnp.asarray(value))


def test_a_rest_costs_no_steps(x64):
    """The paper's noise rests after a fifth of the time; a level that rests after half
    of it leaves nothing to do in the second half."""
    levels = ss.schedules.PiecewiseLinear([0.0, 0.5, 1.0], [0.0, 2.0, 2.0001])
    process = ss.soft_blur((4, 4, 1), levels=levels)
    data = np.random.default_rng(0).uniform(size=(5, 4, 4, 1))
    times = ss.arc_length_times(process, 10, data)
    assert times[0] == 1 and times[-1] == 0 and np.all(np.diff(times) < 0)
    assert times[1] < 0.5


def test_mistakes_are_named(as_a_user):
    for make in (ss.uniform_times, ss.karras_times):
        with pytest.raises(ValueError, match="num_steps=0"):
            make(ss.edm(), 0)
    with pytest.raises(ValueError, match="rho=0"):
        ss.karras_times(ss.edm(), 3, rho=0)
    with pytest.raises(ValueError, match="schedule that rises"):
        ss.karras_times(ss.cold(ss.corruptions.Fade(), ss.schedules.Linear(), 0.1), 3)
    with pytest.raises(ValueError, match="schedule that rests"):
        ss.karras_times(ss.soft_blur((4, 4, 1)), 5)
    with pytest.raises(ValueError, match="nothing moves"):
        process = ss.Process(
            ss.corruptions.Identity(),
            ss.schedules.Constant(0.0),
            ss.schedules.Constant(0.1),
        )
        ss.arc_length_times(process, 3, np.ones((1, 2), np.float32))
    with pytest.raises(ValueError, match="divides by sigma"):
        cold = ss.cold(ss.corruptions.Fade(), ss.schedules.Linear())
        ss.arc_length_times(cold, 3, np.ones((1, 2), np.float32))
