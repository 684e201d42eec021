"""Callbacks of the loop: when they come, and what one that fails costs."""

import pytest
from regression import assert_same_state, by_hand, fit, steps_in

from softsde import train

# See `test_checkpoint.py`.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_callbacks(tmp_path):
    seen = []

    def look(state, n):
        # The state is that after step n.
        assert state.step == n
        seen.append((n, float(state.model.bias[0])))

    fit(tmp_path, 10, callbacks=[(4, look), (5, lambda state, n: seen.append(n))])
    expected = []
    for n in (4, 5, 8, 10):
        bias = float(by_hand(n)[0].model.bias[0])
        expected.append(n if n % 5 == 0 else (n, bias))
    assert seen == expected


class Failed(Exception):
    """Raised by a callback of these tests."""


@pytest.mark.parametrize("at, saved", [(6, [4, 6]), (8, [4, 8]), (10, [8, 10])])
def test_a_callback_that_fails_costs_no_training(tmp_path, at, saved):
    """A checkpoint may be due at its step or not, and it may be the last step."""
    seen = []

    def draw(state, n):
        # What is due at the same step is on the disk already.
        assert n % 4 or (tmp_path / "checkpoints" / str(n) / "state").is_dir()
        if n == at:
            raise Failed("cannot draw five channels")

    def look(state, n):
        assert state.step == n
        seen.append((n, float(state.model.bias[0])))

    def no_step(state, batch):
        pytest.fail("a step was made")

    with pytest.raises(Failed, match="five channels") as error:
        fit(tmp_path, 10, callbacks=[(2, draw)])
    assert f"at step {at}, which is saved" in "".join(error.value.__notes__)
    assert steps_in(tmp_path) == saved
    # If it still fails, that shows at once.
    with pytest.raises(Failed):
        fit(tmp_path, 10, callbacks=[(2, draw)], step=no_step)
    assert steps_in(tmp_path) == saved
    # When it is mended, the call that failed is made, and the run goes on.
    result = fit(tmp_path, 10, callbacks=[(2, look)])
    assert_same_state(result.state, by_hand(10)[0])
    calls = [n for n in (2, 4, 6, 8, 10) if n >= at]
    assert seen == [(n, float(by_hand(n)[0].model.bias[0])) for n in calls]
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [3, 6, 9]
    # A finished run makes no call twice.
    fit(tmp_path, 10, callbacks=[(2, no_step)], step=no_step)


def test_a_callback_that_fails_and_is_given_up(tmp_path):
    def draw(state, n):
        raise Failed

    with pytest.raises(Failed):
        fit(tmp_path, 10, callbacks=[(5, draw)])
    assert_same_state(fit(tmp_path, 10).state, by_hand(10)[0])


def test_a_session_that_dies_within_a_callback(tmp_path):
    """The checkpoint of the same step is there, and the call is made again."""
    seen = []

    def die(state, n):
        if n == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, 10, callbacks=[(4, die)])
    assert steps_in(tmp_path) == [4, 8]
    fit(tmp_path, 10, callbacks=[(4, lambda state, n: seen.append(n))])
    assert seen == [8]


def test_a_callback_that_spoils_the_state_is_still_what_is_reported(tmp_path):
    def spoil(state, n):
        state.model.weight.delete()
        raise Failed

    with pytest.raises(Failed):
        fit(tmp_path, 10, callbacks=[(6, spoil)])
    assert steps_in(tmp_path) == [4]


def test_callbacks_that_never_come(tmp_path):
    with pytest.raises(ValueError, match=r"\(every, function\).*at least 1, got 0"):
        fit(tmp_path, 3, callbacks=[(0, print)])
