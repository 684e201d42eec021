"""The page about training on many devices names options that exist."""

import pathlib
import re
import sys

import pytest

from experiments import compile_tpu, fetch, prepare, train

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "training-tpu.md"
COMMANDS = {
    "train": (train.main, ["cifar10_blur"]),
    "prepare": (prepare.main, []),
    "compile_tpu": (compile_tpu.main, []),
    "fetch": (fetch.main, []),
}


def options(command: str, text: str) -> set[str]:
    """The options of a command in the blocks of shell commands of a page."""
    found = set()
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if f"experiments.{command} " in line:
                _, _, rest = line.partition(f"experiments.{command} ")
                found |= set(re.findall(r"(--[\w.-]+)", rest))
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_exists(command, capsys, monkeypatch):
    text = PAGE.read_text()
    main, words = COMMANDS[command]
    monkeypatch.setattr(sys, "argv", [command, *words, "--help"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    help_ = capsys.readouterr().out
    named = options(command, text)
    if command == "train":
        named |= set(re.findall(r"`(--scale\.[\w.-]+)", text))
    assert f"experiments.{command} " in text
    assert not {option for option in named if option not in help_}
