"""A process refuses bad parts, and knows what it can before anything is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss

SHAPE = (4, 4, 1)


def by(corruption, levels=None, noise=None, **options):
    levels = ss.schedules.Linear() if levels is None else levels
    noise = ss.schedules.Constant(0.1) if noise is None else noise
    return ss.Process(corruption, levels, noise, **options)


def traced(make):
    """The process of one traced number, in a compiled function: `run(fn)`."""
    return lambda fn: jax.jit(lambda value: fn(make(value)))(jnp.asarray(1.0))


class Fall(ss.schedules.AbstractSchedule):
    def __call__(self, t):
        return 1.0 - 0.5 * jnp.asarray(t)

    def inverse(self, value):
        return 2 * (1.0 - jnp.asarray(value))


class Bump(ss.schedules.AbstractSchedule):
    """Rises to one at one half, then falls: its two ends tell nothing of that."""

    def __call__(self, t):
        return 0.1 + 4 * jnp.asarray(t) * (1 - jnp.asarray(t))

    def inverse(self, value):
        raise NotImplementedError


class Pole(ss.schedules.AbstractSchedule):
    def __call__(self, t):
        return 1.0 / (1.0 - jnp.asarray(t))

    def inverse(self, value):
        return 1 - 1 / jnp.asarray(value)


def test_a_noise_that_is_negative_or_falls_is_refused():
    identity, line = ss.corruptions.Identity(), ss.schedules.Linear
    with pytest.raises(ValueError, match=r"sigma\(0\) = -0.5; expected .* at least 0"):
        by(identity, noise=line(-0.5, 1.0))
    with pytest.raises(ValueError, match=r"falls, from 1 at time 0 to 0\.98"):
        by(identity, noise=Fall())
    with pytest.raises(ValueError, match="never falls"):
        by(identity, noise=Bump())
    # It rises as far as the process goes.
    by(identity, noise=Bump(), t1=0.5)
    with pytest.raises(ValueError, match=r"sigma\(1\) = inf"):
        by(identity, noise=Pole())


def test_a_traced_noise_passes():
    make = lambda v: by(ss.corruptions.Identity(), noise=ss.schedules.Linear(v, 2 * v))
    assert float(traced(make)(lambda process: process.sigma(1.0))) == 2.0


class Clip(ss.corruptions.AbstractCorruption):
    """It says the shape of its samples, and clips them: not linear."""

    @property
    def structure(self):
        return ss.corruptions.Structure(shape=(3,))

    def apply(self, theta, x):
        return jnp.where(theta > 0, jnp.clip(x, -0.5, 0.5), x)


def test_a_corruption_that_is_not_linear_is_refused():
    with pytest.raises(ValueError, match="`Clip`"):
        by(Clip())


# What is known.


def test_sigma_and_signal_are_known_inside_jit():
    process, flow = ss.ve(0.01, 5.0), ss.rectified_flow()

    @jax.jit
    def run(x):
        assert process.known_sigma(1.0) == pytest.approx(5.0)
        assert flow.known_signal(0.25) == pytest.approx(0.75)
        return x

    run(1.0)
    assert type(process.known_sigma(1.0)) is float


def test_of_a_traced_schedule_nothing_is_known():
    make = lambda v: by(ss.corruptions.Identity(), noise=ss.schedules.Linear(v, 2 * v))

    def run(process):
        assert process.known_sigma(0.5) is None
        # What cannot be told is let through.
        process.require_noise("Sampling")
        return process.sigma(0.5)

    assert float(traced(make)(run)) == 1.5
    scaling = lambda v: by(
        ss.corruptions.Scale(), ss.schedules.PiecewiseLinear([0, 1], jnp.stack([v, 0]))
    )
    assert traced(scaling)(lambda p: 0 if p.known_signal(0.5) is None else 1) == 0


# Scalings.


class Halve(ss.corruptions.AbstractDiagonalCorruption):
    """A scaling of the user's own: 2^-theta."""

    @property
    def structure(self):
        return ss.corruptions.Structure(basis="every", identity_level=0.0)

    def eigenvalues(self, theta):
        return 0.5 ** jnp.asarray(theta)


_c = ss.corruptions
# The family, and its factor at the level 0.3.
SCALINGS = {
    "Identity": (lambda: _c.Identity(), 1.0),
    "Scale": (lambda: _c.Scale(), 0.3),
    "Fade": (lambda: _c.Fade(), 0.7),
    "composed": (lambda: _c.Compose(_c.Fade(), Halve()), 0.7 * 0.5**0.3),
    "mixed": (lambda: _c.Mix(_c.Fade(), _c.Identity(), weights=[0.5, 0.5]), 0.85),
    "relevelled": (lambda: _c.Relevel(_c.Scale(), lambda theta: 1 - theta**2), 0.91),
    "one's own": (Halve, 0.5**0.3),
}
OTHERS = {
    "blur": lambda: _c.HeatBlur(SHAPE),
    "mask": lambda: _c.SoftMask(SHAPE),
    "blur and fade": lambda: _c.Compose(_c.HeatBlur(SHAPE), _c.Fade()),
    "a function": lambda: _c.FunctionCorruption(lambda h, x: (1 - h) * x, SHAPE),
}


