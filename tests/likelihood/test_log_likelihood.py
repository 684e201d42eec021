"""The flow's likelihood against exact densities, and what it costs."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from solvers._cases import Square, mixture, shear

import softsde as ss

LOGARITHM = np.array([[0.5, -2.0], [2.5, 0.7]])


def rotating():
    """`expm(-L t^2)` for an `L` that is not normal and turns the plane."""
    function = lambda theta, x: (
        jax.scipy.linalg.expm(-theta * jnp.asarray(LOGARITHM, x.dtype)) @ x
    )
    corruption = ss.corruptions.FunctionCorruption(function, (2,))
    return ss.Process(corruption, Square(), ss.schedules.Geometric(0.2, 1.0))


def heat():
    return ss.Process(
        ss.corruptions.HeatBlur((2, 2, 1)),
        ss.schedules.Geometric(0.2, 2.0),
        ss.schedules.Geometric(0.1, 0.8),
        clean_start=False,
    )


def blur():
    return ss.soft_blur((3, 2, 1), max_blur=3.0, sigma_min=0.1, sigma_max=0.4)


CASES = {
    "shear": (shear, (2,)),
    "rotating": (rotating, (2,)),
    "vp": (ss.vp, (2,)),
    "flow": (ss.rectified_flow, (2,)),
    "heat": (heat, (2, 2, 1)),
    "blur": (blur, (3, 2, 1)),
}


def case(name):
    """A process, an oracle, and samples of the process's start, some far out."""
    make, shape = CASES[name]
    process, flat = make(), mixture(int(np.prod(shape)))
    means = flat.means.reshape(-1, *shape)
    oracle = ss.oracles.MixtureOracle(flat.weights, means, flat.covariances)
    xs = jax.vmap(oracle.sample)(jax.random.split(jax.random.key(2), 8))
    return process, oracle, xs.at[0].set(3.0).at[1].set(-2.0)


def exact_density(process, oracle, t, x):
    """By SciPy, from the matrix of the operator."""
    size = x.size
    basis = jnp.eye(size).reshape(size, *x.shape)
    columns = [np.asarray(process.apply(t, e)).reshape(-1) for e in basis]
    c, variance = np.stack(columns, axis=1), float(process.sigma(t)) ** 2
    parts = [
        np.log(w)
        + scipy.stats.multivariate_normal(
            c @ np.asarray(m).reshape(-1), c @ s @ c.T + variance * np.eye(size)
        ).logpdf(np.asarray(x).reshape(-1))
        for w, m, s in zip(
            oracle.weights, oracle.means, oracle.covariances, strict=True
        )
    ]
    return np.logaddexp.reduce(parts)


def likelihood_of(process, oracle, **options):
    """Compiled, of many samples with a key each."""
    denoiser, prior = oracle.denoiser(process), ss.ExactPrior(oracle, process)

    def one(x, key):
        return ss.log_likelihood(process, denoiser, x, prior=prior, key=key, **options)

    return eqx.filter_jit(jax.vmap(one))


@pytest.mark.parametrize(
    "name",
    ["shear", *(pytest.param(n, marks=pytest.mark.slow) for n in list(CASES)[1:])],
)
def test_it_is_the_exact_density(x64, key, name):
    """To 1e-8, of `q_t0`, for a mixture under operators that need not be normal."""
    process, oracle, xs = case(name)
    solver = diffrax.Dopri8()
    run = likelihood_of(process, oracle, rtol=1e-11, atol=1e-11, solver=solver)
    found = run(xs, jax.random.split(key, 8))
    truth = [exact_density(process, oracle, process.t0, x) for x in xs]
    np.testing.assert_allclose(found.log_prob, truth, atol=1e-8, rtol=0)
    # And its two parts: the density where the flow ends, and the volume between.
    ends = [exact_density(process, oracle, process.t1, x) for x in found.x1]
    np.testing.assert_allclose(found.log_prior, ends, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.log_volume, np.subtract(truth, ends), atol=1e-8)


@pytest.mark.slow
def test_the_default_tolerance_is_kept_in_single_precision(key):
    """The error of a step is bounded by 1e-5 nats a dimension; of the sum, by 1e-3."""
    process, oracle, xs = case("shear")
    found = likelihood_of(process, oracle)(xs, jax.random.split(key, 8))
    truth = [exact_density(process, oracle, process.t0, x) for x in xs]
    assert found.log_prob.dtype == jnp.float32
    np.testing.assert_allclose(found.log_prob, truth, atol=1e-3, rtol=0)


