"""Clocks: each step injects what it should, in single precision too, at any length.

The truth is an integral over the step: in closed form, by SciPy with the noise written
out in NumPy, and by the library in double precision at the very same times.
"""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import softsde as ss
from softsde.clocks import Churn, Custom, Ode, Sde, make_clock

STEPS = (200, 1000, 4000)


def _edm(t):
    low, high = 0.002 ** (1 / 7), 80.0 ** (1 / 7)
    return (low + t * (high - low)) ** 7


def _faded(t):
    """`alpha^2` of the variance-preserving SDE."""
    return np.exp(-0.5 * 19.9 * t**2 - 0.1 * t)


def _cosine(t):
    angle = lambda t: np.pi / 2 * (t + 0.008) / 1.008
    return np.sqrt(1 - (np.cos(angle(t)) / np.cos(angle(0))) ** 2)


# How a process is made, and its noise.
PROCESSES = {
    "ve()": (lambda: ss.ve(), lambda t: 0.01 * 5000**t),
    "ve(0.01, 348)": (lambda: ss.ve(0.01, 348.0), lambda t: 0.01 * 34800**t),
    "edm()": (lambda: ss.edm(), _edm),
    "vp()": (lambda: ss.vp(), lambda t: np.sqrt(1 - _faded(t))),
    "subvp()": (lambda: ss.subvp(), lambda t: 1 - _faded(t)),
    "cosine_vp()": (lambda: ss.cosine_vp(), _cosine),
    "rectified_flow()": (lambda: ss.rectified_flow(), lambda t: t),
    "soft_blur": (
        lambda: ss.soft_blur((2, 2, 1)),
        lambda t: 0.01 * 10 ** np.minimum(t / 0.2, 1),
    ),
}

# A clock, and the rate that it adds to the paper's, if it does.
CLOCKS = {
    "sde": (Sde(), lambda t: 0 * t),
    "churn 1": (Churn(1.0), lambda t: 1 + 0 * t),
    "churn 40": (Churn(40.0), lambda t: 40 + 0 * t),
    "rising": (Custom(lambda t: 10.0 * t), lambda t: 10 * t),
    "waves": (
        Custom(lambda t: 5 + 4 * jnp.sin(20 * t)),
        lambda t: 5 + 4 * np.sin(20 * t),
    ),
    "late": (Custom(lambda t: 1 / (t + 0.01)), lambda t: 1 / (t + 0.01)),
}
QUANTITIES = ("mu", "variance")


def _follows_the_paper(name):
    return not isinstance(CLOCKS[name][0], Custom)


@functools.cache
def grids(name):
    """Both ends of all steps of all numbers of steps, rounded to single precision."""
    process = PROCESSES[name][0]()
    times = [
        np.linspace(process.t1, process.t0, n + 1).astype(np.float32) for n in STEPS
    ]
    return [
        np.concatenate([t[part] for t in times]) for part in (np.s_[:-1], np.s_[1:])
    ]


@functools.cache
def steps(name, dtype):
    """Computes what each clock injects in each step, in one compiled program."""
    with jax.enable_x64(dtype == "float64"):
        process = PROCESSES[name][0]()
        ends = [jnp.asarray(end, dtype) for end in grids(name)]

        @jax.jit
        @jax.vmap
        def evaluate(t, t_next):
            return {
                (clock, what): getattr(CLOCKS[clock][0], what)(process, t, t_next)
                for clock in CLOCKS
                for what in QUANTITIES
            }

        out = evaluate(*ends)
        assert all(value.dtype == dtype for value in out.values())
        return {key: np.asarray(value, np.float64) for key, value in out.items()}


