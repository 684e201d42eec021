# ruff: noqa: E501
"""Wrong command lines and damaged folders: message, exit code, and nothing touched."""

import importlib
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

#: The command, its words, the exit code, and what the message says.
CASES = [
    # Names.
    ("train", "", 2, r"No experiment is named.*--resume FOLDER"),
    ("train", "fashion_blur", 2, r"No experiment 'fashion_blur'.*fashion_mnist_blur"),
    ("train", "digits_blurr", 2, r"Did you mean digits_blur\?"),
    ("train", "--training.steps 5", 2, r"No experiment is named"),
    ("train", "digits_blur --process vee", 2, r"`--process`: 'vee' is not known.*ve"),
    ("train", "digits_blur --process", 2, r"`--process` needs a name: one of"),
    ("train", "digits_blur --network ResNet", 2, r"'ResNet' is not known.*MLP,.* UNet"),
    ("train", "digits_blur --loss mse", 2, r"`--loss`: 'mse' is not known"),
    ("train", "digits_blur --times gauss", 2, r"There are ImportanceTimes"),
    ("train", "digits_blur --prior none", 2, r"`--prior`: 'none' is not known"),
    ("train", "digits_blur --process ve(", 2, r"cannot be read"),
    ("train", "digits_blur --process ve(1+1)", 2, r"nothing is computed"),
    ("train", "digits_blur --process ve(sigma=3)", 2, r"no option sigma.*sigma_max"),
    ("train", "digits_blur --process 3", 2, r"`--process 3` is no name"),
    ("train", "digits_blur --process.sigma 3", 2, r"--process.sigma"),
    ("train", "digits_blur --process ve --process.max-blur 3", 2, r"max-blur"),
    ("train", "digits_blur --process Process", 2, r"--process.corruption"),
    ("train", "digits_blur --process no.such:Thing", 2, r"no module 'no\.such'"),
    ("train", "digits_blur --network.base-channels x", 2, r"base-channels"),
    ("train", "digits_blur --optimiser.schedule step", 2, r"schedule"),
    ("train", "digits_blur --training.sed 3", 2, r"--training.sed"),
    # Values.
    ("train", "digits_blur --training.steps 0", 2, r"`--training.steps` is 0"),
    ("train", "digits_blur --training.steps -5", 2, r"`--training.steps` is -5"),
    ("train", "digits_blur --training.batch-size 0", 2, r"`--training.batch-size` is 0"),
    ("train", "digits_blur --training.batch-size 4000", 2, r"1500 images"),
    ("train", "digits_blur --training.seed -1", 2, r"`--training.seed` is -1"),
    ("train", "digits_blur --optimiser.ema-decay 1", 2, r"ema-decay` is 1"),
    ("train", "digits_blur --optimiser.learning-rate 0", 2, r"optimiser.learning-rate"),
    ("train", "digits_blur --sampling.num 0", 2, r"`--sampling.num` is 0"),
    ("train", "digits_blur --sampling.steps 0", 2, r"`--steps` is 0"),
    ("train", "digits_blur --sampling.solver euler", 2, r"'euler' is not known"),
    (
        "train",
        "digits_blur --sampling.solver naive --sampling.clock sde",
        2,
        r"does not follow a clock",
    ),
    ("train", "digits_blur --process ve --process.sigma-max -1", 2, r"sigma-max|maximum"),
    ("train", "digits_blur --process.levels no.json", 2, r"process.levels no.json.*sche"),
    ("train", "digits_blur --process.levels Lin(0,1)", 2, r"'Lin' is not known"),
    ("train", "digits_blur --network.group-size 5", 2, r"`--network.group-size` must divide"),
    ("train", "digits_blur --condition.labels --condition.drop 2", 2, r"condition.drop"),
    # Folders.
    ("train", "digits_blur --folder gs://a/run", 1, r"--folder gs:/a/run.*--scale.mirror"),
    ("train", "digits_blur --folder letter", 1, r"not empty and holds no run.*--folder"),
    ("train", "digits_blur --folder file.txt", 1, r"file.txt is a file"),
    ("train", "digits_blur --folder file.txt/run", 1, r"cannot be written to"),
    ("train", "--resume nowhere", 1, r"does not exist.*Runs here:.*runs/tiny"),
    ("train", "--resume letter", 1, r"holds no run"),
    ("train", "--resume", 2, r"`--resume` needs a folder"),
    ("train", "--resume runs/tiny digits_blur", 2, r"Leave `digits_blur` out"),
    ("train", "--resume runs/tiny --folder other", 2, r"Leave `--folder` out"),
    ("train", "--resume runs/tiny --from-weights", 2, r"has its checkpoints"),
    ("train", "digits_blur --from-weights", 2, r"goes with `--resume FOLDER`"),
    ("train", "--resume runs/tiny --process ve", 1, r"--process: soft_blur there, ve"),
    ("train", "--resume runs/tiny --training.seed 3", 1, r"--training.seed: 0 there, 3"),
    ("train", "--resume runs/bad_config", 1, r"config.json does not hold a config"),
    ("train", "--resume runs/lost", 1, r"checkpoints is missing.*--from-weights"),
    # Images.
    ("train", "images", 2, r"give `--data.source DIR`"),
    ("train", "images --data.source nowhere", 1, r"'nowhere' is neither a data set"),
    ("train", "images --data.source mixed", 1, r"give `--data.size`.*`--data.size 32`"),
    ("train", "images --data.source empty", 1, r"holds no pictures"),
    ("train", "images --data.source broken", 1, r"a.png cannot be read.*Mend or remove"),
    ("train", "images --data.source rides", 1, r"[gG]ive `--data.folders classes`"),
    ("train", "images --data.source chw.npy", 1, r"Give `--data.channels-first`"),
    ("train", "images --data.source signed.npy", 1, r"give `--data.value-range -1 1`"),
    ("train", "images --data.source bytes.npy", 1, r"give `--data.value-range 0 255`"),
    ("train", "images --data.source ints.npy", 1, r"`--data.value-range 0 255`"),
    ("train", "images --data.source nan.npy", 1, r"NaN"),
    ("train", "images --data.source garbage.npy", 1, r"cannot be read as an array"),
    ("train", "images --data.source mixed --data.held-out 1", 2, r"`--data.held-out`"),
    ("train", "digits_blur --data.size 16", 1, r"`--data.size` is for folders"),
    # Models.
    ("sample", "", 2, r"RUN"),
    ("sample", "nowhere", 1, r"nowhere does not exist.*runs/tiny.*digits_blur"),
    ("sample", "letter", 1, r"holds no model"),
    ("sample", "runs/bad_model", 1, r"model.json is not JSON"),
    ("sample", "runs/no_arrays", 1, r"model.safetensors is missing"),
    ("sample", "runs/short_arrays", 1, r"checksum"),
    ("sample", "runs/young", 1, r"has no model yet.*--resume runs/young"),
    ("sample", "runs/tiny --num 0", 2, r"`--num` is 0"),
    ("sample", "runs/tiny --steps 0", 2, r"`--steps` is 0"),
    ("sample", "runs/tiny --solver rk", 2, r"`--solver`: 'rk' is not known"),
    ("sample", "runs/tiny --clock never", 2, r"`--clock`: 'never' is not known"),
    ("sample", "runs/tiny --churn -1", 2, r"`--churn` is -1"),
    ("sample", "runs/tiny --clock sde --churn 1", 2, r"Give one of them"),
    ("sample", "runs/tiny --labels 3", 2, r"trained without classes"),
    ("sample", "runs/tiny --guidance 2", 2, r"give them with `--labels`"),
    ("sample", "runs/tiny --adaptive 0", 2, r"`--adaptive` is 0"),
    ("sample", "runs/tiny --adaptive 0.1 --solver ddim", 2, r"ddim"),
    ("evaluate", "runs/tiny --num 3", 2, r"`--num` is 3; expected at least 10"),
    ("evaluate", "runs/tiny --classifier nowhere", 1, r"--classifier nowhere"),
    ("evaluate", "nowhere", 1, r"nowhere does not exist"),
    ("samplers", "runs/tiny --evaluations 1", 2, r"`--evaluations`"),
    ("compare", "runs/tiny", 2, r"give two or more"),
    ("compare", "runs/tiny nowhere", 1, r"nowhere does not exist"),
    ("classifier", "mixed", 1, r"give `--size`"),
    ("classifier", "grey --held-out 0.5", 1, r"no labels to learn.*one subfolder a class"),
    ("classifier", "digits --epochs 0", 2, r"`--epochs` is 0"),
    ("schedule", "--data digit", 1, r"Did you mean 'digits'"),
    ("schedule", "--data digits --last-level 0.001", 2, r"see `--first-level`"),
    ("schedule", "--data digits --num-points 40 --num-levels 9", 2, r"`--num-points`"),
    ("schedule", "--data digits --corruption blurr", 2, r"`--corruption`: 'blurr'"),
    ("schedule", "--data digits --levels-out x.txt", 2, r"should end in .json"),
    ("schedule", "--data digits --noise-fraction 2", 2, r"`--noise-fraction` is 2"),
    ("quickstart", "--steps 0", 2, r"`--steps` is 0"),
]  # fmt: skip


