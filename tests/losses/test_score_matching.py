"""Theorem 3.1 and its relatives: one score, five objectives, the same gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.losses import (
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    ImplicitScoreMatching,
    SlicedScoreMatching,
)


class Skew(ss.corruptions.AbstractCorruption):
    """Neither symmetric nor normal."""

    def apply(self, theta, x):
        return jnp.stack([x[0] + theta * x[1], (1 - 0.5 * theta) * x[1]])


@pytest.fixture
def process(x64):
    noise = ss.schedules.Geometric(0.2, 1.5)
    return ss.Process(Skew(), ss.schedules.Linear(), noise)


@pytest.fixture
def oracle(x64):
    return ss.oracles.MixtureOracle(
        [0.4, 0.6],
        np.array([[-1.2, 0.4], [0.8, 1.0]]),
        np.array([[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.15], [-0.15, 0.5]]]),
    )


def network(parameters, x):
    first, bias, second = parameters
    return second @ jnp.tanh(first @ x + bias)


def some_parameters():
    rng = np.random.default_rng(11)
    shapes = [(3, 2), (3,), (2, 3)]
    return tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes)


LOSSES = {
    "denoising": DenoisingScoreMatching(),
    "implicit": ImplicitScoreMatching(),
    "sliced": SlicedScoreMatching(variance_reduced=False, directions="normal"),
    "sliced_reduced": SlicedScoreMatching(projections=2),
}


def test_all_objectives_have_the_gradient_of_explicit_score_matching(
    process, oracle, key
):
    """In the weights of a two-layer denoiser, over 20,000 draws of each.

    Gradients agree within 4.5 standard errors of their difference, and so do values up
    to the constant E |grad log q_t|^2 / d, where there is one.
    """
    number, t = 20_000, jnp.asarray(0.6)
    explicit = ExplicitScoreMatching(oracle)

    def one(loss, parameters, key):
        data_key, loss_key = jax.random.split(key)
        x0 = oracle.sample(data_key)
        denoiser = ss.FunctionDenoiser(lambda t, x: network(parameters, x), process)
        return loss(denoiser, x0, t, key=loss_key)

    # A program for each loss: with all in one, XLA has been seen to wait for itself on
    # two cores, when many factorisations run at once.
    def draws(i, loss, parameters, keys):
        own = jax.vmap(lambda k: jax.random.fold_in(k, i))(keys)
        graded = jax.value_and_grad(lambda p, k: one(loss, p, k))
        values, gradients = jax.vmap(graded, in_axes=(None, 0))(parameters, own)
        flat = [g.reshape(number, -1) for g in gradients]
        return jnp.concatenate([values[:, None], *flat], axis=1)

    keys = jax.random.split(key, number)
    results = {
        name: np.asarray(eqx.filter_jit(draws)(i, loss, some_parameters(), keys))
        for i, (name, loss) in enumerate({"explicit": explicit, **LOSSES}.items())
    }
    means = {name: r.mean(0) for name, r in results.items()}
    errors = {name: r.std(0) / np.sqrt(number) for name, r in results.items()}
    truth, error = means["explicit"], errors["explicit"]
    assert (np.abs(truth) / error)[1:].max() > 30, "there is a gradient to agree on"
    for name in LOSSES:
        deviation = np.hypot(errors[name], error)
        z = (means[name] - truth) / deviation
        assert np.abs(z[1:]).max() < 4.5, name
    # All three without a target leave out the same constant.
    constant = truth[0] - means["implicit"][0]
    assert constant > 10 * errors["implicit"][0]
    for name in ("sliced", "sliced_reduced"):
        gap = means[name][0] - means["implicit"][0]
        assert abs(gap) < 4.5 * np.hypot(errors[name][0], errors["implicit"][0]), name
    assert errors["sliced_reduced"][0] < errors["sliced"][0], "what VR stands for"


def test_implicit_score_matching_is_hyvarinens(process, key):
    """|s|^2 + 2 tr ds/dx, for a linear denoiser, whose score has a constant slope.

    On a sample that is no vector, but a column.
    """
    matrix = np.array([[0.5, -0.2], [0.3, 0.1]])
    x0, t = jax.random.normal(key, (2, 1)), 0.6
    operator = np.array([[1.0, t], [0.0, 1 - t / 2]])
    sigma = 0.2 * 7.5**t
    slope = (operator @ matrix - np.eye(2)) / sigma**2
    denoiser = ss.FunctionDenoiser(lambda t, x: matrix @ x, process)
    noise_key, *_ = jax.random.split(key, 3)
    x = np.asarray(process.perturb(t, x0, key=noise_key)[0])
    expected = (np.sum((slope @ x) ** 2) + 2 * np.trace(slope)) / 2
    loss = ImplicitScoreMatching()
    got = loss(denoiser, x0, t, key=key)
    assert float(got) == pytest.approx(expected, rel=1e-11)
    # Many directions: Hutchinson's estimate nears the trace.
    many = SlicedScoreMatching(lambda process, t: 2 * t, projections=2_000)
    got = many(denoiser, x0, t, key=key)
    off_diagonal = slope[0, 1] + slope[1, 0]  # all that varies for random signs
    assert abs(float(got) / (2 * t) - expected) < 4 * abs(off_diagonal) / np.sqrt(
        20_000
    )


def test_explicit_score_matching_is_the_distance_of_scores(process, key):
    """On a Gaussian, whose score under the process is -S^-1 (x - C m)."""
    root, mean = np.array([[1.0, 0.0], [0.7, 0.4]]), np.array([0.3, -1.0])
    oracle = ss.oracles.GaussianOracle(mean, root @ root.T)
    x0, t = jax.random.normal(key, (2,)), 0.6
    operator = np.array([[1.0, t], [0.0, 1 - t / 2]])
    sigma = 0.2 * 7.5**t
    noise_key, _ = jax.random.split(key)
    x = np.asarray(process.perturb(t, x0, key=noise_key)[0])
    marginal = operator @ root @ root.T @ operator.T + sigma**2 * np.eye(2)
    truth = -np.linalg.solve(marginal, x - operator @ mean)
    score = (operator @ np.tanh(x) - x) / sigma**2
    expected = 3 * np.mean((score - truth) ** 2)
    loss = ExplicitScoreMatching(oracle, lambda process, t: 5 * t)
    denoiser = ss.FunctionDenoiser(lambda t, x: jnp.tanh(x), process)
    got = loss(denoiser, x0, t, key=key)
    assert float(got) == pytest.approx(expected, rel=1e-10)
    exact = loss(oracle.denoiser(process), x0, t, key=key)
    assert float(exact) < 1e-20


@pytest.mark.slow
def test_explicit_score_matching_given_a_component(process, oracle, key):
    """A condition chooses the component; -1, which says nothing, the whole mixture."""
    x0, t = jnp.array([0.2, 0.5]), 0.6
    exact = oracle.denoiser(process)
    loss = ExplicitScoreMatching(oracle)
    component = ss.oracles.GaussianOracle(oracle.means[1], oracle.covariances[1])
    single = ExplicitScoreMatching(component)
    denoiser = ss.FunctionDenoiser(lambda t, x, condition: jnp.tanh(x), process)
    one = jnp.asarray(1)
    assert float(loss(exact, x0, t, one, key=key)) < 1e-20
    expected = float(single(denoiser, x0, t, key=key))
    got = float(loss(denoiser, x0, t, one, key=key))
    assert got == pytest.approx(expected, rel=1e-10)
    whole = float(loss(denoiser, x0, t, key=key))
    assert abs(whole - expected) > 1e-3 * expected, "the test can tell them apart"
    nothing = float(loss(denoiser, x0, t, jnp.asarray(-1), key=key))
    assert nothing == pytest.approx(whole, rel=1e-10)


def test_mistakes_are_named(as_a_user, key):
    x0 = jnp.zeros(2)
    with pytest.raises(TypeError, match="the denoiser, which returns int32"):
        integers = lambda t, x: jnp.round(x).astype(jnp.int32)
        denoiser = ss.FunctionDenoiser(integers, ss.ve())
        ImplicitScoreMatching()(denoiser, x0, 0.5, key=key)
    silent = ss.cold(Skew(), ss.schedules.Linear())
    denoiser = ss.FunctionDenoiser(lambda t, x: x, silent)
    with pytest.raises(ValueError, match="`ImplicitScoreMatching` divides by sigma"):
        ImplicitScoreMatching()(denoiser, x0, 0.5, key=key)
    gaussian = ss.oracles.GaussianOracle(np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="`ExplicitScoreMatching` divides by sigma"):
        ExplicitScoreMatching(gaussian)(denoiser, x0, 0.5, key=key)
    with pytest.raises(TypeError, match="got FunctionDenoiser for `oracle`"):
        ExplicitScoreMatching(denoiser)  # pyright: ignore
    with pytest.raises(ValueError, match="Unknown weight 'snr' for `Explicit"):
        ExplicitScoreMatching(gaussian, "snr")  # pyright: ignore
    with pytest.raises(ValueError, match="Unknown weight 'snr' for `Sliced"):
        SlicedScoreMatching("snr")  # pyright: ignore
    with pytest.raises(ValueError, match="Unknown weight 'snr' for `Implicit"):
        ImplicitScoreMatching("snr")  # pyright: ignore
    with pytest.raises(ValueError, match="at least one direction"):
        SlicedScoreMatching(projections=0)
    with pytest.raises(ValueError, match="directions='sphere'"):
        SlicedScoreMatching(directions="sphere")  # pyright: ignore


def cut_off():
    """Denoisers that look at `x` through steps, with their names."""
    steps = {
        "rounding": lambda t, x: jnp.round(3 * x),
        "comparison": lambda t, x: jnp.where(x > 0, 1.0, -1.0),
        "stop_gradient": lambda t, x: jax.lax.stop_gradient(jnp.tanh(x)),
        "argmax": lambda t, x: jnp.eye(2)[jnp.argmax(x)],
        "under jit": jax.jit(lambda t, x: jnp.floor(x) * t),
    }
    return steps.items()


@pytest.mark.parametrize("loss", [ImplicitScoreMatching(), SlicedScoreMatching()])
def test_a_network_without_a_derivative_is_refused(key, loss):
    """The trace refuses it before any compute; a step function passes as constant."""
    process = ss.ve(0.2, 1.5)

    def traced(fn):
        given = isinstance(fn, ss.Denoiser)
        denoiser = fn if given else ss.FunctionDenoiser(fn, process)
        run = lambda x, key: loss(denoiser, x, 0.5, key=key)
        return jax.eval_shape(
            jax.vmap(run), jnp.zeros((3, 2)), jax.random.split(key, 3)
        )

    for name, denoiser in cut_off():
        with pytest.raises(ValueError, match=r"derivatives of the denoiser"):
            traced(denoiser)
            pytest.fail(name)
    # A residual adds x, so the denoiser has a derivative, and its network none.
    network = lambda t, x, condition, *, key=None: jnp.round(x)
    with pytest.raises(ValueError, match=r"derivatives of the network.*stop_gradient"):
        traced(ss.Denoiser(network, process, ss.parametrisations.Residual()))
    # What does not look at x is a constant, and what looks at it smoothly is welcome.
    for denoiser in (
        lambda t, x: jnp.ones(2) * t,
        jax.jit(lambda t, x: jnp.ones(2) * t),
        lambda t, x: jax.nn.relu(x) + jnp.round(x),
        jax.checkpoint(lambda t, x: jax.nn.silu(x)),
    ):
        traced(denoiser)
