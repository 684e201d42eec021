"""Linear functions are told from others."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.corruptions import FunctionCorruption, Structure


@pytest.mark.parametrize(
    "fn",
    [
        lambda theta, x: jnp.clip(x, -theta, theta),
        lambda theta, x: x + theta,
        lambda theta, x: theta * x * jnp.abs(x),
        lambda theta, x: theta * jnp.abs(x),
        lambda theta, x: x / jnp.linalg.norm(x),
        # Additive to within a hundredth.
        lambda theta, x: theta * x + 0.01 * jnp.sin(x),
        lambda theta, x: x * jnp.nan,
    ],
)
def test_a_function_that_is_not_linear_is_refused_with_its_residual(fn):
    with pytest.raises(ValueError, match=r"\|C\(x - 3y\) .* level 0.5 is (nan|\d)"):
        FunctionCorruption(fn, (6,))


@pytest.mark.parametrize("shape", [(6,), (4, 3), (4, 3, 2)])
def test_a_linear_function_of_any_size_is_taken(shape):
    """Sums along axes, in single precision, of small and of large size."""
    for size in (1e-6, 1.0, 1e6):
        fn = lambda theta, x, size=size: size * jnp.cumsum(x, 0) * theta
        x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
        y = FunctionCorruption(fn, shape).apply(0.5, x)
        np.testing.assert_allclose(y, size * 0.5 * np.cumsum(x, 0), rtol=1e-5)


def test_a_module_keeps_its_parameters(x64):
    class Gain(eqx.Module):
        gain: jax.Array

        def __call__(self, theta, x):
            return theta * self.gain * x

    def value(gain):
        return jnp.sum(FunctionCorruption(Gain(gain), (3,)).apply(2.0, jnp.ones(3)))

    # Made inside a transformation, where the probe has nothing to look at.
    np.testing.assert_allclose(jax.jit(jax.grad(value))(jnp.array(5.0)), 6.0)


def test_mistakes_are_named():
    shear = lambda theta, x: jnp.array([x[0] + theta * x[1], x[1]])
    with pytest.raises(ValueError, match=r"`symmetric`: .* Do not promise `symmetric`"):
        FunctionCorruption(shear, (2,), Structure(symmetric=True))
    negative = lambda theta, x: -theta * x
    with pytest.raises(ValueError, match="Do not promise `positive_semidefinite`"):
        FunctionCorruption(negative, (2,), Structure(positive_semidefinite=True))
    with pytest.raises(ValueError, match="Subclass `AbstractDiagonalCorruption`"):
        FunctionCorruption(negative, (2,), Structure(basis="pixel"))
    with pytest.raises(ValueError, match=r"has the shape \(1,\).*its input, \(2,\)"):
        FunctionCorruption(lambda theta, x: x[:1], (2,))
    with pytest.raises(ValueError, match=r"of shape \(3,\), got \(2,\)"):
        FunctionCorruption(negative, (2,), Structure(shape=(3,)))
    with pytest.raises(ValueError, match=r"got the level 0.5; expected at least 1.0"):
        FunctionCorruption(negative, (2,), Structure(level_range=(1.0, None)))
