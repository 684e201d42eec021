"""Adam with gradient clipping and a warm-up, which most diffusion models use."""

import math
from typing import Literal

import jax.numpy as jnp
import optax


def learning_rate_schedule(
    peak: float,
    *,
    warmup_steps: int = 1000,
    total_steps: int | None = None,
    schedule: Literal["constant", "cosine"] = "constant",
) -> optax.Schedule:
    r"""A linear warm-up, then a constant or a half-cosine down to zero.

    $$\eta_n = \eta \, \min\Big(1, \frac{n + 1}{n_w}\Big) \, c_n, \qquad
    c_n = \tfrac12 + \tfrac12 \cos\Big(\pi \, \mathrm{clip}\Big(
    \frac{n - n_w}{N - n_w}, 0, 1\Big)\Big)$$

    for update `n = 0, 1, ...`, with `c_n = 1` for the constant schedule. The first
    update has a rate above zero, so it is not wasted.

    **Arguments:**

    - `peak`: the learning rate after the warm-up.
    - `warmup_steps`: the length of the warm-up; 0 for none.
    - `total_steps`: the step at which the cosine reaches zero; only `"cosine"` needs
        it.
    - `schedule`: `"constant"` or `"cosine"`.

    **Returns:**

    A function of the update count, which optax takes as a learning rate.
    """
    _finite_and_positive("learning_rate", peak)
    if warmup_steps < 0:
        raise ValueError(f"`warmup_steps` must be at least 0, got {warmup_steps}.")
    if schedule not in ("constant", "cosine"):
        raise ValueError(
            f"`schedule` must be 'constant' or 'cosine', got {schedule!r}. Any other "
            "schedule of optax can be given to an optimiser of optax directly."
        )
    if schedule == "cosine" and (total_steps is None or total_steps <= warmup_steps):
        raise ValueError(
            "`schedule='cosine'` needs `total_steps` greater than `warmup_steps` = "
            f"{warmup_steps}, got `total_steps={total_steps}`. Pass the number of "
            "steps that you train for."
        )

    def rate(count):
        n = jnp.asarray(count).astype(jnp.result_type(float))
        value = jnp.full_like(n, peak)
        if warmup_steps > 0:
            value = value * jnp.minimum(1.0, (n + 1.0) / warmup_steps)
        if schedule == "cosine":
            assert total_steps is not None
            done = (n - warmup_steps) / (total_steps - warmup_steps)
            value = value * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(done, 0.0, 1.0)))
        return value

    return rate


def make_optimiser(
    learning_rate: float = 2e-4,
    *,
    clip: float | int | None = 1.0,
    warmup_steps: int = 1000,
    total_steps: int | None = None,
    schedule: Literal["constant", "cosine"] = "constant",
    weight_decay: float | int = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Adam with a clip of the global gradient norm, and a warm-up.

    The defaults are those of Song et al. (2021) and of the Soft Diffusion paper, with a
    shorter warm-up. The state of the optimiser holds the current learning rate, and the
    train step reports it.

    **Arguments:**

    - `learning_rate`: the rate after the warm-up.
    - `clip`: the largest global norm of the gradient; `None` for no clipping.
    - `warmup_steps`, `total_steps`, `schedule`: see
        [`softsde.train.learning_rate_schedule`][].
    - `weight_decay`: decoupled weight decay (AdamW) on every array that is trained;
        0 is plain Adam.
    - `b1`, `b2`, `eps`: the constants of Adam.

    **Returns:**

    An `optax.GradientTransformation`.

    !!! Example

        ```python
        optimiser = ss.train.make_optimiser(
            2e-4, schedule="cosine", total_steps=50_000
        )
        ```
    """
    rate = learning_rate_schedule(
        learning_rate,
        warmup_steps=warmup_steps,
        total_steps=total_steps,
        schedule=schedule,
    )
    if clip is not None:
        _finite_and_positive("clip", clip, hint="`clip=None` switches clipping off.")
    if not weight_decay >= 0:
        raise ValueError(f"`weight_decay` must be at least 0, got {weight_decay}.")
    for name, b in (("b1", b1), ("b2", b2)):
        if not 0 <= b < 1:
            raise ValueError(f"`{name}` must lie in [0, 1), got {b}.")
    adam = optax.inject_hyperparams(
        optax.adamw,
        static_args=("b1", "b2", "eps", "eps_root", "weight_decay"),
    )(learning_rate=rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    if clip is None:
        return adam
    return optax.chain(optax.clip_by_global_norm(clip), adam)


def _finite_and_positive(name: str, value: float | int, hint: str = "") -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be positive and finite, got {value}. {hint}")
