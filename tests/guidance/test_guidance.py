"""Guided denoisers against their formulas, with exact denoisers of a mixture."""

import collections

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.denoisers import AbstractDenoiser, FunctionDenoiser
from softsde.guidance import AutoGuidance, ClassifierFree
from softsde.oracles import MixtureOracle
from softsde.processes import Process, edm, soft_blur, ve
from softsde.sampling import sample

T = 0.6


@pytest.fixture
def mixture(x64):
    """The exact denoiser of three Gaussians, which may be told the component."""
    rng = np.random.default_rng(0)
    factors = 0.5 * rng.standard_normal((3, 4, 4))
    oracle = MixtureOracle(
        weights=np.array([0.2, 0.5, 0.3]),
        means=rng.standard_normal((3, 4)),
        covariances=factors @ factors.transpose(0, 2, 1) + 0.1 * np.eye(4),
    )
    return oracle.denoiser(ve(0.01, 5.0))


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(1).standard_normal(4))


@eqx.filter_jit
def _call(denoiser, t, x, condition):
    return denoiser(t, x, condition)


def call(denoiser, t, x, condition=None):
    """Compiled once for all tests that call the same kind of denoiser."""
    condition = None if condition is None else jnp.asarray(condition)
    return _call(denoiser, jnp.asarray(t, x.dtype), x, condition)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("component", [0, 2])
def test_scale_one_is_the_conditional_denoiser(mixture, x, component):
    guided = ClassifierFree(mixture, 1.0)
    close(call(guided, T, x, component), call(mixture, T, x, component))


def test_scale_zero_is_the_unconditional_denoiser(mixture, x):
    close(call(ClassifierFree(mixture, 0.0), T, x, 2), call(mixture, T, x))


@pytest.mark.parametrize("scale", [-0.5, 0.5, 3.0])
def test_classifier_free_formula(mixture, x, scale):
    given, free = call(mixture, T, x, 1), call(mixture, T, x)
    assert float(jnp.linalg.norm(given - free)) > 0.1
    close(
        call(ClassifierFree(mixture, scale), T, x, 1),
        (1 - scale) * free + scale * given,
    )


def test_guidance_is_the_score_of_a_sharpened_posterior(mixture, x):
    """Its score is that of q(x) p(c | x)^w: the claim of classifier-free guidance."""
    scale, process, oracle = 2.5, mixture.process, mixture.oracle

    def log_sharpened(x):
        free = oracle.log_prob(process, T, x)
        given = oracle.given(1).log_prob(process, T, x)
        return free + scale * (given - free)

    x0_hat = call(ClassifierFree(mixture, scale), T, x, 1)
    score = process.score(T, x, x0_hat)
    expected = jax.jit(jax.grad(log_sharpened))(x)
    np.testing.assert_allclose(score, expected, rtol=1e-9)


def test_without_a_condition_there_is_no_guidance(mixture, x):
    guided = ClassifierFree(mixture, 3.0)
    assert jnp.array_equal(call(guided, T, x), call(mixture, T, x))
    close(call(guided, T, x, -1), call(mixture, T, x))


@pytest.mark.slow
def test_scale_may_be_an_array(mixture, x):
    """One scale for each sample, and a derivative by it."""
    scales = jnp.array([0.0, 1.0, 2.0])
    given, free = call(mixture, T, x, 1), call(mixture, T, x)
    at = lambda scale: call(ClassifierFree(mixture, scale), T, x, 1)
    close(jax.vmap(at)(scales), free[None] + scales[:, None] * (given - free)[None])
    close(jax.jacobian(at)(jnp.array(2.0)), given - free)
    close(at(jnp.arange(4.0)), free + jnp.arange(4.0) * (given - free))


def test_one_program_serves_all_scales(mixture, x):
    @eqx.filter_jit
    @eqx.debug.assert_max_traces(max_traces=1)
    def once(guided, c):
        return guided(T, x, c)

    for scale in (1.0, 2.0):
        guided = ClassifierFree(mixture, scale)
        close(once(guided, jnp.array(1)), call(guided, T, x, 1))


