"""Times `import softsde` beyond the import of jax and diffrax.

    python benchmarks/import_time.py

Each repetition is a fresh interpreter. The median of several is printed, with the
imports that it is compared with measured in the same interpreter.
"""

import statistics
import subprocess
import sys

PROGRAM = """
import time
start = time.perf_counter()
import jax, diffrax
middle = time.perf_counter()
import softsde
print(middle - start, time.perf_counter() - middle)
"""


def main(repetitions: int = 5) -> None:
    rows = []
    for _ in range(repetitions):
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        )
        rows.append([float(word) for word in result.stdout.split()])
    baseline, ours = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"import jax, diffrax   {baseline:6.2f} s")
    print(
        f"import softsde        {ours:6.2f} s more ({ours / baseline:.2f} times that)"
    )


if __name__ == "__main__":
    main()
