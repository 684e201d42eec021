r"""The error of every sampler against what it costs, on data with an exact denoiser.

    python docs/figures/samplers.py

The data are a mixture of ten Gaussians, one for each digit, of 4x4 pixels; the process
is the paper's blur and noise. Two measures, in two panels. Of a sampler of the
probability flow: the distance between where it takes a start and where the exact flow
takes it (root mean square over pixels and starts). Of any sampler: how far the mean log
density of what it draws is from that of true draws, in nats; it sees what is out of
place by less than the width of the data. (An energy distance sees nothing beyond 20
evaluations.) Writes `docs/_static/samplers_mixture.png` and prints the tables of
docs/samplers.md.
"""

import argparse
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss
from softsde.plotting import new_figure, save_figure

HERE = pathlib.Path(__file__).parent
SHAPE = (4, 4, 1)
EVALUATIONS = (10, 20, 40, 60, 80, 110, 160, 280)

#: Solvers of the probability flow.
FLOWS = {
    "Momentum": ss.Momentum(),
    "DDIM": ss.DDIM(),
    "Momentum + corrector": ss.PredictorCorrector(ss.DDIM(), ss.MomentumCorrector()),
    "Heun": ss.Heun(),
    "Heun, normalised": ss.Heun("normalised"),
    "EDMHeun": ss.EDMHeun(),
    "Multistep": ss.Multistep(),
}
LANGEVIN = ss.AnnealedLangevin((0.1, 0.01), 5e-6, steps=1)
#: Samplers with and without noise: the solver and the clock.
DRAWS = {
    "Momentum, flow": (ss.Momentum(), "ode"),
    "Multistep, flow": (ss.Multistep(), "ode"),
    "Momentum": (ss.Momentum(), "sde"),
    "Heun": (ss.Heun(), "sde"),
    "Multistep": (ss.Multistep(), "sde"),
    "Multistep, churn 10": (ss.Multistep(), ss.clocks.Churn(10.0)),
    "Multistep + Langevin": (ss.PredictorCorrector(ss.Multistep(), LANGEVIN), "ode"),
    "Naive": (ss.Naive(), "ode"),
}


def digits() -> tuple[ss.oracles.MixtureOracle, np.ndarray]:
    """The mixture, and the images that it was fitted on."""
    source = ss.data.digits()
    images = ss.data.to_array(source).astype(np.float64)
    labels = ss.data.to_labels(source)
    small = images.reshape(-1, 4, 2, 4, 2).mean((2, 4))[..., None]
    groups = [small[labels == label].reshape(-1, 16) for label in range(10)]
    means = np.stack([group.mean(0).reshape(SHAPE) for group in groups])
    covariances = np.stack([np.cov(group.T) + 1e-4 * np.eye(16) for group in groups])
    shares = np.array([len(group) for group in groups]) / len(small)
    return ss.oracles.MixtureOracle(shares, means, covariances), small


def blur_process(images: np.ndarray) -> ss.Process:
    """The paper's process, with levels by optimal transport."""
    levels = ss.fitting.transport_schedule(
        ss.corruptions.GaussianBlur(SHAPE),
        np.geomspace(0.01, 3.0, 128),
        images,
        num_points=32,
        start=0.2,
    ).schedule
    return ss.soft_blur(SHAPE, levels=levels, max_blur=3.0)


@eqx.filter_jit
def run(denoiser, solver, clock, grid, steps, x1, keys):
    """A bare loop over the solver's steps: one program for all numbers of steps."""

    def one(start, key):
        term = ss.reverse_sde(denoiser, clock=clock, shape=start.shape, key=key)

        def body(i, carry):
            x, state = carry
            x, _, _, state, _ = solver.step(
                term, grid[i], grid[i + 1], x, None, state, False
            )
            return x, state

        state = solver.init(term, grid[0], grid[1], start, None)
        return jax.lax.fori_loop(0, steps, body, (start, state))[0]

    return jax.vmap(one)(x1, keys)


