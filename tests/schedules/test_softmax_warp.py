"""The trainable warp against the cumulative sums of a softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.schedules import Linear, SoftmaxWarp, TimeWarp, from_dict


def test_the_warp_is_the_cumulative_softmax(x64):
    logits = np.array([0.3, -1.0, 2.0, 0.0])
    steps = np.exp(logits) / np.exp(logits).sum()
    warp = SoftmaxWarp(logits)
    for k in range(5):
        assert float(warp(k / 4)) == pytest.approx(steps[:k].sum(), abs=1e-12)
    assert float(warp(0.375)) == pytest.approx(steps[0] + steps[1] / 2)
    t = jnp.linspace(0.0, 1.0, 41)
    back = jax.vmap(warp.inverse)(jax.vmap(warp)(t))
    np.testing.assert_allclose(back, t, atol=1e-12)
    # Zeros are the identity, and both ends are exact in any case.
    np.testing.assert_allclose(jax.vmap(SoftmaxWarp(jnp.zeros(7)))(t), t, atol=1e-12)
    far = SoftmaxWarp(np.array([30.0, -30.0]))
    assert (float(far(0.0)), float(far(1.0))) == (0.0, 1.0)


def test_the_warp_survives_json(x64):
    warp = TimeWarp(Linear(0.0, 2.0), SoftmaxWarp(np.array([0.1, 0.7, -0.4])))
    again = from_dict(warp.to_dict())
    t = jnp.linspace(0.0, 1.0, 13)
    np.testing.assert_array_equal(jax.vmap(again)(t), jax.vmap(warp)(t))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"shape \(knots,\), got \(2, 2\)"):
        SoftmaxWarp(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="finite `logits`"):
        SoftmaxWarp(np.array([0.0, np.inf]))
