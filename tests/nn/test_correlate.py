"""The convolution against scipy, and its derivatives against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.signal import correlate as scipy_correlate

from softsde.nn._correlate import correlate

GEOMETRIES = {
    "plain": {},
    "padding": {"padding": 1},
    "stride": {"stride": 2, "padding": 1},
    "dilation": {"dilation": 2, "padding": 2},
    "input_dilation": {"input_dilation": 2, "padding": 2},
}


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def by_scipy(x, weight, *, stride=1, padding=0, dilation=1, input_dilation=1):
    def spread(a, step):
        rows, columns = (step * (size - 1) + 1 for size in a.shape[:2])
        wide = np.zeros((rows, columns, *a.shape[2:]))
        wide[::step, ::step] = a
        return wide

    x = np.pad(spread(x, input_dilation), ((padding, padding),) * 2 + ((0, 0),))
    weight = spread(weight, dilation)
    maps = [
        scipy_correlate(x, weight[..., o], mode="valid")[..., 0]
        for o in range(weight.shape[-1])
    ]
    return np.stack(maps, -1)[::stride, ::stride]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_is_scipys(x64, geometry):
    x, weight = normal(9, 7, 2), normal(3, 3, 2, 4, seed=1)
    expected = by_scipy(np.asarray(x), np.asarray(weight), **geometry)
    np.testing.assert_allclose(correlate(x, weight, **geometry), expected, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_derivatives(x64, geometry):
    """They hold in both modes, for a batch whose weights are shared or not."""
    x, weight = normal(2, 6, 5, 2), normal(3, 3, 2, 3, seed=1)

    def one(x, weight):
        # The finite differences are of numpy arrays.
        return correlate(jnp.asarray(x), jnp.asarray(weight), **geometry)

    shared = jax.vmap(one, (0, None))
    check_grads(shared, (x, weight), order=2, atol=1e-6, rtol=1e-6)
    own = jax.vmap(one)
    check_grads(own, (x, jnp.stack([weight, -weight])), order=1, atol=1e-6, rtol=1e-6)


def test_gradients_in_a_loop_have_the_fast_layout():
    """XLA leaves the gradients of both arguments as they are within a loop."""
    x, weight = jnp.ones((4, 8, 8, 3)), jnp.ones((3, 3, 3, 3))

    def value(x, weight):
        y = jax.vmap(lambda x: correlate(x, weight, padding=1))(x)
        return jnp.sum(jnp.tanh(y) ** 2)

    def step(_, arguments):
        gradients = jax.grad(value, (0, 1))(*arguments)
        return jax.tree.map(jnp.add, arguments, gradients)

    loop = jax.jit(lambda *arguments: jax.lax.fori_loop(0, 3, step, arguments))
    text = loop.lower(x, weight).compile().as_text()
    layouts = [line for line in text.splitlines() if " convolution(" in line]
    assert len(layouts) == 3
    assert all("dim_labels=b01f_01io->b01f" in line for line in layouts)


def test_no_convolution_is_spent_on_a_derivative_nobody_takes():
    x, weight = jnp.ones((8, 8, 3)), jnp.ones((3, 3, 3, 3))

    def convolutions(fn, *args):
        return str(jax.make_jaxpr(fn)(*args)).count("conv_general_dilated[")

    assert convolutions(jax.grad(lambda x: jnp.sum(correlate(x, weight))), x) == 2
    assert convolutions(jax.grad(lambda w: jnp.sum(correlate(x, w))), weight) == 2
    assert convolutions(jax.linearize(lambda x: correlate(x, weight), x)[1], x) == 1
