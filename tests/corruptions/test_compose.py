"""Products, mixtures and other counts of levels, and what they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.corruptions import (
    CenterMask,
    Compose,
    Desaturate,
    Downsample,
    Fade,
    GaussianBlur,
    HeatBlur,
    Identity,
    Mix,
    MotionBlur,
    Relevel,
    Scale,
    SoftMask,
)

SHAPE = (4, 5)


@pytest.fixture
def x(x64):
    return jnp.asarray(np.random.default_rng(0).normal(size=SHAPE))


def dense(corruption, theta):
    every = jnp.eye(20).reshape(20, *SHAPE)
    columns = jax.jit(jax.vmap(lambda v: corruption.apply(theta, v)))(every)
    return np.asarray(columns).reshape(20, 20).T


def test_the_first_acts_first(x):
    mask, heat = SoftMask(SHAPE, 0.4), HeatBlur(SHAPE)
    both = Compose(mask, heat)
    first, second = dense(mask, 0.3), dense(heat, 0.3)
    np.testing.assert_allclose(dense(both, 0.3), second @ first, atol=1e-14)
    backwards = (first @ second @ np.asarray(x).reshape(-1)).reshape(SHAPE)
    np.testing.assert_allclose(both.adjoint(0.3, x), backwards, atol=1e-14)
    # Both are positive, but the product is not even symmetric, and nobody says so.
    assert np.abs(dense(both, 0.3) - dense(both, 0.3).T).max() > 0.01
    assert not both.structure.symmetric and not both.structure.commuting


def test_in_one_basis_eigenvalues_multiply_and_mix(x):
    heat = HeatBlur(SHAPE)
    twice = Compose(heat, heat)
    np.testing.assert_allclose(
        twice.apply(1.5, x), heat.apply(np.sqrt(2) * 1.5, x), atol=1e-14
    )
    np.testing.assert_allclose(
        twice.eigenvalues(1.5), np.asarray(heat.eigenvalues(1.5)) ** 2, atol=1e-15
    )
    mixed = Mix(Identity(), heat, weights=[0.25, 0.75])
    np.testing.assert_allclose(
        mixed.eigenvalues(1.5), 0.25 + 0.75 * np.asarray(heat.eigenvalues(1.5))
    )
    np.testing.assert_allclose(
        mixed.apply(1.5, x), 0.25 * x + 0.75 * heat.apply(1.5, x), atol=1e-14
    )


def test_a_mixture_of_unlike_families(x):
    heat, mask = HeatBlur(SHAPE), SoftMask(SHAPE, 0.4)
    mixed = Mix(heat, mask, weights=[0.25, 0.75])
    np.testing.assert_allclose(
        dense(mixed, 0.3), 0.25 * dense(heat, 0.3) + 0.75 * dense(mask, 0.3), atol=1e-14
    )


def test_another_count_of_levels(x):
    heat = HeatBlur(SHAPE)
    # The heat equation by its time.
    by_time = Relevel(heat, lambda time: jnp.sqrt(2 * time))
    np.testing.assert_allclose(by_time.apply(2.0, x), heat.apply(2.0, x), atol=1e-15)
    np.testing.assert_allclose(
        # dC/dtime = dC/dtheta / theta
        by_time.apply_dot(0.5, x),
        heat.apply_dot(1.0, x),
        atol=1e-14,
    )
    fixed = Compose(heat, Relevel(SoftMask(SHAPE, 0.4), lambda theta: 0.3))
    truth = SoftMask(SHAPE, 0.4).apply(0.3, heat.apply(2.0, x))
    np.testing.assert_allclose(fixed.apply(2.0, x), truth, atol=1e-15)


@pytest.mark.parametrize(
    "members, basis, symmetric, positive, commuting",
    [
        ([HeatBlur(SHAPE), Fade()], "dct", True, True, True),
        ([Fade(), Scale()], "every", True, True, True),
        ([CenterMask(SHAPE), SoftMask(SHAPE)], "pixel", True, True, True),
        ([MotionBlur(SHAPE), HeatBlur(SHAPE, "fourier")], "fourier", 1, 0, 1),
        ([HeatBlur(SHAPE), HeatBlur(SHAPE, "fourier")], None, False, False, False),
        ([HeatBlur(SHAPE), SoftMask(SHAPE)], None, False, False, False),
        # One family that is not a multiple of the identity keeps what it promises.
        ([GaussianBlur(SHAPE), Scale()], None, True, False, False),
        ([GaussianBlur(SHAPE, 3, "symmetric"), Fade()], None, True, False, True),
        ([Desaturate(), Fade()], None, True, True, True),
        ([Desaturate("luma"), Fade()], None, False, False, True),
        # Two that commute across levels need not commute with each other.
        ([Downsample((4, 4)), Desaturate()], None, False, False, False),
    ],
)
def test_a_product_promises_what_follows(
    members, basis, symmetric, positive, commuting
):
    levels = [member.structure.level_range for member in members]
    if (1.0, 4.0) in levels:
        members[1] = Relevel(members[1], lambda theta: 0.5)
    structure = Compose(*members).structure
    assert structure.basis == basis
    assert structure.symmetric == symmetric
    assert structure.positive_semidefinite == positive
    assert structure.commuting == commuting


def test_a_mixture_promises_what_follows():
    unlike = Mix(HeatBlur(SHAPE), SoftMask(SHAPE), weights=[0.5, 0.5]).structure
    assert unlike.basis is None and unlike.positive_semidefinite
    assert not unlike.commuting
    assert unlike.level_range == (0.0, 1.0) and unlike.identity_level == 0.0
    alike = Mix(HeatBlur(SHAPE), Fade(), weights=[0.5, 0.5]).structure
    assert alike.basis == "dct" and alike.commuting and alike.differentiable
    jumps = Mix(HeatBlur(SHAPE), CenterMask(SHAPE), weights=[0.5, 0.5]).structure
    assert jumps.differentiable is False
    unsaid = Compose(HeatBlur(SHAPE), Relevel(Scale(), jnp.exp)).structure
    assert unsaid.differentiable is None and unsaid.identity_level is None


def test_mistakes_are_named(as_a_user):
    with pytest.raises(ValueError, match="`Compose` got no corruptions"):
        Compose()
    with pytest.raises(TypeError, match=r"`Mix` got function; .*FunctionCorruption"):
        Mix(lambda theta, x: x, weights=[1.0])  # pyright: ignore
    with pytest.raises(ValueError, match=r"share no range .* `Relevel`"):
        Compose(Downsample((4, 4)), Fade())
    with pytest.raises(ValueError, match="expected one weight each"):
        Mix(Fade(), Scale(), weights=[1.0])
    for weights in ([0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(ValueError, match="with the sum 1"):
            Mix(Fade(), Scale(), weights=weights)


def test_members_made_for_different_shapes_are_refused():
    blur, mask = HeatBlur((4, 4, 1)), SoftMask((4, 4))
    for combine in (Compose, lambda *c: Mix(*c, weights=[0.5, 0.5])):
        with pytest.raises(
            ValueError, match=r"different shapes, \[\(4, 4\), \(4, 4, 1"
        ):
            combine(blur, mask)
    assert Compose(Fade(), blur).structure.shape == (4, 4, 1)


@pytest.mark.parametrize(
    "scaling, factor",
    [
        (Identity(), lambda theta: 1.0),
        (Scale(), lambda theta: theta),
        (Fade(), lambda theta: 1 - theta),
        (Relevel(Fade(), jnp.square), lambda theta: 1 - theta**2),
        (Compose(Fade(), Scale()), lambda theta: (1 - theta) * theta),
        (
            Mix(Fade(), Identity(), weights=[0.25, 0.75]),
            lambda theta: 1 - 0.25 * theta,
        ),
        (
            Compose(Relevel(Scale(), lambda theta: 0.5**theta), Fade()),
            lambda theta: 0.5**theta * (1 - theta),
        ),
    ],
    ids=["identity", "scale", "fade", "relevel", "product", "mixture", "two levels"],
)
def test_a_multiple_of_the_identity_says_so(x64, scaling, factor):
    assert scaling.structure.basis == "every"
    for theta in (0.1, 0.7):
        value = scaling.eigenvalues(theta)
        assert value.shape == ()
        np.testing.assert_allclose(value, factor(theta), rtol=1e-12)


def test_nothing_else_counts_as_a_scaling():
    for other in (HeatBlur(SHAPE), Compose(Fade(), HeatBlur(SHAPE)), CenterMask(SHAPE)):
        assert other.structure.basis not in (None, "every")