def whole(name, clock, what, t, t_next):
    """The integral from `t_next` to `t`, by SciPy and by closed forms."""
    sigma, extra = PROCESSES[name][1], CLOCKS[clock][1]
    weight = (lambda t: sigma(t) ** 2) if what == "variance" else (lambda t: 1 + 0 * t)
    kinks = [0.2] if name == "soft_blur" and t_next < 0.2 < t else None
    value = scipy.integrate.quad(
        lambda v: extra(v) * weight(v), t_next, t, points=kinks, epsrel=1e-10, limit=200
    )[0]
    if not _follows_the_paper(clock):
        return value
    if what == "mu":
        return value + 2 * np.log(sigma(t) / sigma(t_next))
    return value + sigma(t) ** 2 - sigma(t_next) ** 2


@pytest.mark.parametrize("name", PROCESSES)
def test_single_precision_injects_what_double_does(name):
    """Each step at 200, 1000 and 4000 of them, within 1e-3; and none at all exactly
    where there should be none: where sigma rests, on the paper's clock."""
    got, exact = steps(name, "float32"), steps(name, "float64")
    resting = 0.0
    for key, value in got.items():
        injects = exact[key] > 0
        assert (exact[key] >= 0).all()
        assert (value[injects] > 0).all(), key
        assert (value[~injects] == 0).all(), key
        np.testing.assert_allclose(value, exact[key], rtol=1e-3, err_msg=str(key))
        if key != ("sde", "mu") and key != ("sde", "variance"):
            assert injects.all(), key
        else:
            resting = 1 - injects.mean()
    assert resting == (0.8 if name == "soft_blur" else 0)


@pytest.mark.parametrize("name", PROCESSES)
def test_steps_are_integrals(name):
    """Some steps of each grid, the first and the last among them, against SciPy."""
    got, (t, t_next) = steps(name, "float32"), grids(name)
    begins = np.cumsum([0, *STEPS])
    chosen = [
        begin + int(share * (n - 1))
        for begin, n in zip(begins[:-1], STEPS, strict=True)
        for share in (0, 0.37, 0.95, 1)
    ]
    for clock in CLOCKS:
        for what in QUANTITIES:
            for i in chosen:
                ends = float(t[i]), float(t_next[i])
                expected = whole(name, clock, what, *ends)
                # A difference of two sigmas has lost some digits in the truth too.
                assert got[clock, what][i] == pytest.approx(
                    expected, rel=1e-3, abs=1e-15
                ), (clock, what, ends)


