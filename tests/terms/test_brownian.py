"""Brownian motion on a clock: right in law, and one path for all step sizes."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.terms import (
    ChurnClock,
    ClockedBrownianPath,
    CustomClock,
    FlowClock,
    PaperClock,
)


@pytest.fixture
def clock(x64):
    return PaperClock(ss.ve(0.01, 50.0))


def test_the_papers_clock(clock):
    early, late = (0.01 * 5000**0.8) ** 2, (0.01 * 5000**0.3) ** 2
    assert float(clock.increment(0.2, 0.7)) == pytest.approx(early - late, rel=1e-12)
    assert float(clock(0.0)) == 0
    assert float(clock(1.0)) == pytest.approx(50.0**2 - 0.01**2, rel=1e-12)
    assert float(FlowClock().increment(0.2, 0.7)) == 0
    custom = CustomClock(lambda s: 3 + 2 * s)
    assert float(custom(0.0)) == 0
    assert float(custom.increment(0.2, 0.7)) == pytest.approx(1.0)


def test_churn_adds_to_the_papers_clock(x64):
    """Where sigma rests, in proportion to the time; elsewhere as sigma^2 does."""
    process = ss.soft_blur((4, 4, 1))
    clock = ChurnClock(process, 20.0)
    # Blur phase, s in [0, 0.8]: the paper's clock rests, 20 * 0.1^2 a unit of time.
    assert float(clock.increment(0.1, 0.6)) == pytest.approx(20 * 0.01 * 0.5)
    # All of it: the integral of sigma^2 over the growth is (b^2 - a^2) f / 2 ln(b / a).
    growth = (0.1**2 - 0.01**2) * 0.2 / (2 * np.log(10))
    total = (0.1**2 - 0.01**2) + 20 * (0.8 * 0.1**2 + growth)
    assert float(clock(1.0)) == pytest.approx(total, rel=1e-3)
    parts = clock.increment(0.0, 0.37) + clock.increment(0.37, 1.0)
    assert float(parts) == pytest.approx(float(clock(1.0)), rel=1e-12)
    with pytest.raises(ValueError, match=r"churn=-1\.0"):
        ChurnClock(process, -1.0)


def test_small_increments_of_a_large_clock_survive_single_precision():
    """Near the data the clock stands at 2,500 and moves by 1e-6 a step."""
    clock = PaperClock(ss.ve(0.01, 50.0))
    exact = (0.01 * 5000**1e-3) ** 2 - 0.01**2
    got = clock.increment(np.float32(1 - 1e-3), np.float32(1.0))
    assert float(got) == pytest.approx(exact, rel=2e-3)


def test_variance_of_an_increment(clock, key):
    """Of 20,000 draws, within four standard errors (sqrt(2 / n)) of the clock's."""
    keys = jax.random.split(key, 20_000)

    def draw(key):
        path = diffrax.UnsafeBrownianPath((), key)
        return ClockedBrownianPath(path, clock).increment(0.2, 0.7)

    drawn = jax.vmap(draw)(keys)
    ratio = float((drawn**2).mean() / clock.increment(0.2, 0.7))
    assert ratio == pytest.approx(1, abs=4 * np.sqrt(2 / 20_000))


def test_a_tree_gives_one_path_whatever_the_steps(clock, key):
    tree = diffrax.VirtualBrownianTree(0.0, float(clock(1.0)), 1e-4, (2,), key)
    path = ClockedBrownianPath(tree, clock)
    whole = path.increment(0.1, 0.9)
    parts = path.increment(0.1, 0.33) + path.increment(0.33, 0.9)
    np.testing.assert_allclose(whole, parts, atol=1e-10)


PATHS = {
    "unsafe": lambda key: diffrax.UnsafeBrownianPath((), key),
    "tree": lambda key: diffrax.VirtualBrownianTree(0.0, 2600.0, 1.0, (), key),
}


@pytest.mark.parametrize("name", PATHS)
def test_fresh_normals_are_independent_of_all_else(clock, key, name):
    """Of 10,000 draws: variances 1 and no correlations, within four standard errors
    (the square roots of 2 / n and of 1 / n)."""
    number = 10_000
    make = PATHS[name]

    def draw(key):
        path = ClockedBrownianPath(make(key), clock)
        fresh = [path.fresh(0.2, 0.4), path.fresh(0.2, 0.4, 1), path.fresh(0.2, 0.3)]
        other = jax.random.normal(path.fresh_key(0.2, 0.4))
        driving = path.increment(0.2, 0.4) / jnp.sqrt(clock.increment(0.2, 0.4))
        return jnp.stack([driving, path.fresh(0.3, 0.4), other, *fresh])

    drawn = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(key, number)))
    moments = drawn.T @ drawn / number
    np.testing.assert_allclose(np.diag(moments), 1, atol=4 * np.sqrt(2 / number))
    correlations = moments - np.diag(np.diag(moments))
    np.testing.assert_allclose(correlations, 0, atol=4 / np.sqrt(number))


def test_a_fresh_normal_is_a_function_of_key_step_and_index(clock, key):
    def path(key):
        return ClockedBrownianPath(diffrax.UnsafeBrownianPath((3,), key), clock)

    first = np.asarray(path(key).fresh(0.2, 0.4, 5))
    np.testing.assert_array_equal(path(key).fresh(0.2, 0.4, jnp.asarray(5)), first)
    for again in (
        path(jax.random.fold_in(key, 1)).fresh(0.2, 0.4, 5),
        path(key).fresh(0.2, 0.4, 4),
        path(key).fresh(0.4, 0.2, 5),
    ):
        assert not np.isclose(again, first).any()


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
        return jnp.zeros(())


def test_a_path_without_a_key_is_named(clock):
    with pytest.raises(TypeError, match=r"`Silent` has no key.*UnsafeBrownianPath"):
        ClockedBrownianPath(Silent(), clock).fresh(0.2, 0.4)


def test_a_flow_keeps_a_path_for_those_who_ask(clock, key):
    """The flow with a path is the flow, draws nothing, and hands out fresh noise."""
    process = clock.process
    denoiser = lambda t, x: jnp.sin(x) + t
    path = diffrax.UnsafeBrownianPath((2,), key)
    noisy = ss.reverse_sde(process, denoiser, noise_clock="flow", path=path)
    assert isinstance(noisy, ss.terms.AbstractForm)
    assert noisy.driving is None and noisy.brownian is not None
    plain = ss.probability_flow(process, denoiser)
    x = jax.random.normal(key, (2,))
    for solver in (ss.Momentum(), ss.DDIM()):
        ends = [
            solver.step(term, 0.2, 0.4, x, None, None, False)[0]
            for term in (noisy, plain)
        ]
        np.testing.assert_array_equal(*ends)
    assert noisy.contr(0.2, 0.4).noise is None