def test_hutchinson_averages_to_the_exact_density(x64, key):
    """In the plane signs have two outcomes, up to the sign of all: their mean is exact.

    So the probe is held along the path: drawn anew on the way, there would be more.
    """
    process, oracle, xs = case("shear")
    run = likelihood_of(
        process,
        oracle,
        divergence="hutchinson",
        rtol=1e-9,
        atol=1e-9,
        solver=diffrax.Dopri8(),
    )
    number = 32
    start = jnp.broadcast_to(xs[2], (number, 2))
    drawn = np.asarray(run(start, jax.random.split(key, number)).log_prob)
    low, high = drawn.min(), drawn.max()
    middle = (low + high) / 2
    assert high - low > 0.01
    away = np.where(drawn > middle, drawn - high, drawn - low)
    np.testing.assert_allclose(away, 0, atol=1e-7)
    exact = exact_density(process, oracle, process.t0, xs[2])
    assert middle == pytest.approx(exact, abs=1e-7)


@pytest.mark.slow
def test_its_gradient_is_the_score(x64):
    """Through the whole solve."""
    process, oracle, xs = case("shear")
    denoiser, prior = oracle.denoiser(process), ss.ExactPrior(oracle, process)

    def log_prob(x):
        return ss.log_likelihood(
            process, denoiser, x, prior=prior, rtol=1e-9, atol=1e-9
        ).log_prob

    got = jax.jit(jax.vmap(jax.grad(log_prob)))(xs)
    truth = jax.vmap(lambda x: oracle.score(process, 0.0, x))(xs)
    np.testing.assert_allclose(got, truth, atol=1e-6)


def linear(t, x):
    return 0.5 * x + 0.1 * t


@pytest.fixture
def plain():
    process = ss.ve(0.1, 2.0)
    prior = ss.GaussianPrior(jnp.zeros(3), jnp.zeros((1, 3)), jnp.asarray(2.0))
    return process, prior


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param(
            {"solver": diffrax.Heun(), "rtol": 1e-3, "atol": 1e-3},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["default", "heun"],
)
def test_evaluations_are_counted(plain, options):
    """What is reported is how often the denoiser runs, in rejected steps too."""
    process, prior = plain
    calls = []

    def denoiser(t, x):
        jax.debug.callback(lambda _: calls.append(1), t)
        # Sharp: some steps are rejected.
        return jnp.tanh(20 * x)

    x = jnp.array([0.3, -0.1, 0.2])
    found = ss.log_likelihood(process, denoiser, x, prior=prior, **options)
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert int(found.nfe) == len(calls)


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_the_network_is_traced_three_times(plain, key, divergence):
    """Whatever the divergence: the tangents go through one linearisation."""
    process, prior = plain
    traced = eqx.debug.assert_max_traces(linear, max_traces=3)

    @jax.jit
    def run(x, key):
        return ss.log_likelihood(
            process, traced, x, prior=prior, divergence=divergence, key=key
        ).log_prob

    run(jnp.ones(3), key)
    run(jnp.zeros(3), key)


def test_mistakes_are_named(as_a_user, plain, key):
    process, prior = plain
    x = jnp.ones(3)

    def run(process=process, x=x, prior=prior, **options):
        return ss.log_likelihood(process, linear, x, prior=prior, **options)

    class Draws(ss.AbstractPrior):
        def sample(self, key):
            return jax.random.normal(key, (3,))

    mask = ss.Process(
        ss.corruptions.CenterMask((4, 4, 1)),
        ss.schedules.Linear(0.0, 1.0),
        ss.schedules.Constant(0.1),
    )
    blur = ss.soft_blur((4, 4, 1))
    image = jnp.ones((4, 4, 1))
    with pytest.raises(ValueError, match="`CenterMask` jumps"):
        run(mask, image)
    silent = ss.cold(blur.corruption, blur.levels)
    with pytest.raises(ValueError, match=r"sigma\(0.0\) = 0"):
        run(silent, image)
    with pytest.raises(ValueError, match="`Draws` has no density"):
        run(prior=Draws())
    with pytest.raises(ValueError, match=r"`jax.vmap`"):
        run(x=jnp.ones((5, 3)))
    with pytest.raises(ValueError, match=r"noise is 2, .* sigma\(1.0\) = 50"):
        run(ss.ve(0.1, 50.0))
    other = ss.ExactPrior(ss.oracles.GaussianOracle(jnp.zeros(3), jnp.eye(3)), process)
    with pytest.raises(ValueError, match="prior of another process"):
        run(ss.ve(0.1, 50.0), prior=other)
    with pytest.raises(ValueError, match="`key=`"):
        run(divergence="hutchinson")
    with pytest.raises(ValueError, match="'exact'"):
        run(divergence="approximate")
    with pytest.raises(ValueError, match="float64"):
        run(rtol=1e-8, atol=1e-8)
    with pytest.raises(TypeError, match="`Momentum`, which steps the control form"):
        run(solver=ss.Momentum())
    with pytest.raises(TypeError, match="uint8"):
        run(x=jnp.ones(3, jnp.uint8))
