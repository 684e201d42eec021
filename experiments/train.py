"""Train a model: `python -m experiments.train digits_blur`.

Writes a run folder, which is also a model: `softsde.load` reads it. You can stop it at
any moment, e.g. with Ctrl-C; `--resume FOLDER` goes on where it stopped.
"""

import contextlib
import dataclasses
import difflib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import softsde as ss
from softsde._files import is_address

from . import _build, _cli, _initial, _mirror, _options, _registry, _run
from ._config import PARTS, Config
from ._errors import CommandError, FolderError
from ._presets import PRESETS
from ._scale import ScaleConfig
from ._session import Session

_MODULE = "experiments.train"


def train(
    config: Config,
    folder: Path,
    scale: ScaleConfig | None = None,
    *,
    command: str = "softsde",
    from_weights: bool = False,
) -> ss.train.FitResult:
    """Trains until the config's number of steps, from the state in the folder.

    **Arguments:**

    - `config`: the experiment.
    - `folder`: the run folder. If it holds a run, that run goes on.
    - `scale`: the devices, and what is watched. It may change between sessions.
    - `command`: what was typed, for the record.
    - `from_weights`: go on from the model of a folder whose checkpoints are gone.

    **Returns:** what `softsde.train.fit` returned.
    """
    began = time.monotonic()
    scale = ScaleConfig() if scale is None else scale
    _check_numbers(config, scale)
    mesh = _make_mesh(scale)
    alone = jax.process_count() == 1
    with contextlib.ExitStack() as stack:
        # The first host tries everything and writes the folder; the others find it.
        with ss.train.first_host_first():
            mirror = _mirror.find(folder, scale.mirror)
            stack.enter_context(_run.claim(folder))
            resumed = _run.check(folder, config, from_weights=from_weights)
            # Mistakes in a config show here, before anything is written.
            source = _build.make_source(config.data)
            begun = _run.read_network(folder, config, source.shape) if resumed else None
            parts = _build.Parts(config, source, begun)
            loader = _build.make_loader(source, config)
            optimiser = parts.optimiser()
            if resumed or not ss.train.is_first_host():
                process = _run.read_process(folder, config)
            else:
                with _stage("Choosing the process"):
                    process = parts.process()
            weights = str(folder) if from_weights else config.training.initial
            network, initial = _initial.make_network(parts, weights)
            prior = parts.prior(process)
            loss_fn, carry = parts.loss(process)
            denoiser = parts.denoiser(network, process)
            _try_loss(config, loss_fn, denoiser, carry, source)
            session = Session(config, folder, source, prior, command, initial)

            def make_model(key: Any = None) -> ss.Denoiser:
                drawn = parts.network() if initial is None else network
                return parts.denoiser(drawn, process)

            def new_state() -> ss.train.TrainState:
                key = jax.random.key(config.training.seed)
                return ss.train.init_state(
                    make_model,
                    optimiser,
                    key=key,
                    carry=carry,
                    sigma_rel=config.optimiser.sigma_rel,
                    mesh=mesh,
                )

            # Several hosts make their state together, after this block.
            state = new_state() if alone else None
            # Of a run that is finished, nothing comes later.
            done = (_run.steps_of(folder) or 0) if resumed else 0
            if done < config.training.steps:
                with _stage("Trying what comes later: picture, model, checkpoint"):
                    session.rehearse(make_model, state)
            if not resumed:
                _run.start(folder, config, process, parts.network_spec, command)
        if state is None:
            state = new_state()
        if from_weights:
            state = _from_weights(folder, config, state, loader, mesh)
        _run.record(folder, command)
        stack.enter_context(_mirror.keep(mirror, scale.mirror_seconds))
        _say(
            f"{source}\n{_run.count_parameters(network):,} parameters, {mesh.size} "
            f"{jax.default_backend()} device(s), batches of "
            f"{config.training.batch_size}; writing to {folder}/"
        )
        result = ss.train.fit(
            state,
            loader,
            ss.train.make_train_step(
                loss_fn,
                optimiser,
                ema_decay=config.optimiser.ema_decay,
                accumulate=scale.accumulate,
                mesh=mesh,
            ),
            num_steps=config.training.steps,
            folder=folder,
            config=config.of_checkpoints(),
            # A checkpoint before each model: no model is without one.
            checkpoint_every=config.training.sample_every,
            checkpoint_seconds=config.training.checkpoint_seconds,
            log_every=config.training.log_every,
            callbacks=session.callbacks(),
            max_seconds=config.training.max_seconds,
            **scale.fit_options(),
        )
        missing = ss.train.first_host_says(not (folder / "model.json").exists())
        if result.step % config.training.sample_every or missing:
            session.keep(result.state, result.step)
    _say(
        f"{result.reason} at step {result.step} of {config.training.steps}: "
        f"{time.monotonic() - began:.0f} s now, {result.seconds:.0f} s in all sessions."
    )
    return result


