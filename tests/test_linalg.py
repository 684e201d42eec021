"""Principal directions against NumPy's singular value decomposition."""

import numpy as np
import pytest

from softsde._linalg import principal


@pytest.mark.parametrize("shape", [(30, 6), (6, 30), (8, 8)])
def test_it_is_the_singular_value_decomposition(shape):
    rows = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    scales, directions = principal(rows)
    _, expected, vectors = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(scales, expected, rtol=1e-10)
    # Directions up to their sign.
    overlap = np.abs(np.sum(directions * vectors, axis=1))
    np.testing.assert_allclose(overlap, 1.0, rtol=1e-10)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_only_the_rank_is_kept(shape):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    scales, directions = principal(rows)
    assert scales.shape == (3,)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-7)
    np.testing.assert_allclose(rows @ directions.T @ directions, rows, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_zeros_have_no_directions(shape):
    scales, directions = principal(np.zeros(shape))
    assert scales.shape == (0,) and directions.shape == (0, shape[1])
