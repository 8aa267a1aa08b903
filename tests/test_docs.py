"""What README and docs show as code runs, and does what the text beside it says."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution
from streamlit.testing.v1 import AppTest

from benchmarks.rows import HEAD, replaced
from explorer import checkpoints, presets, runs
from explorer.architectures import build
from explorer.attribution import as_map, explain, grad_cam
from explorer.attribution.methods import METHODS
from explorer.datasets import shapes, stored
from explorer.images import to_input
from explorer.presets import PRESETS, cifar
from explorer.tracing import trace
from explorer.training import TrainingConfig, fit

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/how-to.md")]
Run = Callable[[str], dict[str, Any]]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


MEASURED = ["bench", "load", "isolation", "difficulty", "difficulty-16"]


@pytest.mark.parametrize("name", MEASURED)
def test_a_figure_is_as_its_command_wrote_it(name: str) -> None:
    readme, written = (ROOT / "README.md").read_text(), (ROOT / f"docs/{name}.md").read_text()
    assert replaced(readme, name, written) == readme
    assert written.startswith(HEAD) or name not in ("bench", "load")
    assert re.search(r"processors, .*, commit [0-9a-f]{7,}\+?, \d{4}-", written)


@pytest.mark.parametrize(
    ("data", "split", "words"),
    [
        ("shapes", "test", "is right on {plain-56} of the same test pictures, its twin on {resnet-56};"),
        ("shapes", "train", "and on {plain-56} and {resnet-56} of the training pictures"),
        ("cifar10jpeg", "train", "({plain-56} against {plain-20} of the training pictures,"),
        ("cifar10jpeg", "test", "{plain-56} against {plain-20} of the 10,000 test pictures)"),
        ("cifar10jpeg", "train", "better ({resnet-56} against {resnet-20},"),
        ("cifar10jpeg", "test", "and {resnet-56} against {resnet-20})."),
    ],
)
def test_what_readme_says_of_the_pretrained_is_what_their_headers_say(data: str, split: str, words: str) -> None:
    def share(found: re.Match[str]) -> str:
        measured = checkpoints.load_pretrained(f"{data}-{found[1]}").figures[split]
        return f"{measured['accuracy']:.1%}".replace("%", " %")

    told = re.sub(r"\{([^}]+)\}", share, words)
    assert told in " ".join((ROOT / "README.md").read_text().split())


@pytest.mark.parametrize("name", MEASURED)
def test_readme_has_a_place_for_each_table(name: str) -> None:
    readme = (ROOT / "README.md").read_text()
    assert replaced(readme, name, "other\n") != readme
    with pytest.raises(ValueError, match="has no marks"):
        replaced(readme, "unknown", "")


def blocks(name: str) -> list[str]:
    return BLOCK.findall((ROOT / name).read_text())


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Runs a block as a program of its own file; gives its names."""

    def run(code: str) -> dict[str, Any]:
        program = tmp_path / "example.py"
        program.write_text(code)
        return runpy.run_path(str(program))

    return run


def test_the_readme_example_trains_twins_and_explains_a_star(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("README.md")
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    names = run(example)
    assert isinstance(names["cam"], np.ndarray)
    assert names["cam"].shape == (8, 8) and names["cam"].min() >= 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[-2:]] == ["plain-8", "ResNet-8"]
    assert all(0 < float(line.split()[1]) <= 1 for line in said[-2:])


def test_each_how_to_is_short() -> None:
    for block in blocks("docs/how-to.md"):
        assert len([line for line in block.splitlines() if line.strip()]) <= 20, block


def how_to(word: str) -> str:
    (found,) = (block for block in blocks("docs/how-to.md") if word in block)
    return found


def test_an_added_architecture_is_a_preset_like_any_other(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tanh-20", None)  # so that it is taken out again
    run(how_to("PRESETS"))
    added = presets.preset("tanh-20")
    assert TrainingConfig(epochs=1, **added.settings)
    network = build(added.spec)
    assert network.layers and network.spec.activation == "tanh"

    app = AppTest.from_function(_build_page, default_timeout=120)
    app.query_params["preset"] = "tanh-20"
    app.run()
    assert not app.exception
    assert app.selectbox(key="preset").options.count("Tanh-20") == 1
    assert app.selectbox(key="activation").value == "tanh"


def _build_page() -> None:
    from explorer.ui import navigation
    from explorer.ui.pages import build, explore

    navigation.run({"build": ("Build & train", build.show), "explore": ("Explore", explore.show)})


def test_an_added_dataset_is_learned_and_opens_in_build_and_train(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    dataset = run(how_to("stripes"))["dataset"]
    link = urlsplit(capsys.readouterr().out.strip())
    assert link.path == "/build"
    (progress,) = [each for each in fit(build(cifar(8, classes=2)), dataset, TrainingConfig(epochs=1)) if each.records]
    assert progress.records

    app = AppTest.from_function(_build_page, default_timeout=120)
    app.query_params["data"] = link.query.removeprefix("data=")
    app.run()
    assert not app.exception and not app.error
    start = app.button(key="start")
    assert start.label == "Train ResNet-20 and plain-20" and not start.disabled
    number = link.query.removeprefix("data=stored-")
    assert stored.load(runs.stored_data(number)).class_names == ("columns", "rows")


def test_an_added_view_of_a_trace_is_grad_cam_where_gradients_are_constant(run: Run) -> None:
    """Behind global average pooling and one linear layer the gradient of the last block is the same at every pixel."""
    hires_cam = run(how_to("hires_cam"))["hires_cam"]
    pixels, _ = shapes.sample(label=6, seed=1)
    layer = trace(build(cifar(8), seed=0).freeze(), to_input(pixels, (32, 32), (0.5,) * 3, (0.25,) * 3))["stages.2.0"]
    np.testing.assert_allclose(hires_cam(layer), grad_cam(layer), rtol=1e-4, atol=1e-7)


def test_an_added_method_equals_captums(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "deconvolution", None)  # so that it is taken out again
    run(how_to("METHODS"))
    network = build(cifar(8), seed=0).freeze()
    image = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    (*_, last) = explain(network, image, 3, "deconvolution")
    assert last.result is not None and as_map(last.result).shape == (32, 32)
    x = torch.tensor(image)[None].requires_grad_()
    theirs = Deconvolution(build(cifar(8), seed=0).eval()).attribute(x, target=3)
    np.testing.assert_allclose(last.result.values, theirs[0].detach().numpy(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_every_link_into_the_repository_leads_somewhere(text: Path) -> None:
    content = text.read_text()
    targets = re.findall(r"\]\(([^)#]+)\)", content) + re.findall(r"(?:src|srcset)=\"([^\"]+)\"", content)
    for target in targets:
        if not urlsplit(target).scheme:
            assert (text.parent / target).exists(), f"{text.name} links to {target}"


def test_readme_names_only_targets_that_make_has() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), f"README names `make {''.join(target)}`"
