"""Families that jump are known by what they declare, and by the search for a jump."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde import corruptions as sc

from . import _family as family

SHAPE = (28, 28, 1)
X = np.random.default_rng(0).normal(size=SHAPE)

# Between a root, 2^-6, and a jump, which is near 1.
THRESHOLD = 0.1


def ranks():
    return np.random.default_rng(1).permutation(784).reshape(SHAPE).astype(np.float32)


def smooth_step(time, width):
    return jax.nn.sigmoid((time - 0.437) / width)


# Operators of a time from 0 to 1: name, operator, the share that is expected, and the
# time of the jump.
OPERATORS = {
    "line": (lambda t, x: (1 - t) * x, 2.0**-12, None),
    "root": (lambda t, x: (1 - jnp.sqrt(t)) * x, 2.0**-6, None),
    "steep": (lambda t, x: smooth_step(t, 1e-2) * x, 2.0**-12, None),
    "jump": (lambda t, x: jnp.where(t < 0.3, 1, 0.5) * x, 1.0, 0.3),
    "floor": (lambda t, x: 0.9 ** jnp.floor(5 * t + 0.5) * x, 1.0, 0.1),
    # 784 jumps, one for each pixel.
    "mask": (
        lambda t, x: jnp.where(ranks() >= jnp.round(784 * t), x, 0 * x),
        1.0,
        None,
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_share_that_is_left_tells_a_jump(name):
    operator, expected, at = OPERATORS[name]
    x = jnp.asarray(X, jnp.float32)
    search = lambda start, end: sc.largest_jump(lambda t: operator(t, x), start, end)
    share, time = search(0.0, 1.0)
    np.testing.assert_allclose(share, expected, rtol=0.3)
    if at is not None:
        assert abs(float(time) - at) < 1e-5
    # Inside a transformation it is the same search.
    traced = jax.jit(search)(jnp.float32(0.0), jnp.float32(1.0))
    np.testing.assert_allclose(traced, (share, time), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in family.cases() if n.endswith("image")])
def test_each_family_moves_as_it_declares(name):
    make, shape, levels = family.cases()[name]
    corruption = make(shape)
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    low, high = corruption.structure.level_range
    low = 0.0 if low is None else low
    high = levels[-1] if high is None else high
    share, _ = sc.largest_jump(lambda theta: corruption.apply(theta, x), low, high)
    jumps = corruption.structure.differentiable is False
    assert (float(share) > THRESHOLD) is jumps


def test_a_wait_is_not_a_jump_and_rounding_is_no_change():
    x = jnp.asarray(X, jnp.float32)
    waits = lambda t: (1 - jnp.clip(4 * t - 2, 0, 1)) * x
    share, _ = sc.largest_jump(waits, 0.0, 1.0)
    np.testing.assert_allclose(share, 2.0**-12, rtol=0.3)
    tiny = lambda t: (1 + 1e-6 * jnp.floor(3 * t)) * x
    for still in (lambda t: x, lambda t: 0 * x, tiny):
        assert float(sc.largest_jump(still, 0.0, 1.0)[0]) == 0


def test_nothing_outside_the_range_is_asked_for(x64):
    """The levels of a family end where its range ends."""
    seen = []

    def operator(t):
        jax.debug.callback(lambda t: seen.append(float(t)), t)
        return (1 - t) * jnp.ones(3)

    sc.largest_jump(operator, 0.1, 0.7)
    jax.effects_barrier()
    assert min(seen) == 0.1 and max(seen) <= 0.7 + 1e-15
    np.testing.assert_allclose(max(seen), 0.7, rtol=1e-12)


def test_the_search_can_be_mapped_and_holds_no_grid_of_samples():
    """Inside `jit` it is one loop, whatever the number of times."""
    x = jnp.asarray(X, jnp.float32)

    def search(rate):
        operator = lambda t: jnp.where(t < rate, x, 0 * x)
        return sc.largest_jump(operator, 0.0, 1.0)

    rates = jnp.array([0.2, 0.7])
    shares, times = jax.vmap(search)(rates)
    np.testing.assert_allclose(shares, 1.0)
    np.testing.assert_allclose(times, rates, atol=1e-5)
    memory = jax.jit(search).lower(rates[0]).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 16 * x.nbytes
