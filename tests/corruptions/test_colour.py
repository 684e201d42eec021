"""Fading and the loss of colour."""

import jax.numpy as jnp
import numpy as np
import pytest

from softsde.corruptions import Desaturate, Fade, Scale


def test_fade_is_scale_by_another_count(x64):
    x = jnp.arange(5.0)
    np.testing.assert_array_equal(Fade().apply(0.25, x), 0.75 * np.arange(5))
    np.testing.assert_array_equal(Fade().apply(0.25, x), Scale().apply(0.75, x))


@pytest.mark.parametrize(
    "name, weights", [("mean", [1 / 3] * 3), ("luma", [0.299, 0.587, 0.114])]
)
def test_colour_moves_towards_its_grey(x64, name, weights):
    x = np.random.default_rng(0).normal(size=(2, 3, 3))
    grey = np.repeat((x @ np.array(weights))[..., None], 3, axis=-1)
    for theta in (0.0, 0.4, 1.0):
        y = Desaturate(name).apply(theta, jnp.asarray(x))
        np.testing.assert_allclose(y, x + theta * (grey - x), atol=1e-15)
    by_number = Desaturate(weights).apply(0.4, jnp.asarray(x))
    by_name = Desaturate(name).apply(0.4, jnp.asarray(x))
    np.testing.assert_allclose(by_number, by_name, atol=1e-15)


def test_only_equal_weights_project_orthogonally():
    assert Desaturate().structure.positive_semidefinite
    assert Desaturate([0.25] * 4).structure.symmetric
    assert not Desaturate("luma").structure.symmetric


def test_mistakes_are_named(as_a_user):
    with pytest.raises(ValueError, match="expected 'mean', 'luma'"):
        Desaturate("red")  # pyright: ignore[reportArgumentType]
    for weights in ([0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(ValueError, match="with the sum 1"):
            Desaturate(weights)
    with pytest.raises(ValueError, match=r"shape \(4, 4, 1\); expected .*, 3\)"):
        Desaturate("luma").apply(0.5, jnp.ones((4, 4, 1)))
    with pytest.raises(ValueError, match=r"expected \(height, width, channels\)"):
        Desaturate().apply(0.5, jnp.ones((4, 4)))
