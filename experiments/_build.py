"""Makes the objects that a config names."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import grain
import jax
import numpy as np
import optax

import softsde as ss

from . import _corruptions, _images, _registry
from ._config import DEFAULT, PARTS, Config, DataConfig
from ._errors import CommandError
from ._make import Maker, own_classes, resolve
from ._spec import Spec

#: Number of images that the level schedule and the prior are fitted on.
FITTED_ON = 3000
#: Number of candidate levels of a schedule from data.
CANDIDATES = 256


def make_source(config: DataConfig, split: str = "train") -> ss.data.AbstractSource:
    """The images of a split.

    **Raises:** `FolderError` if there are none, with the way to get them.
    """
    if not config.source:
        raise CommandError(
            "There are no images: give `--data.source DIR`, a folder of pictures, or "
            "the path of a .npy or .npz file."
        )
    _images.check_share(config.held_out, "--data.")
    source = _images.load(
        config.source,
        config.images,
        split,
        held_out=config.held_out,
        prefix="--data.",
    )
    if not config.class_shares:
        return source
    try:
        return ss.data.unbalanced(source, config.class_shares)
    except ValueError as error:
        raise CommandError(f"`--data.class-shares`: {error}") from error


def make_loader(source: ss.data.AbstractSource, config: Config) -> grain.IterDataset:
    """This host's share of the endless stream of training batches."""
    hosts, size = jax.process_count(), config.training.batch_size
    if not hosts <= size <= len(source):
        raise CommandError(
            f"`--training.batch-size {size}`: there are {len(source)} images, and "
            f"{hosts} host(s) share a batch. Give a number from {hosts} to "
            f"{len(source)}."
        )
    return ss.data.make_loader(
        source,
        size,
        seed=config.training.seed,
        transforms=[ss.data.RandomFlip()] if config.data.flip else [],
        process_index=jax.process_index(),
        process_count=hosts,
    )


def own(config: Config) -> list[type]:
    """The classes of the user's that a config names."""
    return own_classes(*(getattr(config, part) for part in PARTS))


