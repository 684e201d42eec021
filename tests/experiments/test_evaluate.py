"""Sweeps over the number of evaluations, and what an evaluation says of itself."""

import dataclasses
import json

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import tiny

import softsde as ss
from experiments import _evaluation, _sweeps, evaluate, train
from experiments._checkpoints import KeptModels
from experiments._config import DataConfig
from experiments._errors import FolderError
from experiments._scale import ScaleConfig
from experiments._solvers import SolverConfig


def command(run, folder, **options):
    return evaluate.Evaluate(
        str(run),
        num=70,
        sampler=SolverConfig(solver="momentum", clock="ode"),
        classifier="pixels",
        folder=folder,
        **options,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`samples` has")
def test_a_sweep_goes_on_where_it_stopped(run, tmp_path, monkeypatch):
    folder, report = evaluate.sweep(command(run, tmp_path / "a", nfe="2", seeds=2))
    assert sorted(report["rows"]["2"]) == ["0", "1"]
    drawn = []
    sample = ss.Model.sample

    def count(self, num, **options):
        drawn.append((options["num_steps"], options["seed"]))
        return sample(self, num, **options)

    monkeypatch.setattr(ss.Model, "sample", count)
    _, longer = evaluate.sweep(command(run, tmp_path / "a", nfe="4,2", seeds=2))
    # Only what was missing is drawn, and what was there stays.
    assert drawn == [(4, 0), (4, 1)]
    assert longer["rows"]["2"] == report["rows"]["2"]
    assert longer == json.loads((folder / "sweep.json").read_text())
    assert (folder / "sweep.png").exists()
    # Two seeds: their mean, and half their distance as the standard error.
    a, b = (row["frechet_limit"] for row in longer["rows"]["4"].values())
    line = evaluate.sweep_table(longer).splitlines()[4]
    assert f"| 4 | {(a + b) / 2:.4g} ± {abs(a - b) / 2:.2g} |" in line
    with pytest.raises(ValueError, match="measured with other options"):
        changed = command(run, tmp_path / "a", nfe="2", seeds=2, reference=500)
        evaluate.sweep(changed)


def test_what_a_sweep_refuses(run, tmp_path):
    for text in ("ten", "", "0,5"):
        with pytest.raises(ValueError, match="expected numbers such as 10,20,40"):
            evaluate.sweep(command(run, tmp_path, nfe=text))
    with pytest.raises(ValueError, match="error bars need at least 2"):
        evaluate.sweep(command(run, tmp_path, nfe="2", seeds=1))
    heun = dataclasses.replace(
        command(run, tmp_path, nfe="2,3"), sampler=SolverConfig(solver="heun")
    )
    with pytest.raises(ValueError, match=r"`--nfe` has 3, but a step .* takes 2"):
        evaluate.sweep(heun)


def test_all_numbers_name_their_features(run, tmp_path):
    images = ss.data.to_array(ss.data.load("digits"), limit=600)
    space = _evaluation.open_space("pixels", DataConfig("digits"))
    source = ss.data.load("digits")
    reference = _evaluation.open_reference(source, 10**6, space)
    copies, fresh = images[::2], images[1::2]
    numbers, measured = _evaluation.measure_images(copies, fresh, reference, space, 3)
    # These images are themselves training images: the search for copies sees it.
    assert numbers["authentic_percent"] == 0
    assert numbers["nearest_training_image"] == 0
    # The held-out ones of this test are copies too, so neither is nearer.
    assert numbers["copies_p_value"] == 0.5
    for one in measured.values():
        assert one.space.name == "pixels" and one.seed == 3
        assert one.reference == reference.statistics.key
    low, high = numbers["intervals"]["kernel_distance"]
    assert low < numbers["kernel_distance"] < high


def _class_images(rng, labels, shift=0.0):
    """Images of one grey each: thirds of white by class, and noise."""
    greys = np.asarray(labels)[:, None, None, None] / 3 + 0.2 + shift
    noise = 0.02 * rng.normal(size=(len(labels), 4, 4, 1))
    return np.clip(greys + noise, 0, 1).astype(np.float32)


def test_each_class_has_its_share_and_its_distance():
    """The second of three classes is drawn too bright, and the third never."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [300, 200, 100])
    images = (255 * _class_images(rng, labels)).astype(np.uint8)
    source = ss.data.ArraySource(images, labels, class_names=("zero", "one", "two"))
    greys = jnp.arange(3) / 3 + 0.2
    space = _evaluation.Space(
        ss.metrics.PixelFeatures(), lambda f: -((jnp.mean(f) - greys) ** 2)
    )
    reference = _evaluation.open_reference(source, 10**6, space)
    drawn = np.concatenate(
        [
            _class_images(rng, np.zeros(90, int)),
            _class_images(rng, np.ones(110, int), shift=0.1),
        ]
    )
    numbers, _ = _evaluation.measure_images(drawn, None, reference, space, 0)
    classes = numbers["classes"]
    assert classes["proportions"] == [0.45, 0.55, 0.0]
    assert classes["training"] == pytest.approx([1 / 2, 1 / 3, 1 / 6])
    fair, other, never = classes["kernel_distance"]
    # The first differs by chance alone.
    assert other > 10 * abs(fair) and never is None
    report = {"samples": numbers, "held_out": numbers, "held_out_name": "test images"}
    lines = evaluate._class_lines(report | {"class_names": list(reference.names)})
    assert lines[1].startswith("zero") and "0.450 [0.383, 0.519]" in lines[1]
    assert lines[3].split()[-2:] == ["-", "-"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`samples` has")
def test_error_bars_over_seeds(run, tmp_path, monkeypatch):
    one = command(run, tmp_path, seed=3)
    _, first = evaluate.evaluate(one)
    drawn = []
    sample = ss.Model.sample

    def count(self, num, **options):
        drawn.append(options["seed"])
        return sample(self, num, **options)

    monkeypatch.setattr(ss.Model, "sample", count)
    several = dataclasses.replace(one, seeds=2)
    paths, report = evaluate.over_seeds(several)
    # The first seed was measured before, and is read.
    assert drawn == [4] and report["seeds"] == [3, 4]
    assert report == json.loads(paths[0].read_text())
    assert all(path.exists() for path in paths)
    second = json.loads(
        (tmp_path / f"{paths[1].stem.removesuffix('3')}4.json").read_text()
    )
    assert report["held_out"] == first["held_out"] == second["held_out"]
    a, b = (one["samples"]["frechet_limit"] for one in (first, second))
    assert a != b
    # Two seeds: their mean, and half their distance as the standard error.
    samples = report["samples"]
    assert samples["frechet_limit"] == pytest.approx((a + b) / 2)
    error = samples["standard_errors"]["frechet_limit"]
    assert error == pytest.approx(abs(a - b) / 2)
    text = evaluate.table(report)
    assert f"{(a + b) / 2:.4g} ± {error:.2g}" in text and "means of 2 seeds" in text
    # An evaluation of another model under the same name is not taken over.
    path = tmp_path / f"{paths[1].name}"
    content = json.loads(path.read_text())
    content["model"]["steps"] = 1
    path.write_text(json.dumps(content))
    drawn.clear()
    evaluate.over_seeds(several)
    assert drawn == [3]
    with pytest.raises(ValueError, match="error bars need at least 2"):
        evaluate.over_seeds(dataclasses.replace(one, seeds=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda shape: ss.soft_blur(shape, max_blur=3.0),
        ss.soft_mask,
        lambda shape: ss.cold(
            ss.corruptions.GaussianBlur(shape), levels=ss.schedules.Linear(0.0, 3.0)
        ),
        lambda shape: ss.heat_dissipation(shape, max_blur=4.0),
        ss.blurring_diffusion,
        lambda shape: ss.ve(0.01, 10.0),
        lambda shape: ss.vp(),
        lambda shape: ss.edm(),
        lambda shape: ss.rectified_flow(),
    ],
)
def test_every_process_has_a_skill(make):
    """The best denoiser of Gaussian data has the loss 1 at every time with one."""
    rng = np.random.default_rng(0)
    images = rng.normal(0.5, 0.2, size=(600, 4, 4, 1)).astype(np.float32)
    process = make((4, 4, 1))
    covariance = np.cov(images.reshape(600, 16), rowvar=False, bias=True)
    mean = images.reshape(600, 16).mean(0)
    oracle = ss.oracles.GaussianOracle(mean.reshape(4, 4, 1), covariance)
    found = _evaluation.skill(oracle.denoiser(process), images, images)
    sigmas = [float(process.sigma(t)) for t in _evaluation.SKILL_TIMES]
    assert all(v is None for v, s in zip(found, sigmas, strict=True) if s == 0)
    known = [value for value in found if value is not None]
    # 500 images of 16 pixels; deviations of single times are at most this.
    assert known == pytest.approx([1.0] * len(known), abs=5 * np.sqrt(2 / 8000))
    assert len(known) >= (0 if max(sigmas) == 0 else 9)


@pytest.mark.slow
def test_memorisation_finds_a_copier_and_no_other(run):
    """The oracle of the training images copies them; that of others copies none."""
    model = ss.load(run)
    images = ss.data.to_array(ss.data.load("digits"), limit=400)
    images = images[np.random.default_rng(0).permutation(400)]
    training, held_out = images[:100], images[100:200]

    def found(trained_on):
        oracle = ss.oracles.EmpiricalOracle(trained_on).denoiser(model.process)
        copier = ss.Model(oracle, model.prior)
        curve = _evaluation.memorisation(copier, held_out, training)
        assert curve is not None and curve["num"] == 100
        return curve

    # 99 swaps: no p-value is smaller.
    assert found(training)["p_value"] == 0.01
    np.testing.assert_allclose(found(training)["copied"], 1, atol=1e-3)
    assert found(images[200:])["p_value"] > 0.05
    assert found(held_out)["p_value"] == 1
    assert _evaluation.memorisation(model, held_out[:1], training) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`samples` has")
def test_the_best_of_the_checkpoints_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    train.train(tiny(), folder, ScaleConfig(keep_every=2))
    averages = {}
    with ss.train.Checkpointer(
        folder / "checkpoints", config=tiny().of_checkpoints(), read_only=True
    ) as checkpoints:
        steps = checkpoints.all_steps()
    assert len(steps) >= 2
    kept = KeptModels(str(folder))
    assert kept.steps == steps
    for step in steps:
        model = kept.model(step)
        assert model.card["steps"] == step
        averages[step] = model.denoiser
    # The newest checkpoint holds what the run has written as its model.
    newest = ss.load(folder)
    assert eqx.tree_equal(newest.denoiser, averages[steps[-1]])
    assert not eqx.tree_equal(averages[steps[0]], averages[steps[-1]])

    # Numbers that are known: the older the checkpoint, the larger they are.
    def known(images, reference, space):
        return dict.fromkeys(evaluate.SWEPT, next(numbers))

    monkeypatch.setattr(_sweeps, "_swept", known)
    for by, best in (("frechet_limit", steps[-1]), ("recall", steps[0])):
        # The held-out images come first, then each checkpoint with both seeds.
        values = [0.0, *(9.0 - step for step in steps for _ in range(2))]
        numbers = iter(values)
        one = command(folder, tmp_path / by, checkpoints=True, best_by=by, seeds=2)
        out, report = evaluate.compare_checkpoints(one)
        assert report["best"] == best
        assert eqx.tree_equal(ss.load(out / "best").denoiser, averages[best])
        assert (out / "checkpoints.png").exists()
        assert f"| {steps[0]} | {9 - steps[0]} ± 0 |" in evaluate.sweep_table(report)
    # What was measured is read, so the same command draws nothing.
    again = evaluate.compare_checkpoints(one)[1]
    assert again["rows"] == report["rows"] and again["best"] == report["best"]


def test_checkpoints_that_are_not_there(run, tmp_path):
    with pytest.raises(ValueError, match="has no checkpoints to compare"):
        KeptModels("fashion_mnist_blur")
    with pytest.raises(ValueError, match="do not go together"):
        evaluate.compare_checkpoints(command(run, tmp_path, checkpoints=True, nfe="2"))
    model = KeptModels(str(run))
    with pytest.raises(ValueError, match=r"no checkpoint of step 1 .* those of"):
        model.model(1)


@pytest.mark.slow
def test_evaluate_finds_no_difference_in_real_images_and_much_in_samples(run, tmp_path):
    command = evaluate.Evaluate(
        str(run),
        num=100,
        sampler=SolverConfig(steps=2),
        classifier="pixels",
        folder=tmp_path,
    )
    paths, report = evaluate.evaluate(command)
    assert json.loads(json.dumps(report)) == json.loads(paths[0].read_text())
    untrained, real = report["samples"], report["held_out"]
    assert untrained["frechet_distance"] > 3 * real["frechet_distance"]
    assert untrained["sliced_wasserstein"] > 2 * real["sliced_wasserstein"]
    assert untrained["precision"] < real["precision"]
    text = evaluate.table(report)
    assert "pixels" in text and "test images" in text and "FID" not in text
    assert all(path.exists() for path in paths)
    # Another sampler's result stands beside it.
    other = dataclasses.replace(command, sampler=SolverConfig(3, "ddim"), num=70)
    assert evaluate.evaluate(other)[0][0] != paths[0] and paths[0].exists()


@pytest.mark.slow
def test_skill_is_the_loss_in_units_of_affine_regression(run):
    """Without blur, the loss of the identity is the variance of the noise."""
    model = ss.load(run)
    identity = ss.FunctionDenoiser(lambda t, x: x, model.process)
    images = ss.data.to_array(ss.data.load("digits"))
    first = _evaluation.skill(identity, images, images)[0]
    weight = ss.losses.RelativeWeight.fit(model.process, images)
    variance = float(model.process.sigma(0.0)) ** 2
    expected = variance * float(weight(model.process, np.float32(0.0)))
    # 500 images of 64 pixels: the relative deviation of the mean of squares.
    assert first == pytest.approx(expected, rel=4 * np.sqrt(2 / (500 * 64)))
    assert first > 1


def test_evaluate_without_a_classifier_compares_pixels_and_says_so(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert _evaluation.open_space(None, DataConfig("digits")).name == "pixels"
    assert "experiments.classifier digits" in capsys.readouterr().err
    with pytest.raises(FolderError, match="nowhere does not exist"):
        evaluate.evaluate(evaluate.Evaluate(str(run), num=10, classifier="nowhere"))
