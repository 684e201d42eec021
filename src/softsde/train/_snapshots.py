"""Averages of a run, stored now and then: any other average follows from them."""

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax.experimental import multihost_utils

from .._files import write_bytes
from ._hosts import is_first_host
from ._power_ema import check_length, check_profiles, posthoc_coefficients
from ._precision import widen
from ._state import TrainState
from ._tree import named_leaves

T = TypeVar("T")

_NAME = re.compile(r"step_(\d{9})\.safetensors")


class Snapshots:
    """Stores the power-function averages of a run, and reconstructs others from them.

    It is a callback of [`softsde.train.fit`][]. Each call writes one file, which is
    complete or not there; a run that was killed writes the same files again.

    **Arguments:**

    - `folder`: the folder of the snapshots; it is made when the first is written.

    !!! Example

        ```{ .python .no-run }
        state = ss.train.TrainState.create(
            denoiser, optimiser, sigma_rel=(0.05, 0.1), key=key
        )
        snapshots = ss.train.Snapshots("runs/blur/snapshots")
        callbacks = [(1000, snapshots)]
        result = ss.train.fit(state, loader, step, callbacks=callbacks, ...)
        averaged = snapshots.reconstruct(result.state.ema, 0.15)
        ```

    ??? cite "Reference"

        Karras, Aittala, Lehtinen, Hellsten, Aila and Laine, *Analyzing and Improving
        the Training Dynamics of Diffusion Models*, CVPR 2024.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def __call__(self, state: TrainState, step: int) -> None:
        """Stores the averages of a state.

        **Arguments:**

        - `state`: it was created with `sigma_rel`.
        - `step`: the number of steps it has made.

        On several hosts all of them must call it; the first writes the file.

        **Raises:** `ValueError` for a state that keeps no such averages.
        """
        profiles = check_profiles(state.profiles)
        arrays = {
            name: _to_host(leaf)
            for name, leaf in named_leaves(profiles).items()
            if eqx.is_inexact_array(leaf)
        }
        if is_first_host():
            content = safetensors.numpy.save(arrays)
            write_bytes(self._path(step), content)

    def steps(self) -> list[int]:
        """The numbers of steps after which averages were stored, in order."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def reconstruct(self, like: T, sigma_rel: float, *, step: int | None = None) -> T:
        """The average of another length, as if it had been kept all the time.

        See [`softsde.train.posthoc_coefficients`][]. With 0.05 and 0.1 kept, and forty
        snapshots, lengths from 0.03 to 0.25 were within 1 % of the spread of a
        wandering parameter, and lengths from 0.04 to 0.15 within 0.01 %.

        **Arguments:**

        - `like`: a model of the same structure, such as `state.ema`. Its arrays that
            are not floating-point are kept.
        - `sigma_rel`: the relative length of the average.
        - `step`: the number of steps at which the average ends, which is that of a
            snapshot; by default the last. Later snapshots are not used.

        **Returns:** the averaged model. Its weights are float32, or float64.

        **Raises:** `FileNotFoundError` if there is no snapshot; `ValueError` for a
        length that no average has, or snapshots of another model.
        """
        check_length("Snapshots.reconstruct", sigma_rel)
        kept = self.steps()
        if not kept:
            raise FileNotFoundError(
                f"There is no snapshot in {self.folder}. Pass `Snapshots` to `fit` as "
                "a callback, and train."
            )
        step = kept[-1] if step is None else step
        if step not in kept:
            # The steps since the last snapshot would be missing from the average.
            raise ValueError(
                f"`step={step}` has no snapshot. Take one of "
                f"{', '.join(map(str, kept[:10]))}{' ...' if len(kept) > 10 else ''}"
                f", up to {kept[-1]}."
            )
        used = [n for n in kept if n <= step]
        stored = [(n, name) for n in used for name in self._lengths(n)]
        coefficients = posthoc_coefficients(
            [n for n, _ in stored],
            [float(name) for _, name in stored],
            step=step,
            length=sigma_rel,
        )
        wanted = {
            name: leaf
            for name, leaf in named_leaves(widen(like)).items()
            if eqx.is_inexact_array(leaf)
        }
        sums = {name: np.zeros(leaf.shape) for name, leaf in wanted.items()}
        for (n, length), coefficient in zip(stored, coefficients, strict=True):
            self._add(sums, n, length, coefficient)

        def put(path: Any, leaf: Any) -> Any:
            name = jax.tree_util.keystr(path)
            if name not in sums:
                return leaf
            return jnp.asarray(sums[name], wanted[name].dtype)

        return jax.tree_util.tree_map_with_path(put, like)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:09d}.safetensors"

    def _open(self, step: int) -> Any:
        try:
            return safetensors.safe_open(self._path(step), framework="numpy")
        except (safetensors.SafetensorError, OSError) as error:
            raise ValueError(
                f"{self._path(step)} is damaged ({error}). Delete it: the others are "
                "enough."
            ) from error

    def _lengths(self, step: int) -> list[str]:
        """The lengths of the averages in a snapshot."""
        with self._open(step) as file:
            names = [re.match(r"\['([0-9.e-]+)'\]", name) for name in file.keys()]
        return sorted({match[1] for match in names if match}, key=float)

    def _add(
        self, sums: dict[str, np.ndarray], step: int, length: str, coefficient: float
    ) -> None:
        """Adds a stored average times its coefficient, one array at a time."""
        start = f"['{length}']"
        with self._open(step) as file:
            names = {n.removeprefix(start) for n in file.keys() if n.startswith(start)}
            wrong = sorted(names ^ sums.keys())
            if not wrong:
                shapes = {n: file.get_slice(start + n).get_shape() for n in names}
                wrong = [n for n in shapes if tuple(shapes[n]) != sums[n].shape]
            if wrong:
                raise ValueError(
                    f"{self._path(step)} is of another model than `like`: they differ "
                    f"in {', '.join(wrong[:5])}. Build the model as it was trained."
                )
            for name in names:
                sums[name] += coefficient * file.get_tensor(start + name)


def _to_host(array: Any) -> np.ndarray:
    """A whole copy in the host's memory: of one array at a time, not on the device."""
    if isinstance(array, jax.Array) and not (
        array.is_fully_addressable or array.is_fully_replicated
    ):
        array = multihost_utils.process_allgather(array, tiled=True)
    return np.array(array, order="C")
