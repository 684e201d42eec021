"""`check` passes what is right and names what is wrong, with the size of the fault."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde import corruptions as sc

from . import _family as family

SHAPE = (8, 6, 1)


class Family(sc.AbstractCorruption):
    """Any function of a level and a sample, with nothing tried when it is made."""

    fn: object = eqx.field(static=True)
    promises: sc.Structure = eqx.field(static=True, default=sc.Structure())

    @property
    def structure(self):
        return self.promises

    def apply(self, theta, x):
        return self.fn(theta, x)  # pyright: ignore


def mean(x):
    return jnp.broadcast_to(jnp.mean(x), x.shape)


def towards_mean(theta, x):
    return (1 - theta) * x + theta * mean(x)


@pytest.mark.parametrize("name", [n for n in family.cases() if n.endswith("image")])
def test_every_shipped_family_passes(name):
    make, shape, _ = family.cases()[name]
    corruption = make(shape)
    starts = None if name != "relevel" else (0.0, 1.0)
    report = sc.check(corruption, shape, levels=starts)
    assert report.passed
    structure = corruption.structure
    for finding, promised in (
        (report.symmetric, structure.symmetric),
        (report.positive, structure.positive_semidefinite),
        (report.commuting, structure.commuting),
        (report.basis, structure.basis is not None),
    ):
        assert (finding.passed is True) is promised
    for finding in (report.linear, report.identity):
        assert finding.measured is not None and finding.measured < 1e-5
    if report.adjoint.passed is None:
        assert structure.symmetric
    else:
        assert report.adjoint.measured is not None and report.adjoint.measured < 1e-5


def test_a_subclass_with_one_method_passes_too(x64):
    class Dust(sc.AbstractCorruption):
        def apply(self, theta, x):
            floor = jnp.zeros_like(x).at[-1].set(jnp.mean(x, axis=0))
            return (1 - theta) * x + theta * floor

    report = sc.check(Dust(), SHAPE)
    assert report.passed and report.symmetric.passed is None
    # In double precision what is left is rounding.
    for finding in (report.linear, report.identity, report.adjoint):
        assert finding.measured is not None and finding.measured < 1e-14


def failures(corruption, shape=SHAPE, **options):
    report = sc.check(corruption, shape, throw=False, **options)
    return {name: f for name, f in report.findings.items() if f.passed is False}


@pytest.mark.parametrize(
    "fn",
    [
        lambda theta, x: jnp.clip(x, theta - 1, 1 - theta),
        lambda theta, x: x + theta,
        lambda theta, x: x / (1 + theta * jnp.linalg.norm(x)),
        lambda theta, x: x + theta * jnp.abs(x),
        lambda theta, x: jnp.where(theta > 0, x * jnp.nan, x),
    ],
)
def test_a_family_that_is_not_linear_is_named(fn):
    assert "linear" in failures(Family(fn), levels=(0.0, 0.5))
    with pytest.raises(ValueError, match="`Family` failed the check of `linear`"):
        sc.check(Family(fn), SHAPE, levels=(0.0, 0.5))


def test_the_size_of_each_fault_is_measured(x64):
    """Faults of a known size, each with the name of its property."""
    promise = sc.Structure

    def only(name, corruption, **options):
        found = failures(corruption, **options)
        assert set(found) == {name}
        return found[name].measured

    # C(0) = 1.1 I.
    larger = Family(lambda theta, x: (1.1 - theta) * x)
    np.testing.assert_allclose(only("identity", larger), 0.1, rtol=1e-9)
    # Within 5 % counts as a start, unless the family names the level.
    near = lambda theta, x: (1.01 - theta) * x
    assert failures(Family(near)) == {}
    declared = Family(near, promise(identity_level=0.0))
    np.testing.assert_allclose(only("identity", declared), 0.01, rtol=1e-9)

    # Eigenvalues 1 and 1 - 1.5, at any level but 0.
    def past_mean(theta, x):
        return x - jnp.where(theta > 0, 1.5, 0) * mean(x)

    positive = promise(positive_semidefinite=True, differentiable=False)
    measured = only("positive", Family(past_mean, positive))
    np.testing.assert_allclose(measured, 0.5, rtol=1e-3)

    def sideways(theta, x):
        return (1 - theta) * x + theta * jnp.roll(x, 1, axis=0)

    # The estimate is a draw: C^T - C relative to C is about 0.9 at this level.
    measured = only("symmetric", Family(sideways, promise(symmetric=True)))
    assert 0.05 < measured < 2

    def turning(theta, x):
        y = towards_mean(theta, x)
        return y + theta**2 * (jnp.flip(y, 0) * jnp.arange(8.0)[:, None, None] - y)

    assert only("commuting", Family(turning, promise(commuting=True))) > 0.01


def test_a_wrong_adjoint_or_derivative_of_its_own_is_named(x64):
    class Adjoint(sc.AbstractCorruption):
        def apply(self, theta, x):
            return (1 - theta) * x + theta * jnp.roll(x, 1, axis=0)

        def adjoint(self, theta, x):
            return self.apply(theta, x)

    class Derivative(sc.AbstractCorruption):
        def apply(self, theta, x):
            return jnp.exp(-theta) * x

        def apply_dot(self, theta, x):
            return jnp.exp(-theta) * x

    assert set(failures(Adjoint())) == {"adjoint"}
    found = failures(Derivative())
    # The opposite sign: the difference is as large as both together.
    np.testing.assert_allclose(found["differentiable"].measured, 1.0)
    assert "`apply_dot`" in found["differentiable"].detail


def test_a_wrong_basis_is_named(x64):
    class Wrong(sc.AbstractDiagonalCorruption):
        factor: float
        basis: str = eqx.field(static=True)

        @property
        def structure(self):
            return sc.Structure(basis=self.basis)

        def eigenvalues(self, theta):
            return jnp.broadcast_to(jnp.exp(-theta), SHAPE)

        def to_basis(self, x):
            return self.factor * x

        def from_basis(self, coefficients):
            return coefficients / self.factor

    assert failures(Wrong(1.0, "my pixels")) == {}
    found = failures(Wrong(2.0, "my pixels"))
    np.testing.assert_allclose(found["basis"].measured, 1.0)
    scalar = failures(Wrong(1.0, "every"))
    assert "Return a scalar" in scalar["basis"].detail
    with pytest.raises(ValueError, match="does not write `eigenvalues`"):
        sc.check(Family(towards_mean, sc.Structure(basis="dct")), SHAPE)


def test_a_jump_that_nobody_declared_is_named():
    def floor(theta, x):
        return 0.9 ** jnp.floor(theta + 1 / 3) * x

    found = failures(Family(floor))
    assert set(found) == {"differentiable"}
    assert "jumps at the level 0.6667" in found["differentiable"].detail
    promised = sc.Structure(differentiable=True)
    assert set(failures(Family(floor, promised))) == {"differentiable"}
    declared = sc.Structure(differentiable=False)
    assert failures(Family(floor, declared)) == {}


def test_another_shape_or_dtype_is_named():
    shorter = Family(lambda theta, x: x[1:])
    found = failures(shorter)
    assert set(found) == {"shape"}
    assert "of shape (8, 6, 1) and returned (7, 6, 1)" in found["shape"].detail
    half = Family(lambda theta, x: x.astype(jnp.bfloat16))
    assert "dtype" in failures(half)
    with pytest.raises(ValueError, match="dtype float32 and returned bfloat16"):
        sc.check_linear(half, SHAPE, 0.5)


def test_the_report_reads_as_a_table_and_names_the_first_failure():
    corruption = Family(lambda theta, x: (1.5 - theta) * x + theta)
    report = sc.check(corruption, SHAPE, throw=False)
    lines = str(report).splitlines()
    assert lines[0] == "Family at the levels 0.6, 2.1"
    names = [f.name for f in dataclasses.fields(report)][3:]
    assert [line.split()[0] for line in lines[1:]] == names
    assert [line.split()[1] for line in lines[3:5]] == ["FAILED", "FAILED"]
    assert not report.passed
    # Nothing is said of an adjoint of what is not linear.
    assert report.adjoint.passed is None and report.adjoint.measured is None
    with pytest.raises(ValueError, match="`Family` failed the check of `linear`"):
        report.raise_if_failed()


def test_mistakes_are_named(as_a_user):
    with pytest.raises(TypeError, match="`check` got function; expected a corruption"):
        sc.check(lambda theta, x: x, SHAPE)  # pyright: ignore
    with pytest.raises(ValueError, match=r"made for samples of shape \(4,\)"):
        sc.check(sc.HeatBlur((4,)), SHAPE)
    with pytest.raises(ValueError, match=r"got the level 2.0; expected .*at most 1.0"):
        sc.check(sc.Fade(), SHAPE, levels=(0.0, 2.0))
    with pytest.raises(ValueError, match="got no `levels`"):
        sc.check(sc.Fade(), SHAPE, levels=())


def test_the_light_check_finds_what_is_not_linear():
    clip = Family(lambda theta, x: jnp.clip(x, -1, 1))
    with pytest.raises(ValueError, match=r"`linear`: \|C\(x - 3y\).* at the level 0.3"):
        sc.check_linear(clip, SHAPE, 0.3)
    sometimes = Family(lambda theta, x: jnp.where(theta < 0.5, x, jnp.abs(x)))
    sc.check_linear(sometimes, SHAPE, 0.3)
    with pytest.raises(ValueError, match=r"at the level 0\.8"):
        sc.check_linear(sometimes, SHAPE, 0.3, 0.8)
    sc.check_linear(sc.HeatBlur(SHAPE), SHAPE, jnp.float32(0.3))


def test_the_light_check_judges_nothing_that_is_traced():
    class Gain(sc.AbstractCorruption):
        gain: jax.Array

        def apply(self, theta, x):
            return jnp.abs(self.gain * theta * x)

    def use(gain, level):
        corruption = Gain(gain)
        sc.check_linear(corruption, (3,), level)
        hidden = Family(lambda theta, x: jnp.abs(gain * theta * x))
        sc.check_linear(hidden, (3,), 0.5)
        sc.check_linear(Family(lambda theta, x: jnp.abs(x)), (3,), level)
        return jnp.sum(corruption.apply(level, jnp.ones(3)))

    one, half = jnp.float32(1.0), jnp.float32(0.5)
    assert float(jax.jit(use)(one, half)) == 1.5
    np.testing.assert_allclose(jax.jit(jax.grad(use))(one, half), 1.5)
    with pytest.raises(ValueError, match="traced arrays; call it outside"):
        jax.jit(lambda gain: sc.check(Gain(gain), (3,)).passed)(one)
    # Under `grad` and `vmap` alone, what depends on the mapped array is not judged.
    traced = lambda gain: sc.check_linear(Gain(gain), (3,), 0.5) or gain
    np.testing.assert_allclose(jax.grad(traced)(one), 1.0)
    np.testing.assert_allclose(jax.vmap(traced)(jnp.ones(2)), 1.0)


def test_a_program_is_not_shared_between_functions_that_changed():
    """The trial of a function sees what the function does now."""
    state = {"fn": lambda x: x}
    fn = lambda theta, x: state["fn"](x)
    sc.FunctionCorruption(fn, (5,))
    state["fn"] = jnp.abs
    with pytest.raises(ValueError, match="`linear`"):
        sc.FunctionCorruption(fn, (5,))
