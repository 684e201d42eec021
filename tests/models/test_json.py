"""Everything that is not a function is written to JSON and read back equal."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde import models
from softsde.models._json import Reader, Writer
from softsde.models._registry import known

SHAPE = (8, 8, 1)
c, s, p, o = ss.corruptions, ss.schedules, ss.parametrisations, ss.oracles


class Shade(c.AbstractCorruption):
    """A corruption of somebody's own."""

    rate: jax.Array
    name: str = eqx.field(static=True)

    def apply(self, theta, x):
        return x * jnp.exp(-theta * self.rate)


class Butterworth(eqx.Module):
    """A transfer function with parameters."""

    order: float

    def __call__(self, theta, squared):
        return 1 / (1 + (theta**2 * squared) ** self.order)


class Shift(eqx.Module):
    """A linear function with parameters."""

    step: int = eqx.field(static=True)

    def __call__(self, theta, x):
        return (1 - theta) * x + theta * jnp.roll(x, self.step, axis=1)


MINE = [Shade, Butterworth, Shift]


def _gaussian_prior():
    process = ss.soft_blur(SHAPE)
    data = np.random.default_rng(0).random((6, *SHAPE), np.float32)
    return ss.GaussianPrior.fit(process, data)


def _empirical_prior():
    process = ss.soft_blur(SHAPE)
    data = np.random.default_rng(0).random((6, *SHAPE), np.float32)
    return ss.EmpiricalPrior.fit(process, data, time=0.75)


