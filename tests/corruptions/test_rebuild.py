"""A corruption can be made again from the arguments that its attributes hold."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import softsde as ss
from softsde import corruptions as sc

from . import _family as family

CASES = {
    **{name: (make, shape) for name, (make, shape, _) in family.cases().items()},
    "motion_array": (lambda s: sc.MotionBlur(s, jnp.float32(20.0)), family.IMAGE),
    "over_time": (
        lambda s: sc.Compose(
            sc.Relevel(
                sc.Mix(sc.HeatBlur(s), sc.Identity(), weights=[0.9, 0.1]),
                ss.schedules.Cosine(0.0, 20.0),
                differentiable=True,
                level_range=(0.0, 1.0),
            ),
            sc.Relevel(sc.Scale(), ss.schedules.Cosine(1.0, 0.0)),
        ),
        family.IMAGE,
    ),
    "module": (
        lambda s: sc.FunctionCorruption(
            Gain(jnp.ones(s)), s, sc.Structure(symmetric=True), probe_level=0.2
        ),
        family.VECTOR,
    ),
}


class Gain(eqx.Module):
    gain: jax.Array

    def __call__(self, theta, x):
        return (1 - theta) * x + theta * self.gain * x


def rebuilt(corruption):
    """As the writer of models does it: by the names of the constructor's parameters."""
    positional, named = [], {}
    for name, parameter in inspect.signature(type(corruption)).parameters.items():
        value = getattr(corruption, name)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            positional = [rebuilt(member) for member in value]
        else:
            named[name] = value
    return type(corruption)(*positional, **named)


@pytest.mark.parametrize("name", CASES)
def test_the_attributes_are_arguments_of_an_equal_corruption(name):
    make, shape = CASES[name]
    corruption = make(shape)
    again = rebuilt(corruption)
    assert bool(eqx.tree_equal(corruption, again, typematch=True))
    assert again.structure == corruption.structure


def test_every_family_is_among_the_cases():
    made = {type(make(shape)) for make, shape in CASES.values()}
    families = {
        value
        for value in vars(sc).values()
        if inspect.isclass(value)
        and issubclass(value, sc.AbstractCorruption)
        and not value.__name__.startswith("Abstract")
    }
    assert families <= made


def test_the_order_of_a_random_mask_needs_no_key(key):
    mask = sc.RandomMask((4, 5, 2), key=key)
    # As a file would hold it.
    again = sc.RandomMask((4, 5, 2), ranks=mask.ranks.tolist())
    assert bool(eqx.tree_equal(mask, again))
    assert mask.key is None


def test_mistakes_in_the_order_are_named(key):
    for arguments in ({}, {"key": key, "ranks": [2, 0, 1]}):
        with pytest.raises(ValueError, match=r"either `key`.* or `ranks`"):
            sc.RandomMask((3,), **arguments)
    for ranks in ([0, 1, 1], [1, 2, 3], [0, 1]):
        with pytest.raises(ValueError, match="integers from 0 to 2, each once"):
            sc.RandomMask((3,), ranks=ranks)
