"""Certificates: the relations that must hold between the four columns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance

from softsde.corruptions import FunctionCorruption, GaussianBlur, HeatBlur
from softsde.data import digits, fashion_mnist, to_array
from softsde.fitting import Sinkhorn, certify, transport_schedule

SHAPE = (8, 8, 1)
PAIRS = np.array([[0.05, 0.4], [0.4, 0.6], [0.8, 1.2], [2.5, 3.0], [0.05, 4.0]])


@pytest.fixture(scope="module")
def data():
    return to_array(digits(), limit=200)


@pytest.mark.parametrize(
    "blur",
    [
        GaussianBlur(SHAPE, 8, "zero"),
        GaussianBlur(SHAPE, 8, "periodic"),
        HeatBlur(SHAPE),
        HeatBlur(SHAPE, "fourier"),
    ],
    ids=["zero", "periodic", "dct", "fourier"],
)
def test_the_closed_form_is_the_exact_assignment(x64, key, data, blur):
    data = data.astype(np.float64)
    certificate = certify(blur, PAIRS, data, num_samples=200, key=key)
    assert np.abs(certificate.coupling_error).max() < 1e-6
    assert np.abs(certificate.gap).max() < 1e-6
    # And the columns are what they are called.
    for pair, coupling, best in zip(
        PAIRS, certificate.coupling, certificate.assignment, strict=True
    ):
        u, v = (
            np.asarray(jax.vmap(lambda x, t=t: blur.apply(t, x))(data)) for t in pair
        )
        u, v = u.reshape(200, -1), v.reshape(200, -1)
        cost = scipy.spatial.distance.cdist(u, v, "sqeuclidean")
        matched = cost[scipy.optimize.linear_sum_assignment(cost)].mean()
        assert best == pytest.approx(matched, rel=1e-9)
        assert coupling == pytest.approx(np.square(u - v).sum(1).mean(), rel=1e-12)
    levels = np.unique(PAIRS)
    whole = transport_schedule(blur, levels, data, num_points=2).distances
    where = np.searchsorted(levels, PAIRS)
    np.testing.assert_allclose(
        whole[where[:, 0], where[:, 1]] ** 2, certificate.coupling, rtol=1e-9
    )


def test_it_does_not_certify_what_is_false(x64, key, data):
    """A flip of mirrored data: the best assignment is free, the identity is not."""
    mirrored = np.concatenate([data, -data]).astype(np.float64)
    flip = FunctionCorruption(lambda theta, x: (1 - 2 * theta) * x, SHAPE)
    certificate = certify(
        flip, np.array([[0.0, 1.0]]), mirrored, num_samples=400, key=key
    )
    assert certificate.assignment == pytest.approx(0, abs=1e-9)
    assert certificate.lower <= 1e-9
    assert certificate.gap >= 1 - 1e-9


def test_bounds_stay_in_order_for_a_family_without_promises(x64, key, data):
    """A turn of the picture, which is not symmetric: a gap may stay, and is honest."""

    def turn(theta, x):
        return jnp.cos(theta) * x + jnp.sin(theta) * x.swapaxes(0, 1)[::-1]

    family = FunctionCorruption(turn, SHAPE)
    pairs = np.array([[0.0, 0.3], [0.0, 1.5]])
    found = certify(family, pairs, data.astype(np.float64), num_samples=100, key=key)
    assert (found.lower <= found.assignment * (1 + 1e-9)).all()
    assert (found.assignment <= found.coupling * (1 + 1e-9)).all()
    assert found.gap[1] > 0.1


@pytest.mark.slow
def test_sinkhorn_is_measured_on_the_same_samples(key, data):
    blur = GaussianBlur(SHAPE, 8)
    found = certify(
        blur, PAIRS[1:4], data, num_samples=60, sinkhorn=Sinkhorn(), key=key
    )
    assert found.sinkhorn_error is not None
    assert np.abs(found.sinkhorn_error).max() < 0.01
    alone = certify(blur, PAIRS[1:4], data, num_samples=60, key=key)
    assert alone.sinkhorn is None and alone.sinkhorn_error is None
    np.testing.assert_array_equal(alone.assignment, found.assignment)


def test_equal_levels_are_no_distance_apart(key, data):
    found = certify(
        HeatBlur(SHAPE), np.array([[1.0, 1.0]]), data, num_samples=20, key=key
    )
    for column in (found.coupling, found.assignment, found.gap, found.coupling_error):
        np.testing.assert_allclose(column, 0, atol=1e-6)


def test_mistakes_are_named(as_a_user, key, data):
    blur = HeatBlur(SHAPE)
    with pytest.raises(ValueError, match=r"`pairs` of shape \(2,\)"):
        certify(blur, np.array([0.1, 1.0]), data, key=key)
    with pytest.raises(ValueError, match="`HeatBlur` got the level"):
        certify(blur, np.array([[-1.0, 1.0]]), data, key=key)
    with pytest.raises(ValueError, match="num_samples=500` of 200"):
        certify(blur, PAIRS, data, key=key)
    with pytest.raises(ValueError, match="num_samples=1"):
        certify(blur, PAIRS, data, num_samples=1, key=key)
    with pytest.raises(TypeError, match="floating-point"):
        certify(blur, PAIRS, (255 * data).astype(np.uint8), key=key)


@pytest.mark.slow
@pytest.mark.parametrize(
    "blur",
    [
        GaussianBlur((28, 28, 1), 32, "zero"),
        GaussianBlur((28, 28, 1), 32, "periodic"),
        HeatBlur((28, 28, 1)),
    ],
    ids=["zero", "periodic", "dct"],
)
def test_the_closed_form_is_the_exact_assignment_of_garments(x64, key, blur):
    """Every step of a path of 32 points, and far pairs, on 500 images."""
    try:
        data = to_array(fashion_mnist(), limit=2000)
    except FileNotFoundError:
        pytest.skip("Fashion-MNIST is not on this machine")
    levels = np.geomspace(0.1, 18.0, 128)
    path = list(transport_schedule(blur, levels, data).path)
    steps = np.stack([levels[path[:-1]], levels[path[1:]]], axis=1)
    far = np.array([[0.1, 1.0], [0.1, 18.0], [1.0, 4.0], [4.0, 18.0]])
    pairs = np.concatenate([steps, far])
    found = certify(blur, pairs, data.astype(np.float64), key=key)
    errors = np.abs(found.coupling_error)
    if blur.structure.commuting and not blur.structure.positive_semidefinite:
        # A truncated kernel on a torus has negative eigenvalues under heavy blur, so it
        # promises a bound only: from one end of the way to the other it is not tight.
        assert errors[-3] < 1e-4
        errors = np.delete(errors, -3)
    assert errors.max() < 1e-6
