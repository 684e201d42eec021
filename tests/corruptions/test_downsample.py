"""Down-sampling against block means written out with reshapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.corruptions import Downsample

SHAPE = (4, 8, 2)


def block_means(x, factor):
    h, w, c = x.shape
    blocks = x.reshape(h // factor, factor, w // factor, factor, c)
    return np.repeat(np.repeat(blocks.mean((1, 3)), factor, 0), factor, 1)


def test_is_the_mean_of_each_block(x64):
    x = np.random.default_rng(0).normal(size=SHAPE)
    corruption = Downsample(SHAPE)
    assert corruption.factors == (1, 2, 4)
    # A level between two factors is the lower; one that is 4 but for a rounding is 4.
    levels = {1.0: 1, 1.9: 1, 2.0: 2, 3.5: 2, 4.0 * (1 - 1e-7): 4, 4.0: 4}
    compute = jax.jit(jax.vmap(corruption.apply, (0, None)))
    outputs = compute(jnp.asarray(list(levels)), jnp.asarray(x))
    for output, factor in zip(outputs, levels.values(), strict=True):
        np.testing.assert_allclose(output, block_means(x, factor), atol=1e-15)


def test_levels_commute_when_factors_divide_each_other():
    assert Downsample(SHAPE).structure.commuting
    assert Downsample((12,), (1, 3, 6)).structure.commuting
    assert not Downsample((12,), (1, 2, 3)).structure.commuting


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"no power of two that divides .*\[5, 8\]"):
        Downsample((5, 8))
    for factors in ((2, 4), (1, 4, 2), (1, 3), (1, 2, 8)):
        with pytest.raises(ValueError, match="increasing divisors of every side"):
            Downsample((4, 8), factors)