def test_mixed_conditions_in_one_batch(mixture, x):
    guided = ClassifierFree(mixture, 2.0)
    xs, labels = jnp.stack([x, 2 * x, -x]), jnp.array([2, -1, 0])
    batched = jax.vmap(lambda x, c: call(guided, T, x, c))(xs, labels)
    for one, x, c in zip(batched, xs, labels, strict=True):
        close(one, call(guided, T, x, c))


@pytest.mark.slow
def test_condition_may_be_a_tree(x64):
    """Integers become -1 and floats 0 where there is no condition."""
    fn = lambda t, x, c: x * c["scale"] + c["label"].astype(x.dtype)
    guided = ClassifierFree(FunctionDenoiser(fn, ve()), 3.0)
    condition = {"scale": jnp.array(2.0), "label": jnp.array(4)}
    x = jnp.array([1.0, -1.0])
    # Unconditionally: 0 x - 1. Conditionally: 2 x + 4.
    close(guided(0.5, x, condition), -1.0 + 3.0 * (2.0 * x + 5.0))


INTERVAL = (0.3, 0.7)


@pytest.mark.parametrize("t", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_interval_of_classifier_free(mixture, x, t):
    guided = ClassifierFree(mixture, 2.0, interval=INTERVAL)
    always = ClassifierFree(mixture, 2.0)
    expected = always if 0.3 <= t <= 0.7 else mixture
    close(call(guided, t, x, 1), call(expected, t, x, 1))


class Half(eqx.Module):
    denoiser: AbstractDenoiser

    def __call__(self, t, x, condition):
        return 0.5 * self.denoiser(t, x, condition)


@pytest.fixture
def weaker(mixture):
    return FunctionDenoiser(Half(mixture), mixture.process)


@pytest.mark.parametrize("condition", [None, 1])
def test_autoguidance_formula(mixture, weaker, x, condition):
    strong, weak = call(mixture, T, x, condition), call(weaker, T, x, condition)
    for scale in (0.0, 1.0, 2.5):
        guided = AutoGuidance(mixture, weaker, scale)
        close(call(guided, T, x, condition), weak + scale * (strong - weak))


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_interval_of_autoguidance(mixture, weaker, x, t):
    guided = AutoGuidance(mixture, weaker, 2.0, interval=INTERVAL)
    expected = AutoGuidance(mixture, weaker, 2.0) if t == 0.5 else mixture
    close(call(guided, t, x, 1), call(expected, t, x, 1))


def test_guided_denoisers_nest(mixture, weaker, x):
    inner = ClassifierFree(mixture, 2.0)
    guided = AutoGuidance(inner, ClassifierFree(weaker, 2.0), 3.0)
    # The weaker is half of the other: 0.5 D + 3 (D - 0.5 D) = 2 D.
    close(call(guided, T, x, 1), 2 * call(inner, T, x, 1))


def test_the_process_is_the_denoisers(mixture, weaker):
    assert ClassifierFree(mixture, 2.0).process is mixture.process
    assert AutoGuidance(mixture, weaker, 2.0).process is mixture.process


class Counter:
    """Denoisers that count, by time, on how many samples they were evaluated."""

    def __init__(self, process: Process):
        self.process, self.counts = process, collections.Counter()

    def denoiser(self, name: str) -> FunctionDenoiser:
        def seen(t, _):
            self.counts[name, round(float(t), 5)] += 1

        def fn(t, x, c):
            # Of all that is mapped, so that it is called once for each sample.
            mapped = x[0] if c is None else x[0] + jnp.asarray(c, x.dtype)
            jax.debug.callback(seen, t, mapped)
            return 0.5 * x

        return FunctionDenoiser(fn, self.process)

    def of(self, name: str, t) -> int:
        jax.effects_barrier()
        return self.counts[name, round(float(t), 5)]


NUM = 3
LABELS = jnp.array([0, 4, 2])


def run(denoiser):
    return sample(
        denoiser,
        x1=jnp.ones((NUM, 2)),
        condition=LABELS,
        num_steps=8,
        key=jax.random.key(0),
    )


def times_of(drawn):
    """One evaluation a step, and the last denoising at the last time."""
    assert drawn.nfe == drawn.times.size
    return np.asarray(drawn.times)


@pytest.mark.parametrize(
    "interval", [pytest.param(None, marks=pytest.mark.slow), (0.3, 0.7)]
)
def test_sampling_evaluates_classifier_free_no_more_than_needed(interval):
    """Two evaluations of each sample inside the interval, exactly one outside."""
    counter = Counter(ve(0.01, 5.0))
    drawn = run(ClassifierFree(counter.denoiser("one"), 2.0, interval))
    low, high = interval or (0.0, 1.0)
    for t in times_of(drawn):
        expected = 2 * NUM if low <= t <= high else NUM
        assert counter.of("one", t) == expected, t


@pytest.mark.parametrize(
    "interval", [pytest.param(None, marks=pytest.mark.slow), (0.3, 0.7)]
)
def test_sampling_evaluates_autoguidance_no_more_than_needed(interval):
    counter = Counter(ve(0.01, 5.0))
    strong, weak = counter.denoiser("strong"), counter.denoiser("weak")
    drawn = run(AutoGuidance(strong, weak, 2.0, interval))
    low, high = interval or (0.0, 1.0)
    for t in times_of(drawn):
        assert counter.of("strong", t) == NUM, t
        assert counter.of("weak", t) == (NUM if low <= t <= high else 0), t


def test_without_a_condition_there_is_one_evaluation():
    counter = Counter(ve(0.01, 5.0))
    ClassifierFree(counter.denoiser("one"), 2.0)(0.5, jnp.ones(2))
    assert counter.of("one", 0.5) == 1


@pytest.mark.slow
def test_samples_of_a_guided_mixture_lie_in_their_components(x64, key):
    """Scale 1 with the exact denoiser: each sample has the law of its component."""
    means = np.array([[-1.0, 0.0], [1.0, 0.5]])
    oracle = MixtureOracle(
        weights=np.array([0.7, 0.3]), means=means, covariances=[0.04 * np.eye(2)] * 2
    )
    labels = jnp.arange(600) % 2
    process = ve(0.01, 20.0)
    drawn = sample(
        ClassifierFree(oracle.denoiser(process), 1.0),
        x1=20.0 * jax.random.normal(key, (600, 2)),
        condition=labels,
        num_steps=100,
        key=jax.random.fold_in(key, 1),
    ).x
    for label, mean in enumerate(means):
        own = drawn[labels == label]
        # 300 samples of standard deviation 0.2.
        assert np.all(abs(np.mean(own, axis=0) - mean) < 4 * 0.2 / 300**0.5)
        assert np.all(abs(np.std(own, axis=0) / 0.2 - 1) < 4 / 600**0.5 + 0.02)


def test_another_process_is_refused(mixture):
    for other in (ve(0.01, 6.0), edm(), soft_blur((8, 8, 1))):
        weaker = FunctionDenoiser(lambda t, x: x, other)
        with pytest.raises(ValueError, match="denoisers of two processes"):
            AutoGuidance(mixture, weaker, 2.0)


@pytest.mark.parametrize("interval", [(0.7, 0.3), (0.5, 0.5), (0.1, 0.2, 0.3)])
def test_bad_intervals(as_a_user, mixture, interval):
    with pytest.raises(ValueError, match=r"two times `\(t_low, t_high\)`"):
        ClassifierFree(mixture, 2.0, interval)
    with pytest.raises(ValueError, match=r"two times `\(t_low, t_high\)`"):
        AutoGuidance(mixture, mixture, 2.0, interval)


def test_a_function_is_no_denoiser(as_a_user, mixture):
    with pytest.raises(TypeError, match=r"got function for `denoiser`.*Function"):
        ClassifierFree(lambda t, x: x, 2.0)
    with pytest.raises(TypeError, match=r"got function for `weaker`.*Function"):
        AutoGuidance(mixture, lambda t, x: x, 2.0)
