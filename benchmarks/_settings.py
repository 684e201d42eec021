"""Times programs under several settings of XLA, which are read when it starts.

Each setting has a process of its own. The processes take turns, and the best of the
rounds counts, so that other work on the machine slows all of them alike.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

CORES = os.cpu_count() or 1
ONE = ""
#: A host device per core, each single-threaded.
MANY = (
    f"--xla_force_host_platform_device_count={CORES} --xla_cpu_multi_thread_eigen=false"
)


def serve_times(runs: Mapping[str, Callable[[], None]]) -> None:
    """Times each of the runs once for each line of input."""
    for _ in sys.stdin:
        seconds = {}
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name] = time.perf_counter() - start
        print(json.dumps(seconds), flush=True)


def measure(
    script: str, settings: Mapping[str, str], batch: int, rounds: int
) -> dict[str, dict[str, float]]:
    """The best time of each run of a script that serves, under each setting.

    The flags in the environment hold for all of them.
    """
    given = os.environ.get("XLA_FLAGS", "")
    servers = {
        setting: subprocess.Popen(
            [sys.executable, script, "--serve", "--batch", str(batch)],
            env=os.environ | {"XLA_FLAGS": f"{given} {flags}".strip()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for setting, flags in settings.items()
    }
    best: dict[str, dict[str, float]] = {setting: {} for setting in settings}
    for _ in range(rounds):
        for setting, server in servers.items():
            assert server.stdin and server.stdout
            server.stdin.write("go\n")
            server.stdin.flush()
            for name, seconds in json.loads(server.stdout.readline()).items():
                best[setting][name] = min(best[setting].get(name, seconds), seconds)
    for server in servers.values():
        server.communicate()
    return best
