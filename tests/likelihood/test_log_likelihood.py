"""The flow's likelihood against exact densities, and what it costs."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from _cases import Square, mixture, shear

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
        return ss.log_likelihood(denoiser, x, prior=prior, key=key, **options)

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
@pytest.mark.parametrize("name", ["blur", "shear"])
def test_the_default_tolerance_is_kept_in_single_precision(key, name):
    """The error of a step is bounded by 1e-5 nats a dimension; of the sum, by 1e-3.

    Also where the levels have 31 kinks, and the noise one. (Without steps that end
    there the error of the blur is up to 0.1.)
    """
    process, oracle, xs = case(name)
    found = likelihood_of(process, oracle)(xs, jax.random.split(key, 8))
    truth = [exact_density(process, oracle, process.t0, x) for x in xs]
    assert found.log_prob.dtype == jnp.float32
    np.testing.assert_allclose(found.log_prob, truth, atol=1e-3, rtol=0)


@pytest.mark.slow
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
        found = ss.log_likelihood(denoiser, x, prior=prior, rtol=1e-9, atol=1e-9)
        return found.log_prob

    got = jax.jit(jax.vmap(jax.grad(log_prob)))(xs)
    truth = jax.vmap(lambda x: oracle.score(process, 0.0, x))(xs)
    np.testing.assert_allclose(got, truth, atol=1e-6)


@pytest.mark.parametrize("index", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_condition_chooses_the_component(x64, index):
    """The density of one Gaussian of the mixture, given its index.

    (The prior is that of the component too: a prior knows no conditions.)
    """
    process, oracle, xs = case("shear")
    part = ss.oracles.GaussianOracle(oracle.means[index], oracle.covariances[index])
    denoiser, prior = oracle.denoiser(process), ss.ExactPrior(part, process)

    @eqx.filter_jit
    def run(x, condition):
        return ss.log_likelihood(
            denoiser, x, prior=prior, condition=condition, rtol=1e-8, atol=1e-8
        ).log_prob

    labels = jnp.full(len(xs), index)
    found = jax.vmap(run)(xs, labels)
    truth = jax.vmap(lambda x: part.log_prob(process, process.t0, x))(xs)
    np.testing.assert_allclose(found, truth, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_evaluations_are_counted_across_kinks():
    """After each kink a method "first same as last" evaluates once more."""
    process, calls = ss.soft_blur((2, 2, 1), max_blur=2.0), []

    def counted(t, x):
        jax.debug.callback(lambda _: calls.append(1), t)
        return 0.9 * x

    prior = unit(process, 4)[1]
    oracle = eqx.tree_at(lambda o: o.mean, prior.oracle, jnp.zeros((2, 2, 1)))
    found = ss.log_likelihood(
        ss.FunctionDenoiser(counted, process),
        jnp.full((2, 2, 1), 0.3),
        prior=ss.ExactPrior(oracle, process),
        rtol=1e-3,
        atol=1e-3,
    )
    jax.block_until_ready(found)
    jax.effects_barrier()
    # At least a step of six evaluations between two of 32 kinks.
    assert int(found.nfe) == len(calls) > 33 * 6


def linear(t, x):
    return 0.5 * x + 0.1 * t


class Still(ss.AbstractPrior):
    """A standard deviation of two in every direction."""

    process: ss.Process
    time: float = 1.0

    def sample(self, key):
        return 2.0 * jax.random.normal(key, (3,))

    def log_prob(self, x):
        return jnp.sum(jax.scipy.stats.norm.logpdf(x, scale=2.0))


@pytest.fixture
def plain():
    process = ss.ve(0.1, 2.0)
    return process, Still(process)


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
    """The denoiser runs as often as is reported, in rejected steps too."""
    process, prior = plain
    calls = []

    def sharp(t, x):
        jax.debug.callback(lambda _: calls.append(1), t)
        # Some steps are rejected.
        return jnp.tanh(20 * x)

    denoiser = ss.FunctionDenoiser(sharp, process)
    x = jnp.array([0.3, -0.1, 0.2])
    found = ss.log_likelihood(denoiser, x, prior=prior, **options)
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert int(found.nfe) == len(calls)


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_the_network_is_traced_three_times(plain, key, divergence):
    """It holds for each divergence, and without `jax.jit`."""
    process, prior = plain
    traced = eqx.debug.assert_max_traces(linear, max_traces=3)
    denoiser = ss.FunctionDenoiser(traced, process)

    def run(x):
        return ss.log_likelihood(
            denoiser, x, prior=prior, divergence=divergence, key=key
        ).log_prob

    run(jnp.ones(3))
    run(jnp.zeros(3))
    jax.jit(run)(jnp.ones(3))


def unit(process, dim):
    """Standard normal data: its denoiser, and the exact prior."""
    oracle = ss.oracles.GaussianOracle(jnp.zeros(dim), jnp.eye(dim))
    return oracle.denoiser(process), ss.ExactPrior(oracle, process)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 65])
def test_by_default_small_samples_are_exact_and_large_ones_estimated(key, size):
    """By the shift of one component into the next, whose trace is zero.

    Hutchinson's probes are signs: the estimate is a sum of products of neighbours,
    which moves with the key. The trace does not.
    """
    process = ss.ve(0.1, 2.0)
    denoiser = ss.FunctionDenoiser(lambda t, x: jnp.roll(x, 1), process)
    prior = unit(process, size)[1]

    @jax.jit
    def run(key):
        return ss.log_likelihood(
            denoiser, jnp.ones(size), prior=prior, rtol=1e-3, atol=1e-3, key=key
        ).log_volume

    found = {round(float(run(k)), 2) for k in jax.random.split(key, 4)}
    assert (len(found) == 1) is (size == 64)


def test_without_a_key_an_estimate_is_repeatable():
    """A fixed key draws the probes."""
    process = ss.ve(0.1, 2.0)
    denoiser = ss.FunctionDenoiser(lambda t, x: jnp.roll(x, 1), process)
    prior = unit(process, 65)[1]
    run = jax.jit(
        lambda x: (
            ss.log_likelihood(denoiser, x, prior=prior, rtol=1e-3, atol=1e-3).log_prob
        )
    )
    assert float(run(jnp.ones(65))) == float(run(jnp.ones(65)))


# What jumps has no velocity: the integral would miss what happens there.


def hidden(theta, x):
    """Hides the second component in one jump, and says nothing of it."""
    return jnp.where(theta < 0.5, x, x * jnp.array([1.0, 0.0]).astype(x.dtype))


def jumping(corruption):
    return ss.Process(
        corruption, ss.schedules.Linear(), ss.schedules.Geometric(0.1, 0.5)
    )


def test_a_corruption_that_jumps_is_refused():
    """Declared or found out. (The log density would be -49.3 for -3.3.)"""
    mask = jumping(ss.corruptions.CenterMask((2,)))
    denoiser, prior = unit(mask, 2)
    with pytest.raises(ValueError, match=r"The likelihood needs .* `CenterMask`"):
        ss.log_likelihood(denoiser, jnp.ones(2), prior=prior)
    secret = jumping(ss.corruptions.FunctionCorruption(hidden, (2,)))
    denoiser, prior = unit(secret, 2)
    run = lambda x: ss.log_likelihood(denoiser, x, prior=prior).log_prob
    message = r"The likelihood needs .* `FunctionCorruption` jumps at time 0\.5"
    with pytest.raises(ValueError, match=message):
        run(jnp.ones(2))
    # Before it runs, under transformations too: the process is known there.
    with pytest.raises(ValueError, match=message):
        jax.jit(jax.vmap(run)).lower(jnp.ones((3, 2)))


class Hidden(ss.corruptions.AbstractCorruption):
    """The same, with a number in it that can be traced."""

    left: jax.Array

    def apply(self, theta, x):
        after = x * jnp.stack([jnp.ones_like(self.left), self.left]).astype(x.dtype)
        return jnp.where(theta < 0.5, x, after)


@pytest.mark.slow
def test_a_traced_corruption_that_jumps_is_refused_while_it_runs():
    """The denoiser is an argument here, so nothing of it is known before."""
    # Half of the component: otherwise the two processes have one structure.
    denoiser, prior = unit(jumping(Hidden(jnp.asarray(0.5))), 2)

    @eqx.filter_jit
    def run(denoiser, x):
        return ss.log_likelihood(denoiser, x, prior=prior, rtol=1e-3, atol=1e-3)

    with pytest.raises(Exception, match="The likelihood needs the derivative of C_t"):
        jax.block_until_ready(run(denoiser, jnp.ones(2)))
    # What does not jump passes, and is right: nothing is hidden.
    smooth = eqx.tree_at(lambda d: d.process.corruption.left, denoiser, jnp.ones(()))
    prior = unit(jumping(ss.corruptions.Identity()), 2)[1]
    prior = ss.ExactPrior(prior.oracle, smooth.process)
    found = run(smooth, jnp.ones(2)).log_prob
    truth = scipy.stats.norm(0, np.sqrt(1 + 0.1**2)).logpdf(1.0) * 2
    assert float(found) == pytest.approx(truth, abs=1e-2)


def test_mistakes_are_named(as_a_user, plain, key):
    process, prior = plain
    x = jnp.ones(3)

    def run(process=process, x=x, prior=prior, **options):
        denoiser = ss.FunctionDenoiser(linear, process)
        return ss.log_likelihood(denoiser, x, prior=prior, **options)

    class Draws(ss.AbstractPrior):
        process: ss.Process
        time: float = 1.0

        def sample(self, key):
            return jax.random.normal(key, (3,))

    blur = ss.soft_blur((4, 4, 1))
    image = jnp.ones((4, 4, 1))
    silent = ss.cold(blur.corruption, blur.levels)
    with pytest.raises(ValueError, match=r"sigma\(0.0\) = 0"):
        run(silent, image)
    with pytest.raises(ValueError, match="`Draws` has no density"):
        run(prior=Draws(process))
    with pytest.raises(ValueError, match=r"`jax.vmap`"):
        run(x=jnp.ones((5, 3)))
    with pytest.raises(ValueError, match=r"(?s)another process.*sigma 2 .*sigma 50 "):
        run(ss.ve(0.1, 50.0))
    oracle = ss.oracles.GaussianOracle(jnp.zeros(3), jnp.eye(3))
    with pytest.raises(ValueError, match=r"starts at time 1.0, but .* of time 0.5"):
        run(prior=ss.ExactPrior(oracle, process, time=0.5))
    with pytest.raises(ValueError, match="'auto', 'exact'"):
        run(divergence="approximate")
    with pytest.raises(ValueError, match="float64"):
        run(rtol=1e-8, atol=1e-8)
    with pytest.raises(TypeError, match="`Momentum`, which steps from operator to"):
        run(solver=ss.Momentum())
    with pytest.raises(TypeError, match="uint8"):
        run(x=jnp.ones(3, jnp.uint8))
    with pytest.raises(TypeError, match="got function; expected a denoiser"):
        ss.log_likelihood(linear, x, prior=prior)  # pyright: ignore