def table(title: str, rows: dict[str, list[float]]) -> None:
    print(f"\n| {title} | " + " | ".join(map(str, EVALUATIONS)) + " |")
    print("| --- |" + " --- |" * len(EVALUATIONS))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.1e}" for v in values) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=256, help="for the flow's error")
    parser.add_argument("--draws", type=int, default=4000, help="for the densities")
    parser.add_argument("--folder", type=pathlib.Path, default=HERE.parent / "_static")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)

    oracle, images = digits()
    process = blur_process(images)
    denoiser = oracle.denoiser(process)
    prior = ss.ExactPrior(oracle, process)
    keys = jax.random.split(jax.random.key(0), options.draws)
    x1 = jax.vmap(prior.sample)(keys)
    few = options.starts

    def ends(solver, clock, steps, number, times=ss.uniform_times):
        grid = jnp.asarray(process.t1 - times(process, steps))
        # As long for all numbers of steps, which is one program instead of many.
        grid = jnp.concatenate([grid, jnp.ones(max(0, 2001 - grid.size))])
        steps = jnp.asarray(steps)
        return run(denoiser, solver, clock, grid, steps, x1[:number], keys[:number])

    by_arc = lambda process, n: ss.arc_length_times(process, n, images[:200])
    exact = ends(ss.Heun("normalised"), "ode", 2000, few, by_arc)
    half = ends(ss.Heun("normalised"), "ode", 1000, few, by_arc)
    off = jnp.sqrt(jnp.mean((exact - half) ** 2))
    print(f"reference: 2000 steps of a method of order 2, {off / 3:.0e} from its limit")

    def missed(solver, evaluations) -> float:
        steps = evaluations // solver.evaluations_per_step
        reached = ends(solver, "ode", steps, few)
        return float(jnp.sqrt(jnp.mean((reached - exact) ** 2)))

    flows = {
        name: [missed(solver, n) for n in EVALUATIONS] for name, solver in FLOWS.items()
    }
    table("RMS error", flows)

    density = jax.jit(jax.vmap(lambda x: oracle.log_prob(process, process.t0, x)))

    def true(key):
        data_key, noise_key = jax.random.split(key)
        x0 = oracle.sample(data_key)
        return process.perturb(process.t0, x0, key=noise_key)[0]

    many = jax.random.split(jax.random.key(1), 10 * options.draws)
    found = density(jax.vmap(true)(many))
    truth = float(jnp.mean(found))
    floor = 2 * float(jnp.std(found)) / options.draws**0.5
    print(f"\nmean log density {truth:.2f}; two standard errors: {floor:.1e}")

    def distance(solver, clock, evaluations) -> float:
        steps = evaluations // solver.evaluations_per_step
        drawn = ends(solver, clock, steps, options.draws)
        return abs(float(jnp.mean(density(drawn))) - truth)

    draws = {
        name: [distance(solver, clock, n) for n in EVALUATIONS]
        for name, (solver, clock) in DRAWS.items()
    }
    table("log density, difference", draws)

    figure = new_figure(10.0, 4.2)
    left, right = (figure.add_subplot(1, 2, i) for i in (1, 2))
    for axes, rows, label in (
        (left, flows, "distance to the exact flow, RMS"),
        (right, draws, "difference of mean log density, nats"),
    ):
        for name, values in rows.items():
            axes.loglog(EVALUATIONS, values, "o-", ms=3, label=name)
        axes.set(xlabel="evaluations of the denoiser", ylabel=label)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
    right.axhline(floor, color="black", lw=0.8, ls="--")
    left.set_title("probability flow")
    right.set_title("any sampler (dashed: two standard errors)")
    print(f"\nwrote {save_figure(figure, options.folder / 'samplers_mixture.png')}")


if __name__ == "__main__":
    main()
