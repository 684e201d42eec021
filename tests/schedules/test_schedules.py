"""Schedules against their formulas, their derivatives and their inverses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde import schedules
from softsde.schedules import (
    EDM,
    VP,
    BoundedCosineVP,
    BoundedCosineVPSignal,
    Constant,
    Cosine,
    CosineVP,
    CosineVPSignal,
    DiscreteVP,
    DiscreteVPSignal,
    Geometric,
    Linear,
    PiecewiseLinear,
    Sigmoid,
    SubVP,
    TimeWarp,
    TwoPhase,
    VPSignal,
)

BETAS = np.array([0.02, 0.05, 0.03, 0.1])

# Made in each test, so that arrays have its precision.
CURVES = {
    "constant": lambda: Constant(0.3),
    "geometric": lambda: Geometric(0.01, 50.0),
    "two_phase": lambda: TwoPhase(0.01, 0.1, 0.2),
    "piecewise": lambda: PiecewiseLinear([0.2, 0.5, 1.0], [0.01, 2.0, 18.0]),
    "piecewise_falling": lambda: PiecewiseLinear([0.0, 0.4, 1.0], [1.0, 0.9, 0.0]),
    "linear": lambda: Linear(1.0, 0.0),
    "cosine": lambda: Cosine(0.01, 1.0),
    "sigmoid": lambda: Sigmoid(1.0, 0.01, steepness=6.0),
    "edm": lambda: EDM(),
    "vp_signal": lambda: VPSignal(),
    "vp": lambda: VP(0.2, 12.0),
    "sub_vp": lambda: SubVP(),
    "constant_beta": lambda: VP(3.0, 3.0),
    "cosine_vp_signal": lambda: CosineVPSignal(),
    "cosine_vp": lambda: CosineVP(),
    "bounded_signal": lambda: BoundedCosineVPSignal(-10.0, 8.0),
    "bounded": lambda: BoundedCosineVP(-10.0, 8.0),
    "discrete_vp_signal": lambda: DiscreteVPSignal(BETAS),
    "discrete_vp": lambda: DiscreteVP(BETAS),
    "time_warp": lambda: TimeWarp(
        Geometric(0.01, 50.0), TimeWarp(Linear(1.0, 0.2), Cosine(0.0, 1.0))
    ),
}


def _sigmoid(u):
    return 1 / (1 + np.exp(-u))


def _solved_sigmoid(t):
    """The constants of A s(k (t - 1/2)) + B from the two ends, as a linear system."""
    ends = np.array([[_sigmoid(-3.0), 1.0], [_sigmoid(3.0), 1.0]])
    a, b = np.linalg.solve(ends, [1.0, 0.01])
    return a * _sigmoid(6.0 * (t - 0.5)) + b


def _signal(t, low=0.1, high=20.0):
    return np.exp(-0.25 * t**2 * (high - low) - 0.5 * t * low)


def _alpha_bar(t, s=0.008):
    f = lambda u: np.cos((u + s) / (1 + s) * np.pi / 2) ** 2
    return f(t) / f(0)


def _log_snr(t, least=-10.0, greatest=8.0):
    """The cosine schedule by its log signal-to-noise ratio, from 8 to -10."""
    first, last = np.arctan(np.exp(-greatest / 2)), np.arctan(np.exp(-least / 2))
    return -2 * np.log(np.tan(first + (last - first) * t))


# As their papers write them.
FORMULAS = {
    "linear": lambda t: 1 - t,
    "cosine": lambda t: 0.01 + 0.99 * (1 - np.cos(np.pi * t)) / 2,
    "sigmoid": _solved_sigmoid,
    "edm": lambda t: (0.002 ** (1 / 7) + t * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7,
    "vp_signal": _signal,
    "vp": lambda t: np.sqrt(1 - _signal(t, 0.2, 12.0) ** 2),
    "sub_vp": lambda t: 1 - _signal(t) ** 2,
    "constant_beta": lambda t: np.sqrt(1 - np.exp(-3 * t)),
    "cosine_vp_signal": lambda t: np.sqrt(_alpha_bar(t)),
    "cosine_vp": lambda t: np.sqrt(1 - _alpha_bar(t)),
    "bounded_signal": lambda t: np.sqrt(_sigmoid(_log_snr(t))),
    "bounded": lambda t: np.sqrt(_sigmoid(-_log_snr(t))),
    "time_warp": lambda t: 0.01 * 5000 ** (1 - 0.8 * (1 - np.cos(np.pi * t)) / 2),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(x64, name):
    times = np.linspace(0, 1, 11)
    values = jax.vmap(CURVES[name]())(jnp.asarray(times))
    # Their own rounding: a difference from 1 may be off by eps, its root by sqrt(eps).
    np.testing.assert_allclose(
        values[1:], FORMULAS[name](times[1:]), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(values[0], FORMULAS[name](0.0), atol=1e-7)


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_ends_are_hit_to_the_last_bit(name):
    start, end = {"linear": (1.0, 0.0), "cosine": (0.01, 1.0)}.get(name, (1.0, 0.01))
    schedule = CURVES[name]()
    assert float(schedule(jnp.float32(0))) == np.float32(start)
    assert float(schedule(jnp.float32(1))) == pytest.approx(end, abs=1e-7)


@pytest.mark.parametrize(
    ("make", "leading"),
    [
        # The first terms of each series at zero: a difference of ones would lose them.
        (lambda: VP(), lambda t: np.sqrt(0.1 * t)),
        (lambda: SubVP(), lambda t: 0.1 * t),
        (
            lambda: CosineVP(),
            lambda t: np.sqrt(np.pi * t / 1.008 * np.tan(np.pi / 2 * 0.008 / 1.008)),
        ),
        (lambda: Cosine(0.0, 1.0), lambda t: np.pi**2 * t**2 / 4),
        (lambda: Sigmoid(0.0, 1.0), lambda t: 5 * t / (np.sinh(5.0))),
    ],
    ids=["vp", "sub_vp", "cosine_vp", "cosine", "sigmoid"],
)
def test_small_times_do_not_cancel_in_single_precision(make, leading):
    t = 1e-8
    assert float(make()(jnp.float32(t))) == pytest.approx(leading(t), rel=2e-6)


def test_vp_is_that_of_score_sde(x64):
    assert float(VPSignal()(0.5)) == pytest.approx(0.2811828807967524, abs=1e-15)
    assert float(VP()(0.5)) == pytest.approx(0.9596542020680363, abs=1e-15)
    assert float(SubVP()(0.5)) == pytest.approx(0.9209361875468394, abs=1e-15)


@pytest.mark.parametrize("name", ["geometric", "affine", "cosine", "sigmoid"])
def test_noise_sequence(x64, name):
    """200 levels from 1 to 0.01, each by the formula of its name."""
    i = np.arange(200) / 199
    expected = {
        "geometric": lambda: np.geomspace(1, 0.01, 200),
        "affine": lambda: np.linspace(1, 0.01, 200),
        # cos(a i + b) from 1 to 0.01: a quarter period, not a half.
        "cosine": lambda: np.cos(np.arccos(0.01) * i),
        # From the odds 100 to their inverse.
        "sigmoid": lambda: 1.01 / (1 + 100 ** (2 * i - 1)),
    }[name]()
    np.testing.assert_allclose(schedules.noise_sequence(name), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["geometric", "affine", "cosine", "sigmoid"])
def test_noise_sequence_scales_with_its_levels(x64, name):
    ones = schedules.noise_sequence(name, 30, 1.0, 0.02)
    np.testing.assert_allclose(
        schedules.noise_sequence(name, 30, 50.0, 1.0), 50 * ones, rtol=1e-12
    )
    assert float(ones[0]) == 1.0 and float(ones[-1]) == 0.02


def test_the_sigmoid_has_the_parameters_of_its_formula(x64):
    """`m s(a i + b) + p`: all four given, or two that follow from the ends."""
    i = np.arange(50)
    given = schedules.noise_sequence("sigmoid", 50, m=1.2, p=0.005, a=-0.15, b=3.0)
    expected = 1.2 / (1 + np.exp(-(-0.15 * i + 3.0))) + 0.005
    np.testing.assert_allclose(given, expected, rtol=1e-12)
    found = schedules.noise_sequence("sigmoid", 50, 1.0, 0.01, m=1.3, p=0.002)
    # The logit of what is left of height and least value is a straight line.
    share = (np.asarray(found) - 0.002) / 1.3
    logit = np.log(share / (1 - share))
    ends = [np.log(v / (1.3 - v)) for v in (0.998, 0.008)]
    np.testing.assert_allclose(logit, np.linspace(*ends, 50), rtol=1e-10)
    assert (float(found[0]), float(found[-1])) == (1.0, 0.01)
    # By default it is symmetric: the middle is the mean of the ends.
    for p in (0.0, 0.004):
        middle = schedules.noise_sequence("sigmoid", 51, 1.0, 0.01, p=p)[25]
        assert float(middle) == pytest.approx(0.505, rel=1e-12)


def test_parameters_of_a_sequence_that_has_none_are_refused():
    with pytest.raises(ValueError, match="sigmoid for 'cosine'"):
        schedules.noise_sequence("cosine", 5, m=1.0)
    with pytest.raises(ValueError, match=r"`a=-0\.1` and `b=None`; expected both"):
        schedules.noise_sequence("sigmoid", 5, a=-0.1)
    with pytest.raises(ValueError, match=r"between 0\.0 and 1\.0; its ends 1\.0"):
        schedules.noise_sequence("sigmoid", 5, m=1.0)
    with pytest.raises(ValueError, match="do not fall"):
        schedules.noise_sequence("sigmoid", 5, m=1.0, a=0.1, b=0.0)


def test_the_cosine_sequence_halves_where_a_quarter_period_does(x64):
    # The middle of 201 levels: cos(arccos(0.01) / 2) = sqrt((1 + 0.01) / 2).
    middle = schedules.noise_sequence("cosine", 201)[100]
    assert float(middle) == pytest.approx(np.sqrt(1.01 / 2), abs=1e-14)


def test_geometric_is_that_of_score_sde(x64):
    # VE(0.01, 50) at one half: sqrt(0.01 * 50).
    assert float(Geometric(0.01, 50.0)(0.5)) == pytest.approx(0.5**0.5, abs=1e-14)


def test_two_phase_grows_then_holds(x64):
    schedule = TwoPhase(0.01, 0.1, 0.2)
    expected = {0.0: 0.01, 0.1: 0.01 * 10**0.5, 0.2: 0.1, 0.6: 0.1, 1.0: 0.1}
    for t, value in expected.items():
        assert float(schedule(t)) == pytest.approx(value, abs=1e-15)
    assert float(schedule(0.7)) == float(schedule(0.3)), "held to the last bit"


def test_piecewise_linear_interpolates_and_holds_outside(x64):
    times, levels = [0.2, 0.5, 1.0], [0.01, 2.0, 18.0]
    schedule = PiecewiseLinear(times, levels)
    for t in (0.0, 0.2, 0.3, 0.5, 0.9, 1.0, 1.2):
        expected = np.interp(t, times, levels)
        assert float(schedule(t)) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", CURVES)
def test_derivative(x64, name):
    schedule = CURVES[name]()
    times, h = jnp.array([0.05, 0.31, 0.77]), 1e-6
    later, earlier = jax.vmap(schedule)(times + h), jax.vmap(schedule)(times - h)
    np.testing.assert_allclose(
        jax.vmap(schedule.derivative)(times),
        (later - earlier) / (2 * h),
        rtol=1e-7,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", [name for name in CURVES if name != "constant"])
def test_inverse(x64, name):
    schedule = CURVES[name]()
    first, last = {"two_phase": (0.0, 0.2), "piecewise": (0.2, 1.0)}.get(name, (0, 1))
    times = jnp.linspace(first, last, 7)
    # At an end that is at rest the inverse has a square root's precision.
    loose = name in ("cosine", "time_warp", "vp_signal")
    np.testing.assert_allclose(
        jax.vmap(lambda t: schedule.inverse(schedule(t)))(times),
        times,
        atol=1e-7 if loose else 1e-12,
    )


def test_inverse_of_a_flat_stretch_is_its_start(x64):
    schedule = PiecewiseLinear([0.0, 0.4, 0.6, 1.0], [0.0, 1.0, 1.0, 2.0])
    assert float(schedule.inverse(1.0)) == pytest.approx(0.4)
    schedule = PiecewiseLinear([0.0, 0.4, 0.6, 1.0], [2.0, 1.0, 1.0, 0.0])
    assert float(schedule.inverse(1.0)) == pytest.approx(0.4)
    assert float(schedule.inverse(0.25)) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="no inverse"):
        Constant(1.0).inverse(1.0)


@pytest.mark.parametrize("name", CURVES)
def test_json_round_trip(tmp_path, name):
    path = tmp_path / "schedule.json"
    schedule = CURVES[name]()
    schedule.save(path)
    read = schedules.load(path)
    assert type(read) is type(schedule)
    for t in np.linspace(0, 1, 11):
        assert float(read(jnp.float32(t))) == float(schedule(jnp.float32(t)))
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_a_file_keeps_its_provenance(tmp_path):
    path = tmp_path / "levels.json"
    schedule = Geometric(0.1, 2.0)
    schedule.save(path, provenance={"data": "none", "images": 0})
    assert schedules.provenance(path) == {"data": "none", "images": 0}
    assert schedules.load(path).to_dict() == schedule.to_dict()
    schedule.save(path)
    assert schedules.provenance(path) == {}
    assert "provenance" not in json.loads(path.read_text())


def test_a_provenance_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        schedules.provenance(tmp_path / "nothing.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"does not hold a schedule.*got list"):
        schedules.provenance(tmp_path / "list.json")


def test_a_file_that_is_no_schedule_is_named(tmp_path):
    path = tmp_path / "schedule.json"
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"schedule\.json does not hold a schedule"):
        schedules.load(path)
    path.write_text(json.dumps({"schedule": "Cubic"}))
    with pytest.raises(ValueError, match="'Cubic'"):
        schedules.load(path)
    path.write_text(json.dumps({"schedule": "Constant", "valeu": 1.0}))
    with pytest.raises(ValueError, match="valeu"):
        schedules.load(path)
    path.write_text(
        json.dumps({"schedule": "TimeWarp", "base": {"schedule": "Linear"}, "warp": 2})
    )
    with pytest.raises(ValueError, match="`Linear` has the parameters"):
        schedules.load(path)
    path.write_text('{"schedule": "Const')
    with pytest.raises(ValueError, match="does not hold a schedule"):
        schedules.load(path)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="`minimum` > 0"):
        Geometric(0.0, 1.0)
    with pytest.raises(ValueError, match="`minimum` < `maximum`"):
        Geometric(1.0, 0.5)
    with pytest.raises(ValueError, match="share of the time"):
        TwoPhase(0.01, 0.1, 1.5)
    with pytest.raises(ValueError, match=r"never turn back; from index 1 .* \[2.0, 1"):
        PiecewiseLinear([0.0, 0.5, 1.0], [0.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="never turn back; from index 0"):
        PiecewiseLinear([0.0, 0.5, 1.0], [1.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="strictly increase"):
        PiecewiseLinear([0.0, 0.5, 0.5], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="one level for each time"):
        PiecewiseLinear([0.0, 1.0], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        PiecewiseLinear([0.0, 1.0], [0.0, float("nan")])
    with pytest.raises(ValueError, match="`value` >= 0"):
        Constant(-1.0)
    with pytest.raises(ValueError, match="`start` and `end` that differ"):
        Linear(1.0, 1.0)
    with pytest.raises(ValueError, match="`Cosine` needs finite"):
        Cosine(0.0, float("inf"))
    with pytest.raises(ValueError, match="`steepness` > 0"):
        Sigmoid(0.0, 1.0, steepness=0.0)
    with pytest.raises(ValueError, match="`sigma_min` < `sigma_max`"):
        EDM(80.0, 0.002)
    with pytest.raises(ValueError, match="`VP` needs `beta_min` <= `beta_max`"):
        VP(20.0, 0.1)
    with pytest.raises(ValueError, match="`offset` > 0"):
        CosineVP(0.0)
    with pytest.raises(ValueError, match="two levels, got 1"):
        schedules.noise_sequence("affine", 1)
    with pytest.raises(ValueError, match="`first` > `last`"):
        schedules.noise_sequence("affine", 5, 0.01, 1.0)


def test_a_wrong_kind_is_named(as_a_user):
    with pytest.raises(ValueError, match="Unknown noise sequence 'linear'"):
        schedules.noise_sequence("linear")  # pyright: ignore
    with pytest.raises(TypeError, match="got function for `warp`"):
        TimeWarp(Linear(), lambda t: t)  # pyright: ignore
