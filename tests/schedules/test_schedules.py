"""Schedules against their formulas, their derivatives and their inverses."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from softsde import schedules
from softsde.schedules import Constant, Geometric, PiecewiseLinear, TwoPhase

# Made in each test, so that arrays have its precision.
CURVES = {
    "constant": lambda: Constant(0.3),
    "geometric": lambda: Geometric(0.01, 50.0),
    "two_phase": lambda: TwoPhase(0.01, 0.1, 0.2),
    "piecewise": lambda: PiecewiseLinear([0.2, 0.5, 1.0], [0.01, 2.0, 18.0]),
}


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
    for t in (0.05, 0.31, 0.77):
        h = 1e-6
        difference = (schedule(t + h) - schedule(t - h)) / (2 * h)
        assert float(schedule.derivative(t)) == pytest.approx(
            float(difference), rel=1e-7, abs=1e-12
        )


@pytest.mark.parametrize("name", ["geometric", "two_phase", "piecewise"])
def test_inverse(x64, name):
    schedule = CURVES[name]()
    last = {"two_phase": 0.2, "piecewise": 1.0, "geometric": 1.0}[name]
    first = {"two_phase": 0.0, "piecewise": 0.2, "geometric": 0.0}[name]
    for t in np.linspace(first, last, 7):
        assert float(schedule.inverse(schedule(t))) == pytest.approx(t, abs=1e-12)


def test_inverse_of_a_flat_stretch_is_its_start(x64):
    schedule = PiecewiseLinear([0.0, 0.4, 0.6, 1.0], [0.0, 1.0, 1.0, 2.0])
    assert float(schedule.inverse(1.0)) == pytest.approx(0.4)
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
    with pytest.raises(ValueError, match="never decrease"):
        PiecewiseLinear([0.0, 0.5, 1.0], [0.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="strictly increase"):
        PiecewiseLinear([0.0, 0.5, 0.5], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="one level a time"):
        PiecewiseLinear([0.0, 1.0], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        PiecewiseLinear([0.0, 1.0], [0.0, float("nan")])
    with pytest.raises(ValueError, match="`value` >= 0"):
        Constant(-1.0)
