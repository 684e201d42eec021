"""Arrays that no optimiser sees: equal to the last bit, and out of its reach."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softsde._fixed import Fixed

# Numbers that arithmetic would change, or not tell apart.
AWKWARD = [0.0, -0.0, 1.0, 1 / 3, np.inf, -np.inf, np.nan, 1e-40, 6e-8]
DTYPES = [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64]


def bits(array):
    return np.asarray(array).tobytes()


def awkward(dtype):
    return jnp.asarray(np.asarray(AWKWARD, np.float64).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_the_same_to_the_last_bit(x64, dtype):
    """Also as an argument of a compiled function, and one row at a time."""
    array = awkward(dtype)
    fixed = Fixed(array)
    assert array.dtype == fixed.get().dtype == dtype
    assert bits(fixed.get()) == bits(array)
    assert bits(jax.jit(lambda f: f.get())(fixed)) == bits(array)
    rows = Fixed(array.reshape(3, 3))
    assert bits(jax.vmap(lambda f: f.get())(rows)) == bits(array)


def test_only_floating_arrays_are_hidden():
    tree = {"x": jnp.ones(2), "n": jnp.arange(3), "f": 0.5, "s": "name", "none": None}
    fixed = Fixed(tree)
    assert jax.tree.structure(fixed.get()) == jax.tree.structure(tree)
    shown = fixed.get()
    assert (shown["f"], shown["s"], shown["none"]) == (0.5, "name", None)
    np.testing.assert_array_equal(shown["n"], [0, 1, 2])
    assert not jax.tree.leaves(eqx.filter(fixed, eqx.is_inexact_array))


def test_it_is_known_while_something_else_is_traced():
    fixed = Fixed(jnp.asarray(0.25))

    @jax.jit
    def run(x):
        assert float(fixed.get()) == 0.25
        return x

    run(1.0)


class Pair(eqx.Module):
    free: jax.Array
    fixed: Fixed


def test_no_gradient_reaches_it():
    pair = Pair(jnp.asarray(3.0), Fixed(jnp.asarray(2.0)))
    product = lambda pair: pair.free * pair.fixed.get()
    slope = eqx.filter_grad(product)(pair)
    assert float(slope.free) == 2.0
    assert not jax.tree.leaves(eqx.filter(slope.fixed, eqx.is_inexact_array))
    # Nor does one reach what is fixed on the way.
    through = jax.grad(lambda v: v * Fixed(v).get())
    assert float(through(3.0)) == 3.0


def test_weight_decay_cannot_move_it():
    pair = Pair(jnp.ones(3), Fixed(awkward(jnp.float32)))
    optimiser = optax.adamw(0.1, weight_decay=0.5)
    weights = eqx.filter(pair, eqx.is_inexact_array)
    state = optimiser.init(weights)
    moved = pair
    for _ in range(5):
        weights = eqx.filter(moved, eqx.is_inexact_array)
        slopes = jax.tree.map(jnp.zeros_like, weights)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(slopes, state, weights)
        moved = eqx.apply_updates(moved, updates)
    # (1 - 0.1 * 0.5) five times.
    np.testing.assert_allclose(moved.free, 0.95**5 * np.ones(3), rtol=1e-6)
    assert bits(moved.fixed.get()) == bits(pair.fixed.get())


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="two real arrays"):
        Fixed(jnp.ones(2, jnp.complex64))
