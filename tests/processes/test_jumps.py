"""Sampling across a mask: what a jump loses, and what a fade does not.

Independent pixels of standard deviation 1/4 under `soft_mask`, with the exact denoiser.
"""

import jax
import numpy as np
import pytest

import softsde as ss

SHAPE = (4, 4, 1)
PIXEL = 0.25
NUMBER = 2000


def spread(process, clock, num_steps, key):
    """Standard deviation of the drawn pixels, over the right one."""

    def exact(t, x):
        """Wiener's filter, one pixel at a time."""
        c = process.corruption.eigenvalues(process.level(t))
        return PIXEL**2 * c * x / (PIXEL**2 * c**2 + process.sigma(t) ** 2)

    start_key, key = jax.random.split(key)
    drawn = ss.sample(
        ss.FunctionDenoiser(exact, process),
        x1=0.1 * jax.random.normal(start_key, (NUMBER, *SHAPE)),
        num_steps=num_steps,
        solver=ss.Momentum(),
        clock=clock,
        denoise_last=False,
        key=key,
    )
    return float(np.std(np.asarray(drawn.x, np.float64)) / np.hypot(PIXEL, 0.01))


#: Four standard errors of a standard deviation of so many pixels.
ERROR = 4 / np.sqrt(2 * NUMBER * 16)


@pytest.mark.parametrize(
    "num_steps", [1000, pytest.param(4000, marks=pytest.mark.slow)]
)
def test_a_jump_loses_the_spread_of_what_it_reveals(key, num_steps):
    """On the flow sigma / hypot(s, sigma) of it is left, at any number of steps.

    A hidden pixel is noise, whose mean says nothing: it stays noise as it is revealed,
    and the flow keeps the ratio as the noise falls.
    """
    process = ss.soft_mask(SHAPE)
    kept = 0.1 / np.hypot(PIXEL, 0.1)
    assert spread(process, "ode", num_steps, key) == pytest.approx(kept, rel=ERROR)


@pytest.mark.slow
def test_on_the_papers_sde_half_of_the_spread_is_lost(key):
    """The fall of the noise from 0.1 to 0.01 mends a part of the error.

    Let r = s^2. After the reveal the variance is wrong by -r. While v = sigma^2 falls,
    the SDE shrinks the error E by dE/dv = 2 E / (r + v). So at the end E is -r times
    ((r + 0.01^2) / (r + 0.1^2))^2, where r + 0.01^2 is the right variance.
    """
    r = PIXEL**2
    left = 1 - r * (r + 0.01**2) / (r + 0.1**2) ** 2
    found = spread(ss.soft_mask(SHAPE), "sde", 1000, key)
    # Steps of a thousandth leave another half of a per cent.
    assert found == pytest.approx(np.sqrt(left), rel=ERROR + 5e-3)
    assert 0.45 < found < 0.55


@pytest.mark.parametrize(
    "num_steps, tolerance",
    [(1000, 0.02), pytest.param(4000, 0.008, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("clock", ["ode", pytest.param("sde", marks=pytest.mark.slow)])
def test_a_fade_loses_nothing_in_the_limit(key, clock, num_steps, tolerance):
    """2 % at 1,000 steps and under 1 % at 4,000: a first-order method."""
    found = spread(ss.soft_mask(SHAPE, width=0.1), clock, num_steps, key)
    assert found == pytest.approx(1, abs=tolerance + ERROR)
