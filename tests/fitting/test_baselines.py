"""Baseline schedules against Gaussian data, whose moments are sums over frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.corruptions import CenterMask, Fade, GaussianBlur, HeatBlur, Scale
from softsde.fitting import log_snr_schedule, matched_error_schedule
from softsde.schedules import Constant, Geometric, Linear, TwoPhase

SHAPE = (6, 6, 1)
LEVELS = np.geomspace(0.05, 4.0, 200)


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    return rng.normal(size=(60, *SHAPE)).cumsum(axis=1) + 0.3


def eigenvalues(theta):
    """Writes out the heat equation's: exp(-theta^2 omega^2 / 2) on 6 x 6 pixels."""
    omega = np.pi * np.arange(6) / 6
    return np.exp(-0.5 * theta**2 * (omega[:, None] ** 2 + omega[None] ** 2))


def coefficients(data):
    k = np.arange(6)
    dct = np.cos(np.pi * k[:, None] * (2 * k[None] + 1) / 12) * np.sqrt(2 / 6)
    dct[0] /= np.sqrt(2)
    return np.einsum("ki,nij,lj->nkl", dct, data[..., 0], dct)


def error(theta, data):
    return np.mean((coefficients(data) * (eigenvalues(theta) - 1)) ** 2)


def test_shares_of_the_final_error_are_those_of_the_reference(x64, data):
    """Eq. 55, noise included: E|x0 - x_t|^2 / E|x0 - x_1|^2 is the same for both."""
    noise = TwoPhase(0.02, 0.1, 0.2)
    found = matched_error_schedule(
        HeatBlur(SHAPE), LEVELS, data, ss.ve(0.05, 5.0), noise=noise
    )
    assert found.matched_until == 1.0
    whole = error(4.0, data) + 0.1**2
    for t in np.linspace(0.5, 1.0, 6):
        lost = error(float(found.schedule(t)), data) + float(noise(t)) ** 2
        assert lost / whole == pytest.approx(0.01 ** (2 * (1 - t)), rel=2e-3)
    # Until then the noise alone is more than the share.
    early = whole * 0.01 ** (2 * (1 - 0.2)) - 0.1**2
    assert early < 0 and float(found.schedule(0.2)) == LEVELS[0]


@pytest.mark.slow
def test_the_blur_of_digits_begins_late(x64):
    """Digits blurred to 4.5 pixels against VE(0.01, 50), the paper's reference.

    An independent computation with dense matrices gives no blur until t = 0.8, a level
    of 0.672 at 0.9 and 4.5 at 1.
    """
    digits = ss.data.to_array(ss.data.digits())[:300].astype(np.float64)
    blur = GaussianBlur((8, 8, 1))
    levels = np.geomspace(0.01, 4.5, 200)
    lost = []
    for a in np.asarray(jax.vmap(lambda level: blur.matrix(level, 8))(levels)):
        moved = np.einsum("ij,njkc,lk->nilc", a, digits, a) - digits
        lost.append(np.mean(moved**2))
    times = np.linspace(0, 1, 11)
    sigma = 0.01 * np.minimum(10.0, 10.0 ** (times / 0.2))
    share = 5000.0 ** (2 * (times - 1))
    wanted = share * (lost[-1] + 0.1**2) - sigma**2
    expected = np.interp(wanted, lost, levels)
    found = matched_error_schedule(
        blur,
        levels,
        digits,
        ss.ve(0.01, 50.0),
        noise=TwoPhase(0.01, 0.1, 0.2),
        num_points=11,
    )
    got = np.asarray(found.schedule.levels)
    # Where the kernel is a single pixel, many levels have one error.
    np.testing.assert_allclose(got[8:], expected[8:], rtol=1e-6)
    assert got[:8].max() < 0.25, "no blur"
    assert got[9] == pytest.approx(0.672, abs=1e-3) and got[10] == 4.5


def test_the_error_is_that_of_the_reference_noise(x64, data):
    top = np.sqrt(error(4.0, data))
    reference = ss.ve(0.05, top)
    found = matched_error_schedule(
        HeatBlur(SHAPE), LEVELS, data, reference, absolute=True
    )
    assert found.matched_until == 1.0
    for t in np.linspace(0.1, 1.0, 9):
        sigma = 0.05 * (top / 0.05) ** t
        level = float(found.schedule(t))
        assert np.sqrt(error(level, data)) == pytest.approx(sigma, rel=2e-3)
    np.testing.assert_allclose(
        found.errors[::40], [np.sqrt(error(v, data)) for v in LEVELS[::40]], rtol=1e-9
    )


def test_the_reference_may_corrupt_as_well_as_add_noise(x64, data):
    # Rectified flow is t times as far from x0 as the data from the noise.
    reference = ss.rectified_flow()
    found = matched_error_schedule(
        HeatBlur(SHAPE), LEVELS, data, reference, absolute=True
    )
    power = np.mean(data**2)
    np.testing.assert_allclose(
        found.reference_errors, found.schedule.times * np.sqrt(power + 1), rtol=1e-9
    )
    t = 0.2
    level = float(found.schedule(t))
    assert error(level, data) == pytest.approx(t**2 * (power + 1), rel=2e-3)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_process_matches_itself(x64, data, absolute):
    levels = Linear(0.05, 4.0)
    process = ss.Process(HeatBlur(SHAPE), levels, Geometric(0.01, 0.2))
    found = matched_error_schedule(
        process.corruption,
        LEVELS,
        data,
        process,
        noise=process.noise,
        absolute=absolute,
    )
    for t in (0.15, 0.5, 0.8, 1.0):
        assert float(found.schedule(t)) == pytest.approx(float(levels(t)), rel=5e-3)


