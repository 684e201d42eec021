"""Conditions of a batch: each with its sample, and dropped at the given rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.losses import batch_loss, batch_losses

DIM = 3


@pytest.fixture
def denoiser(x64):
    def guess(t, x, condition):
        """Half of `x` without a label, else `x` times its label."""
        label = jnp.asarray(-1) if condition is None else condition
        return jnp.where(label < 0, 0.5, label.astype(x.dtype)) * x

    return ss.FunctionDenoiser(guess, ss.ve(0.1, 2.0))


LOSSES = {
    "residual": ss.losses.SoftScoreMatching(),
    "score": ss.losses.ImplicitScoreMatching(),
    "levels": ss.losses.AnnealedDSM([0.2, 1.0]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_each_sample_has_its_own_condition(denoiser, key, name):
    loss = LOSSES[name]
    xs, labels = jax.random.normal(key, (6, DIM)), jnp.array([0, 1, 2, 3, -1, 5])
    each = batch_losses(loss, denoiser, xs, labels, key=key)
    keys = jax.random.split(jax.random.split(key, 3)[1], 6)

    def alone(factor, x, t, key):
        """The same noise, for a denoiser that knows the factor."""
        own = ss.FunctionDenoiser(lambda t, x: factor * x, denoiser.process)
        return loss(own, x, t, key=key)

    for i, factor in enumerate([0.0, 1.0, 2.0, 3.0, 0.5, 5.0]):
        expected = alone(factor, xs[i], each.times[i], keys[i])
        assert float(each.losses[i]) == pytest.approx(float(expected), rel=1e-12)


def test_dropping_all_is_training_without(denoiser, key):
    loss = ss.losses.SoftScoreMatching()
    xs, labels = jax.random.normal(key, (6, DIM)), np.arange(6) + 1
    without = batch_loss(loss, denoiser, xs, key=key)
    dropped = batch_loss(loss, denoiser, xs, labels, drop_condition=1.0, key=key)
    assert float(dropped) == pytest.approx(float(without), rel=1e-12)
    kept = batch_loss(loss, denoiser, xs, labels, key=key)
    assert abs(float(kept) - float(without)) > 0.1 * float(without)


def test_conditions_are_dropped_at_their_rate(denoiser, key):
    """All leaves of a sample's condition together, for 0.3 of 20,000 samples."""
    number, share = 20_000, 0.3

    def told(denoiser, x0, t, condition, *, key):
        """1 for a dropped condition, 0 for a kept one, 10 for one in between."""
        label, vector = condition["label"], condition["vector"]
        nothing = (label == -1) & jnp.all(vector == 0)
        whole = (label == 7) & jnp.all(vector == x0)
        return jnp.where(nothing, 1.0, jnp.where(whole, 0.0, 10.0))

    xs = 1 + jax.random.uniform(key, (number, DIM))
    condition = {"label": jnp.full(number, 7), "vector": xs}
    each = batch_losses(
        told, denoiser, xs, condition, drop_condition=share, key=jax.random.key(3)
    )
    error = np.sqrt(share * (1 - share) / number)
    assert abs(float(each.losses.mean()) - share) < 4 * error
    # Which are dropped does not depend on the time.
    centred = np.asarray(each.times) - 0.5
    slope = np.mean(np.asarray(each.losses) * centred)
    assert abs(slope) < 4 * np.sqrt(share * (1 - share) / 12 / number)
    none = batch_losses(told, denoiser, xs, condition, key=key)
    assert float(none.mean) == 0


def test_mistakes_are_named(denoiser, key):
    loss, xs = ss.losses.SoftScoreMatching(), jnp.zeros((4, DIM))
    with pytest.raises(ValueError, match="needs a condition to drop"):
        batch_loss(loss, denoiser, xs, drop_condition=0.1, key=key)
    with pytest.raises(ValueError, match=r"probability in \[0, 1\], got 10"):
        batch_loss(loss, denoiser, xs, jnp.arange(4), drop_condition=10.0, key=key)
    with pytest.raises(ValueError, match=r"each of the 4 samples.*shape \(3,\)"):
        batch_loss(loss, denoiser, xs, jnp.arange(3), key=key)
    with pytest.raises(ValueError, match=r"each of the 4 samples.*shape \(\)"):
        batch_loss(loss, denoiser, xs, jnp.asarray(1), key=key)