# Made inside the tests, so that what they hold has the precision of the test.
MEMBERS = {
    "corruptions.CenterMask": lambda: c.CenterMask(SHAPE, "border"),
    "corruptions.Compose": lambda: c.Compose(c.SoftMask(SHAPE), c.Fade()),
    "corruptions.Desaturate": lambda: c.Desaturate([0.2, 0.3, 0.5]),
    "corruptions.Downsample": lambda: c.Downsample(SHAPE, (1, 8)),
    "corruptions.Fade": c.Fade,
    "corruptions.FunctionCorruption": lambda: c.FunctionCorruption(
        Shift(-1), SHAPE, c.Structure(differentiable=True), probe_level=0.25
    ),
    "corruptions.GaussianBlur": lambda: c.GaussianBlur(SHAPE, 4, "reflect"),
    "corruptions.HeatBlur": lambda: c.HeatBlur(SHAPE, "fourier"),
    "corruptions.Identity": c.Identity,
    "corruptions.Mix": lambda: c.Mix(
        c.Identity(), c.HeatBlur(SHAPE), weights=[0.1, 0.9]
    ),
    "corruptions.MotionBlur": lambda: c.MotionBlur(SHAPE, jnp.asarray(0.1)),
    "corruptions.RandomMask": lambda: c.RandomMask(SHAPE, key=jax.random.key(3)),
    "corruptions.Relevel": lambda: c.Relevel(
        c.Fade(), s.Linear(0.0, 0.7), level_range=(0.0, None), identity_level=0.0
    ),
    "corruptions.Scale": c.Scale,
    "corruptions.SoftMask": lambda: c.SoftMask(SHAPE, 0.3, "border"),
    "corruptions.SpectralFilter": lambda: c.SpectralFilter(
        SHAPE, Butterworth(2.5), "fourier", nonnegative=True, identity_level=0.0
    ),
    "corruptions.Structure": lambda: c.Structure(basis="dct", level_range=(0.0, 2.0)),
    "schedules.BoundedCosineVP": lambda: s.BoundedCosineVP(-9.0, 7.0),
    "schedules.BoundedCosineVPSignal": lambda: s.BoundedCosineVPSignal(-9.0, 7.0),
    "schedules.Constant": lambda: s.Constant(0.1),
    "schedules.Cosine": lambda: s.Cosine(0.1, 0.7),
    "schedules.CosineVP": lambda: s.CosineVP(0.01),
    "schedules.CosineVPSignal": lambda: s.CosineVPSignal(0.01),
    "schedules.DiscreteVP": lambda: s.DiscreteVP([0.1, 0.3, 0.2]),
    "schedules.DiscreteVPSignal": lambda: s.DiscreteVPSignal([0.1, 0.3, 0.2]),
    "schedules.EDM": lambda: s.EDM(0.01, 5.0, 3.0),
    "schedules.Geometric": lambda: s.Geometric(jnp.asarray(0.1), 7.0),
    "schedules.Linear": lambda: s.Linear(1.0, 0.1),
    "schedules.PiecewiseLinear": lambda: s.PiecewiseLinear(
        [0.1, 1 / 3, 1.0], [math.pi, 4.0, 5.1]
    ),
    "schedules.Sigmoid": lambda: s.Sigmoid(0.1, 0.9, 7.0),
    "schedules.SoftmaxWarp": lambda: s.SoftmaxWarp([0.1, -0.3, 1 / 7]),
    "schedules.SubVP": lambda: s.SubVP(0.2, 10.0),
    "schedules.TimeWarp": lambda: s.TimeWarp(
        s.Geometric(0.01, 5.0), s.SoftmaxWarp([0.1, -0.3])
    ),
    "schedules.TwoPhase": lambda: s.TwoPhase(0.02, 0.3, 0.4),
    "schedules.VP": lambda: s.VP(0.2, 10.0),
    "schedules.VPSignal": lambda: s.VPSignal(0.2, 10.0),
    "processes.Process": lambda: ss.Process(
        Shade(jnp.asarray(0.3), "mine"), s.Linear(0.0, 1.0), s.TwoPhase(), t1=0.9
    ),
    "parametrisations.Clean": p.Clean,
    "parametrisations.EDM": lambda: p.EDM(0.3),
    "parametrisations.Noise": p.Noise,
    "parametrisations.Residual": p.Residual,
    "parametrisations.Score": p.Score,
    "parametrisations.Velocity": p.Velocity,
    "oracles.EmpiricalOracle": lambda: o.EmpiricalOracle(jnp.ones((3, 2))),
    "oracles.GaussianOracle": lambda: o.GaussianOracle(
        jnp.asarray([0.1, 0.2]), jnp.asarray([[1.0, 0.1], [0.1, 0.3]])
    ),
    "oracles.MixtureOracle": lambda: o.MixtureOracle(
        [0.25, 0.75], jnp.asarray([[0.1], [0.2]]), jnp.ones((2, 1, 1))
    ),
    "sampling.EmpiricalPrior": _empirical_prior,
    "sampling.FlatColourPrior": lambda: ss.sampling.FlatColourPrior.fit(
        ss.soft_blur(SHAPE),
        np.random.default_rng(0).random((6, *SHAPE), np.float32),
        time=0.75,
    ),
    "sampling.ExactPrior": lambda: ss.ExactPrior(
        o.EmpiricalOracle(jnp.ones((3, 2))), ss.ve(0.01, 5.0)
    ),
    "sampling.GaussianPrior": _gaussian_prior,
}
NAMED = {
    "ve": ss.ve,
    "vp": ss.vp,
    "subvp": ss.subvp,
    "ddpm": lambda: ss.processes.ddpm([0.1, 0.2, 0.3]),
    "cosine_vp": ss.cosine_vp,
    "edm": ss.edm,
    "rectified_flow": ss.rectified_flow,
    "soft_blur": lambda: ss.soft_blur(SHAPE),
    "soft_mask": lambda: ss.soft_mask(SHAPE),
    "hard_mask": lambda: ss.processes.hard_mask(SHAPE),
    "heat_dissipation": lambda: ss.heat_dissipation(SHAPE),
    "blurring_diffusion": lambda: ss.blurring_diffusion(SHAPE),
    "cold": lambda: ss.cold(c.Fade(), s.Linear(0.0, 1.0)),
}


def _through_text(content):
    return json.loads(json.dumps(content, allow_nan=False))


def test_the_table_has_every_class():
    assert MEMBERS.keys() == known().keys()


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", MEMBERS)
def test_every_class_is_read_back_equal(name, double):
    with jax.enable_x64(double):
        value = MEMBERS[name]()
        content = _through_text(models.to_json(value))
        assert content["type"] == name
        read = models.from_json(content, classes=MINE)
        assert type(read) is type(value)
        assert eqx.tree_equal(read, value, typematch=True)
        # Written again it is the same text.
        assert models.to_json(read) == content


@pytest.mark.parametrize("name", NAMED)
def test_every_named_process_is_read_back_equal(name):
    process = NAMED[name]()
    read = models.from_json(_through_text(models.to_json(process)))
    assert eqx.tree_equal(read, process, typematch=True)


def test_what_it_computes_is_the_same():
    """Equal as objects, and equal in what they do."""
    process = ss.blurring_diffusion(SHAPE)
    read = models.from_json(_through_text(models.to_json(process)))
    x = jax.random.normal(jax.random.key(0), SHAPE)
    for t in (0.0, 0.3, 1.0):
        assert jnp.array_equal(process.apply(t, x), read.apply(t, x))
        assert process.sigma(t) == read.sigma(t)


