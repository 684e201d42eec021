"""The noise of the terms: right in law, drawn by the process, resolved everywhere."""

from unittest import mock

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import blur, one_step, shear, term_with, wavy

import softsde as ss
from softsde.solvers import Step
from softsde.terms import StepNoise, tree_tolerance, unit_increment


def four_errors(number):
    """Four standard errors of a variance of as many normals."""
    return 4 * np.sqrt(2 / number)


AREAS = {
    diffrax.BrownianIncrement: ("W",),
    diffrax.SpaceTimeLevyArea: ("W", "H"),
    diffrax.SpaceTimeTimeLevyArea: ("W", "H", "K"),
}


@pytest.mark.parametrize("area", AREAS)
def test_fresh_noise_is_brownian_motion(x64, key, area):
    """Variances h, h / 12 and h / 720 and no correlations, within four standard errors
    of 20,000 draws; another step has other draws."""
    number, h = 20_000, 0.5
    path = StepNoise(ss.ve(), (number,), key, area)
    drawn = path.evaluate(0.2, 0.7, use_levy=True)
    np.testing.assert_array_equal(drawn.W, path.evaluate(0.2, 0.7))
    assert float(drawn.dt) == pytest.approx(h)
    other = np.asarray(path.evaluate(0.7, 1.2)) / np.sqrt(h)
    scales = dict(W=1, H=12, K=720)
    rows = [getattr(drawn, name) * np.sqrt(scales[name] / h) for name in AREAS[area]]
    moments = np.cov([*rows, other])
    np.testing.assert_allclose(np.diag(moments), 1, atol=four_errors(number))
    rest = moments - np.diag(np.diag(moments))
    np.testing.assert_allclose(rest, 0, atol=4 / np.sqrt(number))


def test_a_step_injects_the_variance_of_the_clock(x64):
    """`unit_increment` times the root of it: exactly, by a table of one normal."""
    process = shear()
    clock = ss.clocks.Churn(3.0)
    term = term_with(wavy(process), clock, jnp.asarray([[2.0, -1.0]]))
    step = Step("the test", term, 0.3, 0.4, jnp.zeros(2), None)
    sigma = lambda t: 0.2 * 5**t
    # sigma^2 integrates to sigma^2 / (2 log 5).
    churned = 3 * (sigma(0.7) ** 2 - sigma(0.6) ** 2) / (2 * np.log(5))
    variance = sigma(0.7) ** 2 - sigma(0.6) ** 2 + churned
    assert float(step.injected()) == pytest.approx(variance, rel=1e-10)
    assert float(step.mu()) == pytest.approx(0.2 * np.log(5) + 0.3, rel=1e-10)
    drawn = step.noise(jnp.sqrt(step.injected()))
    np.testing.assert_allclose(drawn, np.sqrt(variance) * np.array([2, -1]), rtol=1e-9)


PATHS = {
    "steps": lambda key: StepNoise(blur(), (), key),
    "unsafe": lambda key: diffrax.UnsafeBrownianPath((), key),
    "tree": lambda key: diffrax.VirtualBrownianTree(0.0, 1.0, 2.0**-10, (), key),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_what_a_solver_draws_is_independent_of_all_else(x64, key, name):
    """10,000 draws have variances 1 and no correlations, within four standard errors
    (the square roots of 2 / n and of 1 / n)."""
    number = 10_000
    denoiser = wavy(blur())

    def draw(key):
        term = ss.reverse_sde(denoiser, clock="ode", path=PATHS[name](key))
        of = lambda s0, s1: Step("the test", term, s0, s1, jnp.zeros(()), None)
        step, later, other = of(0.2, 0.4), of(0.4, 0.6), of(0.2, 0.3)
        rows = [
            unit_increment(step.path, 0.2, 0.4),
            unit_increment(step.path, 0.4, 0.6),
            step.fresh(),
            step.fresh(1),
            later.fresh(),
            other.fresh(),
            jax.random.normal(step.key()),
        ]
        return jnp.stack(rows)

    drawn = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(key, number)))
    moments = drawn.T @ drawn / number
    np.testing.assert_allclose(np.diag(moments), 1, atol=four_errors(number))
    correlations = moments - np.diag(np.diag(moments))
    np.testing.assert_allclose(correlations, 0, atol=4 / np.sqrt(number))


def test_a_fresh_normal_is_a_function_of_key_step_and_index(x64, key):
    def fresh(key, s0, s1, index):
        term = ss.reverse_sde(wavy(blur()), clock="ode", key=key, shape=(3,))
        return Step("the test", term, s0, s1, jnp.zeros(3), None).fresh(index)

    first = np.asarray(fresh(key, 0.2, 0.4, 5))
    np.testing.assert_array_equal(fresh(key, 0.2, 0.4, jnp.asarray(5)), first)
    for again in (
        fresh(jax.random.fold_in(key, 1), 0.2, 0.4, 5),
        fresh(key, 0.2, 0.4, 4),
        fresh(key, 0.4, 0.6, 5),
    ):
        assert not np.isclose(again, first).any()


def test_all_noise_is_drawn_by_the_process(x64, key):
    """So that a process with another noise changes every sampler."""
    ones = lambda self, key, like: jnp.ones(like.shape, like.dtype)
    with mock.patch.object(ss.Process, "draw_noise", ones):
        term = ss.reverse_sde(wavy(blur()), key=key, shape=(3,))
        step = Step("the test", term, 0.25, 0.5, jnp.zeros(3), None)
        np.testing.assert_array_equal(step.fresh(), np.ones(3))
        np.testing.assert_allclose(step.noise(jnp.asarray(2.0)), 2 * np.ones(3))
        np.testing.assert_allclose(step.path.evaluate(0.25, 0.5), 0.5 * np.ones(3))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_noise_has_the_dtype_of_the_sample(x64, key, dtype):
    x = jnp.ones(3, dtype)
    for solver, clock in ((ss.Momentum(), "sde"), (ss.Naive(), "ode")):
        term = ss.reverse_sde(wavy(blur()), clock=clock, key=key, shape=(3,))
        assert one_step(solver, term, x, 0.2, 0.3).dtype == dtype


