"""The numbers of docs/exactness.md on masks that jump and masks that fade:

    python docs/figures/masks.py [--drawn]

Independent pixels under a growing mask, with the exact denoiser. A pixel is Gaussian,
and a step of the Momentum Sampler is linear in it. So the variance of what is drawn
follows by a recursion, which is written here in NumPy from the formulas of the page:
the numbers have no sampling error. With `--drawn` the library draws 4,000 images as
well, in some ten minutes.
"""

import argparse
import itertools

import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss

jax.config.update("jax_enable_x64", True)

SIDE, PIXEL, SIGMA_MIN, SIGMA_MAX, FRACTION = 4, 0.25, 0.01, 0.1, 0.2
STEPS = (100, 1000, 4000)
WIDTHS = (None, 0.1, 0.2, 0.5, 1.0)
CLOCKS = {
    "the probability flow": ss.clocks.Ode(),
    "the paper's SDE": ss.clocks.Sde(),
    "churn 40": ss.clocks.Churn(40.0),
}


def sigma(t):
    return SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** np.minimum(t / FRACTION, 1)


def mask(t, width):
    """The factor of each pixel: sharp without a `width`, else a smooth step."""
    i = 2 * np.arange(SIDE) - (SIDE - 1)
    distance = (i[:, None] ** 2 + i**2).ravel()
    level = np.maximum(t - FRACTION, 0) / (1 - FRACTION)
    if width is None:
        rank = np.argsort(np.argsort(distance, kind="stable"))
        return (rank >= np.round(SIDE**2 * level)).astype(float)
    nearer = (distance[None] < distance[:, None]).sum(1)
    ties = (distance[None] == distance[:, None]).sum(1)
    place = (nearer + ties / 2) / SIDE**2
    a = np.clip(1 + (place - (1 + width) * level) / width, 0, 1)
    return a**3 * (10 - 15 * a + 6 * a**2)


def injected(clock: str, t: float, t_next: float) -> float:
    """The variance that a clock injects in a step."""
    fall = sigma(t) ** 2 - sigma(t_next) ** 2
    if clock == "churn 40":
        # 40 times the integral of sigma^2: geometric first, then constant.
        rate = 2 * np.log(SIGMA_MAX / SIGMA_MIN) / FRACTION
        resting = np.maximum(t, FRACTION) - np.maximum(t_next, FRACTION)
        return fall + 40 * (fall / rate + SIGMA_MAX**2 * resting)
    return 0.0 if clock == "the probability flow" else fall


def recursion(width: float | None, clock: str, num_steps: int) -> float:
    """Standard deviation of what Momentum draws, over the right one."""
    times = np.linspace(1, 0, num_steps + 1)
    variance = np.full(SIDE**2, SIGMA_MAX**2)
    for t, t_next in itertools.pairwise(times):
        c, c_next = mask(t, width), mask(t_next, width)
        noise = sigma(t) ** 2
        # Wiener's filter, D = gain x, and the step x + (C' - C) D + weight S.
        gain = PIXEL**2 * c / (PIXEL**2 * c**2 + noise)
        added = injected(clock, t, t_next)
        weight = 0.5 * (noise - sigma(t_next) ** 2 + added)
        factor = 1 + (c_next - c) * gain + weight * (c * gain - 1) / noise
        variance = factor**2 * variance + added
    return float(np.sqrt(variance.mean() / (PIXEL**2 + SIGMA_MIN**2)))


def drawn(width: float | None, clock: str, num_steps: int) -> float:
    """The same of 4,000 images that the library draws; its error is 0.003."""
    shape = (SIDE, SIDE, 1)
    if width is None:
        process = ss.processes.hard_mask(shape)
    else:
        process = ss.soft_mask(shape, width=width)

    def exact(t, x):
        c = process.corruption.eigenvalues(process.level(t))
        return PIXEL**2 * c * x / (PIXEL**2 * c**2 + process.sigma(t) ** 2)

    samples = ss.sample(
        ss.FunctionDenoiser(exact, process),
        x1=SIGMA_MAX * jax.random.normal(jax.random.key(0), (4000, *shape)),
        num_steps=num_steps,
        solver=ss.Momentum(),
        clock=CLOCKS[clock],
        denoise_last=False,
        key=jax.random.key(1),
    ).x
    return float(jnp.std(samples)) / np.hypot(PIXEL, SIGMA_MIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", action="store_true", help="draw samples as well")
    arguments = parser.parse_args()
    print("standard deviation of independent pixels over the right one")
    columns = "".join(f"{f'{n:,} steps':>22}" for n in STEPS)
    print(f"{'mask':16}{'clock':22}{columns}")
    for width in WIDTHS:
        name = "hard" if width is None else f"fades over {width:g}"
        for clock in CLOCKS:
            cells = []
            for num_steps in STEPS:
                cell = f"{recursion(width, clock, num_steps):.4f}"
                if arguments.drawn:
                    cell += f" (drawn {drawn(width, clock, num_steps):.3f})"
                cells.append(f"{cell:>22}")
            print(f"{name:16}{clock:22}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
