"""The blur against the convolution that the paper's Appendix G writes down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from softsde.corruptions import GaussianBlur

SHAPE = (12, 9, 2)
NUMPY_MODE = {
    "zero": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "periodic": "wrap",
}


def convolved(image, theta, half_size, padding):
    """Pad, then convolve with the square kernel normalised over its whole window."""
    k = np.arange(-half_size, half_size + 1)
    exponent = -(k[:, None] ** 2 + k[None, :] ** 2) / (2 * theta**2)
    kernel = np.exp(exponent) / np.exp(exponent).sum()
    pad = ((half_size, half_size), (half_size, half_size))
    channels = [
        scipy.signal.convolve2d(
            np.pad(image[..., c], pad, mode=NUMPY_MODE[padding]), kernel, mode="valid"
        )
        for c in range(image.shape[-1])
    ]
    return np.stack(channels, axis=-1)


@pytest.mark.parametrize("padding", NUMPY_MODE)
@pytest.mark.parametrize("half_size", [2, 32])
@pytest.mark.parametrize("theta", [0.01, 0.7, 3.0, 18.0])
def test_equals_the_convolution(x64, padding, half_size, theta):
    image = np.random.default_rng(0).normal(size=SHAPE)
    blur = GaussianBlur(SHAPE, half_size, padding)
    expected = convolved(image, theta, half_size, padding)
    np.testing.assert_allclose(
        blur.apply(theta, jnp.asarray(image)), expected, atol=1e-12, rtol=0
    )


def test_equals_the_convolution_at_the_papers_size(x64):
    image = np.random.default_rng(1).normal(size=(64, 64, 1))
    blur = GaussianBlur((64, 64, 1), 80)
    padded = np.pad(image[..., 0], 80)
    k = np.arange(-80, 81)
    row = np.exp(-(k**2) / (2 * 23.0**2))
    kernel = np.outer(row, row) / np.outer(row, row).sum()
    expected = scipy.signal.fftconvolve(padded, kernel, mode="valid")[..., None]
    np.testing.assert_allclose(
        blur.apply(23.0, jnp.asarray(image)), expected, atol=1e-12, rtol=0
    )


def test_the_window_by_default_is_the_papers():
    assert GaussianBlur((32, 32, 3)).half_size == 32
    assert GaussianBlur((64, 64, 3)).half_size == 80


def test_a_constant_image_darkens_towards_its_border_only_with_zeros():
    ones = jnp.ones((32, 32, 1))
    zero = GaussianBlur((32, 32, 1), 32).apply(18.0, ones)
    # Known from the paper's setting at 32 x 32: 0.45 in the centre, 0.26 in a corner.
    assert float(zero[16, 16, 0]) == pytest.approx(0.45, abs=5e-3)
    assert float(zero[0, 0, 0]) == pytest.approx(0.26, abs=5e-3)
    for padding in ("reflect", "symmetric", "periodic"):
        kept = GaussianBlur((32, 32, 1), 32, padding).apply(18.0, ones)
        np.testing.assert_allclose(kept, ones, rtol=1e-5)


@pytest.mark.parametrize("padding", NUMPY_MODE)
@pytest.mark.parametrize(
    "shape",
    [
        (5, 4, 2),
        *(pytest.param(s, marks=pytest.mark.slow) for s in ((6, 3), (7,), (1, 4, 1))),
    ],
)
def test_adjoint_and_operator(x64, key, padding, shape):
    blur = GaussianBlur(shape, 4, padding)
    x_key, y_key = jax.random.split(key)
    x, y = jax.random.normal(x_key, shape), jax.random.normal(y_key, shape)
    operator = blur.operator(1.3, jax.ShapeDtypeStruct(shape, x.dtype))
    matrix = operator.as_matrix()
    applied = (matrix @ x.reshape(-1)).reshape(shape)
    transposed = (matrix.T @ y.reshape(-1)).reshape(shape)
    np.testing.assert_allclose(blur.apply(1.3, x), applied, atol=1e-13)
    np.testing.assert_allclose(blur.adjoint(1.3, y), transposed, atol=1e-13)
    np.testing.assert_allclose(operator.mv(x), applied, atol=1e-13)


@pytest.mark.parametrize("padding", ["zero", "symmetric", "periodic"])
def test_symmetry_is_as_promised(x64, padding):
    matrix = GaussianBlur((8,), 5, padding).matrix(1.7, 8)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-15)


@pytest.mark.parametrize("padding", ["symmetric", "periodic"])
def test_levels_commute_as_promised(x64, padding):
    blur = GaussianBlur((8,), 5, padding)
    a, b = blur.matrix(0.8, 8), blur.matrix(2.9, 8)
    np.testing.assert_allclose(a @ b, b @ a, atol=1e-15)


def test_derivative_in_the_level(x64, key):
    blur = GaussianBlur(SHAPE, 6)
    x = jax.random.normal(key, SHAPE)
    for theta in (0.3, 1.0, 5.0):
        h = 1e-5
        difference = (blur.apply(theta + h, x) - blur.apply(theta - h, x)) / (2 * h)
        np.testing.assert_allclose(blur.apply_dot(theta, x), difference, atol=1e-8)


def test_no_blur_is_the_identity_with_a_finite_derivative(key):
    blur = GaussianBlur(SHAPE)
    x = jax.random.normal(key, SHAPE)
    np.testing.assert_array_equal(blur.apply(0.0, x), x)
    np.testing.assert_array_equal(blur.apply_dot(0.0, x), jnp.zeros_like(x))


def test_vmap_over_levels_and_images_is_the_loop(key):
    blur = GaussianBlur(SHAPE)
    x = jax.random.normal(key, (3, *SHAPE))
    theta = jnp.array([0.1, 1.0, 9.0])
    mapped = jax.jit(jax.vmap(blur.apply))(theta, x)
    for i in range(3):
        np.testing.assert_allclose(mapped[i], blur.apply(theta[i], x[i]), atol=1e-6)


def test_mistakes_are_named(as_a_user):
    with pytest.raises(ValueError, match="half_size=0"):
        GaussianBlur(SHAPE, 0)
    with pytest.raises(ValueError, match="expected one of"):
        GaussianBlur(SHAPE, 3, "mirror")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"shape=\(2, 3, 4, 5\)"):
        GaussianBlur((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"map over it with `jax\.vmap`"):
        GaussianBlur(SHAPE).apply(1.0, jnp.zeros((4, *SHAPE)))
