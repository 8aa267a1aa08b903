"""What README and docs show as code runs, and does what the text beside it says."""

import re
import runpy
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution
from streamlit.testing.v1 import AppTest

from benchmarks import rows
from benchmarks.rows import HEAD
from driving import proxies
from explorer import checkpoints, presets, runs
from explorer.architectures import build
from explorer.attribution import as_map, explain, grad_cam
from explorer.attribution.methods import METHODS
from explorer.cli.main import COMMANDS, parser
from explorer.datasets import shapes, stored
from explorer.images import to_input
from explorer.presets import PRESETS, cifar
from explorer.tracing import trace
from explorer.training import TrainingConfig, fit

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/*.md"))
MEASURED = [path.stem for path in PAGES if not path.read_text().startswith(("# ", "["))]  # tables of commands
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
TEXTS += [path for path in PAGES if path.stem not in MEASURED]
TEXTS += sorted([*ROOT.glob("docs/guide/*.md"), *ROOT.glob("docs/recipes/*.md"), *ROOT.glob("docs/reference/*.md")])
FIGURE = re.compile(r"[+−-]?\d+\.\d+(?= ?%| points| to [+−-]?\d+\.\d+ points)")
DECISIONS = sorted(ROOT.glob("docs/decisions/*.md"))
Run = Callable[[str], dict[str, Any]]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def content(name: str) -> str:
    return (ROOT / name).read_text()


def in_one_line(name: str) -> str:
    return " ".join(content(name).split())


def test_the_programs_that_the_tests_need_are_named_and_one_that_is_missing_fails_its_tests_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = list(proxies.PROGRAMS.values())
    assert f"`sudo apt install {' '.join(packages)}`" in in_one_line("CONTRIBUTING.md")
    assert all(f"`{package}`" in content("docs/install.md") for package in packages)
    assert "\n\t-$(PYTHON) -m driving.proxies\n" in content("Makefile"), "make goes on to the tests"
    monkeypatch.setattr(proxies, "_program", lambda name: "")
    for proxy in (proxies.nginx, proxies.caddy):
        with pytest.raises(RuntimeError, match=f"sudo apt install {' '.join(packages)}"), proxy(tmp_path, []):
            pass


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEASURED)
def test_a_table_is_as_its_command_wrote_it(name: str) -> None:
    written = content(f"docs/{name}.md")
    assert re.search(r"processors, .*, commit [0-9a-f]{7,}\+?, \d{4}-", written)
    if name in ("bench", "load"):
        assert written.startswith(HEAD)
        for row in written.splitlines()[2:-2]:
            _, figure, measured, bound, met, n, _ = (cell.strip() for cell in row.split("|"))
            assert figure and measured and re.fullmatch(r"[\d,]+", n), row
            assert met in (("yes", "**missed**") if bound else ("",)), row


def test_each_command_writes_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    rows.write("bench", [HEAD, "a note"])
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file == tmp_path / "docs/bench.md" and file.read_text() == f"{HEAD}\na note\n"


def test_one_part_is_measured_anew_in_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    first, second = rows.Row("first", "1 s", 3), rows.Row("second", "2 s", 3)
    rows.write("bench", [HEAD, str(first), str(second), "", "All of 2 processors, 2026-11-27."])
    older, newer = rows.Row("first", "5 s", 4, rows.at_most(5, 4)), rows.Row("third", "3 s", 4)
    rows.refresh("bench", "live", [older, newer], "1 processor, commit abc, 2026-11-30")
    rows.refresh("bench", "live", [rows.Row("first", "4 s", 4, rows.at_most(4, 4)), newer], "2 processors, 2026-12-01")
    *table, _, note = (tmp_path / "docs/bench.md").read_text().splitlines()
    assert table[2:] == ["| first | 4 s | ≤ 4 | yes | 4 |", str(second), str(newer)]
    assert re.fullmatch(
        r"All of 2 processors, 2026-11-27\. Rows of `live`, at a load average of [\d.]+ in the last 15 minutes: "
        r"2 processors, 2026-12-01\.",
        note,
    )


def test_measurements_leads_to_each_table_and_none_is_copied() -> None:
    linked = set(re.findall(r"\]\(([^)#/]+)\.md\)", content("docs/measurements.md")))
    assert set(MEASURED) <= linked, "docs/measurements.md says what each table of docs/ is"
    assert {"bench", "load", "blocks", "surface", "isolation", "difficulty", "difficulty-16"} <= set(MEASURED)
    lines = [line for name in MEASURED for line in content(f"docs/{name}.md").splitlines()]
    measured = {line for line in lines if re.search(r"\d", line)}
    for text in [*TEXTS, *DECISIONS]:
        assert not measured & set(text.read_text().splitlines()), text


@pytest.mark.parametrize(
    ("data", "split", "words"),
    [
        ("shapes", "test", "reaches {plain-56} test accuracy, its twin {resnet-56} on the same images;"),
        ("shapes", "train", "and {plain-56} and {resnet-56} of the training images"),
        ("cifar10jpeg", "train", "({plain-56} against {plain-20} of the training images,"),
        ("cifar10jpeg", "test", "{plain-56} against {plain-20} of the 10,000 test images)"),
        ("cifar10jpeg", "train", "better ({resnet-56} against {resnet-20},"),
        ("cifar10jpeg", "test", "and {resnet-56} against {resnet-20})."),
    ],
)
def test_what_is_said_of_the_pretrained_is_what_their_headers_say(data: str, split: str, words: str) -> None:
    def share(found: re.Match[str]) -> str:
        return share_of(f"{data}-{found[1]}", split)

    assert re.sub(r"\{([^}]+)\}", share, words) in in_one_line("docs/measurements.md")


def share_of(network: str, split: str) -> str:
    return f"{figures_of(network)[split]['accuracy']:.1%}".replace("%", " %")


@cache
def figures_of(network: str) -> Mapping[str, Any]:
    return checkpoints.load_pretrained(network).metrics


def test_every_share_with_a_decimal_stands_in_a_table_or_in_the_header_of_a_network() -> None:
    tables = "\n".join(content(f"docs/{name}.md") for name in MEASURED)
    shares = {share_of(name, split).split()[0] for name in checkpoints.pinned() for split in ("train", "test")}
    named = {figure: text.name for text in TEXTS for figure in FIGURE.findall(text.read_text())}
    assert named
    for figure, text in named.items():
        measured = figure in shares or re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", tables)
        assert measured, f"{text} names {figure}, which no table of docs/ and no header has"


def test_the_bounds_that_scale_names_are_those_of_the_load_test() -> None:
    bounds = {row.split("|")[3].strip() for row in content("docs/load.md").splitlines() if row.count("|") == 6}
    named = re.findall(r"^\| [^|]+ \| ((?:p95 |peak )?≤ [^|]+|0) \|$", content("docs/scale.md"), re.MULTILINE)
    assert len(named) == 8 and set(named) <= bounds, set(named) - bounds


def test_readme_is_short() -> None:
    assert len(content("README.md").splitlines()) <= 150


# --- code -------------------------------------------------------------------------------------------------------------


def blocks(name: str) -> list[str]:
    return BLOCK.findall(content(name))


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
    names = run(example.replace("seconds=5", "seconds=1"))
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


@pytest.mark.usefixtures("in_this_process")
def test_a_network_goes_out_as_onnx_and_comes_back(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(how_to("to_onnx"))["checkpoint"].spec.shortcut == "identity"
    assert capsys.readouterr().out == "(8, 8)\n"


def test_an_added_dataset_is_learned_and_opens_in_build_and_train(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
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


# --- links and names --------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("text", [*TEXTS, *DECISIONS], ids=lambda path: path.name)
def test_every_link_into_the_repository_leads_somewhere(text: Path) -> None:
    written = text.read_text()
    targets = re.findall(r"\]\(([^)]+)\)", written) + re.findall(r"(?:src|srcset)=\"([^\"]+)\"", written)
    for target in targets:
        if urlsplit(target).scheme:
            continue
        name, _, anchor = target.partition("#")
        file = text.parent / name if name else text
        assert file.exists(), f"{text.name} links to {target}"
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(slug, headings), f"{text.name} links to {target}"


def test_every_decision_is_listed() -> None:
    linked = re.findall(r"\]\(([^)/]+\.md)\)", content("docs/decisions/README.md"))
    assert sorted(linked) == [path.name for path in DECISIONS if path.name != "README.md"]
    assert all(re.match(r"\d{4}-\d\d-\d\d-", name) for name in linked)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_texts_name_only_commands_that_exist(text: Path) -> None:
    written, makefile = text.read_text(), content("Makefile")
    for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)", written, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), f"{text.name}: `make {''.join(target)}`"
    commands = {name for name, *_ in COMMANDS}
    for name in re.findall(r"python -m explorer ([a-z][a-z-]*)", written):
        assert name in commands, f"{text.name}: `python -m explorer {name}`"
    parts = content("benchmarks/__main__.py")
    for name in re.findall(r"python -m benchmarks ([a-z][a-z-]*)", written):
        assert f'"{name}"' in parts, f"{text.name}: `python -m benchmarks {name}`"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_commands_in_texts_have_options_that_exist(text: Path) -> None:
    """Those of code blocks and of code in sentences."""
    written = text.read_text()
    lines = re.findall(r"^python -m explorer (.*)$", written, re.MULTILINE)
    for line in [*lines, *re.findall(r"`python -m explorer ([^`|]*)`", " ".join(written.split()))]:
        arguments = [word for word in shlex.split(line, comments=True) if word[0] != ">"]
        if "--help" not in arguments and "COMMAND" not in arguments:
            parser().parse_args(arguments)  # raises ValueError with the reason
