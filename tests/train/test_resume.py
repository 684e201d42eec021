"""Runs that are killed, at any moment, end as if they had not been.

The children are forked from a server that has imported JAX but not started it, so that
a start costs a fraction of a second.
"""

import multiprocessing
import pathlib
import random
import signal
import time

import pytest
from regression import run_to_the_end

from softsde import train

NUM_STEPS = 60


@pytest.fixture(scope="module")
def start():
    """Start a run in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["grain", "softsde.train"])

    def start(folder: pathlib.Path, pause: float = 0.0):
        arguments = (str(folder), NUM_STEPS, pause)
        process = context.Process(target=run_to_the_end, args=arguments, daemon=True)
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    return folder


def progress(folder: pathlib.Path) -> int:
    """Counts lines and checkpoints: the number changes while training is on."""
    curve = folder / "metrics.jsonl"
    lines = curve.read_bytes().count(b"\n") if curve.exists() else 0
    checkpoints = folder / "checkpoints"
    return lines + (len(list(checkpoints.iterdir())) if checkpoints.is_dir() else 0)


def is_writing(folder: pathlib.Path) -> bool:
    return any((folder / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def kill(process, folder, *, delay: float, while_writing: bool) -> bool:
    """SIGKILL the run once it trains; whether that came before its end."""
    start = progress(folder)
    while process.is_alive() and progress(folder) == start:
        time.sleep(0.002)
    if while_writing:
        while process.is_alive() and not is_writing(folder):
            pass
    time.sleep(delay)
    killed = process.is_alive()
    process.kill()
    process.join()
    return killed


def check_kills(start, uninterrupted, folder, kills):
    """Kill a run once for each `(delay, while_writing)`, and compare its end."""
    writes_cut = landed = 0
    for delay, while_writing in kills:
        landed += kill(
            start(folder, pause=0.03),
            folder,
            delay=delay,
            while_writing=while_writing,
        )
        writes_cut += is_writing(folder)
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    for name in ("final.bin", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    return landed, writes_cut


@pytest.mark.slow
def test_the_loss_curve_is_complete(uninterrupted):
    rows = train.read_metrics(uninterrupted / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(5, NUM_STEPS + 1, 5))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


@pytest.mark.slow
def test_three_kills(start, uninterrupted, tmp_path):
    kills = [(0.0, False), (0.005, True), (0.15, False)]
    landed, _ = check_kills(start, uninterrupted, tmp_path, kills)
    assert landed >= 2, "the run must not be over before it is killed"


@pytest.mark.slow
def test_twenty_kills(start, uninterrupted, tmp_path):
    """At random moments, every other one while a checkpoint is being written."""
    draw = random.Random(0)
    landed = writes_cut = 0
    for part in range(5):
        kills = [(draw.uniform(0, 0.4), False), (draw.uniform(0, 0.03), True)] * 2
        found = check_kills(start, uninterrupted, tmp_path / str(part), kills)
        landed, writes_cut = landed + found[0], writes_cut + found[1]
    assert landed == 20
    assert writes_cut >= 3, "some kills must leave a half-written checkpoint"


def test_termination_is_orderly(start, uninterrupted, tmp_path):
    """SIGTERM, as a queue sends it: a checkpoint of that moment, and a code that says
    that the work is not done."""
    process = start(tmp_path, pause=0.03)
    while progress(tmp_path) < 4:
        time.sleep(0.002)
    process.terminate()
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert not is_writing(tmp_path)
    assert not (tmp_path / "final.bin").exists()
    check_kills(start, uninterrupted, tmp_path, [])
