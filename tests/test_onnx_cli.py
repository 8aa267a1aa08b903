"""`.onnx` in a terminal: inspect, convert, explain and classify, and convert to ONNX."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from explorer.cli.main import main
from explorer.weights_import.report import WAY_OUT
from tests.onnx_models import classifier

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    network, picture = tmp_path / "net.onnx", tmp_path / "noise.png"
    network.write_bytes(classifier(end="Softmax").SerializeToString())
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(picture)
    return str(network), str(picture)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    document: dict = json.loads(capsys.readouterr().out)
    return document


def test_an_onnx_file_in_a_terminal(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, picture = files
    assert printed(capsys, "inspect", network)["family"] == "ONNX"
    converted = str(tmp_path / "net.safetensors")
    assert printed(capsys, "convert", network, "--out", converted, "--normalisation", "half")["classes"] == 4
    of_file, of_ours = (
        printed(capsys, "classify", name, picture)["pictures"][0]["top"] for name in (network, converted)
    )
    assert len(of_file) == len(of_ours) == 4
    layers = printed(capsys, "explain", network, picture, "--all")["layers"]
    assert [layer["name"] for layer in layers][:2] == ["first", "relu"]


def test_a_network_of_ours_goes_out_as_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ours.onnx"
    told = printed(capsys, "convert", "shapes-resnet-8", "--to", "onnx", "--out", str(out))
    assert told["deviation"] < 1e-4 and told["verified_by"].startswith("onnxruntime")
    onnx.checker.check_model(onnx.load(out), full_check=True)
    assert main(["convert", "shapes-resnet-8", "--to", "onnx", "--out", str(out)]) == 2
    assert "already there" in capsys.readouterr().err


def test_a_refusal_in_a_terminal_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cut.onnx"
    file.write_bytes(classifier().SerializeToString()[:500])
    assert main(["explain", str(file), str(file)]) == 2
    assert capsys.readouterr().err == (
        "explorer: `cut.onnx` looks like an ONNX file and is damaged or cut off; export or download it again; "
        f"{WAY_OUT}\n"
    )