def _copy(run, folder, remove=(), **contents):
    shutil.copytree(run, folder)
    for name in remove:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_bytes(content)


@pytest.fixture(scope="module")
def world(run, tmp_path_factory):
    """A folder of runs and images, good and damaged."""
    root = tmp_path_factory.mktemp("world")
    runs = root / "runs"
    _copy(run, runs / "tiny")
    _copy(run, runs / "lost", ["checkpoints"])
    _copy(run, runs / "bad_config", config__json=b"{")
    _copy(run, runs / "bad_model", model__json=b"{")
    _copy(run, runs / "no_arrays", ["model.safetensors"])
    arrays = (run / "model.safetensors").read_bytes()
    _copy(run, runs / "short_arrays", model__safetensors=arrays[:-8])
    _copy(run, runs / "young", ["model.json", "model.safetensors", "samples"])

    (root / "letter").mkdir()
    (root / "letter" / "letter.txt").write_text("dear")
    (root / "file.txt").write_text("dear")
    (root / "empty").mkdir()

    def picture(name, size, level=0):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, level).save(path)

    picture("mixed/a.png", (8, 8))
    picture("mixed/b.png", (9, 8))
    for i in range(30):
        picture(f"grey/{i}.png", (8, 8), i)
    for name in ("bus", "train"):
        picture(f"rides/{name}/a.png", (8, 8))
    picture("broken/b.png", (8, 8))
    (root / "broken" / "a.png").write_bytes(b"no picture")

    images = np.random.default_rng(0).random((40, 8, 8, 3)).astype(np.float32)
    np.save(root / "chw.npy", images.transpose(0, 3, 1, 2))
    np.save(root / "signed.npy", 2 * images - 1)
    np.save(root / "bytes.npy", 255 * images)
    np.save(root / "ints.npy", (255 * images).astype(np.int64))
    images[3] = np.nan
    np.save(root / "nan.npy", images)
    (root / "garbage.npy").write_bytes(b"no array")
    return root


def _contents(root):
    return {
        path.relative_to(root): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        # The lock of a run is a file that says nothing.
        if path.name not in (".lock", "__pycache__")
    }


def test_there_are_as_many_cases_as_promised():
    assert len(CASES) >= 60


@pytest.mark.parametrize(
    "command, words, code, said", CASES, ids=[f"{c[0]} {c[1]}" for c in CASES]
)
def test_mistakes(command, words, code, said, world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    monkeypatch.setattr(sys, "argv", [f"experiments.{command}", *words.split()])
    before = _contents(world)
    module = importlib.import_module(f"experiments.{command}")
    with pytest.raises(SystemExit) as stop:
        module.main()
    printed = "".join(capsys.readouterr())
    assert stop.value.code == code, printed
    # Lines are joined, and boxes taken away.
    text = " ".join(printed.replace("│", " ").split())
    assert re.search(said, text), printed
    assert "Traceback" not in printed
    assert _contents(world) == before
