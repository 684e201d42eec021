"""Filters of frequencies against SciPy's cosine and NumPy's Fourier transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from softsde.corruptions import (
    AbstractDiagonalCorruption,
    GaussianBlur,
    HeatBlur,
    SpectralFilter,
    Structure,
)

SHAPES = [(5, 8, 2), (7,)]


def cosines(x, response):
    """`response` of the squared frequency, by the orthonormal DCT-II of SciPy."""
    axes = tuple(range(min(2, x.ndim)))
    omegas = np.meshgrid(
        *[np.pi * np.arange(x.shape[a]) / x.shape[a] for a in axes], indexing="ij"
    )
    factor = response(sum(omega**2 for omega in omegas))
    factor = factor[..., None] if x.ndim == 3 else factor
    z = scipy.fft.dctn(x, type=2, norm="ortho", axes=axes)
    return scipy.fft.idctn(factor * z, type=2, norm="ortho", axes=axes)


def waves(x, response):
    """The same by the complex Fourier transform."""
    axes = tuple(range(min(2, x.ndim)))
    omegas = np.meshgrid(
        *[2 * np.pi * np.fft.fftfreq(x.shape[a]) for a in axes], indexing="ij"
    )
    factor = response(sum(omega**2 for omega in omegas))
    factor = factor[..., None] if x.ndim == 3 else factor
    return np.fft.ifftn(factor * np.fft.fftn(x, axes=axes), axes=axes).real


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("basis, transform", [("dct", cosines), ("fourier", waves)])
def test_is_the_transform_times_the_response(x64, shape, basis, transform):
    x = np.random.default_rng(0).normal(size=shape)
    levels = np.array([0.0, 0.3, 1.7, 6.0])
    heat = HeatBlur(shape, basis)
    ripple = SpectralFilter(shape, lambda s, w: jnp.cos(s * w), basis)
    compute = jax.jit(
        jax.vmap(lambda s, x: (heat.apply(s, x), ripple.apply(s, x)), (0, None))
    )
    heated, rippled = compute(levels, x)
    for i, level in enumerate(levels):
        # Rissanen et al.: exp(-omega^2 t) with t = theta^2 / 2.
        truth = transform(x, lambda w, s=level: np.exp(-w * s**2 / 2))
        np.testing.assert_allclose(heated[i], truth, atol=1e-12, rtol=0)
        truth = transform(x, lambda w, s=level: np.cos(s * w))
        np.testing.assert_allclose(rippled[i], truth, atol=1e-12, rtol=0)


class AnyWaves(AbstractDiagonalCorruption):
    """Values of one's own for the Fourier coefficients, not alike for k and -k."""

    values: jax.Array

    @property
    def structure(self):
        return Structure(basis="fourier")

    def eigenvalues(self, theta):
        return theta * self.values


@pytest.mark.parametrize("shape", SHAPES)
def test_waves_that_run_either_way_may_differ(x64, shape):
    rng = np.random.default_rng(0)
    values, x = (jnp.asarray(rng.normal(size=shape)) for _ in range(2))
    family = AnyWaves(values)
    expected = family.from_basis(3.0 * values * family.to_basis(x))
    np.testing.assert_allclose(family.apply(3.0, x), expected, atol=1e-12)
    np.testing.assert_allclose(family.apply_dot(3.0, x), expected / 3, atol=1e-12)


def test_coefficients_are_those_of_scipy(x64):
    x = np.random.default_rng(0).normal(size=(5, 8, 2))
    z = HeatBlur((5, 8, 2)).to_basis(jnp.asarray(x))
    truth = scipy.fft.dctn(x, type=2, norm="ortho", axes=(0, 1))
    np.testing.assert_allclose(z, truth, atol=1e-13)


def test_heat_is_a_wide_gaussian_blur_of_the_mirrored_image(x64):
    """By Poisson's summation they differ by exp(-pi^2 theta^2 / 2), 5e-20 at 3."""
    shape = (5, 8, 2)
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    for basis, padding in (("dct", "symmetric"), ("fourier", "periodic")):
        kernel = GaussianBlur(shape, 80, padding).apply(3.0, x)
        heat = HeatBlur(shape, basis).apply(3.0, x)
        np.testing.assert_allclose(heat, kernel, atol=1e-13, rtol=0)


def test_heat_is_a_semigroup_and_keeps_the_mean(x64):
    heat = HeatBlur((5, 8, 2))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 8, 2)))
    twice = heat.apply(4.0, heat.apply(3.0, x))
    np.testing.assert_allclose(heat.apply(5.0, x), twice, atol=1e-14)
    means = np.mean(twice, (0, 1)), np.mean(x, (0, 1))
    np.testing.assert_allclose(*means, atol=1e-15)


def test_mistakes_are_named(as_a_user):
    flat = lambda theta, squared: jnp.ones(())
    with pytest.raises(ValueError, match=r"`basis='haar'`; expected 'dct'"):
        HeatBlur((4,), "haar")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"`shape=\(2, 3, 4, 5\)`"):
        HeatBlur((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"shape \(\) .* of shape \(4,\)"):
        SpectralFilter((4,), flat).apply(0.5, jnp.ones(4))
    with pytest.raises(ValueError, match=r"complex64"):
        SpectralFilter((4,), lambda t, w: jax.lax.complex(w, w)).eigenvalues(0.5)
    with pytest.raises(ValueError, match=r"`identity_level=1.0`, but there `transfer`"):
        SpectralFilter((4,), lambda t, w: jnp.exp(-t * w), identity_level=1.0)


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 48, 3), (128,)])
def test_the_matrices_of_heat_are_its_eigenvalues_in_single_precision(shape):
    """Two products with the image, at the sizes and the precision that are used."""
    heat = HeatBlur(shape)
    x = np.random.default_rng(0).normal(size=shape)
    levels = np.array([0.0, 0.3, 2.0, 18.0])
    blurred = jax.jit(jax.vmap(heat.apply, (0, None)))(
        levels.astype(np.float32), jnp.asarray(x, jnp.float32)
    )
    for level, found in zip(levels, blurred, strict=True):
        truth = cosines(x, lambda w, s=level: np.exp(-w * s**2 / 2))
        np.testing.assert_allclose(found, truth, atol=5e-6, rtol=0)
