"""The smallest run that there is, for the tests of the commands."""

import dataclasses

from experiments._config import Config, SamplingConfig
from experiments._presets import PRESETS
from experiments._solvers import SolverConfig
from experiments._spec import Spec


def tiny(**changes) -> Config:
    """The digits' preset, as small as it can be."""
    preset = PRESETS["digits_blur"].config
    config = dataclasses.replace(
        preset,
        network=Spec("UNet", {"base_channels": 8, "channel_multipliers": (1,)}),
        process=Spec("soft_blur", {"max_blur": 5.0}),
        sampling=SamplingConfig(num=4, sampler=SolverConfig(steps=2)),
        optimiser=dataclasses.replace(
            preset.optimiser, schedule="constant", warmup_steps=1
        ),
        training=dataclasses.replace(
            preset.training, steps=6, batch_size=16, sample_every=4, log_every=2
        ),
    )
    return dataclasses.replace(config, **changes)


def steps(config: Config, number: int) -> Config:
    """The same config with another number of steps."""
    return dataclasses.replace(
        config, training=dataclasses.replace(config.training, steps=number)
    )
