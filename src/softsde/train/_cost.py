"""Costs of a compiled program, by the analysis of the compiler."""

import dataclasses
import math
import re

import jax

_KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
_BYTES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "s32": 4, "u32": 4}
_SHAPE = re.compile(r"\b(pred|bf16|f16|f32|f64|[su](?:8|16|32|64))\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class ProgramCost:
    """The cost of one run of a compiled program on each of its devices.

    - `flops`: floating-point operations.
    - `bytes_accessed`: bytes read from and written to memory.
    - `seconds`: the compiler's estimate of the time, or `None` where it has none (on
        CPUs and GPUs).
    - `state_bytes`: memory of the donated arrays: parameters, averages, moments.
    - `peak_bytes`: memory of arguments, results and temporary arrays together.
    - `collectives`: for each kind of exchange between devices that occurs, the number
        of operations in the text and the bytes of their results.
    """

    flops: float
    bytes_accessed: float
    seconds: float | None
    state_bytes: int
    peak_bytes: int
    collectives: dict[str, tuple[int, int]]


def program_cost(compiled: jax.stages.Compiled) -> ProgramCost:
    """Read the cost of a program from the compiler's analysis and text.

    **Arguments:**

    - `compiled`: such as `step.lower(state, batch).compile()` of a
        [`softsde.train.TrainStep`][].

    **Returns:**

    A [`softsde.train.ProgramCost`][].

    **Raises:** `ValueError` for a backend that does not analyse programs.

    !!! Example

        ```{ .python .no-run }
        cost = ss.train.program_cost(step.lower(state, batch).compile())
        print(f"{cost.flops:.3g} flops, {cost.peak_bytes / 2**30:.2f} GiB a device")
        ```
    """
    analysis = compiled.cost_analysis() or {}
    if isinstance(analysis, list):
        analysis = analysis[0]
    memory = compiled.memory_analysis()
    if memory is None:
        raise ValueError(
            "The compiler has no analysis of the memory of this program. Use a backend "
            "that has one: CPU, GPU or TPU."
        )
    seconds = analysis.get("optimal_seconds")
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        seconds = None
    return ProgramCost(
        flops=float(analysis.get("flops", 0.0)),
        bytes_accessed=float(analysis.get("bytes accessed", 0.0)),
        seconds=seconds,
        state_bytes=memory.alias_size_in_bytes,
        peak_bytes=memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes,
        collectives=find_collectives(compiled.as_text() or ""),
    )


def find_collectives(text: str) -> dict[str, tuple[int, int]]:
    """Number and bytes of the exchanges between devices in a program's text.

    An asynchronous one is counted where it starts. Its result then holds the operand
    too, so only the last half of the shapes is counted. The compiler for TPUs writes a
    reduce-scatter as a computation `all-reduce-scatter`, a sum and a slice that run as
    one operation.
    """
    found: dict[str, tuple[int, int]] = {}

    def count(kind: str, sizes: list[int]) -> None:
        number, total = found.get(kind, (0, 0))
        found[kind] = (number + 1, total + sum(sizes))

    pattern = re.compile(rf"= (.*?) ({'|'.join(_KINDS)})(-start)?\(")
    fused = re.compile(r"^%?all-reduce-scatter[\w.]* \(.*\) -> (.*) \{$")
    inside = False
    for line in text.splitlines():
        if match := fused.match(line):
            inside = True
            count("reduce-scatter", _sizes(match[1]))
        elif line.startswith("}"):
            inside = False
        elif not inside and (match := pattern.search(line)):
            sizes = _sizes(match[1])
            if match[3] and match[2] != "all-reduce":
                sizes = sizes[len(sizes) // 2 :]
            count(match[2], sizes)
    return found


def _sizes(shapes: str) -> list[int]:
    return [_size(*shape) for shape in _SHAPE.findall(shapes)]


def _size(dtype: str, shape: str) -> int:
    numbers = math.prod(int(n) for n in shape.split(",") if n)
    return numbers * _BYTES.get(dtype, max(1, int(re.sub(r"\D", "", dtype)) // 8))
