"""Learning-rate schedules against their formula, and arguments that make no sense."""

import itertools

import numpy as np
import pytest

from softsde import train


def test_warm_up_then_constant(x64):
    rate = train.learning_rate_schedule(0.3, warmup_steps=4)
    expected = [0.075, 0.15, 0.225, 0.3, 0.3, 0.3]
    np.testing.assert_allclose([rate(n) for n in range(6)], expected, rtol=1e-14)
    assert train.learning_rate_schedule(0.3, warmup_steps=0)(0) == 0.3


def test_cosine_goes_from_the_peak_to_zero(x64):
    rate = train.learning_rate_schedule(
        2.0, warmup_steps=10, total_steps=110, schedule="cosine"
    )
    # A half cosine: the peak, half of it half way, three quarters at a third.
    for n, expected in ((9, 2.0), (10, 2.0), (60, 1.0), (110, 0.0), (500, 0.0)):
        np.testing.assert_allclose(rate(n), expected, atol=1e-14)
    falling = [float(rate(n)) for n in range(10, 111)]
    assert all(a > b for a, b in itertools.pairwise(falling))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"learning_rate": 0.0}, "`learning_rate` must be positive.*got 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be.*got nan"),
        ({"clip": -1.0}, "`clip` must be positive.*`clip=None`"),
        ({"warmup_steps": -1}, "`warmup_steps` must be at least 0"),
        ({"schedule": "cosine"}, "needs `total_steps` greater.*total_steps=None"),
        ({"schedule": "cosine", "total_steps": 9}, "= 1000, got `total_steps=9`"),
        ({"weight_decay": -0.1}, "`weight_decay` must be at least 0"),
        ({"b2": 1.0}, r"`b2` must lie in \[0, 1\), got 1.0"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        train.make_optimiser(**arguments)