def test_where_the_reference_is_out_of_reach_the_level_is_the_last(x64, data):
    top = np.sqrt(error(4.0, data))
    found = matched_error_schedule(
        HeatBlur(SHAPE),
        LEVELS,
        data,
        ss.ve(0.05, 20 * top),
        absolute=True,
        num_points=201,
    )
    t = np.log(top / 0.05) / np.log(20 * top / 0.05)
    assert found.matched_until == pytest.approx(t, abs=1 / 200)
    assert float(found.schedule(t + 0.01)) == pytest.approx(4.0)
    assert float(found.schedule(0.0)) <= float(found.schedule(t - 0.1)) < 4.0


def test_plateaus_take_their_first_level(x64, data):
    # A mask of 6 x 6 pixels has few distinct operators.
    found = matched_error_schedule(
        CenterMask(SHAPE), np.linspace(0, 1, 101), data, ss.ve(1e-6, 100.0)
    )
    assert np.all(np.diff(np.asarray(found.schedule.levels)) >= 0)
    assert float(found.schedule(0.0)) == pytest.approx(0.0, abs=1e-6)


def test_log_snr_falls_evenly(x64, data):
    schedule = log_snr_schedule(
        HeatBlur(SHAPE), LEVELS, data, num_points=60, start=0.25
    )
    z = coefficients(data - data.mean(axis=0))

    def log_snr(t):
        return np.log(np.sum((z * eigenvalues(float(schedule(t)))) ** 2))

    assert float(schedule(0.2)) == LEVELS[0] and float(schedule(1.0)) == 4.0
    first, last = log_snr(0.25), log_snr(1.0)
    for share in (0.2, 0.5, 0.9):
        expected = first + share * (last - first)
        assert log_snr(0.25 + 0.75 * share) == pytest.approx(expected, abs=2e-2)


def test_log_snr_of_a_fade_is_geometric(x64, data):
    # The variance of (1 - theta) x0 is (1 - theta)^2 times that of x0.
    levels = 1 - np.geomspace(1.0, 0.01, 500)
    schedule = log_snr_schedule(Fade(), levels, data, num_points=200)
    t = np.linspace(0, 1, 7)
    kept = 1 - np.asarray(jax.vmap(schedule)(jnp.asarray(t)))
    np.testing.assert_allclose(kept, 0.01**t, rtol=1e-3)


@pytest.mark.slow
def test_single_precision_agrees(data):
    with jax.enable_x64(True):
        exact = matched_error_schedule(HeatBlur(SHAPE), LEVELS, data, ss.ve(0.05, 0.5))
        t = jnp.linspace(0.0, 1.0, 9)
        truth = np.asarray(jax.vmap(exact.schedule)(t))
    single = matched_error_schedule(
        HeatBlur(SHAPE), LEVELS, np.float32(data), ss.ve(0.05, 0.5)
    )
    got = np.asarray(jax.vmap(single.schedule)(jnp.linspace(0.0, 1.0, 9)))
    np.testing.assert_allclose(got, truth, rtol=2e-3)


def test_mistakes_are_named(data):
    blur, reference = HeatBlur(SHAPE), ss.ve()
    data = np.float32(data)
    with pytest.raises(ValueError, match="strictly increasing"):
        matched_error_schedule(blur, LEVELS[::-1], data, reference)
    with pytest.raises(ValueError, match="no data"):
        matched_error_schedule(blur, LEVELS, data[:0], reference)
    with pytest.raises(ValueError, match="not finite"):
        matched_error_schedule(blur, LEVELS, data * np.float32(np.nan), reference)
    with pytest.raises(ValueError, match="num_points=1"):
        matched_error_schedule(blur, LEVELS, data, reference, num_points=1)
    with pytest.raises(ValueError, match=r"from level 0\.5 to 1 .*other way"):
        matched_error_schedule(Scale(), np.array([0.5, 1.0]), data, reference)
    with pytest.raises(ValueError, match="variance that falls"):
        log_snr_schedule(Scale(), np.array([0.5, 1.0]), data)
    with pytest.raises(ValueError, match="End at a smaller level"):
        log_snr_schedule(Fade(), np.array([0.0, 1.0]), data)
    with pytest.raises(ValueError, match=r"start=1\.0"):
        log_snr_schedule(blur, LEVELS, data, start=1.0)


def test_images_of_bytes_are_refused(as_a_user, data):
    with pytest.raises(TypeError, match="floating-point samples, got uint8"):
        log_snr_schedule(HeatBlur(SHAPE), LEVELS, data.astype(np.uint8))
    with pytest.raises(TypeError, match="got Constant for a process"):
        matched_error_schedule(HeatBlur(SHAPE), LEVELS, data, Constant(1.0))