def test_functions_say_where_they_are():
    function = lambda theta, x: (1 - theta) * x
    blurs = c.FunctionCorruption(function, SHAPE)
    process = ss.Process(blurs, s.Linear(0.0, 0.5), s.TwoPhase())
    for value, path in (
        (process, "process.corruption.fn"),
        (blurs, "corruption.fn"),
        (c.SpectralFilter(SHAPE, lambda a, b: b * 0 + 1), "corruption.transfer"),
        (
            c.Compose(c.Fade(), c.Relevel(c.Scale(), lambda a: 1 - a)),
            r"corruption.members\[1\].level_map",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{path} is a function, and a function"):
            models.to_json(value)


class Clumsy(c.AbstractCorruption):
    """Its constructor does not accept what it keeps."""

    rate: float

    def __init__(self, rate):
        self.rate = 2 * rate

    def apply(self, theta, x):
        return x


class Forgetful(Clumsy.__bases__[0]):
    """Its constructor keeps nothing."""

    def __init__(self, rate):
        del rate

    def apply(self, theta, x):
        return x


class Sprawling(c.AbstractCorruption):
    """Its constructor takes anything."""

    def __init__(self, **rates):
        del rates

    def apply(self, theta, x):
        return x


def test_classes_that_cannot_be_made_again_are_refused():
    with pytest.raises(ValueError, match="another object after it was written"):
        models.to_json(Clumsy(1.0))
    with pytest.raises(ValueError, match="does not keep the argument `rate`"):
        models.to_json(Forgetful(1.0))
    with pytest.raises(ValueError, match="arguments of any name"):
        models.to_json(Sprawling())
    # Changed after it was made: its constructor would not give this.
    changed = eqx.tree_at(lambda v: v.start, s.Linear(0.0, 1.0), jnp.nan)
    with pytest.raises(ValueError, match=r"schedule.start is not a number \(NaN\)"):
        models.to_json(changed)


def test_classes_of_ones_own(as_a_user):
    shade = Shade(jnp.asarray(0.1), "mine")
    content = models.to_json(shade)
    assert content["type"] == "Shade"
    with pytest.raises(ValueError, match=r"has the type 'Shade', which is not known"):
        models.from_json(content)
    assert eqx.tree_equal(models.from_json(content, classes=[Shade]), shade)
    with pytest.raises(TypeError, match="which is not a class"):
        models.from_json(content, classes=[shade])  # pyright: ignore
    other = type("Shade", (), {})
    with pytest.raises(ValueError, match="two classes named `Shade`"):
        models.from_json(content, classes=[Shade, other])


def test_a_class_cannot_pass_for_one_of_the_library():
    class GaussianBlur(c.AbstractCorruption):
        def apply(self, theta, x):
            return x

    content = models.to_json(GaussianBlur())
    assert content["type"] == "GaussianBlur"
    library = models.to_json(c.GaussianBlur(SHAPE))
    read = models.from_json(library, classes=[GaussianBlur])
    assert type(read) is c.GaussianBlur


def test_traced_values_are_refused():
    @jax.jit
    def write(low):
        models.to_json(s.Geometric(low, 5.0))
        return low

    with pytest.raises(ValueError, match=r"schedule.minimum is traced"):
        write(0.1)


def test_only_objects_have_a_json_form():
    for value in (3, "text", [1, 2]):
        with pytest.raises(TypeError, match="expected a corruption"):
            models.to_json(value)


VALUES = {
    "nothing": lambda: None,
    "truth": lambda: True,
    "text": lambda: "Fréchet ✓",
    "integer": lambda: -(2**70),
    "number": lambda: 0.1 + 0.2,
    "least number": lambda: 5e-324,
    "minus zero": lambda: -0.0,
    "infinity": lambda: (math.inf, -math.inf),
    "nested": lambda: ((1, (2.5, None)), [1, [2]], {"a": (1,), "b": [()]}),
    "dtype": lambda: jnp.dtype("bfloat16"),
    "weak": lambda: jnp.asarray(1 / 3),
    "float32": lambda: jnp.asarray([[1 / 3, -jnp.inf], [1e-45, 3.4e38]]),
    "bfloat16": lambda: jnp.asarray([1 / 3, -0.0], jnp.bfloat16),
    "float16": lambda: jnp.asarray(1 / 3, jnp.float16),
    "integers": lambda: jnp.asarray([2**31 - 1, -(2**31)]),
    "unsigned": lambda: jnp.asarray([255, 0], jnp.uint8),
    "truths": lambda: jnp.asarray([[True], [False]]),
    "empty": lambda: jnp.zeros((3, 0, 2)),
    "numpy": lambda: np.asarray([1 / 3, 2 / 3]),
    "numpy scalar": lambda: np.float64(1 / 3),
    "numpy integer": lambda: np.asarray([2**64 - 1], np.uint64),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_equal_to_the_last_bit(name):
    value = VALUES[name]()
    content = _through_text(Writer().write(value, "value"))
    read = Reader({}).read(content, "value")
    assert type(read) is type(value)
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        assert read.dtype == value.dtype and read.shape == value.shape
        assert np.asarray(read).tobytes() == np.asarray(value).tobytes()
        if isinstance(value, jax.Array):
            assert read.weak_type == value.weak_type
    else:
        assert repr(read) == repr(value)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_draw_the_same(implementation):
    key = jax.random.key(7, impl=implementation)
    for value in (key, jax.random.split(key, (2, 3))):
        content = _through_text(Writer().write(value, "value"))
        read = Reader({}).read(content, "value")
        assert read.dtype == value.dtype and read.shape == value.shape
        data = jax.random.key_data
        assert jnp.array_equal(data(read), data(value))


def test_double_precision_is_not_halved_in_silence():
    with jax.enable_x64(True):
        schedule = s.PiecewiseLinear([0.1, 1.0], [0.1, 5.0])
        content = models.to_json(schedule)
    with pytest.raises(ValueError, match=r"times is float64.*enable_x64"):
        models.from_json(content)
    with jax.enable_x64(True):
        assert eqx.tree_equal(models.from_json(content), schedule, typematch=True)


GOOD = {"array": [0.0, 1.0], "dtype": "float32", "shape": [2]}
LEVELS = {"type": "schedules.PiecewiseLinear"}


def _levels(**changes):
    return LEVELS | {"arguments": {"times": GOOD, "levels": GOOD | changes}}


def _constant(value):
    return {"type": "schedules.Constant", "arguments": {"value": value}}


HOSTILE = {
    "no such class": ({"type": "os.system", "arguments": {}}, "is not known"),
    "a path to a class": (
        {"type": "softsde.corruptions.Fade", "arguments": {}},
        "is not known",
    ),
    "abstract": (
        {"type": "corruptions.AbstractCorruption", "arguments": {}},
        "is not known",
    ),
    "no name": ({"type": ["corruptions.Fade"], "arguments": {}}, "is not known"),
    "arguments are a list": (
        {"type": "corruptions.Fade", "arguments": []},
        "arguments is a list",
    ),
    "unknown argument": (
        {"type": "corruptions.Fade", "arguments": {"self": 1}},
        r"takes the arguments \[\]; the file has \['self'\]",
    ),
    "missing argument": (
        {"type": "schedules.Geometric", "arguments": {"minimum": 1.0}},
        "takes the arguments",
    ),
    "refused argument": (_constant(-1.0), "needs `value` >= 0"),
    "text": (_constant("0.1"), "cannot be made"),
    "NaN": (_constant(float("nan")), "the number nan"),
    "NaN by another way": (_constant({"float": "nan"}), "describes nothing"),
    "infinity": (_constant({"float": "inf"}), "finite"),
    "NaN in an array": (_levels(array=[0.0, float("nan")]), "that holds nan"),
    "infinity in an array": (_levels(array=[0.0, "inf"]), "finite"),
    "text in an array": (_levels(array=[0.0, "1"]), "that holds '1'"),
    "another shape": (_levels(shape=[3]), "has 2 numbers for the shape"),
    "a huge shape": (_levels(shape=[10**15]), "has 2 numbers for the shape"),
    "a negative shape": (_levels(shape=[-2]), "describes nothing"),
    "a shape of text": (_levels(shape=["2"]), "no list of numbers"),
    "wrong axes": (_levels(shape=[2, 1]), "wrong number of axes"),
    "objects": (_levels(dtype="object"), "cannot be written"),
    "no dtype": (_levels(dtype="float33"), "the dtype 'float33'"),
    "too large": (_levels(array=[0, 300], dtype="uint8"), "an array of uint8"),
    "a key of no kind": (
        _constant({"key": [0, 1], "impl": "mine", "shape": []}),
        "expected one of threefry2x32",
    ),
    "a key too short": (
        _constant({"key": [0], "impl": "threefry2x32", "shape": []}),
        "is not a key",
    ),
    "an array elsewhere": (_constant({"tensor": "x"}), "does not hold"),
    "a process elsewhere": (_constant({"shared": "process"}), "describes nothing"),
    "an unknown entry": (_constant({"code": "print()"}), "describes nothing"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_is_refused(name, as_a_user):
    content, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        models.from_json(content)
