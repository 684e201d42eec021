"""Masks against their definitions, pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.corruptions import CenterMask, RandomMask, SoftMask

SHAPE = (4, 5, 1)
# Between two counts, so that nothing hangs on how a half is rounded.
LEVELS = (np.arange(21) + 0.2).clip(max=20) / 20


def levels_of(mask):
    """The mask at all of `LEVELS`, `(levels, pixels)`."""
    return np.asarray(jax.jit(jax.vmap(mask.eigenvalues))(LEVELS)).reshape(21, -1)


@pytest.mark.parametrize("grow, sign", [("centre", 1), ("border", -1)])
def test_covers_in_order_of_distance(x64, grow, sign):
    rows, columns = np.meshgrid(range(4), range(5), indexing="ij")
    distance = (rows - 1.5) ** 2 + (columns - 2) ** 2
    order = sorted(range(20), key=lambda i: (sign * distance.reshape(-1)[i], i))
    masks = levels_of(CenterMask(SHAPE, grow))
    for count in range(21):
        expected = np.ones(20)
        expected[order[:count]] = 0
        np.testing.assert_array_equal(masks[count], expected)


def test_an_image_of_many_channels_is_masked_alike_in_each():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 3)), jnp.float32)
    y = CenterMask((4, 5, 3)).apply(0.5, x)
    one = CenterMask((4, 5, 1)).apply(0.5, jnp.ones((4, 5, 1)))
    np.testing.assert_array_equal(y, x * one)


def test_random_masks_are_nested_and_of_the_right_size(x64, key):
    masks = levels_of(RandomMask(SHAPE, key=key))
    np.testing.assert_array_equal(masks.sum(1), 20 - np.arange(21))
    assert np.all(np.diff(masks, axis=0) <= 0)


def test_every_pixel_is_as_likely(key):
    number = 400
    keys = jax.random.split(key, number)
    many = jax.vmap(lambda k: RandomMask(SHAPE, key=k))(keys)
    ones = jnp.ones((number, *SHAPE))
    kept = np.asarray(jax.vmap(lambda mask, x: mask.apply(0.25, x))(many, ones))
    # Each pattern keeps 15 of 20; over patterns a pixel is a Bernoulli of 3/4.
    np.testing.assert_array_equal(kept.sum((1, 2, 3)), 15)
    deviation = np.sqrt(0.75 * 0.25 / number)
    assert np.abs(kept.mean(0) - 0.75).max() < 4 * deviation


def test_the_soft_edge_is_the_step_at_each_place(x64):
    # Five pixels in a row: fractions nearer to the centre, plus half of their own.
    places = np.array([0.8, 0.4, 0.1, 0.4, 0.8])
    for grow, u in (("centre", places), ("border", 1 - places)):
        mask = SoftMask((5,), 0.5, grow)
        for theta in (0.0, 0.3, 0.6, 1.0):
            a = np.clip(1 + (u - 1.5 * theta) / 0.5, 0, 1)
            step = 6 * a**5 - 15 * a**4 + 10 * a**3
            np.testing.assert_allclose(mask.eigenvalues(theta), step, atol=1e-15)


def test_a_soft_mask_is_clean_at_0_and_empty_at_1_exactly():
    mask = SoftMask(SHAPE, 0.3)
    x = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), jnp.float32)
    np.testing.assert_array_equal(mask.apply(0.0, x), x)
    np.testing.assert_array_equal(mask.apply(1.0, x), jnp.zeros_like(x))


def test_a_soft_mask_of_no_width_is_the_sharp_one(x64):
    # Rings of the 5 x 5 grid end after 1, 5, 9, 13, 21 and 25 pixels.
    for count in (1, 5, 9, 13, 21):
        theta = count / 25
        soft = SoftMask((5, 5), 1e-6).eigenvalues(theta)
        sharp = CenterMask((5, 5)).eigenvalues(theta)
        np.testing.assert_array_equal(soft, sharp)


def test_mistakes_are_named(as_a_user):
    with pytest.raises(ValueError, match=r"`grow='left'`; expected 'centre'"):
        CenterMask(SHAPE, "left")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"For a sharp edge use `CenterMask`"):
        SoftMask(SHAPE, 0.0)
    with pytest.raises(ValueError, match=r"`RandomMask` got `shape=\(\)`"):
        RandomMask((), key=jax.random.key(0))
