"""Sampling across a mask: what a jump loses, and what a fade does not.

Independent pixels of standard deviation 1/4 under `soft_mask` and `hard_mask`, with the
exact denoiser.
"""

import itertools

import jax
import jax.numpy as jnp
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


def sigma(t):
    """0.01 to 0.1 in the first fifth of the time."""
    return 0.01 * 10 ** np.minimum(t / 0.2, 1)


def pixels(t, width):
    """The sixteen factors of a mask: sharp without a width."""
    i = 2 * np.arange(4) - 3
    distance = (i[:, None] ** 2 + i**2).ravel()
    level = np.maximum(t - 0.2, 0) / 0.8
    if width is None:
        rank = np.argsort(np.argsort(distance, kind="stable"))
        return (rank >= np.round(16 * level)).astype(float)
    place = [(np.sum(distance < d) + np.sum(distance == d) / 2) / 16 for d in distance]
    a = np.clip(1 + (np.array(place) - (1 + width) * level) / width, 0, 1)
    return 6 * a**5 - 15 * a**4 + 10 * a**3


def variances(width, sde, num_steps):
    """Computes those of Momentum's pixels, by a recursion: a step is linear in them."""
    times, r = np.linspace(1, 0, num_steps + 1), PIXEL**2
    variance = np.full(16, 0.01)
    for t, t_next in itertools.pairwise(times):
        c, noise = pixels(t, width), sigma(t) ** 2
        fall = noise - sigma(t_next) ** 2
        gain = r * c / (r * c**2 + noise)
        score = (c * gain - 1) / noise
        weight = fall if sde else 0.5 * fall
        kept = 1 + (pixels(t_next, width) - c) * gain + weight * score
        variance = kept**2 * variance + (fall if sde else 0)
    return variance


@pytest.mark.parametrize("width", [None, 0.1])
@pytest.mark.parametrize("clock", [pytest.param("ode", marks=pytest.mark.slow), "sde"])
def test_the_sampler_is_the_recursion(x64, width, clock):
    """40 steps, pixel by pixel: each step is affine in the state and the noise."""
    if width is None:
        process = ss.processes.hard_mask(SHAPE)
    else:
        process = ss.soft_mask(SHAPE)
        assert process.corruption.width == width, "the default"
    r = PIXEL**2

    def exact(t, x):
        c = process.corruption.eigenvalues(process.level(t))
        return r * c * x / (r * c**2 + process.sigma(t) ** 2)

    denoiser = ss.FunctionDenoiser(exact, process)
    term = ss.reverse_sde(denoiser, clock=clock, shape=SHAPE, key=jax.random.key(0))

    @jax.jit
    def factors(t, t_next):
        """Finds what a step does to a pixel of 1, and the size of its noise."""
        ends = term, 1 - t, 1 - t_next
        step = lambda x: ss.Momentum().step(*ends, x, None, None, False)[0]
        zero = step(jnp.zeros(SHAPE))
        return step(jnp.ones(SHAPE)) - zero, process.variance_drop(t, t_next)

    times = np.linspace(1, 0, 41)
    got = np.full(16, 0.01)
    for t, t_next in itertools.pairwise(times):
        factor, fall = factors(t, t_next)
        added = float(fall) if clock == "sde" else 0
        got = np.asarray(factor).reshape(-1) ** 2 * got + added
    np.testing.assert_allclose(got, variances(width, clock == "sde", 40), rtol=1e-10)


def test_half_of_the_spread_is_lost_and_a_fade_loses_none():
    """The numbers of docs/exactness.md: 0.506 whatever the steps, and 0.997."""
    right = np.sqrt(PIXEL**2 + 0.01**2)
    std = lambda width, steps: np.sqrt(variances(width, True, steps).mean()) / right
    limit = np.sqrt(1 - PIXEL**2 * (PIXEL**2 + 0.01**2) / (PIXEL**2 + 0.1**2) ** 2)
    assert limit == pytest.approx(0.506, abs=5e-4)
    for steps in (1000, 4000):
        assert std(None, steps) == pytest.approx(limit, abs=5e-4)
    assert std(0.1, 4000) == pytest.approx(0.997, abs=1e-3)


#: Four standard errors of a standard deviation of so many pixels.
ERROR = 4 / np.sqrt(2 * NUMBER * 16)


@pytest.mark.parametrize("num_steps", [1000, 4000])
@pytest.mark.slow
def test_a_jump_loses_the_spread_of_what_it_reveals(key, num_steps):
    """On the flow sigma / hypot(s, sigma) of it is left, at any number of steps.

    A hidden pixel is noise, whose mean says nothing: it stays noise as it is revealed,
    and the flow keeps the ratio as the noise falls.
    """
    process = ss.processes.hard_mask(SHAPE)
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
    found = spread(ss.processes.hard_mask(SHAPE), "sde", 1000, key)
    # Steps of a thousandth leave another half of a per cent.
    assert found == pytest.approx(np.sqrt(left), rel=ERROR + 5e-3)
    assert 0.45 < found < 0.55


@pytest.mark.parametrize(
    "num_steps, tolerance",
    [(1000, 0.02), (4000, 0.008)],
)
@pytest.mark.parametrize("clock", ["ode", "sde"])
@pytest.mark.slow
def test_a_fade_loses_nothing_in_the_limit(key, clock, num_steps, tolerance):
    """2 % at 1,000 steps and under 1 % at 4,000: a first-order method."""
    found = spread(ss.soft_mask(SHAPE), clock, num_steps, key)
    assert found == pytest.approx(1, abs=tolerance + ERROR)
