"""Functions as denoisers, and denoisers that are written by hand."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss

DIM = 3


def plain(t, x):
    return t * x


def told(t, x, condition):
    return t * x if condition is None else t * x + condition


def maybe_told(t, x, condition=None):
    return told(t, x, condition)


class Weighted(eqx.Module):
    weight: jax.Array

    def __call__(self, t, x):
        return self.weight * x


class Rich:
    """A plain object: what it reads may change."""

    weight = 2.0

    def __call__(self, t, x):
        return self.weight * x

    def method(self, t, x, condition):
        return self.weight * x + condition


def test_two_arguments_or_three(key):
    x = jax.random.normal(key, (DIM,))
    np.testing.assert_array_equal(ss.FunctionDenoiser(plain, ss.ve())(0.5, x), 0.5 * x)
    for fn in (told, maybe_told, lambda *args: told(*args)):
        denoiser = ss.FunctionDenoiser(fn, ss.ve())
        np.testing.assert_array_equal(denoiser(0.5, x), 0.5 * x)
        np.testing.assert_array_equal(denoiser(0.5, x, jnp.ones(DIM)), 0.5 * x + 1)
    method = ss.FunctionDenoiser(Rich().method, ss.ve())
    np.testing.assert_array_equal(method(0.5, x, jnp.ones(DIM)), 2 * x + 1)


def test_a_setting_is_not_taken_for_a_condition(key):
    """`lambda t, x, scale=2.0` binds a value, which `None` must not replace."""
    x = jax.random.normal(key, (DIM,))
    bound = ss.FunctionDenoiser(lambda t, x, scale=2.0: scale * x, ss.ve())
    np.testing.assert_array_equal(bound(0.5, x), 2 * x)
    keyword = ss.FunctionDenoiser(functools.partial(_scaled, scale=3.0), ss.ve())
    np.testing.assert_array_equal(keyword(0.5, x), 3 * x)
    for denoiser in (bound, keyword):
        with pytest.raises(ValueError, match=r"takes `\(t, x\)`"):
            denoiser(0.5, x, jnp.ones(DIM))


def _scaled(t, x, *, scale):
    return scale * x


def test_a_time_is_a_scalar_of_the_samples_dtype(x64):
    seen = []

    def fn(t, x):
        seen.append(t)
        return x

    denoiser = ss.FunctionDenoiser(fn, ss.ve())
    for t in (0.25, np.float64(0.25), jnp.asarray(0.25)):
        denoiser(t, jnp.ones(DIM, jnp.float32))
    assert [(t.shape, t.dtype) for t in seen] == 3 * [((), jnp.float32)]


def test_the_weights_of_a_module_are_seen():
    """So they are trained, and a compiled sampler serves all of them."""
    denoiser = ss.FunctionDenoiser(Weighted(jnp.asarray(0.5)), ss.ve())
    (weight,) = jax.tree.leaves(eqx.filter(denoiser, eqx.is_inexact_array))
    assert float(weight) == 0.5
    slope = eqx.filter_grad(lambda d: jnp.sum(d(0.5, jnp.ones(DIM))))(denoiser)
    assert float(slope.fn.weight) == DIM


def test_what_a_plain_object_reads_counts_when_it_is_called():
    rich = Rich()
    denoiser = ss.FunctionDenoiser(rich, ss.ve())
    assert float(denoiser(0.5, jnp.ones(()))) == 2.0
    rich.weight = 3.0
    assert float(denoiser(0.5, jnp.ones(()))) == 3.0


def test_the_process_is_fixed_unless_it_is_to_be_trained():
    noise = ss.schedules.Geometric(jnp.asarray(0.01), jnp.asarray(5.0))
    process = ss.Process(ss.corruptions.Identity(), ss.schedules.Constant(0.0), noise)
    for train_process, number in ((False, 0), (True, 2)):
        denoiser = ss.FunctionDenoiser(plain, process, train_process=train_process)
        leaves = jax.tree.leaves(eqx.filter(denoiser, eqx.is_inexact_array))
        assert len(leaves) == number
        assert ss.processes.same_process(denoiser.process, process)


def test_mistakes_are_named(as_a_user):
    with pytest.raises(TypeError, match=r"got float for `fn`; expected a function"):
        ss.FunctionDenoiser(0.5, ss.ve())  # pyright: ignore
    with pytest.raises(TypeError, match=r"for `process`; expected a `softsde.Process`"):
        ss.FunctionDenoiser(plain, plain)  # pyright: ignore
    denoiser = ss.FunctionDenoiser(plain, ss.ve())
    with pytest.raises(ValueError, match=r"Give it a third argument"):
        denoiser(0.5, jnp.ones(DIM), jnp.ones(DIM))


class Shrink(ss.denoisers.AbstractDenoiser):
    """The exact denoiser of standard normal data under VE, by hand."""

    process: ss.Process

    def __call__(self, t, x, condition=None, *, key=None):
        return x / (1 + self.process.sigma(t) ** 2)


def test_a_denoiser_by_hand_samples(x64, key):
    """DDIM multiplies by s1 sqrt((1 + s0^2) / (1 + s1^2)) / s1: the exact flow.

    Of Gaussian data the probability flow is linear; 4,000 steps leave 1e-3 of it.
    """
    process = ss.ve(0.1, 5.0)
    x1 = 5.0 * jax.random.normal(key, (4, DIM))
    drawn = ss.sample(
        Shrink(process),
        x1=x1,
        num_steps=4000,
        solver=ss.DDIM(),
        denoise_last=False,
        key=key,
    )
    exact = np.sqrt((1 + 0.1**2) / (1 + 5.0**2)) * np.asarray(x1)
    np.testing.assert_allclose(drawn.x, exact, rtol=1e-3)
