"""Every corruption against the dense matrix of its operator, and its promises."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import softsde as ss

from . import _family as family

CASES = family.cases()


@pytest.fixture(params=CASES)
def case(request, x64):
    make, shape, levels = CASES[request.param]
    return make(shape), shape, levels


def test_all_it_computes_is_the_dense_matrix(case):
    corruption, shape, levels = case
    structure = corruption.structure
    identity = structure.identity_level
    xs, ys = family.draws(shape, 3)
    # The levels, a step above and below each, and the one that is the identity.
    steps = (0.0, family.STEP, -family.STEP)
    thetas = [level + step for step in steps for level in levels]
    thetas.append(levels[0] if identity is None else identity)
    which = [*range(3)] * 3 + [0]
    every = family.everything(corruption, np.array(thetas), xs[which], ys[which])
    seen = {name: value[:3] for name, value in every.items()}
    seen["at_identity"] = every["matrix"][-1]

    matrices = seen["matrix"]
    flat_xs, flat_ys = xs.reshape(3, -1), ys.reshape(3, -1)
    applied = np.einsum("nij,nj->ni", matrices, flat_xs).reshape(xs.shape)
    transposed = np.einsum("nji,nj->ni", matrices, flat_ys).reshape(ys.shape)
    for name, truth in (
        ("as_matrix", matrices),
        ("apply", applied),
        ("adjoint", transposed),
    ):
        np.testing.assert_allclose(seen[name], truth, atol=1e-12, err_msg=name)
    assert family.broken_promises(structure, seen) == set()

    if "dot" in seen:
        _, above, below = np.split(every["apply"][:9], 3)
        difference = (above - below) / (2 * family.STEP)
        room = 1e-6 * (np.abs(difference).max() + 1e-3)
        np.testing.assert_allclose(seen["dot"], difference, atol=room, rtol=0)
        rates = np.einsum("ni,ni->n", flat_ys, seen["dot"].reshape(3, -1))
        np.testing.assert_allclose(seen["gradient"], rates, atol=1e-12)
    if "back" in seen:
        np.testing.assert_allclose(seen["back"], xs, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("image")])
def test_single_and_half_precision_keep_their_dtype(name):
    make, shape, levels = CASES[name]
    corruption = make(shape)
    x = family.draws(shape, 1)[0, 0].astype(np.float32)

    @functools.partial(jax.jit, compiler_options=family.QUICKLY)
    def both(x):
        half = corruption.apply(levels[1], x.astype(jnp.bfloat16))
        return corruption.apply(levels[1], x), half

    single, half = both(x)
    assert single.dtype == jnp.float32 and half.dtype == jnp.bfloat16
    # Half precision has 8 bits: one rounding of the input, one of the output. The
    # work between is in single, else a spectrum would lose more.
    np.testing.assert_allclose(
        np.asarray(half, np.float32), single, atol=0.02 * np.abs(x).max()
    )


def test_a_false_promise_would_be_caught(x64):
    class Liar(ss.corruptions.AbstractCorruption):
        """A rotation and a shear: not symmetric, not positive, not commuting."""

        @property
        def structure(self):
            return ss.corruptions.Structure(
                basis="pixel", positive_semidefinite=True, identity_level=1.0
            )

        def apply(self, theta, x):
            shear = jnp.array([x[0] + theta * x[1], x[1]])
            return jnp.array([shear[1], -theta * shear[0]])

        def to_basis(self, x):
            return x

        def from_basis(self, coefficients):
            return coefficients

        def eigenvalues(self, theta):
            return jnp.broadcast_to(theta, (2,))

    matrices = [
        jax.vmap(lambda v, t=t: Liar().apply(t, v), out_axes=1)(jnp.eye(2))
        for t in (0.5, 1.0, 2.0)
    ]
    seen = {
        "matrix": np.stack(matrices),
        "at_identity": np.asarray(matrices[1]),
        "basis": np.stack([np.eye(2)] * 3),
        "eigenvalues": np.ones((3, 2)),
    }
    assert family.broken_promises(Liar().structure, seen) == {
        "symmetric",
        "positive_semidefinite",
        "commuting",
        "basis",
        "identity_level",
    }


def test_lineax_solves_by_what_is_promised(x64):
    x = jnp.asarray(family.draws(family.VECTOR, 1)[0, 0])
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    heat = ss.corruptions.HeatBlur(family.VECTOR)
    soft = ss.corruptions.SoftMask(family.VECTOR, 0.9)
    for corruption, theta, solver in (
        (heat, 0.6, lx.Cholesky()),  # takes nothing but definite operators
        (soft, 0.3, lx.Diagonal()),  # nor this but diagonal ones
    ):
        operator = corruption.operator(theta, like)
        solved = lx.linear_solve(operator, corruption.apply(theta, x), solver).value
        np.testing.assert_allclose(solved, x, atol=1e-10)
    reflect = ss.corruptions.GaussianBlur(family.VECTOR, 3, "reflect")
    assert not lx.is_symmetric(reflect.operator(0.6, like))
    zero = ss.corruptions.GaussianBlur(family.VECTOR, 3).operator(0.6, like)
    assert lx.is_symmetric(zero) and not lx.is_positive_semidefinite(zero)


@pytest.mark.parametrize(
    "corruption, below, above",
    [
        (ss.corruptions.Scale(), -0.1, None),
        (ss.corruptions.Fade(), -0.1, 1.1),
        (ss.corruptions.Desaturate(), -0.1, 1.1),
        (ss.corruptions.HeatBlur((4, 4, 3)), -1e-3, None),
        (ss.corruptions.GaussianBlur((4, 4, 3)), -1e-3, None),
        (ss.corruptions.MotionBlur((4, 4, 3)), -1e-3, None),
        (ss.corruptions.CenterMask((4, 4, 3)), -0.1, 1.1),
        (ss.corruptions.SoftMask((4, 4, 3)), float("nan"), 1.1),
        (ss.corruptions.Downsample((4, 4, 3)), 0.5, 5.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_level_outside_the_range_is_refused(corruption, below, above):
    x = jnp.ones((4, 4, 3))
    for level in (below, above):
        if level is None:
            continue
        for method in (corruption.apply, corruption.adjoint):
            with pytest.raises(ValueError, match=r"got the level .*; expected at"):
                method(level, x)
        # A traced level is its owner's business.
        assert jax.eval_shape(corruption.apply, jnp.float32(level), x).shape == x.shape
    # A rounding beyond the bound is none.
    for bound in corruption.structure.level_range:
        if bound is not None:
            corruption.check_level(np.float32(bound) * np.float32(1 + 1e-7) - 1e-7)


def test_a_family_that_jumps_has_no_derivative():
    x = jnp.ones((4, 4, 1))
    for corruption in (
        ss.corruptions.CenterMask((4, 4, 1)),
        ss.corruptions.Downsample((4, 4, 1)),
        ss.corruptions.Compose(
            ss.corruptions.CenterMask((4, 4, 1)), ss.corruptions.Fade()
        ),
        ss.corruptions.Relevel(ss.corruptions.CenterMask((4, 4, 1)), jnp.square),
    ):
        with pytest.raises(ValueError, match=r"`Momentum`, `DDIM`.*`SoftMask`"):
            corruption.apply_dot(1.0, x)


def test_a_batch_by_mistake_is_refused(as_a_user):
    for corruption in (
        ss.corruptions.HeatBlur((4, 4, 1)),
        ss.corruptions.CenterMask((4, 4, 1)),
        ss.corruptions.Downsample((4, 4, 1)),
    ):
        with pytest.raises(ValueError, match=r"map over it with `jax\.vmap`"):
            corruption.apply(1.0, jnp.zeros((2, 4, 4, 1)))


def test_without_a_basis_there_are_no_eigenvalues():
    blur = ss.corruptions.GaussianBlur((4,))
    unlike = ss.corruptions.Compose(
        ss.corruptions.HeatBlur((4,)), ss.corruptions.SoftMask((4,))
    )
    for corruption in (blur, unlike):
        for method in (corruption.to_basis, corruption.from_basis):
            with pytest.raises(ValueError, match="not known to be diagonal"):
                method(jnp.ones(4))
        with pytest.raises(ValueError, match="not known to be diagonal"):
            corruption.eigenvalues(0.5)


def test_promises_that_follow_are_filled_in():
    diagonal = ss.corruptions.Structure(basis="dct")
    assert diagonal.symmetric and diagonal.commuting
    assert not diagonal.positive_semidefinite
    assert ss.corruptions.Structure(positive_semidefinite=True).symmetric
    with pytest.raises(ValueError, match="the least level before the greatest"):
        ss.corruptions.Structure(level_range=(1.0, 0.0))


def test_one_method_is_a_whole_corruption_that_promises_nothing(x64):
    class Shift(ss.corruptions.AbstractCorruption):
        def apply(self, theta, x):
            return jnp.roll(x, 1) * theta

    assert Shift().structure == ss.corruptions.Structure()
    x = jnp.asarray(family.draws((5,), 1)[0, 0])
    np.testing.assert_allclose(Shift().adjoint(2.0, x), 2 * np.roll(x, -1))
    np.testing.assert_allclose(Shift().apply_dot(2.0, x), np.roll(x, 1))
    assert not lx.is_symmetric(
        Shift().operator(2.0, jax.ShapeDtypeStruct(x.shape, x.dtype))
    )


def test_modules_are_pytrees_of_arrays_that_map_and_compile(x64):
    """A function inside does not get in the way of `jit` and `vmap` over modules."""
    x = jnp.asarray(family.draws(family.VECTOR, 1)[0, 0])

    def make(weight):
        return ss.corruptions.Mix(
            ss.corruptions.SpectralFilter(family.VECTOR, lambda s, w: jnp.exp(-s * w)),
            ss.corruptions.Relevel(ss.corruptions.Scale(), lambda s: 0.5**s),
            weights=jnp.stack([weight, 1 - weight]),
        )

    weights = jnp.array([0.2, 0.9])
    many = jax.vmap(make)(weights)
    mapped = jax.jit(jax.vmap(lambda c: c.apply(0.7, x)))(many)
    for i in range(2):
        np.testing.assert_allclose(
            mapped[i], make(weights[i]).apply(0.7, x), atol=1e-14
        )
    assert all(eqx.is_array(leaf) for leaf in jax.tree.leaves(many))
