"""Distributions of training times: each against its distribution function."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.losses import (
    AbstractTimes,
    LogNormalTimes,
    LowDiscrepancyTimes,
    UniformTimes,
    batch_losses,
    draw_times,
)

# Kolmogorov: a sample of n is further than this over root n from its distribution with
# probability 2 exp(-2 * 2.2^2) = 1.3e-4.
KOLMOGOROV = 2.2


def distance(values, cdf):
    """The largest distance of the empirical distribution from `cdf`."""
    values = np.sort(np.asarray(values, np.float64))
    expected, number = cdf(values), len(values)
    above = np.arange(1, number + 1) / number - expected
    below = expected - np.arange(number) / number
    return max(above.max(), below.max())


def normal_cdf(z):
    return np.asarray(jax.scipy.special.ndtr(jnp.asarray(z)))


def test_low_discrepancy_times_fill_the_interval_evenly(x64, key):
    process = ss.ve()
    times = np.sort(draw_times(process, 50, key=key, sampler="low_discrepancy"))
    np.testing.assert_allclose(np.diff(times), 1 / 50, atol=1e-12)
    assert 0 <= times[0] < 1 / 50
    # Uniform on average: the shift alone is random.
    keys = jax.random.split(key, 4000)
    first = jax.vmap(
        lambda k: draw_times(process, 5, key=k, sampler="low_discrepancy")[0]
    )(keys)
    assert abs(float(first.mean()) - 0.5) < 4 / np.sqrt(12 * 4000)
    assert distance(first, lambda t: t) < KOLMOGOROV / np.sqrt(4000)


def test_uniform_times_are_uniform_on_the_times_of_the_process(x64, key):
    process = ss.rectified_flow(t0=0.2)
    times, weights = UniformTimes().draw(process, 20_000, key=key)
    assert distance(times, lambda t: (t - 0.2) / 0.8) < KOLMOGOROV / np.sqrt(20_000)
    np.testing.assert_array_equal(weights, 1)


@pytest.mark.parametrize(
    ("times", "variance", "kurtosis"),
    [
        # The mean of n = 8 independent times has the variance 1 / 12 n. That of the
        # shifted grid is (n - 1) / 2n plus a shift that is uniform on [0, 1 / n).
        (UniformTimes(), 1 / (12 * 8), 3 - 1.2 / 8),
        (LowDiscrepancyTimes(), 1 / (12 * 8**2), 1.8),
    ],
    ids=["uniform", "low_discrepancy"],
)
def test_the_mean_over_a_batch_varies_as_it_should(x64, key, times, variance, kurtosis):
    number = 5000
    keys = jax.random.split(key, number)
    means = jax.vmap(lambda k: times.draw(ss.ve(), 8, key=k)[0].mean())(keys)
    assert abs(means.mean() - 0.5) < 4 * np.sqrt(variance / number)
    spread = np.sqrt((kurtosis - 1) / number)
    assert abs(float(means.var()) / variance - 1) < 4 * spread


def log_ratio_of_edm(t):
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    return 7 * np.log(low + t * (high - low))


def log_ratio_of_vp(t):
    log_signal = -0.25 * t**2 * 19.9 - 0.05 * t
    return 0.5 * np.log(np.expm1(-2 * log_signal))


PROCESSES = {
    "edm": (ss.edm, log_ratio_of_edm),
    "vp": (ss.vp, log_ratio_of_vp),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_log_normal_levels_are_log_normal(x64, key, name):
    """`log(sigma / alpha)` of EDM's and VP's times, by independent draws."""
    make, log_ratio = PROCESSES[name]
    process, number = make(), 20_000
    sampler = LogNormalTimes(low_discrepancy=False)
    times, weights = sampler.draw(process, number, key=key)
    times = np.asarray(times)
    np.testing.assert_array_equal(weights, 1)
    ends = log_ratio(process.t0), log_ratio(process.t1)
    z = (log_ratio(times) + 1.2) / 1.2
    # The few below the first level are moved to it (0.3 % for VP).
    inside = (times > process.t0 + 1e-9) & (times < process.t1 - 1e-9)
    share = normal_cdf((ends[0] + 1.2) / 1.2)
    moved = np.mean(times <= process.t0 + 1e-9)
    assert abs(moved - share) < 4 * np.sqrt(max(share, 1e-3) / number)
    grid = np.quantile(z[inside], np.linspace(0.001, 0.999, 999))
    counted = np.searchsorted(np.sort(z), grid, side="right") / number
    assert np.abs(counted - normal_cdf(grid)).max() < KOLMOGOROV / np.sqrt(number)
    # Quantiles, each with the standard error of its share.
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        below = np.mean(z < float(jax.scipy.special.ndtri(jnp.asarray(share))))
        assert abs(below - share) < 4 * np.sqrt(share * (1 - share) / number)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_spread_log_normal_levels_are_evenly_spaced_in_probability(name, dtype, key):
    """Each 500th part of the probability has exactly one of 500 times."""
    make, log_ratio = PROCESSES[name]
    with jax.enable_x64(dtype == "float64"):
        times, _ = LogNormalTimes(0.3, 0.7).draw(make(), 500, key=key)
        z = (log_ratio(np.asarray(times, np.float64)) - 0.3) / 0.7
        slack = 1e-9 if dtype == "float64" else 2e-4
        with jax.enable_x64(True):
            assert distance(z, normal_cdf) < 1 / 500 + slack


@pytest.mark.parametrize(
    ("make", "time"),
    [
        (ss.edm, lambda level: (level ** (1 / 7) - LOW) / (80 ** (1 / 7) - LOW)),
        (ss.ve, lambda level: np.log(level / 0.01) / np.log(5000)),
        # (1 - t) x0 + t eta: the ratio is t / (1 - t).
        (ss.rectified_flow, lambda level: level / (1 + level)),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_level_is_reached_at_its_time(make, time, dtype, key):
    with jax.enable_x64(dtype == "float64"):
        tolerance = 1e-10 if dtype == "float64" else 2e-6
        for level in (0.05, 0.7, 9.0):
            sampler = LogNormalTimes(np.log(level), 1e-12)
            times, _ = sampler.draw(make(), 3, key=key)
            np.testing.assert_allclose(times, time(level), rtol=0, atol=tolerance)


LOW = 0.002 ** (1 / 7)


def test_levels_beyond_the_process_are_moved_to_its_ends(key):
    process = ss.vp()
    for mean, end in ((-60.0, process.t0), (60.0, process.t1)):
        times, _ = LogNormalTimes(mean, 1.0).draw(process, 20, key=key)
        np.testing.assert_allclose(times, end, rtol=1e-6)
        assert np.all((process.t0 <= times) & (times <= process.t1))


def test_names_stand_for_the_classes(x64, key):
    """Also with the numbers of the process traced, as inside a train step."""
    denoiser = ss.FunctionDenoiser(lambda t, x: t * x, ss.edm())
    xs = jax.random.normal(key, (16, 3))
    loss = ss.losses.CleanPrediction()

    @eqx.filter_jit
    def run(denoiser, times):
        return batch_losses(loss, denoiser, xs, times=times, key=key).times

    time_key = jax.random.split(key, 3)[0]
    for name, times in (
        ("uniform", UniformTimes()),
        ("low_discrepancy", LowDiscrepancyTimes()),
        ("log_normal", LogNormalTimes(-1.2, 1.2)),
    ):
        expected = draw_times(denoiser.process, 16, key=time_key, sampler=times)
        np.testing.assert_allclose(run(denoiser, name), expected, rtol=1e-12)


def test_times_of_your_own(x64, key):
    """Times of the density 2t, weighted so that the mean is that of uniform times."""

    class Late(AbstractTimes):
        def draw(self, process, number, *, key):
            share = jnp.sqrt(1 - jax.random.uniform(key, (number,)))
            return process.t0 + (process.t1 - process.t0) * share, 0.5 / share

    denoiser = ss.FunctionDenoiser(lambda t, x: x, ss.ve())
    square = lambda denoiser, x0, t, condition, *, key: t**2
    number = 20_000
    each = batch_losses(square, denoiser, jnp.zeros((number, 1)), times=Late(), key=key)
    # The mean of t^2 / 2t * t^2 ... under 2t: 1/3, with the variance 1/8 - 1/9.
    assert abs(float(each.mean) - 1 / 3) < 4 * np.sqrt((1 / 8 - 1 / 9) / number)


def test_mistakes_are_named(as_a_user, key):
    with pytest.raises(ValueError, match=r"Unknown `times` 'sobol'.*'log_normal'"):
        draw_times(ss.ve(), 3, key=key, sampler="sobol")  # pyright: ignore
    with pytest.raises(ValueError, match=r"Unknown `times` 0\.5"):
        draw_times(ss.ve(), 3, key=key, sampler=0.5)  # pyright: ignore
    with pytest.raises(ValueError, match="`std` > 0"):
        LogNormalTimes(0.0, 0.0)
    with pytest.raises(ValueError, match="`LogNormalTimes` needs C_t = alpha_t I"):
        draw_times(ss.soft_blur((4, 4, 1)), 3, key=key, sampler="log_normal")
    rests = ss.Process(
        ss.corruptions.Identity(),
        ss.schedules.Constant(0.0),
        ss.schedules.TwoPhase(0.01, 0.1, fraction=0.25),
    )
    with pytest.raises(ValueError, match=r"does not rise at t = 0\.2[5-9]"):
        draw_times(rests, 3, key=key, sampler="log_normal")
