"""A sign of life of a pass over many images."""

import sys

from tqdm.auto import tqdm


class Progress:
    """Counts images: a bar on a terminal, a line every ten seconds in a log file."""

    def __init__(self, what: str, total: int | None, *, shown: bool):
        self._bar = tqdm(
            desc=what,
            total=total,
            disable=not shown,
            unit="image",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 10.0,
            maxinterval=60.0,
        )

    def advance(self, num: int) -> None:
        self._bar.update(num)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
