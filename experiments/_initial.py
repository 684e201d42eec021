"""The network that a run starts with: a new one, or that of a model."""

from typing import Any

import equinox as eqx

from . import _build, _run
from ._differences import differences
from ._errors import CommandError


def make_network(parts: _build.Parts, initial: str | None) -> tuple[Any, Any]:
    """The network to start from, and the card of the model that it is of, if any.

    A new network has no weights yet, but their shapes: they are drawn where they stay.

    **Raises:** `CommandError` if that model has another network than the config.
    """
    new = eqx.filter_eval_shape(parts.network)
    if initial is None:
        return new, None
    model = _run.open_model(initial)
    network: Any = getattr(model.denoiser, "network", None)
    if type(network) is not type(new):
        found = "no network" if network is None else f"a {type(network).__name__}"
        raise CommandError(
            f"{initial} has {found}, and its weights are wanted for a "
            f"{type(new).__name__}. Ask for the same `--network`."
        )
    others = differences(network.arguments, new.arguments)
    if others:
        raise CommandError(
            f"The network of {initial} is not that of this run:\n{others}\n"
            "Ask for the same by `--network.` and these names, such as "
            "`--network.no-positions`, and for images of the same shape."
        )
    return network, model.card
