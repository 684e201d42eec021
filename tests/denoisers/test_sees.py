"""A network is told of the time what it asks for, by the formula of each kind."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.nn import SeesLevel, SeesLogSigma, SeesNearest, SeesSigma, SeesTime
from softsde.parametrisations import EDM, Clean

SIGMA_MIN, SIGMA_MAX = 0.01, 50.0
PROCESS = ss.ve(SIGMA_MIN, SIGMA_MAX)
x = jnp.ones((3,))


class Echo(eqx.Module):
    """A network that returns the scalar it is given."""

    sees: ss.nn.AbstractSees | None = None

    def __call__(self, t, x, condition=None, *, key=None):
        return jnp.broadcast_to(t.astype(x.dtype), x.shape)


def seen(sees, t, process=PROCESS, x=x):
    denoiser = ss.Denoiser(Echo(sees), process, Clean())
    return float(denoiser.network_output(t, x)[0])


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_each_is_its_formula(x64, t):
    x, process = jnp.ones((3,)), ss.ve(SIGMA_MIN, SIGMA_MAX)
    sigma = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** t
    assert seen(SeesTime(999.0), t, process, x) == pytest.approx(999 * t, rel=1e-12)
    assert seen(SeesSigma(), t, process, x) == pytest.approx(sigma, rel=1e-12)
    expected = 0.25 * np.log(sigma)
    assert seen(SeesLogSigma(0.25), t, process, x) == pytest.approx(expected, rel=1e-12)
    # Level 0 is the largest, and the levels are spaced evenly in the time of `ve`.
    level = seen(SeesLevel(SIGMA_MIN, SIGMA_MAX, 11), t, process, x)
    assert level == round(10 * (1 - t))


@pytest.mark.parametrize("number", [10, 232, 1000])
def test_every_level_is_found_in_single_precision(number):
    """Also where rounding moves the noise off its level, and beyond the ends."""
    sees = SeesLevel(SIGMA_MIN, SIGMA_MAX, number)
    levels = np.geomspace(SIGMA_MAX, SIGMA_MIN, number)
    found = jax.vmap(sees, in_axes=(None, 0))(
        jnp.zeros(()), jnp.asarray(levels, jnp.float32)
    )
    np.testing.assert_array_equal(found, np.arange(number))
    assert float(sees(jnp.zeros(()), jnp.asarray(80.0))) == 0
    assert float(sees(jnp.zeros(()), jnp.asarray(1e-3))) == number - 1


def test_any_levels_are_found_by_ratio():
    """As NumPy finds them; among geometric ones they are those of `SeesLevel`."""
    zero, noise = jnp.zeros(()), np.geomspace(200.0, 1e-3, 57).astype(np.float32)
    see = lambda sees: jax.vmap(sees, in_axes=(None, 0))(zero, noise)
    geometric = tuple(np.geomspace(SIGMA_MAX, SIGMA_MIN, 11).tolist())
    np.testing.assert_array_equal(
        see(SeesNearest(geometric)), see(SeesLevel(SIGMA_MIN, SIGMA_MAX, 11))
    )
    uneven = (1.0, 0.99, 0.5, 0.02, 0.01)
    distances = np.abs(np.log(noise)[:, None] - np.log(uneven))
    np.testing.assert_array_equal(see(SeesNearest(uneven)), distances.argmin(axis=1))


def test_without_a_word_the_parametrisation_decides():
    """EDM's is a quarter of the logarithm of the noise."""
    for network in (Echo(), lambda t, x, condition, *, key: t * jnp.ones_like(x)):
        denoiser = ss.Denoiser(network, PROCESS, EDM())
        told = denoiser.network_output(0.3, x)[0]
        expected = 0.25 * jnp.log(PROCESS.sigma(jnp.asarray(0.3)))
        np.testing.assert_array_equal(told, expected)


def test_the_input_is_still_the_parametrisations():
    class Input(eqx.Module):
        sees = SeesSigma()

        def __call__(self, t, x, condition=None, *, key=None):
            return x

    edm = EDM(sigma_data=0.5)
    shown = ss.Denoiser(Input(), PROCESS, edm).network_output(0.5, x)
    sigma = np.sqrt(SIGMA_MIN * SIGMA_MAX)
    np.testing.assert_allclose(shown, 1 / np.hypot(0.5, sigma), rtol=1e-5)


def test_the_time_of_half_precision_keeps_its_digits():
    """999 t has more digits than bfloat16: only the given time is rounded to it."""
    seen_by = []

    class Keep(eqx.Module):
        sees = SeesTime(999.0)

        def __call__(self, t, x, condition=None, *, key=None):
            seen_by.append(t)
            return x

    half = x.astype(jnp.bfloat16)
    ss.Denoiser(Keep(), PROCESS, Clean()).network_output(0.25, half)
    assert seen_by[0].dtype == jnp.float32 and float(seen_by[0]) == 249.75


def test_a_process_without_noise_at_its_start_is_refused():
    still = ss.schedules.Constant(0.0)
    noiseless = ss.Process(ss.corruptions.Fade(), still, still)
    levels = (SeesLevel(0.01, 1.0, 10), SeesNearest((1.0, 0.1)))
    for sees in (SeesSigma(), SeesLogSigma(), *levels):
        with pytest.raises(ValueError, match=r"`Echo`, which sees the noise, divides"):
            ss.Denoiser(Echo(sees), noiseless, Clean())
    assert seen(SeesTime(), 0.5, noiseless) == 0.5


def test_levels_descend():
    with pytest.raises(ValueError, match=r"`sigma_min=2.0`, `sigma_max=1.0`"):
        SeesLevel(2.0, 1.0, 10)
    with pytest.raises(ValueError, match=r"`num_levels=1`; expected"):
        SeesLevel(0.1, 1.0, 1)