def _say(message: str) -> None:
    """Prints on the first host."""
    if ss.train.is_first_host():
        print(message, flush=True)


def _stage(text: str) -> contextlib.AbstractContextManager[None]:
    """A stage that the first host tells of."""
    return _cli.stage(text) if ss.train.is_first_host() else contextlib.nullcontext()


def _make_mesh(scale: ScaleConfig) -> Any:
    try:
        return scale.mesh()
    except ValueError as error:
        raise CommandError(f"`--scale.fsdp {scale.fsdp}`: {error}") from error


def _try_loss(
    config: Config,
    loss_fn: Callable[..., Any],
    denoiser: ss.Denoiser,
    carry: Any,
    source: ss.data.AbstractSource,
) -> None:
    """Traces the loss of two images, without computing it.

    **Raises:** `CommandError` if the loss does not suit the process.
    """
    struct = jax.ShapeDtypeStruct
    batch = {
        "image": struct((2, *source.shape), jnp.float32),
        "label": struct((2,), jnp.int32),
    }
    key = jax.random.key(0)
    carried = () if carry is None else (carry,)
    try:
        eqx.filter_eval_shape(
            lambda d, b, *c: loss_fn(d, b, *c, key=key), denoiser, batch, *carried
        )
    except (ValueError, TypeError) as error:
        if type(error).__module__.startswith("jax"):
            raise
        raise CommandError(
            f"`--loss {config.loss}` does not suit `--process {config.process.name}`: "
            f"{error}"
        ) from error


def _check_numbers(config: Config, scale: ScaleConfig) -> None:
    training, sampling = config.training, config.sampling
    for option, value in (
        ("training.steps", training.steps),
        ("training.batch-size", training.batch_size),
        ("training.sample-every", training.sample_every),
        ("training.log-every", training.log_every),
        ("training.checkpoint-seconds", training.checkpoint_seconds),
        ("training.max-seconds", training.max_seconds),
        ("sampling.num", sampling.num),
        ("optimiser.average-every", config.optimiser.average_every),
        ("scale.accumulate", scale.accumulate),
        ("scale.steps-per-call", scale.steps_per_call),
        ("scale.profile", scale.profile),
        ("scale.keep-every", scale.keep_every),
        ("scale.mirror-seconds", scale.mirror_seconds),
    ):
        if value is not None and not value > 0:
            raise CommandError(f"`--{option}` is {value}; expected more than 0.")
    if not 0 <= config.optimiser.ema_decay < 1:
        raise CommandError(
            f"`--optimiser.ema-decay` is {config.optimiser.ema_decay}; expected a "
            "number from 0 up to, not including, 1."
        )
    try:
        for length in config.optimiser.sigma_rel:
            ss.train.power_exponent(length)
    except ValueError as error:
        raise CommandError(f"`--optimiser.sigma-rel`: {error}") from error
    if not 0 <= training.seed < 2**32:
        raise CommandError(
            f"`--training.seed` is {training.seed}; expected a number from 0 to 2^32."
        )
    devices = jax.device_count()
    if training.batch_size % (devices * scale.accumulate):
        parts = scale.accumulate
        times = "" if parts == 1 else f" times `--scale.accumulate {parts}`"
        raise CommandError(
            f"`--training.batch-size` is {training.batch_size}; expected a multiple of "
            f"{devices}, the number of devices that share a batch{times}."
        )


def _from_weights(
    folder: Path, config: Config, state: ss.train.TrainState, loader: Any, mesh: Any
) -> ss.train.TrainState:
    """The state, at the step of the model in the folder.

    It is saved as a checkpoint, so that the run goes on from there. The optimiser
    starts anew.
    """
    steps = _run.steps_of(folder)
    if steps is None:
        raise FolderError(f"The card of the model in {folder} names no `steps`.")
    count = jnp.asarray(steps, state.step.dtype)
    state = ss.train.shard_state(dataclasses.replace(state, step=count), mesh)
    with ss.train.Checkpointer(
        folder / "checkpoints", config=config.of_checkpoints()
    ) as checkpoints:
        iterator: Any = iter(loader)
        checkpoints.save(state, iterator, steps)
    return state