@pytest.mark.parametrize("name", PROCESSES)
def test_steps_add_up_to_the_whole(name):
    process = PROCESSES[name][0]()
    got = steps(name, "float32")
    begins = np.cumsum([0, *STEPS])
    for key, value in got.items():
        expected = whole(name, *key, process.t1, process.t0)
        for begin, n in zip(begins[:-1], STEPS, strict=True):
            total = value[begin : begin + n].sum()
            assert total == pytest.approx(expected, rel=2e-5), (key, n)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_rate_is_the_derivative(x64, name):
    """This holds for `mu` at a step's end, and the variance in units of `sigma^2`."""
    process = PROCESSES[name][0]()
    times = jnp.asarray([0.11, 0.37, 0.93])

    @jax.jit
    def slopes(t):
        start = t - 1e-3
        out = []
        for clock, _ in CLOCKS.values():
            by_mu, by_variance = (
                jax.grad(lambda t, of=of: of(process, t, start))(t)
                for of in (clock.mu, clock.variance)
            )
            out.append(
                (by_mu, by_variance / process.sigma(t) ** 2, clock.rate(process, t))
            )
        return out

    for row in jax.vmap(slopes)(times):
        by_mu, by_variance, rate = map(np.asarray, row)
        np.testing.assert_allclose(by_mu, rate, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(by_variance, rate, rtol=1e-6, atol=1e-9)


def test_long_steps_are_integrals_too(x64):
    """One step for all of the time, over nine decades of variance, and across the kink
    of a noise that comes to rest: within 1 %."""
    for name, n in (
        ("ve(0.01, 348)", 4),
        ("edm()", 1),
        ("soft_blur", 1),
        ("soft_blur", 7),
    ):
        process = PROCESSES[name][0]()
        times = np.linspace(process.t1, process.t0, n + 1)
        for t, t_next in itertools.pairwise(times):
            for clock, (made, _) in CLOCKS.items():
                if n == 1 and not _follows_the_paper(clock):
                    continue  # a rate of one's own should vary little within a step
                for what in QUANTITIES:
                    got = float(getattr(made, what)(process, t, t_next))
                    expected = whole(name, clock, what, t, t_next)
                    assert got == pytest.approx(expected, rel=1e-2), (name, clock, what)


def test_the_order_of_the_ends_does_not_matter(x64):
    """Noise is injected forward in time as it is back."""
    process = ss.edm()
    for clock, _ in CLOCKS.values():
        for what in QUANTITIES:
            of = functools.partial(getattr(clock, what), process)
            assert float(of(0.3, 0.7)) == pytest.approx(float(of(0.7, 0.3)), rel=1e-12)
            assert float(of(0.4, 0.4)) == 0


def test_the_flow_injects_nothing(x64):
    process = ss.ve()
    clock = Ode()
    assert float(clock.mu(process, 0.7, 0.2)) == 0
    assert float(clock.variance(process, 0.7, 0.2)) == 0
    assert float(clock.rate(process, 0.7)) == 0


def test_without_noise_there_is_none_to_inject(x64):
    process = ss.cold(ss.corruptions.Fade(), ss.schedules.Linear())
    for clock in (Sde(), Churn(7.0)):
        assert float(clock.variance(process, 0.7, 0.2)) == 0
    assert float(Sde().mu(process, 0.7, 0.2)) == 0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtypes_are_those_of_the_times(x64, dtype):
    """A Python float beside an array has the array's."""
    process = ss.vp()
    t = jnp.asarray(0.7, dtype)
    for clock in (Ode(), Sde(), Churn(2.0), Custom(lambda t: 3.0)):
        values = jax.eval_shape(
            lambda t, clock=clock: [
                clock.rate(process, t),
                clock.mu(process, t, jnp.asarray(0.6, dtype)),
                clock.mu(process, t, 0.6),
                clock.mu(process, 0.8, t),
                clock.variance(process, t, 0.6),
                clock.variance(process, 0.8, t),
            ],
            t,
        )
        for value in values:
            assert value.dtype == dtype and value.shape == (), clock


def test_a_rate_may_have_parameters(x64):
    """An Equinox module is a tree: its weights are seen, and have a derivative."""

    class Rising(eqx.Module):
        slope: jax.Array

        def __call__(self, t):
            return self.slope * t

    clock = Custom(Rising(jnp.asarray(6.0)))
    assert jax.tree.leaves(clock) == [6.0]
    process = ss.ve()
    assert float(clock.mu(process, 0.5, 0.0)) == pytest.approx(6 * 0.125)
    by_slope = jax.grad(lambda clock: clock.mu(process, 0.5, 0.0), allow_int=True)(
        clock
    )
    assert float(by_slope.function.slope) == pytest.approx(0.125)


def test_names(as_a_user):
    assert isinstance(make_clock("sde"), Sde) and isinstance(make_clock("ode"), Ode)
    clock = Churn(3.0)
    assert make_clock(clock) is clock


def test_mistakes_are_named(as_a_user, x64):
    with pytest.raises(ValueError, match="`Churn` needs `amount` >= 0"):
        Churn(-1.0)
    with pytest.raises(TypeError, match=r"got float for `rate`.*lambda t"):
        Custom(3.0)  # pyright: ignore
    with pytest.raises(ValueError, match=r"'paper'; expected 'sde'.*Churn\(20"):
        make_clock("paper")  # pyright: ignore
    with pytest.raises(TypeError, match=r"function for a clock.*Custom\(rate\)"):
        make_clock(lambda t: t)  # pyright: ignore
    falling = Custom(lambda t: -t)
    for what in QUANTITIES:
        with pytest.raises(Exception, match="rate of a `Custom` clock is negative"):
            jax.block_until_ready(getattr(falling, what)(ss.ve(), 0.4, 0.3))
