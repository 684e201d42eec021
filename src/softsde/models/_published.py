"""The weights of a network in the checkpoints that others publish."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._torch import Inert, module_state

# What `torch.nn.DataParallel` and its kin put before every name.
_WRAPPER = "module."


def published_weights(content: Any, *, average: bool = True) -> dict[str, np.ndarray]:
    """The state dict of a published checkpoint: arrays by the names of the original.

    | checkpoint | layout | the average |
    | --- | --- | --- |
    | score_sde | `{"model": ..., "ema": ..., ...}` | a list, `shadow_params` |
    | NCSNv2 | `[state, optimiser, epoch, step, ema]` | by name |
    | NCSN | `[state, optimiser]` | none |
    | EDM, EDM2 | `{"ema": network, ...}`, read with `inert=True` | the network |
    | others | a state dict, or `{"state_dict": ...}` | none |

    The list of score_sde has no names. Its arrays are those of the trained parameters,
    in the order of the model.

    **Arguments:**

    - `content`: from [`softsde.models.read_torch`][].
    - `average`: whether to give the moving average of the weights where the checkpoint
        has one; otherwise the weights of the last step.

    **Returns:** arrays by name, in the order of the file, without a `"module."` in
    front. [`softsde.nn.load_state_dict`][] puts them into a network.

    **Raises:** `ValueError` for another layout, or an average that does not fit.

    !!! example

        ```{ .python .no-run }
        checkpoint = ss.models.read_torch("checkpoint_24.pth")
        state = ss.models.published_weights(checkpoint)
        network = ss.nn.NCSNpp.cifar10_continuous(key=key)
        network = ss.nn.load_state_dict(network, state)
        ```
    """
    if isinstance(content, Inert):
        return module_state(content)
    if isinstance(content, dict):
        ema = content.get("ema")
        if isinstance(ema, Inert):
            return module_state(ema)
        if isinstance(ema, dict) and "shadow_params" in ema and "model" in content:
            state = _state("model", content["model"])
            return _with_shadow(state, ema["shadow_params"]) if average else state
        if isinstance(content.get("state_dict"), dict):
            return _state("state_dict", content["state_dict"])
        if _is_state(content):
            return _state("the file", content)
    if isinstance(content, list | tuple) and content and _is_state(content[0]):
        state = _state("its first entry", content[0])
        if average and len(content) >= 5 and _is_state(content[-1]):
            return _with_named(state, _state("its last entry", content[-1]))
        return state
    raise ValueError(
        f"This checkpoint is {_outline(content)}, which is no layout that is known. "
        "Take out the state dictionary, arrays by name, and give it to "
        "`ss.nn.load_state_dict`."
    )


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and all(isinstance(array, np.ndarray) for array in value.values())
    )


def _state(where: str, value: Any) -> dict[str, np.ndarray]:
    if not _is_state(value):
        raise ValueError(f"{where} is {_outline(value)}; expected arrays by name.")
    return {name.removeprefix(_WRAPPER): array for name, array in value.items()}


def _with_shadow(state: Mapping[str, np.ndarray], shadow: Any) -> dict[str, np.ndarray]:
    """The state with the averages in place of the parameters that were trained.

    score_sde averages the parameters in their order, which is that of the state, and
    leaves out those that are not trained. They keep their values.
    """
    if not isinstance(shadow, list):
        raise ValueError(f"`shadow_params` is {_outline(shadow)}; expected a list.")
    names = [name for name, array in state.items() if not _is_fixed(name, array)]
    if len(names) != len(shadow):
        raise ValueError(
            f"The average holds {len(shadow)} arrays, and the model {len(names)} that "
            "are trained. They are not of one network: fetch the file again, or pass "
            "`average=False` for the weights of the last step."
        )
    found = dict(state)
    for name, array in zip(names, shadow, strict=True):
        shape = getattr(array, "shape", None)
        if shape != state[name].shape:
            raise ValueError(
                f"The average has {shape} in the place of {name}, of shape "
                f"{state[name].shape}. They are not of one network."
            )
        found[name] = array
    return found


def _is_fixed(name: str, array: np.ndarray) -> bool:
    """Tells whether an array of score_sde's networks is not trained.

    These are the levels of noise, and the frequencies of the Fourier features, which
    are a row; other arrays called `W` are matrices.
    """
    last = name.rpartition(".")[2]
    return last == "sigmas" or (last == "W" and array.ndim == 1)


def _with_named(
    state: Mapping[str, np.ndarray], average: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    strange = [
        name
        for name, array in average.items()
        if name not in state or state[name].shape != array.shape
    ]
    if strange:
        raise ValueError(
            f"The average holds {', '.join(strange[:5])}, which the model has not, or "
            "has of another shape. They are not of one network."
        )
    return {**state, **average}


def _outline(value: Any) -> str:
    """A value in a few words: its kind, and the names in it."""
    if isinstance(value, dict):
        return f"a dictionary of {', '.join(repr(k)[:40] for k in list(value)[:6])}"
    if isinstance(value, list | tuple):
        kinds = ", ".join(type(part).__name__ for part in value[:6])
        return f"a list of {len(value)} ({kinds})"
    return f"a {type(value).__name__}"
