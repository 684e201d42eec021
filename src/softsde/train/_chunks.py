"""The batches of the next few steps, from the data."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np


class Chunks:
    """Takes batches for as many steps as run in one program, and skips bad ones.

    A chunk ends at each multiple of `size` and of every interval, whatever step the
    session started at. So a resumed run makes the same programs in the same order.

    **Arguments:**

    - `data`: the iterator of batches.
    - `last`: the number of steps of the run.
    - `size`: the most steps in a chunk.
    - `intervals`: after a multiple of each of these there is something to do between
        two steps; `None` stands for never.
    """

    def __init__(
        self,
        data: Iterator[Any],
        last: int,
        size: int,
        intervals: Sequence[int | None],
    ):
        self._data, self._last = data, last
        self._ends = [size, *(every for every in intervals if every is not None)]
        self._more: dict[int, int] = {}
        self._seen: set[int] = set()

    @property
    def skipped(self) -> list[int]:
        """The steps at which a batch is left out."""
        return sorted(self._more)

    def skip(self, step: int) -> None:
        """Leave out one batch more at this step."""
        self._more[step] = self._more.get(step, 0) + 1

    def seen(self, count: int) -> bool:
        """Tells whether a chunk of `count` steps has been asked about before."""
        before = count in self._seen
        self._seen.add(count)
        return before

    def next(self, n: int) -> tuple[Any, int]:
        """The batches after step `n`, stacked if there are several, and their number.

        **Raises:** `ValueError` if the data end.
        """
        count = min([self._last, *((n // end + 1) * end for end in self._ends)]) - n
        batches = [self._batch(n + i) for i in range(1, count + 1)]
        if count == 1:
            return batches[0], 1
        return jax.tree.map(lambda *parts: np.stack(parts), *batches), count

    def _batch(self, step: int) -> Any:
        try:
            for _ in range(self._more.get(step, 0)):
                next(self._data)
            return next(self._data)
        except StopIteration:
            raise ValueError(
                f"The data ended after step {step - 1} of {self._last}. Give data "
                "without end: `.repeat()` of a grain data set."
            ) from None
