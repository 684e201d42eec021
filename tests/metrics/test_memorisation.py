"""The memorisation curve against closed forms, and its test against chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

import softsde as ss
from softsde.metrics._memorisation import _distances

TIMES = (0.3, 0.7)
BLUR = ss.soft_blur((2, 2, 1), max_blur=1.0, sigma_max=0.5)


def images(num, seed, shape=(2, 2, 1)):
    return np.random.default_rng(seed).normal(size=(num, *shape)).astype(np.float32)


def curve_of(denoiser, training, held_out, key, times=TIMES, **options):
    options = {"num_points": 16, "num_permutations": 19} | options
    return ss.metrics.memorisation_curve(
        denoiser, training, held_out, times, key=key, **options
    )


@pytest.mark.parametrize("process", [ss.ve(0.1, 3.0), BLUR])
def test_a_copier_is_at_distance_zero(key, process):
    training, held_out = images(6, 0), images(6, 1)
    copier = ss.oracles.EmpiricalOracle(training).denoiser(process)
    curve = curve_of(copier, training, held_out, key)
    np.testing.assert_allclose(curve.to_training, 0, atol=1e-8)
    assert (curve.to_held_out > 1e-2).all()
    np.testing.assert_allclose(curve.copied, 1, atol=1e-6)
    # And the other way about: nothing could be further from copying.
    other = ss.oracles.EmpiricalOracle(held_out).denoiser(process)
    curve = curve_of(other, training, held_out, key)
    np.testing.assert_allclose(curve.to_held_out, 0, atol=1e-8)
    assert (curve.p_values >= 0.9).all()


def test_distances_are_those_of_the_oracles(x64, key):
    """The definition written out with the library's oracles, point by point."""
    process = ss.ve(0.1, 3.0)
    training, held_out = np.float64(images(5, 0)), np.float64(images(5, 1))
    seen = []

    def halve(t, x):
        jax.debug.callback(lambda x: seen.append(np.array(x)), x)
        return x / 2

    denoiser = ss.FunctionDenoiser(halve, process)
    curve = curve_of(denoiser, training, held_out, key, times=(0.6,), num_points=10)
    jax.effects_barrier()
    noisy = np.concatenate([x.reshape(-1, 2, 2, 1) for x in seen])
    assert len(noisy) == 10
    for found, data in (
        (curve.to_training, training),
        (curve.to_held_out, held_out),
    ):
        oracle = ss.oracles.EmpiricalOracle(data).denoiser(process)
        theirs = jax.vmap(lambda x, d=oracle: d(0.6, x))(jnp.asarray(noisy))
        distance = np.sum((noisy / 2 - np.asarray(theirs)) ** 2, axis=(1, 2, 3)).mean()
        np.testing.assert_allclose(found * curve.unit, distance, rtol=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_swaps_exchange_images_of_the_two_sets(sigma):
    """Both oracles of the swapped sets, by Bayes' rule. At 0.05 most images drop."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 30, 4))
    first_c, second_c = 0.9 * first, 0.9 * second
    noisy = np.concatenate([first_c[:5], second_c[:5]])
    noisy = noisy + sigma * generator.normal(size=noisy.shape)
    denoised = noisy / 2
    swaps = generator.integers(2, size=(7, 30), dtype=bool)
    found = _distances(
        noisy,
        denoised,
        np.concatenate([first_c, second_c]),
        np.concatenate([first, second]),
        sigma,
        swaps,
    )
    for number, swap in enumerate(swaps):
        for side, other in enumerate((swap, ~swap)):
            images = np.where(other[:, None], second, first)
            centres = np.where(other[:, None], second_c, first_c)
            squares = np.sum((noisy[:, None] - centres) ** 2, axis=-1)
            oracle = softmax(-squares / (2 * sigma**2), axis=1) @ images
            truth = np.sum((denoised - oracle) ** 2, axis=1).mean()
            np.testing.assert_allclose(found[side, number], truth, rtol=1e-10)


@pytest.mark.parametrize("t", [0.2, 0.9])
def test_unit_is_the_error_of_the_best_affine_denoiser(x64, key, t):
    """It is `d sigma^2 / (1 + sigma^2)` for whitened images under `x0 + sigma eta`."""
    process = ss.ve(0.1, 3.0)
    # Of mean zero and covariance one: 2 * 2^2 / 8.
    reference = 2 * np.concatenate([np.eye(4), -np.eye(4)]).reshape(8, 2, 2, 1)
    data = np.float64(images(3, 0))
    denoiser = ss.FunctionDenoiser(lambda t, x: x, process)
    curve = curve_of(denoiser, data, data + 1, key, times=(t,), reference=reference)
    variance = float(process.sigma(t)) ** 2
    np.testing.assert_allclose(curve.unit, 4 * variance / (1 + variance), rtol=1e-10)


@pytest.mark.slow
def test_unit_under_a_corruption_is_the_regression(x64, key):
    """The residual of the linear regression of `x0` on many noisy `C_t x0`."""
    process = BLUR
    data = np.float64(images(40, 0))
    denoiser = ss.FunctionDenoiser(lambda t, x: x, process)
    curve = curve_of(denoiser, data[:20], data[20:], key, times=(0.8,))
    apply = lambda x0: process.apply(0.8, x0)
    centres = np.asarray(jax.vmap(apply)(jnp.asarray(data))).reshape(40, 4)
    x0, c = data.reshape(40, 4), centres - centres.mean(0)
    gram = c.T @ c / 40 + float(process.sigma(0.8)) ** 2 * np.eye(4)
    matrix = np.linalg.solve(gram, c.T @ (x0 - x0.mean(0)) / 40)
    # Of the noise: sigma^2 |matrix|^2, exactly and not by draws.
    bias = np.sum((x0 - x0.mean(0) - c @ matrix) ** 2) / 40
    noise = float(process.sigma(0.8)) ** 2 * np.sum(matrix**2)
    np.testing.assert_allclose(curve.unit, bias + noise, rtol=1e-9)


@pytest.mark.slow
def test_p_values_are_uniform_without_copying(key):
    """200 pairs of sets unknown to the denoiser: as many below a level as it says."""
    process = ss.ve(0.1, 3.0)
    denoiser = ss.FunctionDenoiser(
        lambda t, x: x / (1 + process.sigma(t) ** 2), process
    )
    first, whole, extreme = [], [], []
    for trial in range(200):
        data = images(8, 100 + trial, (2,))
        curve = curve_of(
            denoiser,
            data[:4],
            data[4:],
            jax.random.fold_in(key, trial),
            num_permutations=19,
            num_points=8,
        )
        first.append(curve.p_values[0])
        whole.append(curve.p_value)
        extreme.append(curve.adjusted.min())
    for found in (first, whole):
        for level in (0.05, 0.2, 0.5):
            share = np.mean(np.array(found) <= level)
            # Ties (of 16 swaps, many are drawn twice) make it smaller, never larger.
            assert share <= level + 3 * np.sqrt(level * (1 - level) / 200)
        assert 0.4 < np.mean(found) < 0.62
    for level in (0.05, 0.2):
        share = np.mean(np.array(extreme) <= level)
        assert share <= level + 3 * np.sqrt(level * (1 - level) / 200)


def test_a_part_copier_is_found_where_it_copies(key):
    """It copies below sigma 0.5 of its range and is affine elsewhere."""
    process = ss.ve(0.05, 3.0)
    training, held_out = images(40, 0), images(40, 1)
    copier = ss.oracles.EmpiricalOracle(training).denoiser(process)

    def part(t, x):
        affine = x / (1 + process.sigma(t) ** 2)
        return jnp.where(process.sigma(t) < 0.5, copier(t, x), affine)

    denoiser = ss.FunctionDenoiser(part, process)
    times = (0.3, 0.5, 0.65, 0.8)
    copies = np.array([float(process.sigma(t)) < 0.5 for t in times])
    assert copies.any() and not copies.all()
    curve = curve_of(
        denoiser, training, held_out, key, times, num_permutations=99, num_points=80
    )
    assert (curve.adjusted[copies] == 0.01).all()
    assert (curve.adjusted[~copies] > 0.05).all()
    assert curve.p_value == 0.01


def test_does_not_depend_on_the_size_of_batches(key):
    process = ss.ve(0.1, 3.0)
    denoiser = ss.FunctionDenoiser(lambda t, x: x / 2, process)
    curves = [
        curve_of(denoiser, images(7, 0), images(7, 1), key, batch_size=size)
        for size in (3, 256)
    ]
    for name in ("to_training", "to_held_out", "p_values"):
        np.testing.assert_allclose(*(getattr(c, name) for c in curves), rtol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(held_out=images(3, 0)), r"\(3, 2, 2, 1\); expected equal shapes"),
        (dict(training=images(4, 0) * np.nan), "`training` has 16 entries out of 16"),
        (dict(times=(0.0,)), "noise 0.0 at t=0.0"),
        (dict(num_points=1), "`num_points` is 1"),
        (dict(reference=images(4, 0, (3,))), r"`reference` has shape \(4, 3\)"),
        (dict(num_permutations=0), "`num_permutations` is 0"),
    ],
)
def test_mistakes_are_named(key, as_a_user, change, message):
    process = ss.cosine_vp()
    options = dict(
        denoiser=ss.FunctionDenoiser(lambda t, x: x, process),
        training=images(4, 0),
        held_out=images(4, 1),
    )
    with pytest.raises(ValueError, match=message):
        curve_of(**(options | change), key=key)
