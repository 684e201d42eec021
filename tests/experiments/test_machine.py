"""What the commands ask of the machine."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")

#: Prints how many pages the second of two blocks of 64 MiB took from the system.
SECOND_BLOCK = """
import resource, sys
from experiments._machine import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**26)
before = faults()
bytearray(2**26)
print(faults() - before)
"""


def _pages_of_second_block(mode: str, **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SECOND_BLOCK, mode],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told"
)
def test_freed_memory_is_kept_for_its_next_use():
    """A second block of one size takes no pages anew, unless the user said how."""
    assert _pages_of_second_block("keep") < PAGES // 100
    freed = _pages_of_second_block("leave")
    if freed < PAGES // 2:
        pytest.skip(f"this system takes {freed} pages for {PAGES}: they are huge")
    assert _pages_of_second_block("keep", MALLOC_ARENA_MAX="2") > PAGES // 2
