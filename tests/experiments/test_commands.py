"""Every command: its help, its options, and the ends of mistakes."""

import json
import os
import runpy
import signal
import sys
import warnings

import pytest

from experiments import _cli, train
from experiments.__main__ import commands
from experiments._errors import CommandError, FolderError
from experiments._solvers import SolverConfig


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", commands())
def test_help_names_the_command(name, capsys, monkeypatch):
    """Each command is run as `python -m` runs it, so that it must reach its `main`."""
    module = f"experiments.{name}"
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(module, run_name="__main__")
    assert stop.value.code == 0
    assert f"python -m {module}" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", commands())
def test_every_command_takes_the_options_of_all(name, monkeypatch):
    """`--debug` and `--no-cache`, which `_cli.run` reads."""
    ran = []
    monkeypatch.setattr(_cli, "run", ran.append)
    runpy.run_module(f"experiments.{name}", run_name="__main__")
    assert len(ran) == 1


def test_options_reach_the_config(monkeypatch):
    words = ["x", "mnist_blur", "--network.channel-multipliers", "1", "2", "2"]
    words += ["--sampling.solver", "momentum", "--sampling.steps", "7"]
    monkeypatch.setattr(sys, "argv", [*words, "--folder", "there"])
    seen = []
    monkeypatch.setattr(train, "train", lambda *a, **k: seen.append((*a, k)) or 1 / 0)
    with pytest.raises(SystemExit):
        train.main()
    config, folder, record = seen[0]
    assert record["command"].endswith("--sampling.steps 7 --folder there")
    assert config.network.options["channel_multipliers"] == (1, 2, 2)
    # Options that were not given are the experiment's and the library's.
    assert config.network.options["base_channels"] == 48
    assert config.network.options["num_heads"] == 4
    assert config.sampling.sampler == SolverConfig(7, "momentum")
    assert config.data.source == "mnist" and str(folder) == "there"


@pytest.mark.parametrize(
    "error, code, said",
    [
        (ValueError("too few images"), 1, "error: too few images"),
        (CommandError("`--steps` is 0"), 2, "error: `--steps` is 0"),
        (FolderError("no run"), 1, "error: no run"),
        (KeyError("x"), 1, "KeyError: 'x'\nThis was not expected"),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_mistakes_end_in_their_message(error, code, said, capsys):
    for debug in (False, True):
        with pytest.raises(SystemExit) as stop, _cli.plain_errors(debug=debug):
            raise error
        assert stop.value.code == code
        printed = capsys.readouterr().err
        assert said in printed and ("Traceback" in printed) == debug


def test_a_warning_is_a_line(capsys):
    """Without the place in the code, which `--debug` shows."""
    with _cli.plain_errors():
        warnings.simplefilter("always")
        warnings.warn("too few samples", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: too few samples\n"
    with pytest.warns(UserWarning), _cli.plain_errors(debug=True):
        warnings.warn("too few samples", UserWarning, stacklevel=1)


@pytest.mark.parametrize("text", ["a line\n", "lines\n" * 20_000])
def test_a_reader_that_leaves_is_no_error(text, monkeypatch, capfd):
    """A pipe to `head` is shut early: short texts fail at the end, long ones before."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe, pytest.raises(SystemExit) as stop:
        monkeypatch.setattr("sys.stdout", pipe)
        with _cli.plain_errors():
            print(text)
    assert stop.value.code == 128 + signal.SIGPIPE
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("error", [ValueError("no images"), BrokenPipeError("of data")])
def test_an_error_is_said_also_if_the_reader_has_left(error, monkeypatch, capfd):
    """So is a broken pipe that is not that of the output."""
    reader, writer = os.pipe()
    with open(writer, "w") as pipe, pytest.raises(SystemExit) as stop:
        monkeypatch.setattr("sys.stdout", pipe)
        with _cli.plain_errors():
            if not isinstance(error, BrokenPipeError):
                print("a line")
                os.close(reader)
            raise error
    assert stop.value.code == 1
    assert str(error) in capfd.readouterr().err


def test_a_command_needs_no_output(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with _cli.plain_errors():
        print("to nobody")


@pytest.mark.slow
def test_quickstart_makes_digits(tmp_path):
    from experiments import quickstart

    command = quickstart.Quickstart(tmp_path / "quick")
    paths = quickstart.quickstart(command)
    assert all(path.exists() for path in paths)
    measured = (p for p in paths if p.parent.name == "evaluation")
    report = json.loads(next(p for p in measured if p.suffix == ".json").read_text())
    figures, real = report["samples"], report["held_out"]
    # Most samples lie among the digits, and they are not copies.
    assert figures["precision"] > 0.6
    assert figures["recall"] > 0.4
    assert figures["class_total_variation"] < 0.25
    assert figures["nearest_training_image"] > 0.5 * real["nearest_training_image"]
