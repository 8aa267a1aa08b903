"""`surface` in a terminal: what Ctrl-C leaves, files of one name, the number of images, and whose weights are shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explorer import checkpoints
from explorer.cli.main import main
from explorer.experiments import loss_surface
from explorer.experiments.loss_surface import measurement
from explorer.experiments.loss_surface.measurement import SurfaceStep
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots
from tests.test_loss_surface import CLASSES, made, spec, split

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("--points", "5", "--sharpness", "2", "--curvature", "0", "--count", "8")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten pictures of each class."""
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(CLASSES * 10):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split(1, number).images[0].transpose(1, 2, 0)).save(folder / f"{number}.png")


def saved(file: Path, seed: int = 0) -> str:
    """A network of small pictures in that file."""
    file.parent.mkdir(exist_ok=True)
    checkpoints.save(made(spec(), seed), file)
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *asked: str) -> dict[str, Any]:
    assert main(["surface", *asked, *FEW, "--data", "pictures", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """After how many steps of how many surfaces Ctrl-C comes, and the points that were known at the start of each."""
    asked = {"after": 3}
    measure = measurement.measure

    def stopped(*given: Any, **more: Any) -> Iterator[SurfaceStep]:
        for number, step in enumerate(measure(*given, **more)):
            if not number:
                asked["known"] = int(step.surface.measured.sum())
            if number == asked["after"]:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(loss_surface, "measure", stopped)
    return asked


def test_what_ctrl_c_leaves_is_kept_and_the_next_call_goes_on_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stops: dict[str, int]
) -> None:
    file = saved(tmp_path / "net.safetensors")
    asked = (file, "--batchnorm", "both")
    found = said(capsys, *asked)
    (first,) = found["surfaces"]
    points = sum(loss is not None for loss in first["loss"]["train"])
    assert first["statistics"] == "frozen" and 0 < points < 5
    assert found["settings"]["statistics"] == ["frozen"]
    assert found["not_complete"] == [{"network": file, "statistics": kind} for kind in ("frozen", "recomputed")]
    assert main(["surface", *asked, *FEW, "--data", "pictures"]) == 0
    text = capsys.readouterr().out
    assert stops["known"] == points
    assert f"Not complete: {file} with frozen statistics and {file} with recomputed statistics." in text
    stops["after"] = -1
    done = said(capsys, *asked)
    assert done["not_complete"] == [] and done["settings"]["statistics"] == ["frozen", "recomputed"]
    # A surface that is whole stays where it is measured again and stopped.
    stops["after"] = 2
    said(capsys, *asked, "--again")
    stops["after"] = 0
    assert [each["kept"] for each in said(capsys, *asked)["surfaces"]] == [True, True]
    assert main(["surface", *asked, *FEW, "--data", "pictures", "--again"]) == 130, "nothing was measured"


def test_files_of_one_name_keep_their_arrays_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [saved(tmp_path / folder / "net.safetensors", seed) for seed, folder in enumerate("ab")]
    out = tmp_path / "both.npz"
    found = said(capsys, *files, "--out", str(out))["surfaces"]
    with np.load(out) as arrays:
        for number, each in enumerate(found):
            assert arrays[f"{number}-net/frozen/losses"][0, 0].tolist() == each["loss"]["train"]
    assert found[0]["loss"] != found[1]["loss"]


def test_cost_heading_and_key_count_the_images_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "net.safetensors")
    few = ["--points", "3", "--sharpness", "0", "--curvature", "0", "--split", "train", "--data", "pictures"]
    assert main(["surface", file, *few, "--count", "9999"]) == 0
    told = capsys.readouterr()
    assert main(["surface", file, *few, "--count", "9000", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["surfaces"]
    n = found["n"]["train"]
    assert found["kept"] and 0 < n <= 30
    assert f"{3 * n:,} passes of one image" in told.err and f", {n:,} train images, seed 0" in told.out


def test_weights_of_another_training_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of a training whose file was moved away, beside the file of a later training without snapshots."""
    file = saved(tmp_path / "net.safetensors")
    network = made(spec()).network
    kept = WeightSnapshots(tmp_path / "net-weights", [network], Schedule(3, 2))
    kept.take_if_due(0)
    kept.take_last(2)
    assert len(said(capsys, file)["surfaces"][0]["path"]) == 2
    with torch.no_grad():
        other = made(spec())
        next(other.network.parameters()).mul_(1.1)
    checkpoints.save(other, Path(file))
    for wrong in (["surface", file, *FEW], ["time", file, "pictures/a/0.png", "--count", "8"]):
        assert main([*wrong, "--data", "pictures"]) == 2
        assert "net-weights` are of another training than this network" in capsys.readouterr().err
