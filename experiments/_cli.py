"""Helpers of all commands: reading options, reporting errors, and the last lines.

A command ends with the exit code 0 if it did its work, 1 if a file, a folder or the
data would not do, 2 if its options are wrong, and 128 + n after the signal n. If the
reader of its output leaves early, as `head` does, it ends with 141 and no message.
"""

import contextlib
import json
import os
import shlex
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import tyro

from softsde._files import write_json

from ._errors import CommandError
from ._output import LEFT, reader_left

T = TypeVar("T")

_FLAG = "--xla_force_host_platform_device_count"

#: Options of every command, which are read before all others.
COMMON = """\
Options of every command:
  --debug       show the traceback of an error
  --no-cache    compile anew, instead of keeping compiled programs in a cache folder
                ($SOFTSDE_CACHE, or ~/.cache/softsde/compiled)
"""


def run(main: Callable[[], None]) -> None:
    """Runs the command: reads the common options, and reports errors in one paragraph.

    **Arguments:**

    - `main`: reads its own options from `sys.argv`.
    """
    words = sys.argv[1:]
    debug, cached = "--debug" in words, "--no-cache" not in words
    sys.argv[1:] = [word for word in words if word not in ("--debug", "--no-cache")]
    with plain_errors(debug=debug):
        use_cores()
        if cached:
            use_cache()
        main()


def use_cores() -> None:
    """Makes the CPU look like several devices, over which batches are split.

    On one device XLA does not keep many cores busy with a small network. Two devices
    on two cores train 1.2 to 1.3 times as fast (`benchmarks/unet_throughput.py`). It
    has no effect once JAX runs, or if the user has chosen a number.
    """
    if _FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        # Only Linux says how many of the cores this process may use.
        cores = os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):
        # A power of two, because batches are split evenly.
        jax.config.update("jax_num_cpu_devices", 1 << (cores.bit_length() - 1))


def cache_folder() -> Path:
    """The folder of compiled programs."""
    named = os.environ.get("SOFTSDE_CACHE")
    default = Path.home() / ".cache" / "softsde" / "compiled"
    return Path(named).expanduser() if named else default


#: Whether this process keeps compiled programs.
_keeps = False


def use_cache() -> None:
    """Keeps compiled programs, so that the next start of a command compiles nothing.

    A folder that cannot be written to only costs the time to compile.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        say(f"Compiled programs are not kept: {error}.")
        return
    global _keeps
    _keeps = True
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def say(text: str) -> None:
    """A line for people, on the error stream: it is seen at once."""
    print(text, file=sys.stderr, flush=True)


def parse(command: type[T], module: str, description: str | None) -> T:
    """Reads the options of a command."""
    return tyro.cli(
        command,
        prog=f"python -m {module}",
        description=f"{(description or '').strip()}\n\n{COMMON}",
    )


@contextlib.contextmanager
def plain_errors(*, debug: bool = False) -> Iterator[None]:
    """An error ends the command with its message and an exit code.

    A warning is a line. Where in the code it comes from says nothing to a user.

    **Arguments:**

    - `debug`: whether to show the traceback too, and the place of a warning.
    """
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.showwarning = _warn
            yield
        if reader_left():
            sys.exit(LEFT)
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        say("\nInterrupted.")
        sys.exit(130)
    except BrokenPipeError as error:
        if reader_left():
            sys.exit(LEFT)
        # Another pipe: of a process of the loader, say.
        _end(error, str(error), 1, debug)
    except CommandError as error:
        _end(error, str(error), error.code, debug)
    except Exception as error:
        text = str(error)
        # Messages of these are written for users. Any other is a fault of the program,
        # or of a library below it.
        ours = (ValueError, TypeError, OSError, ImportError, RuntimeError)
        if not isinstance(error, ours) or type(error).__module__.startswith("jax"):
            first = text.strip().splitlines()[:1]
            text = (
                f"{type(error).__name__}: {' '.join(first)}\nThis was not expected. "
                "The same command with `--debug` shows where it happened."
            )
        _end(error, text, 1, debug)
    finally:
        reader_left()


def _warn(message: Warning | str, category: type[Warning], *place: Any) -> None:
    say(f"warning: {message}")


def _end(error: Exception, text: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    say("\n" + "\n".join([f"error: {text.strip()}", *vars(error).get("__notes__", [])]))
    sys.exit(code)


@contextlib.contextmanager
def stage(text: str, *, every: float = 8.0) -> Iterator[None]:
    """Says what is being done, and that it is still being done.

    **Arguments:**

    - `text`: such as "Drawing 64 samples".
    - `every`: seconds between signs of life.
    """
    before = _times().get(text)
    say(f"{text}{'' if before is None else f' ({before:.0f} s the last time)'} ...")
    began, done = time.monotonic(), threading.Event()

    def remind() -> None:
        while not done.wait(every):
            say(f"  {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    seconds = time.monotonic() - began
    if seconds >= every:
        say(f"  done in {seconds:.0f} s")
        _remember(text, seconds)


def _times_file() -> Path:
    return cache_folder() / "seconds.json"


def _times() -> dict[str, float]:
    """Reads how long each stage took before; empty if nothing is kept."""
    if not _keeps:
        return {}
    try:
        found = json.loads(_times_file().read_text())
        return {str(text): float(seconds) for text, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(text: str, seconds: float) -> None:
    if not _keeps:
        return
    with contextlib.suppress(OSError):
        write_json(_times_file(), _times() | {text: seconds})


def command(module: str, *words: object) -> str:
    """A command as one types it."""
    return shlex.join(["python", "-m", module, *map(str, words)])


def train_on(source: str, images: Sequence[str]) -> str:
    """The command that trains on some data.

    **Arguments:**

    - `source`: a name or a path.
    - `images`: the options with which it is read.
    """
    from ._presets import PRESETS

    for name, preset in PRESETS.items():
        if preset.config.data.source == source:
            return command("experiments.train", name)
    return command("experiments.train", "images", "--data.source", source, *images)


def wrote(*paths: Path) -> None:
    """Names the files that a command has written."""
    print("\nWrote")
    for path in paths:
        # Nothing is drawn of a loss that was not logged yet, for one.
        if path.exists():
            print(f"  {path}")


def next_commands(*commands: str) -> None:
    """Names commands to run next, which can be pasted."""
    print("Next:")
    for command in commands:
        print(f"  {command}")