@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_is_known_by_its_structure(x64, name):
    """Whatever its class: it has a signal, a ratio, a linear SDE, EDM's network."""
    make, factor = SCALINGS[name]
    process = by(make(), clean_start=False)
    assert process.is_scaling
    process.require_scaling("This")
    assert float(process.signal(0.3)) == pytest.approx(factor, rel=1e-12)
    assert float(process.snr(0.3)) == pytest.approx((factor / 0.1) ** 2, rel=1e-12)
    rate = float(ss.processes.classical_sde(process, 0.3)[0])
    h = 1e-6
    slope = (process.signal(0.3 + h) - process.signal(0.3 - h)) / (2 * h)
    assert rate == pytest.approx(float(slope) / factor, abs=1e-8)
    x = jnp.arange(3.0)
    np.testing.assert_allclose(process.apply(0.3, x), factor * np.arange(3), rtol=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_scaling_is_refused(name):
    process = by(OTHERS[name]())
    assert not process.is_scaling
    kind = type(process.corruption).__name__
    with pytest.raises(ValueError, match=rf"`signal` needs .*, got `{kind}`"):
        process.signal(0.3)


# Jumps.


def staircase(theta, x):
    """Fades in ten jumps. Nobody says so."""
    return (1 - jnp.floor(10 * theta) / 10) * x


def one_jump(theta, x):
    return jnp.where(theta < 0.37, x, 0.5 * x)


def smooth(theta, x):
    return (1 - theta**2) * x + theta * jnp.roll(x, 1)


def of(function, structure=None):
    corruption = ss.corruptions.FunctionCorruption(function, (3,), structure)
    return by(corruption)


def test_a_jump_that_is_declared_is_refused():
    process = by(ss.corruptions.CenterMask(SHAPE))
    with pytest.raises(ValueError, match=r"^This needs the derivative .*`CenterMask`"):
        process.require_smooth("This")
    with pytest.raises(ValueError, match="`SoftMask` for masks"):
        process.guard_smooth("This", jnp.ones(SHAPE))


@pytest.mark.parametrize("function", [staircase, one_jump])
def test_a_jump_that_nobody_has_declared_is_found(function):
    with pytest.raises(ValueError, match=r"`FunctionCorruption` jumps at time 0\.\d"):
        of(function).require_smooth("This")


def test_where_it_jumps_is_said():
    with pytest.raises(ValueError, match=r"jumps at time 0\.37"):
        of(one_jump).require_smooth("This")


def test_a_jump_outside_of_the_process_is_none():
    corruption = ss.corruptions.FunctionCorruption(one_jump, (3,))
    by(corruption, t1=0.3).require_smooth("This")


def test_a_jump_of_the_levels_is_found():
    """The corruption is smooth, and says nothing; time jumps through it."""

    class Leap(ss.schedules.AbstractSchedule):
        def __call__(self, t):
            return jnp.where(jnp.asarray(t) < 0.5, 0.0, 1.0).astype(
                jnp.asarray(t).dtype
            )

        def inverse(self, value):
            raise NotImplementedError

    corruption = ss.corruptions.FunctionCorruption(smooth, (3,))
    with pytest.raises(ValueError, match=r"jumps at time 0\.5"):
        by(corruption, Leap()).require_smooth("This")


def test_what_moves_smoothly_passes():
    of(smooth).require_smooth("This")
    x = jnp.arange(3.0)
    np.testing.assert_array_equal(of(smooth).guard_smooth("This", x), x)
    for corruption in (
        ss.corruptions.SoftMask(SHAPE),
        ss.corruptions.GaussianBlur(SHAPE),
    ):
        by(corruption).require_smooth("This")


def test_who_says_that_it_is_smooth_is_believed():
    of(staircase, ss.corruptions.Structure(differentiable=True)).require_smooth("This")


class Hop(ss.corruptions.AbstractCorruption):
    """A corruption without a shape of its own, that declares nothing."""

    scale: jax.Array

    def apply(self, theta, x):
        return jnp.where(theta < 0.5, x, self.scale.astype(x.dtype) * x)


def test_without_a_shape_it_is_tried_on_that_of_the_sample():
    process = by(Hop(jnp.asarray(0.5)))
    process.require_smooth("This")  # nothing can be tried
    with pytest.raises(ValueError, match=r"`Hop` jumps at time 0\.5"):
        process.require_smooth("This", (2, 2))
    with pytest.raises(ValueError, match=r"`Hop` jumps at time 0\.5"):
        process.guard_smooth("This", jnp.ones((2, 2)))


def test_a_traced_jump_is_found_while_it_runs():
    run = traced(lambda scale: by(Hop(0.5 * scale)))
    with pytest.raises(Exception, match="This needs the derivative of C_t in time"):
        jax.block_until_ready(run(lambda p: p.guard_smooth("This", jnp.ones(3))))
    # And what does not jump passes: the scale is one.
    run = traced(lambda scale: by(Hop(scale)))
    np.testing.assert_array_equal(
        run(lambda p: p.guard_smooth("This", jnp.ones(3))), np.ones(3)
    )