def _usage() -> str:
    lines = [
        (__doc__ or "").strip(),
        "",
        "usage: python -m experiments.train EXPERIMENT [OPTIONS]",
        "       python -m experiments.train --resume FOLDER [OPTIONS]",
        "",
        "Experiments, each with its options under `EXPERIMENT --help`:",
        *(f"  {name:30}{preset.summary}" for name, preset in PRESETS.items()),
        "",
        "Every experiment takes other parts by name:",
    ]
    lines += _part_lines()
    lines += [
        "",
        "A name may carry options, `--loss 'CleanPrediction(weight=EDMWeight(0.3))'`,",
        "or be your own, `module:name`. Options of the part itself are also options of",
        "the command: `--process ve --process.sigma-max 20`.",
        "",
        "Options of a resumed run may change steps, learning rate and sampling:",
        "  --resume FOLDER --training.steps 50000",
        "  --resume FOLDER --from-weights    goes on from the model of a folder whose",
        "                                    checkpoints are gone",
        "",
        _cli.COMMON,
    ]
    return "\n".join(lines)


def _part_lines() -> list[str]:
    lines = []
    for name, kind in PARTS.items():
        words = ", ".join(_registry.members(kind))
        lines.append(f"  --{name} NAME: {words}")
    return lines


def _pop(words: list[str], option: str, *, value: bool) -> str | None:
    """Takes an option out of the words."""
    for i, word in enumerate(words):
        if word == option:
            if not value:
                del words[i]
                return option
            if i + 1 == len(words) or words[i + 1].startswith("-"):
                raise CommandError(f"`{option}` needs a folder.")
            taken = words[i + 1]
            del words[i : i + 2]
            return taken
        if value and word.startswith(f"{option}="):
            del words[i]
            return word.partition("=")[2]
    return None


def read(words: Sequence[str]) -> tuple[Config, Path, bool, ScaleConfig]:
    """Reads the command: config, folder, whether from weights, and the devices.

    **Raises:** `CommandError` for an unknown experiment, or options that do not fit.
    """
    left = list(words)
    resume = _pop(left, "--resume", value=True)
    from_weights = _pop(left, "--from-weights", value=False) is not None
    about = f"{(__doc__ or '').strip()}\n\nParts by name:\n" + "\n".join(_part_lines())
    about += f"\n\n{_cli.COMMON}"
    if resume is not None:
        if is_address(resume):
            raise FolderError(
                f"`--resume {resume}` is an address. Fetch the run first: "
                f"`{_cli.command('experiments.fetch', resume)}`."
            )
        folder = Path(resume)
        if left and not left[0].startswith("-"):
            raise CommandError(
                f"`--resume {folder}` takes its experiment from the folder. Leave "
                f"`{left[0]}` out."
            )
        config = _run.read_config(folder)
        prog = f"python -m {_MODULE} --resume {folder}"
        config, chosen, scale = _options.read(left, config, folder, prog, about)
        if chosen != folder:
            raise CommandError(
                f"`--resume {folder}` goes on in that folder. Leave `--folder` out."
            )
        return config, folder, from_weights, scale
    if from_weights:
        raise CommandError("`--from-weights` goes with `--resume FOLDER`.")
    name = left.pop(0) if left and not left[0].startswith("-") else None
    if name is None or name not in PRESETS:
        near = difflib.get_close_matches(name or "", PRESETS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        said = "No experiment is named." if name is None else f"No experiment {name!r}."
        raise CommandError(
            f"{said}{hint} Write `python -m {_MODULE} EXPERIMENT`, with one of "
            f"{', '.join(PRESETS)}; or `--resume FOLDER`. `--help` says more."
        )
    config, folder, scale = _options.read(
        left,
        PRESETS[name].config,
        Path("runs") / name,
        f"python -m {_MODULE} {name}",
        about,
    )
    return config, folder, False, scale


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    words = sys.argv[1:]
    if words and words[0] in ("-h", "--help"):
        print(_usage())
        sys.exit(0)
    config, folder, from_weights, scale = read(words)
    scale.start()
    again = _cli.command(_MODULE, "--resume", folder)
    try:
        result = train(
            config,
            folder,
            scale=scale,
            command=_cli.command(_MODULE, *words),
            from_weights=from_weights,
        )
    except ss.train.Interrupted:
        if ss.train.is_first_host():
            _cli.next_commands(again)
        raise
    if not ss.train.is_first_host():
        return
    _cli.wrote(*(folder / n for n in ("model.json", "samples", "loss.png")))
    if result.reason == "out of time":
        _cli.next_commands(again)
    else:
        _cli.next_commands(
            _cli.command("experiments.sample", folder),
            _cli.command("experiments.evaluate", folder),
            f"{again} --training.steps {2 * config.training.steps}",
        )


if __name__ == "__main__":
    main()
