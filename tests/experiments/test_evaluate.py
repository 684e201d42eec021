"""Sweeps over the number of evaluations, and what an evaluation says of itself."""

import dataclasses
import json

import pytest

import softsde as ss
from experiments import evaluate
from experiments._config import DataConfig
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
    space = evaluate.open_space("pixels", DataConfig("digits"))
    source = ss.data.load("digits")
    reference = evaluate.open_reference(source, 10**6, space)
    copies, fresh = images[::2], images[1::2]
    numbers, measured = evaluate.measure_images(copies, fresh, reference, space, 3)
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
