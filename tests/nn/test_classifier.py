"""The classifier: its parts fit together, and it learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softsde.nn import Classifier


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), np.float32)


def test_logits_are_linear_in_the_features(key):
    classifier = Classifier((12, 10, 3), num_classes=7, num_features=24, key=key)
    x = normal(12, 10, 3)
    features = classifier.features(x)
    assert features.shape == (24,)
    expected = features @ classifier.head.weight + classifier.head.bias
    np.testing.assert_allclose(classifier(x), expected, atol=1e-5)


@pytest.mark.slow
def test_dropout_needs_a_key(key):
    classifier = Classifier((8, 8, 1), num_classes=3, dropout=0.5, key=key)
    certain = Classifier((8, 8, 1), num_classes=3, dropout=0.0, key=key)
    x = normal(8, 8, 1)
    assert jnp.array_equal(classifier(x), certain(x))
    assert jnp.array_equal(certain(x, key=key), certain(x))
    one, other = (classifier(x, key=jax.random.key(i)) for i in (0, 1))
    assert not jnp.allclose(one, other, atol=1e-3)


@pytest.mark.slow
def test_dropout_of_the_features_is_unbiased(key):
    classifier = Classifier((8, 8, 1), num_classes=3, dropout=0.5, key=key)
    # The last layer alone: it is linear, so its mean is the layer without dropout.
    sure = eqx.tree_at(lambda c: c.hidden.weight, classifier, replace_fn=jnp.zeros_like)
    sure = eqx.tree_at(lambda c: c.hidden.bias, sure, replace_fn=jnp.ones_like)
    x = normal(8, 8, 1)
    draws = jax.vmap(lambda k: sure(x, key=k))(jax.random.split(key, 4000))
    standard_error = jnp.std(draws, axis=0) / 4000**0.5
    assert jnp.all(jnp.abs(jnp.mean(draws, axis=0) - sure(x)) < 4 * standard_error)


def test_another_shape_is_refused(key):
    classifier = Classifier((8, 8, 1), num_classes=3, key=key)
    with pytest.raises(ValueError, match=r"of shape \(8, 8, 1\); got \(8, 9, 1\)"):
        classifier(jnp.zeros((8, 9, 1)))


@pytest.mark.slow
def test_it_learns_the_digits(key):
    """93 % of held-out 8x8 digits, by other writers, in ten epochs."""
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    images = (digits.images / 16).astype(np.float32)[..., None]
    train, test = slice(0, 1400), slice(1400, None)
    classifier = Classifier(
        (8, 8, 1), num_classes=10, widths=(16, 32), num_features=64, key=key
    )
    optimiser = optax.adam(2e-3)
    opt_state = optimiser.init(eqx.filter(classifier, eqx.is_array))

    @eqx.filter_jit
    def step(classifier, opt_state, x, y, key):
        @eqx.filter_grad
        def gradient(classifier):
            logits = jax.vmap(lambda x, k: classifier(x, key=k))(
                x, jax.random.split(key, x.shape[0])
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            return jnp.mean(losses)

        gradients = gradient(classifier)
        # optax counts in integers, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimiser.update(gradients, opt_state)
        return eqx.apply_updates(classifier, updates), opt_state

    for epoch in range(10):
        order = np.random.default_rng(epoch).permutation(1400).reshape(-1, 100)
        for i, batch in enumerate(order):
            classifier, opt_state = step(
                classifier,
                opt_state,
                images[train][batch],
                digits.target[train][batch],
                jax.random.fold_in(key, 100 * epoch + i),
            )
    logits = eqx.filter_jit(lambda c, x: jax.vmap(c)(x))(classifier, images[test])
    assert np.mean(np.argmax(logits, axis=-1) == digits.target[test]) > 0.93
