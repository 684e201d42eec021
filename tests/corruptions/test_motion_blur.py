"""Motion blur against the line integral of waves, by quadrature."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.corruptions import MotionBlur

SHAPE = (6, 7)


def test_is_the_mean_along_the_line(x64):
    """The image is a sum of waves, which are known between the pixels too."""
    rng = np.random.default_rng(0)
    # Periodic, and below the highest wave of the even axis.
    numbers = np.array([[0, 0], [1, 0], [0, 2], [2, -3], [-1, 1], [2, 3]])
    omegas = 2 * np.pi * numbers / SHAPE
    amplitudes, phases = rng.normal(size=6), rng.uniform(0, 6, size=6)

    def scene(rows, columns):
        angles = rows[..., None] * omegas[:, 0] + columns[..., None] * omegas[:, 1]
        return np.cos(angles + phases) @ amplitudes

    rows, columns = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    nodes, weights = np.polynomial.legendre.leggauss(40)
    image = jnp.asarray(scene(rows, columns))
    blur = jax.jit(lambda angle, theta: MotionBlur(SHAPE, angle).apply(theta, image))
    for angle, theta in ((0.0, 2.5), (90.0, 4.0), (35.0, 0.3), (-60.0, 9.0)):
        # Up is towards smaller rows.
        up, right = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
        truth = sum(
            w / 2 * scene(rows - s * theta / 2 * up, columns + s * theta / 2 * right)
            for s, w in zip(nodes, weights, strict=True)
        )
        np.testing.assert_allclose(blur(angle, theta), truth, atol=1e-13)


def test_counter_clockwise_from_the_horizontal():
    point = jnp.zeros((9, 9)).at[4, 4].set(1.0)
    streak = np.asarray(MotionBlur((9, 9), 45.0).apply(6.0, point))
    np.testing.assert_allclose(streak[3, 5], streak[5, 3], atol=1e-6)
    assert streak[3, 5] > 0.1 > 2 * abs(streak[5, 5])
    np.testing.assert_allclose(streak.sum(), 1.0, rtol=1e-5)


@pytest.mark.slow
def test_angles_can_be_mapped(x64):
    image = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE))
    angles = jnp.array([10.0, 70.0])
    many = eqx.filter_vmap(lambda angle: MotionBlur(SHAPE, angle))(angles)
    mapped = jax.vmap(lambda blur: blur.apply(3.0, image))(many)
    for i in range(2):
        alone = MotionBlur(SHAPE, float(angles[i])).apply(3.0, image)
        np.testing.assert_allclose(mapped[i], alone, atol=1e-14)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match="use `SpectralFilter`"):
        MotionBlur((7,))