@dataclasses.dataclass(frozen=True)
class Parts:
    """The objects of an experiment, made when they are first needed."""

    config: Config
    source: ss.data.AbstractSource
    #: The network, of a run that has begun: what is chosen for images may change.
    begun: Spec | None = None

    @functools.cached_property
    def data(self) -> np.ndarray:
        """The images that schedules, weights and priors are fitted on."""
        return ss.data.to_array(self.source, limit=FITTED_ON)

    @functools.cached_property
    def maker(self) -> Maker:
        """Has the arguments that come from the data."""
        given: dict[str, Callable[[], Any]] = {
            "shape": lambda: self.source.shape,
            "key": lambda: jax.random.key(self.config.training.seed),
            "data": lambda: self.data,
        }
        if self.config.condition.labels:
            given["num_classes"] = lambda: self.source.num_classes
        return Maker(given)

    def process(self) -> ss.Process:
        """The process, with its schedule computed from the data if it says so."""
        return make_process(self.config.process, self.maker)

    @property
    def network_spec(self) -> Spec:
        """The network's name and options."""
        if self.begun is not None:
            return self.begun
        spec = self.config.network
        return network_for(self.source.shape) if spec == DEFAULT else spec

    def _network_target(self) -> Any:
        """The class, or function, that makes the network."""
        return resolve(self.network_spec, ("network",), "--network")[1]

    def network(self) -> Any:
        """The network, with its initial weights."""
        config, spec, kinds = self.config, self.network_spec, ("network",)
        if config.condition.labels:
            _check_condition(self.source, self._network_target(), config)
        # Jitted, because the many small draws would be compiled one by one.
        return eqx.filter_jit(lambda: self.maker.make(spec, kinds, "--network"))()

    def denoiser(self, network: Any, process: ss.Process) -> ss.Denoiser:
        """The network through its parametrisation."""
        spec, maker = self.config.parametrisation, self.maker.knowing(process=process)
        try:
            if spec == DEFAULT:
                return ss.Denoiser(network, process)
            parametrisation = maker.make(
                spec, ("parametrisation",), "--parametrisation"
            )
            return ss.Denoiser(network, process, parametrisation)
        except CommandError:
            raise
        except (TypeError, ValueError) as error:
            raise CommandError(f"`--parametrisation {spec}`: {error}") from error

    def prior(self, process: ss.Process) -> ss.AbstractPrior:
        """The prior, from which sampling starts."""
        maker = self.maker.knowing(process=process)
        return maker.make(self.config.prior, ("prior",), "--prior")

    def loss(self, process: ss.Process) -> tuple[Callable[..., Any], Any]:
        """`loss_fn(denoiser, batch, *, key)`, as `softsde.train` takes it, and what the
        train step carries for it."""
        config, maker = self.config, self.maker.knowing(process=process)
        loss = maker.make(config.loss, ("loss",), "--loss")
        times = maker.make(config.times, ("times",), "--times")
        condition = config.condition
        function = ss.losses.on_batches(
            loss,
            times=times,
            condition="label" if condition.labels else None,
            drop_condition=condition.drop if condition.labels else 0.0,
        )
        return function, times if isinstance(times, ss.losses.ImportanceTimes) else None

    def optimiser(self) -> optax.GradientTransformation:
        """Adam behind a clip, as configured."""
        options = self.config.optimiser
        steps = self.config.training.steps
        try:
            adam = ss.train.make_optimiser(
                options.learning_rate,
                clip=options.clip,
                # A short run has a short warm-up.
                warmup_steps=min(options.warmup_steps, steps // 2),
                total_steps=steps,
                schedule=options.schedule,
            )
        except ValueError as error:
            raise CommandError(_optimiser_options(str(error))) from error
        if self._network_target() is ss.nn.EDM2UNet:
            return optax.chain(adam, ss.nn.keep_unit_weights())
        return adam


def _optimiser_options(message: str) -> str:
    for name in ("learning_rate", "warmup_steps", "clip"):
        message = message.replace(
            f"`{name}`", f"`--optimiser.{name.replace('_', '-')}`"
        )
    return message


def _check_condition(source: ss.data.AbstractSource, target: Any, config: Config):
    drop = config.condition.drop
    if not 0 <= drop <= 1:
        raise CommandError(
            f"`--condition.drop` is {drop}; expected a share from 0 to 1."
        )
    if source.num_classes < 1 or int(source.labels.min()) < 0:
        raise CommandError(
            f"`--condition.labels`: {config.data.source} has no labels, or not for "
            "every image. Sort the pictures into one folder a class, or store `labels` "
            "beside `images` in the .npz file."
        )
    if "num_classes" not in _registry.parameters(target):
        raise CommandError(
            f"`--condition.labels`: `--network {config.network.name}` takes no classes."
        )


def network_for(shape: tuple[int, ...], *, positions: bool = True) -> Spec:
    """A UNet for images of a shape, such that a CPU trains it in hours.

    Levels halve the sides while these are even and the coarsest keeps 4 pixels. Images
    of 24 pixels and more are cut into patches of 2, or 4 from 64 pixels. From 16 pixels
    on, the network is told the places of pixels, unless `positions` is false: in
    smaller images every pixel is near enough to the borders.
    """
    side = min(shape[:2])
    wanted = 4 if side >= 64 else 2 if side >= 24 else 1
    even = lambda n: all(length % n == 0 for length in shape[:2])
    patch = next(n for n in (wanted, 2, 1) if n <= wanted and even(n))
    levels = 1
    while levels < 3 and even(patch * 2**levels) and side // (patch * 2**levels) >= 4:
        levels += 1
    return Spec(
        "UNet",
        {
            "base_channels": 32 if side < 16 else 48,
            "channel_multipliers": (1, 2, 2)[:levels],
            "attention_levels": (levels - 1,) if side >= 16 else (),
            "patch_size": patch,
            "positions": positions and max(shape[:2]) >= 16,
        },
    )


def make_process(spec: Spec, maker: Maker) -> ss.Process:
    """The process of a spec, whose level schedule may be one from data."""
    option, kinds = "--process", ("process",)
    _, target = resolve(spec, kinds, option)
    levels = spec.options.get("levels")
    if isinstance(levels, str) and not levels.endswith(".json"):
        levels = Spec(levels)
    if not isinstance(levels, Spec) or not _registry.knows(levels.name, ["fitted"]):
        return maker.make(spec, kinds, option)

    # First the corruption: the schedule is fitted to it.
    last = None
    others = {n: v for n, v in spec.options.items() if n != "levels"}
    if "corruption" in _registry.parameters(target):
        given = others.get("corruption")
        given = Spec(given) if isinstance(given, str) else given
        if not isinstance(given, Spec):
            raise CommandError(
                f"`{option} {spec.name}` needs `{option}.corruption`, such as "
                f"`{option}.corruption GaussianBlur`."
            )
        where = f"{option}.corruption"
        corruption = maker.make(given, ("corruption",), where)
    else:
        plain = maker.make(Spec(spec.name, others), kinds, option)
        corruption, last = plain.corruption, float(plain.level(plain.t1))
    shape = maker.given["shape"]()
    candidates = _corruptions.candidates(corruption, shape, CANDIDATES, last=last)
    fitted = maker.knowing(
        corruption=corruption,
        levels=candidates,
        start=_start(others, _registry.parameters(target)),
    )
    chosen = fitted.make(levels, ("fitted",), f"{option}.levels")
    return maker.make(Spec(spec.name, {**others, "levels": chosen}), kinds, option)


def _start(options: Mapping[str, Any], parameters: Mapping[str, Any]) -> float:
    """The time at which the level begins to move: after the noise has grown."""
    if "noise_fraction" not in parameters:
        return 0.0
    return float(options.get("noise_fraction", parameters["noise_fraction"].default))
