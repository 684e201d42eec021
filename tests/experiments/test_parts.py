"""Every part of a config by name and options; the commands list none of them."""

import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import tiny

import softsde as ss
from experiments import _build, _registry, train
from experiments._config import PARTS, Config, from_dict, to_dict
from experiments._errors import CommandError
from experiments._make import own_classes
from experiments._spec import Spec, parse

OWN = '''
import equinox as eqx
import jax.numpy as jnp
import softsde as ss


class Darken(ss.corruptions.AbstractCorruption):
    """Rows get darker, from the top."""

    shape: tuple = eqx.field(static=True)
    speed: float = eqx.field(static=True)

    def __init__(self, shape, speed: float = 1.0):
        self.shape, self.speed = tuple(shape), speed

    @property
    def structure(self):
        return ss.corruptions.Structure(
            symmetric=True, level_range=(0.0, 1.0), shape=self.shape
        )

    def apply(self, theta, x):
        rows = jnp.linspace(0.5, 1.0, self.shape[0], dtype=x.dtype)
        rate = self.speed * jnp.asarray(theta, x.dtype)
        return x * jnp.exp(-rate * rows)[:, None, None]


class Square(ss.corruptions.AbstractCorruption):
    """Not linear."""

    @property
    def structure(self):
        return ss.corruptions.Structure()

    def apply(self, theta, x):
        return x + jnp.asarray(theta, x.dtype) * x**2


def weight(process, t):
    return 1 / process.sigma(t)


not_a_corruption = 3
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's, in the folder of the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    (tmp_path / "darken.py").write_text(OWN)
    yield
    sys.modules.pop("darken", None)


def read(*words: str) -> Config:
    return train.read(["digits_blur", *words])[0]


def parts(*words: str) -> _build.Parts:
    return _build.Parts(read(*words), ss.data.digits())


SHAPE = (8, 8, 1)

PROCESSES = {
    "ve": ss.ve(),
    "ve --process.sigma-max 20": ss.ve(sigma_max=20.0),
    "vp": ss.vp(),
    "subvp": ss.subvp(),
    "cosine_vp": ss.cosine_vp(),
    "ddpm": ss.processes.ddpm(),
    "edm --process.rho 5": ss.edm(rho=5.0),
    "rectified_flow": ss.rectified_flow(),
    "heat_dissipation --process.max-blur 4": ss.heat_dissipation(SHAPE, max_blur=4.0),
    "blurring_diffusion": ss.blurring_diffusion(SHAPE),
    "soft_mask --process.grow border": ss.soft_mask(SHAPE, grow="border"),
    "hard_mask --process.max-masked 0.9": ss.processes.hard_mask(SHAPE, max_masked=0.9),
    "soft_blur --process.levels Linear(0.01,3)": ss.soft_blur(
        SHAPE, levels=ss.schedules.Linear(0.01, 3.0), max_blur=5.0
    ),
    "cold(corruption=Fade,levels=Linear(0,1),sigma=0.1)": ss.cold(
        ss.corruptions.Fade(), ss.schedules.Linear(0.0, 1.0), 0.1
    ),
    "Process --process.corruption Compose(GaussianBlur(half_size=8),Fade)"
    " --process.levels Linear(0.0,0.9) --process.noise two_phase": ss.Process(
        ss.corruptions.Compose(
            ss.corruptions.GaussianBlur(SHAPE, half_size=8), ss.corruptions.Fade()
        ),
        ss.schedules.Linear(0.0, 0.9),
        ss.schedules.TwoPhase(),
    ),
}


@pytest.mark.parametrize("words", PROCESSES)
def test_processes_are_the_library_s(words):
    made = parts("--process", *words.split()).process()
    assert ss.processes.same_process(made, PROCESSES[words])


def test_every_constructor_of_a_process_has_a_name():
    named = {words.split()[0].split("(")[0] for words in PROCESSES}
    assert set(_registry.members("process")) == named


@pytest.mark.parametrize(
    "words, expected",
    [
        ("SoftScoreMatching", ss.losses.SoftScoreMatching("inverse_std")),
        (
            "clean_prediction --loss.weight EDMWeight(0.3)",
            ss.losses.CleanPrediction(ss.losses.EDMWeight(0.3)),
        ),
        ("VelocityMatching", ss.losses.VelocityMatching()),
        ("DenoisingScoreMatching", ss.losses.DenoisingScoreMatching()),
        (
            "SumOfLosses(losses=(SoftScoreMatching,CleanPrediction),factors=(1.0,0.5))",
            ss.losses.SumOfLosses(
                (ss.losses.SoftScoreMatching(), ss.losses.CleanPrediction()), (1.0, 0.5)
            ),
        ),
    ],
)
def test_losses_are_the_library_s(words, expected):
    made = parts("--loss", *words.split())
    denoiser = ss.FunctionDenoiser(lambda t, x: 0.5 * x, ss.ve())
    batch = {"image": jnp.asarray(ss.data.digits().images[:8])}
    key = jax.random.key(0)
    value, _ = made.loss(denoiser.process)[0](denoiser, batch, key=key)
    same = ss.losses.batch_loss(expected, denoiser, batch["image"], key=key)
    assert float(value) == pytest.approx(float(same), rel=1e-6)


def test_weights_fitted_to_data_and_times_by_name():
    config = parts(
        *"--loss.weight RelativeWeight.fit(points=5) --times log_normal".split(),
        *"--times.mean -2 --process ve".split(),
    )
    process = config.process()
    loss = config.maker.knowing(process=process).make(
        config.config.loss, ("loss",), "--loss"
    )
    expected = ss.losses.RelativeWeight.fit(process, config.data, points=5)
    assert eqx.tree_equal(loss.weight, expected)
    times = config.maker.make(config.config.times, ("times",), "--times")
    assert eqx.tree_equal(times, ss.losses.LogNormalTimes(-2.0))
    learnt = parts("--times", "ImportanceTimes", "--times.bins", "8")
    _, carry = learnt.loss(process)
    assert isinstance(carry, ss.losses.ImportanceTimes)


def test_priors_networks_and_parametrisations_by_name():
    made = parts(
        *"--prior GaussianPrior --network mlp --network.width 16".split(),
        *"--parametrisation EDM(sigma_data=0.25) --process ve".split(),
    )
    process = made.process()
    network = made.network()
    assert isinstance(network, ss.nn.MLP) and network.arguments["width"] == 16
    denoiser = made.denoiser(network, process)
    expected = ss.parametrisations.EDM(0.25)
    assert eqx.tree_equal(denoiser.parametrisation, expected)
    prior = made.prior(process)
    assert eqx.tree_equal(prior, ss.GaussianPrior.fit(process, made.data))


def test_every_class_of_the_rooms_has_its_options_in_help():
    """A new family needs no line in the commands."""
    for name, kind in PARTS.items():
        for member, target in _registry.members(kind).items():
            options = _registry.parameters(target)
            assert _registry.find(member.lower(), (kind,), f"--{name}")[1] is target
            assert all(isinstance(option, str) for option in options)


def test_a_config_with_nested_parts_survives_json():
    config = read(
        "--process",
        "Process(corruption=Compose(GaussianBlur(half_size=8), Fade))",
        *"--process.levels Linear(0,1) --process.noise TwoPhase(0.01,0.1,0.2)".split(),
    )
    again = from_dict(Config, json.loads(json.dumps(to_dict(config))))
    assert again == config
    text = str(config.process)
    assert parse(text, "--process") == config.process


@pytest.mark.slow
def test_classes_reach_the_network_and_are_needed(monkeypatch):
    made = parts("--condition.labels")
    assert made.network().arguments["num_classes"] == 10
    images = np.zeros((4, *SHAPE), np.float32)
    unlabelled = _build.Parts(made.config, ss.data.ArraySource(images))
    with pytest.raises(CommandError, match=r"--condition\.labels.*has no labels"):
        unlabelled.network()


def test_a_class_of_one_s_own_is_a_corruption(own):
    words = ["--process", "Process", "--process.corruption", "darken:Darken(speed=2.0)"]
    words += ["--process.levels", "Linear(0,1)", "--process.noise", "TwoPhase"]
    config = read(*words)
    process = _build.Parts(config, ss.data.digits()).process()
    x = jnp.ones(SHAPE)
    expected = np.exp(-2.0 * np.linspace(0.5, 1.0, 8))
    shown = process.apply(1.0, x)[:, 0, 0]
    np.testing.assert_allclose(shown, expected, rtol=1e-6)
    (cls,) = own_classes(config.process)
    assert cls.__name__ == "Darken"
    weighted = parts("--loss.weight", "darken:weight").loss(process)[0]
    denoiser = ss.FunctionDenoiser(lambda t, x: 0.5 * x, process)
    batch, key = {"image": jnp.ones((4, *SHAPE))}, jax.random.key(0)
    named, _ = parts().loss(process)[0](denoiser, batch, key=key)
    assert float(weighted(denoiser, batch, key=key)[0]) == pytest.approx(float(named))


@pytest.mark.parametrize(
    "name, said",
    [
        ("darken:Square", "failed the check of `linear`"),
        ("darken:not_a_corruption", "is no function or class"),
        ("darken:weight", "FunctionCorruption|expected AbstractCorruption|needs"),
        ("darken:Missing", r"has no 'Missing'.*Darken, Square"),
        ("lighten:Darken", r"no module 'lighten'.*PYTHONPATH"),
    ],
)
def test_what_is_no_corruption_is_refused(own, name, said):
    words = ["--process", "Process", "--process.corruption", name]
    words += ["--process.levels", "Linear(0,1)", "--process.noise", "TwoPhase"]
    with pytest.raises(CommandError, match=said):
        _build.Parts(read(*words), ss.data.digits()).process()


@pytest.mark.slow
def test_a_run_with_classes_of_one_s_own_is_read_again(own):
    levels = {"levels": Spec("Linear", {"end": 1.0}), "noise": "TwoPhase"}
    process = Spec("Process", {"corruption": "darken:Darken", **levels})
    config = tiny(process=process)
    from pathlib import Path

    train.train(config, Path("run"))
    longer = train.read(["--resume", "run", "--training.steps", "8"])
    assert longer[0].training.steps == 8
    assert train.train(longer[0], Path("run")).step == 8
    from experiments import _run

    model = _run.open_model("run")
    assert type(model.process.corruption).__name__ == "Darken"
