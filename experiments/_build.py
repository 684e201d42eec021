"""Makes the objects that a config names."""

from collections.abc import Callable

import equinox as eqx
import grain
import jax
import numpy as np
import optax

import softsde as ss

from ._config import Config, DataConfig, NetworkConfig, ProcessConfig

#: Number of images that the level schedule and the prior are fitted on.
FITTED_ON = 3000


def make_source(config: DataConfig, split: str = "train") -> ss.data.AbstractSource:
    """The images of a split.

    **Raises:** `FileNotFoundError` if there are none, with the way to get them.
    """
    return ss.data.load(config.source, split, size=config.size)


def make_loader(source: ss.data.AbstractSource, config: Config) -> grain.IterDataset:
    """This host's share of the endless stream of training batches."""
    return ss.data.make_loader(
        source,
        config.training.batch_size,
        seed=config.training.seed,
        transforms=[ss.data.RandomFlip()] if config.data.flip else [],
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def make_corruption(
    config: ProcessConfig, shape: tuple[int, int, int]
) -> ss.corruptions.GaussianBlur:
    """The blur."""
    return ss.corruptions.GaussianBlur(shape, config.half_size, config.padding)


def make_levels(
    config: ProcessConfig, source: ss.data.AbstractSource
) -> ss.schedules.AbstractSchedule:
    """The blur over time, computed from the data if the config says so."""
    if config.levels == "geometric":
        return make_process(config, source.shape).levels
    return ss.fitting.transport_schedule(
        make_corruption(config, source.shape),
        np.geomspace(0.01, config.max_blur, 256),
        ss.data.to_array(source, limit=FITTED_ON),
        num_points=32,
        start=config.noise_fraction,
    ).schedule


def make_process(
    config: ProcessConfig,
    shape: tuple[int, int, int],
    levels: ss.schedules.AbstractSchedule | None = None,
) -> ss.Process:
    """The process; without `levels`, the geometric ones."""
    return ss.soft_blur(
        shape,
        levels=levels,
        max_blur=config.max_blur,
        sigma_min=config.sigma_min,
        sigma_max=config.sigma_max,
        noise_fraction=config.noise_fraction,
        half_size=config.half_size,
        padding=config.padding,
    )


def make_network(config: NetworkConfig, shape: tuple[int, int, int]) -> ss.nn.UNet:
    """The network, with its initial weights."""
    # Jitted, because the many small draws would be compiled one by one.
    return eqx.filter_jit(new_network)(config, shape)


def new_network(config: NetworkConfig, shape: tuple[int, int, int]) -> ss.nn.UNet:
    """As `make_network`, for use in a compiled program."""
    return ss.nn.UNet(
        shape,
        base_channels=config.base_channels,
        channel_multipliers=config.channel_multipliers,
        blocks_per_level=config.blocks_per_level,
        attention_levels=config.attention_levels,
        num_heads=config.num_heads,
        dropout=config.dropout,
        patch_size=config.patch_size,
        refine_channels=config.refine_channels,
        key=jax.random.key(config.seed),
    )


def make_optimiser(config: Config) -> optax.GradientTransformation:
    """Adam behind a clip, as configured."""
    return ss.train.make_optimiser(
        config.optimiser.learning_rate,
        clip=config.optimiser.clip,
        warmup_steps=config.optimiser.warmup_steps,
        total_steps=config.training.steps,
        schedule=config.optimiser.schedule,
    )


def make_loss(config: Config) -> Callable:
    """`loss_fn(denoiser, batch, *, key)`, as `softsde.train` wants it."""
    return ss.losses.on_batches(
        ss.losses.SoftScoreMatching(config.loss.weight), times=config.loss.times
    )