class Silent(diffrax.AbstractBrownianPath):
    """A path of somebody's own, that never moves."""

    levy_area: type = diffrax.BrownianIncrement

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return 1.0

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return jnp.zeros(2)


def test_a_path_without_a_key_is_named(as_a_user):
    term = ss.reverse_sde(wavy(shear()), clock="ode", path=Silent())
    with pytest.raises(TypeError, match=r"`Silent` has no key.*VirtualBrownianTree"):
        one_step(ss.Naive(), term, jnp.ones(2), 0.2, 0.4)


def test_fresh_noise_is_refused_where_steps_adapt(x64, key):
    """A step that is rejected would be drawn anew."""
    term = ss.reverse_sde(wavy(shear()), key=key, shape=(2,))
    with pytest.raises(ValueError, match="UnsafeBrownianPath"):
        diffrax.diffeqsolve(
            term,
            ss.Heun("normalised"),
            0.0,
            1.0,
            0.1,
            jnp.ones(2),
            stepsize_controller=diffrax.PIDController(rtol=1e-2, atol=1e-2),
            adjoint=diffrax.ForwardMode(),
        )


def test_a_flow_keeps_a_path_for_those_who_ask(x64, key):
    """The clock `"ode"` is the flow, injects nothing, and hands out fresh noise."""
    denoiser = wavy(shear())
    noisy = ss.reverse_sde(denoiser, clock="ode", shape=(2,), key=key)
    plain = ss.probability_flow(denoiser)
    x = jax.random.normal(key, (2,))
    for solver in (ss.Momentum(), ss.DDIM(), ss.Multistep(), diffrax.Euler()):
        ends = [one_step(solver, term, x, 0.2, 0.4) for term in (noisy, plain)]
        np.testing.assert_array_equal(*ends)


# Trees, in single precision: what `sample` draws from where steps adapt.

PROCESSES = {
    "ve(0.01, 348)": lambda: ss.ve(0.01, 348.0),
    "edm()": ss.edm,
    "vp()": ss.vp,
    "subvp()": ss.subvp,
    "soft_blur": lambda: ss.soft_blur((2, 2, 1)),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n, marks=[pytest.mark.slow] * (n not in ("ve(0.01, 348)", "edm()"))
        )
        for n in PROCESSES
    ],
)
def test_a_tree_has_the_variance_of_every_step(key, name):
    """Steps of 1e-4, 1e-3 and 0.02 all over the time, and the last before the data.

    Variances of 2,000 normals each, within five standard errors, as there are 36 of
    them; and what the clock injects, against double precision.
    """
    process, number = PROCESSES[name](), 2_000
    clock, span = ss.clocks.Sde(), process.t1 - process.t0
    fine = tree_tolerance(process, clock, span)
    assert float(fine) < 1e-4 / 4
    tree = diffrax.VirtualBrownianTree(0.0, span, fine, (number,), key)
    begins, ends = [], []
    for width in (1e-4, 1e-3, 0.02):
        begin = np.linspace(0, span - width, 12).astype(np.float32)
        begins.append(begin)
        ends.append(np.minimum(begin + np.float32(width), np.float32(span)))
    s0, s1 = jnp.concatenate(begins), jnp.concatenate(ends)
    assert s0.dtype == jnp.float32

    @jax.jit
    def measure(s0, s1):
        def one(pair):
            increment = unit_increment(tree, *pair)
            return jnp.mean(increment**2), jnp.mean(increment)

        injected = jax.vmap(lambda a, b: clock.variance(process, 1 - a, 1 - b))(s0, s1)
        return (*jax.lax.map(one, (s0, s1)), injected)

    variances, means, injected = map(np.asarray, measure(s0, s1))
    np.testing.assert_allclose(variances, 1, atol=5 * np.sqrt(2 / number))
    np.testing.assert_allclose(means, 0, atol=5 / np.sqrt(number))
    # What is injected where: the variance of the increments that the clock scales.
    with jax.enable_x64(True):
        double = PROCESSES[name]()
        sigma = jax.vmap(lambda s: double.sigma(1 - s))
        at = [np.asarray(sigma(np.asarray(s, np.float64))) for s in (s0, s1)]
    exact = at[0] ** 2 - at[1] ** 2
    np.testing.assert_allclose(injected, exact, rtol=2e-3, atol=1e-12)


def test_a_tree_gives_one_path_whatever_the_steps(x64, key):
    tree = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-4, (2,), key)
    increment = lambda a, b: np.sqrt(b - a) * np.asarray(unit_increment(tree, a, b))
    parts = increment(0.1, 0.33) + increment(0.33, 0.9)
    np.testing.assert_allclose(increment(0.1, 0.9), parts, atol=1e-10)


def test_a_faster_clock_wants_a_finer_tree():
    """The time in which 40 of relative noise is injected is 1 / 40."""
    process = ss.soft_blur((2, 2, 1))
    slow = float(tree_tolerance(process, ss.clocks.Sde(), 1.0))
    fast = float(tree_tolerance(process, ss.clocks.Churn(1000.0), 1.0))
    assert fast < slow / 30
    assert fast < 1e-3 / 1000
