"""A trained model: what is saved, loaded and sampled from."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from .._files import PathLike
from .._types import Condition
from ..denoisers import AbstractDenoiser, Denoiser
from ..processes import Process
from ..sampling import AbstractPrior, check_prior, sample
from ._arrays import count
from ._folder import plain, write
from ._json import Writer
from ._network import write_network


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A denoiser, the prior that sampling starts from, and a card of its history.

    !!! example

        ```python
        model = ss.load("fashion_mnist_blur")
        images = model.sample(4, steps=5)
        ```
    """

    #: `E[x0 | x_t]`. It knows its process.
    denoiser: AbstractDenoiser
    #: The distribution that sampling starts from; `None` if none was fitted.
    prior: AbstractPrior | None
    #: Plain data: the training set, the number of steps, the results.
    card: dict[str, Any]

    def __init__(
        self,
        denoiser: AbstractDenoiser,
        prior: AbstractPrior | None = None,
        card: dict[str, Any] | None = None,
    ):
        """**Arguments:**

        - `denoiser`: any denoiser. Only a [`softsde.Denoiser`][] can be saved.
        - `prior`: fitted on the process of the denoiser. A model without one can be
            saved and loaded, but `sample` needs one.
        - `card`: whatever is worth knowing, as plain data. Tuples become lists, as they
            would in a file.

        **Raises:** `TypeError` for something that is no denoiser or no prior, or a card
        that JSON cannot hold; `ValueError` for the prior of another process.
        """
        if not isinstance(denoiser, AbstractDenoiser):
            raise TypeError(
                f"`Model` got {type(denoiser).__name__} for `denoiser`; expected a "
                "denoiser, such as `softsde.Denoiser(network, process)`."
            )
        if prior is not None:
            if not isinstance(prior, AbstractPrior):
                raise TypeError(
                    f"`Model` got {type(prior).__name__} for `prior`; expected a "
                    "prior, such as `softsde.EmpiricalPrior.fit(process, images)`."
                )
            shape = denoiser.process.corruption.structure.shape
            check_prior("Model", prior, denoiser.process, prior.time, shape)
        object.__setattr__(self, "denoiser", denoiser)
        object.__setattr__(self, "prior", prior)
        object.__setattr__(self, "card", plain(card or {}, "card"))

    @property
    def process(self) -> Process:
        """The process of the denoiser."""
        return self.denoiser.process

    def __repr__(self) -> str:
        denoiser = self.denoiser
        parts = [type(denoiser).__name__]
        if isinstance(denoiser, Denoiser):
            parts = [
                f"{type(denoiser.network).__name__} of {count(denoiser.network):,} "
                f"parameters, {type(denoiser.parametrisation).__name__}"
            ]
        corruption = self.process.corruption
        parts.append(type(corruption).__name__)
        if corruption.structure.shape is not None:
            parts[-1] += f" of {corruption.structure.shape}"
        parts.append("no prior" if self.prior is None else type(self.prior).__name__)
        return f"Model({'; '.join(parts)})"

    def sample(
        self,
        num: int,
        *,
        seed: int = 0,
        condition: Condition = None,
        steps: int | None = None,
        batch_size: int = 256,
        **options: Any,
    ) -> Float[np.ndarray, "num *shape"]:
        """Draws samples, on all devices of this host.

        **Arguments:**

        - `num`: how many.
        - `seed`: fixes them: the first 64 of 1000 are the same as 64, up to rounding.
        - `condition`: one condition a sample, stacked in front, or one for all.
        - `steps`: how many steps to take; `None` is the default of
            [`softsde.sample`][].
        - `batch_size`: how many samples to draw at once.
        - `options`: of [`softsde.sample`][], such as `solver`, `clock`, `times` or
            `progress`; or a `prior` or `x1` to start from instead of the model's prior.

        **Returns:** the samples, stacked in front.

        **Raises:** `ValueError` for a model without a prior, if none is given; and as
        [`softsde.sample`][].
        """
        for name, instead in (("key", "seed"), ("num_samples", "num")):
            if name in options:
                raise ValueError(
                    f"`Model.sample` got `{name}`; it takes `{instead}` instead."
                )
        if "prior" not in options and "x1" not in options:
            if self.prior is None:
                raise ValueError(
                    "This model has no prior to start from. Give one: `ss.Model("
                    "model.denoiser, ss.EmpiricalPrior.fit(model.process, images))`."
                )
            options["prior"] = self.prior
        if steps is not None:
            options["num_steps"] = steps
        devices = jax.local_devices()
        if "mesh" not in options and len(devices) > 1:
            options["mesh"] = Mesh(np.array(devices), ("data",))
        drawn = sample(
            self.denoiser,
            num_samples=num,
            condition=condition,
            batch_size=batch_size,
            key=jax.random.key(seed),
            **options,
        )
        return np.asarray(drawn.x)

    def save(self, folder: PathLike) -> pathlib.Path:
        """Writes the model to a folder, which [`softsde.load`][] reads.

        The folder gets two files: `model.json` is everything that has a name or is a
        number, for people too, and `model.safetensors` is the arrays. A model that is
        there is replaced. A reader, or a process killed at any moment, finds the old
        model or the new one, never a mix. Two programs must not save to one folder at
        the same time; on several hosts only the first writes.

        **Arguments:**

        - `folder`: made if absent. Other files in it are left alone.

        **Returns:** the folder.

        **Raises:** `ValueError` for a part that cannot be written, such as a function,
        with the place where it stands.
        """
        denoiser = self.denoiser
        if not isinstance(denoiser, Denoiser):
            raise ValueError(
                f"`Model.save` writes a `softsde.Denoiser`, that is a network and a "
                f"process, and got `{type(denoiser).__name__}`. Save the denoiser "
                "inside it, and make this one again after loading. For a function, "
                "write a network class with a property `arguments`."
            )
        process = denoiser.process
        tensors: dict[str, np.ndarray] = {}
        alone = Writer(tensors=tensors)
        beside = Writer(process=process, tensors=tensors)
        content = {
            "process": alone.write_object(process, "process"),
            "parametrisation": alone.write_object(
                denoiser.parametrisation, "parametrisation"
            ),
            "train_process": denoiser.train_process,
            "network": write_network(denoiser.network, "network", tensors),
            "prior": None
            if self.prior is None
            else beside.write_object(self.prior, "prior"),
            "card": self.card,
        }
        if jax.process_index() != 0:
            return pathlib.Path(folder)
        return write(folder, "model", content, tensors)
