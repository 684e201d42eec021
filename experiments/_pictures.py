"""Samples, and pictures of them and of their way from the prior."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

import softsde as ss

from . import _run
from ._errors import CommandError

#: Samples shown on their way, and the times at which they are.
ROWS, FRAMES = 4, 12
#: More samples are not in a picture.
SHOWN = 256


def draw(
    model: ss.Model,
    num: int,
    options: dict[str, Any],
    *,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 256,
    bar: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws samples, and the first of them on their way.

    **Arguments:**

    - `options`: of [`softsde.sample`][], such as `solver`.
    - `condition`: one a sample, stacked in front.

    **Returns:** the samples; and for [`softsde.plotting.trajectory_strip`][] two rows a
    sample: the state at each time, and below it the prediction.

    **Raises:** `CommandError` for a model without a prior; and as `softsde.sample`.
    """
    if model.prior is None:
        raise CommandError("The model has no prior to start from.")
    mesh = ss.train.make_mesh(devices=jax.local_devices())

    def some(number: int, **more: Any) -> ss.Samples:
        return ss.sample(
            model.denoiser,
            prior=model.prior,
            num_samples=number,
            condition=None if condition is None else condition[:number],
            batch_size=batch_size,
            mesh=mesh,
            progress=bar,
            key=jax.random.key(seed),
            **more,
            **options,
        )

    if num <= batch_size:
        drawn = way = some(num, save_trajectory=FRAMES)
    else:
        # The way of many would not fit into memory: a few are drawn once more.
        drawn, way = some(num), some(min(ROWS, num), save_trajectory=FRAMES)
    assert way.trajectory is not None and way.predictions is not None
    rows = np.stack([way.trajectory[:ROWS], way.predictions[:ROWS]], axis=1)
    return np.asarray(drawn.x), rows.reshape(-1, *rows.shape[2:])


def save(path: Path, images: np.ndarray, way: np.ndarray, title: str) -> list[Path]:
    """Saves the picture of samples, and beside it `_way.png`.

    **Returns:** the paths written.
    """
    scale, pad = _run.layout(images.shape[1:])
    strip = ss.plotting.trajectory_strip(way, frames=FRAMES, scale=scale, pad=pad)
    return [
        ss.plotting.save_grid(
            path,
            images[:SHOWN],
            columns=8 if len(images) <= 64 else 16,
            scale=scale,
            pad=pad,
            title=title,
        ),
        ss.plotting.save_png(
            path.with_name(f"{path.stem}_way.png"),
            strip,
            title="from prior to sample: the state, and below it the prediction",
        ),
    ]
