"""The trust table: its measures on maps whose answer is known, its rows against each method alone, its sentences."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy  # type: ignore[import-untyped]
import torch
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, stored_results
from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.attribution import as_map, explain, grad_cam, perturbation_curve, saliency, spearman
from explorer.attribution.batches import FAST, fast_maps
from explorer.attribution.faithfulness import partly_random
from explorer.checkpoints import Checkpoint
from explorer.cli.main import main
from explorer.datasets import shapes
from explorer.experiments import measurement, trust, trust_sentences
from explorer.experiments.agreement import images_for
from explorer.experiments.trust import CONTROLS, TrustTable, curve_areas, points_at, share_on_mask
from explorer.intervals import Mean, bootstrap_mean
from explorer.labels import RANDOM_LEVELS
from explorer.tracing import trace
from explorer.ui import navigation
from explorer.views import enlarge

SPEC = ArchitectureSpec((Stage(1, 4), Stage(1, 8, 2)), stem=Stem(4), input_shape=(3, 16, 16), classes=10)
IMAGES = shapes.draw(24, seed=3, size=16)
LAYER = "stages.1.0"
BLOCK = np.zeros((16, 16), bool)
BLOCK[4:8, 2:14] = True


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    network = build(SPEC, seed=3)
    with torch.no_grad():
        network(torch.randn(16, *SPEC.input_shape, generator=torch.Generator().manual_seed(1)))
    drawn = shapes.Drawn(16).name
    return Checkpoint(network.freeze(), shapes.CLASS_NAMES, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), drawn)


@pytest.fixture(autouse=True)
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"integrated_gradients": {"steps": 3}, "smoothgrad": {"samples": 2}, "rise": {"masks": 20}}
    monkeypatch.setattr(trust, "SETTINGS", few | {"occlusion": {"window": 8, "stride": 8}})
    monkeypatch.setattr(trust, "MOST_PASSES", 60)
    monkeypatch.setattr(trust, "FEWEST_PICTURES", 3)
    monkeypatch.setattr(trust, "CURVE_PICTURES", 4)
    monkeypatch.setattr(trust, "RANDOM_PICTURES", 5)
    monkeypatch.setattr(trust, "RANDOM_PICTURES_SLOW", 2)


@pytest.fixture
def table(checkpoint: Checkpoint) -> TrustTable:
    *_, (share, found) = trust.trust(checkpoint, IMAGES, shapes.CLASS_NAMES, threads=2)
    assert share == 1 and found is not None
    return found


# --- measures whose answer is known -----------------------------------------------------------------------------------


def test_a_map_that_is_the_mask_points_at_it_and_noise_does_by_chance():
    draw = np.random.default_rng(0)
    assert all(points_at(trust.control("mask", BLOCK, draw), BLOCK, draw) for _ in range(20))
    n = 4000
    hits = sum(points_at(trust.control("noise", BLOCK, draw), BLOCK, draw) for _ in range(n))
    assert scipy.stats.binomtest(hits, n, BLOCK.mean()).pvalue > 1e-3
    flat = sum(points_at(np.zeros(BLOCK.shape), BLOCK, draw) for _ in range(n))  # a map of one value knows nothing
    assert scipy.stats.binomtest(flat, n, BLOCK.mean()).pvalue > 1e-3


def test_the_centre_is_the_brightest_place_of_its_map():
    for shape in ((16, 16), (5, 9)):
        found = trust.control("centre", np.zeros(shape, bool), np.random.default_rng(0))
        np.testing.assert_allclose(found, found[::-1, ::-1])
        rows, columns = np.nonzero(found == found.max())
        assert (rows.mean(), columns.mean()) == ((shape[0] - 1) / 2, (shape[1] - 1) / 2)


def test_the_share_counts_what_supports_the_class():
    assert share_on_mask(BLOCK.astype(float), BLOCK) == 1
    assert share_on_mask(np.ones(BLOCK.shape), BLOCK) == pytest.approx(BLOCK.mean())
    assert share_on_mask(np.where(BLOCK, 3.0, -1.0), BLOCK) == 1  # what speaks against it does not count
    assert np.isnan(share_on_mask(-np.ones(BLOCK.shape), BLOCK))


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_the_areas_are_those_of_one_curve_after_the_other(checkpoint: Checkpoint, kind: Any):
    (image,) = images_for(checkpoint, IMAGES.images[:1]).numpy()
    maps = np.random.default_rng(1).standard_normal((5, 16, 16)).astype(np.float32)
    maps[3] = 0  # the order is drawn
    maps[4] = np.round(maps[4])  # partly
    found = curve_areas(checkpoint.network, image, maps, 2, kind, steps=7, seed=4)
    for values, area in zip(maps, found, strict=True):
        curve = perturbation_curve(checkpoint.network, image, values, 2, kind, steps=7, random_orders=0, seed=4)
        *_, last = curve
        assert last.result is not None and area == pytest.approx(last.result.area, rel=1e-6)


def test_where_nothing_changes_the_answer_both_areas_are_its_probability(checkpoint: Checkpoint):
    constant = partly_random(checkpoint.network, 0)
    with torch.no_grad():
        constant.head.fc.weight.zero_()
        constant.head.fc.bias.copy_(torch.arange(10.0))
    expected = np.exp(2) / np.exp(np.arange(10)).sum()
    (image,) = images_for(checkpoint, IMAGES.images[:1]).numpy()
    maps = np.random.default_rng(1).random((3, 16, 16))
    for kind in ("deletion", "insertion"):
        np.testing.assert_allclose(curve_areas(constant, image, maps, 2, kind), expected, rtol=1e-6)


def test_intervals_of_means_are_what_theory_says():
    draw = np.random.default_rng(2)
    for n in (8, 400):  # few values need Student's t
        values = draw.standard_normal(n)
        found = bootstrap_mean(values)
        half = scipy.stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
        assert found.value == pytest.approx(values.mean()) and found.n == n
        np.testing.assert_allclose([found.low, found.high], [found.value - half, found.value + half], atol=0.15 * half)
    assert bootstrap_mean([0.5] * 9) == Mean(0.5, 0.5, 0.5, 9)
    assert np.isnan(bootstrap_mean([2.0]).low)
    with pytest.raises(ValueError, match="`values` must be one or more finite numbers, received 0"):
        bootstrap_mean([])


# --- the table against each method alone ------------------------------------------------------------------------------


def test_the_maps_of_a_batch_are_those_of_each_picture_alone(checkpoint: Checkpoint):
    images = images_for(checkpoint, IMAGES.images[:3]).numpy()
    targets = [4, 0, 9]
    found = fast_maps(checkpoint.network, images, targets, LAYER, FAST)
    assert set(found) == set(FAST)
    for place, (image, target) in enumerate(zip(images, targets, strict=True)):
        traced = trace(checkpoint.network, image, target)
        alone = {"gradient": saliency(traced), "grad_cam": enlarge(grad_cam(traced[LAYER]), (16, 16))}
        alone["signed_grad_cam"] = enlarge(grad_cam(traced[LAYER], relu=False), (16, 16))
        assert found["signed_grad_cam"][place].min() < 0
        for name, values in found.items():
            if name not in alone:
                *_, last = explain(checkpoint.network, image, target, name)
                assert last.result is not None
                alone[name] = as_map(last.result)
            expected = alone[name]
            tolerance = 1e-4 * np.abs(expected).max()
            np.testing.assert_allclose(values[place], expected, rtol=0, atol=tolerance, err_msg=name)


def test_the_table_holds_what_was_promised(checkpoint: Checkpoint, table: TrustTable):
    methods = trust.methods_of(SPEC)
    assert table.methods == (*methods, *CONTROLS) and table.levels == tuple(RANDOM_LEVELS) and table.layer == LAYER
    for name in table.methods:
        row, few = table.methods.index(name), trust.pictures_of(name, SPEC, 24)
        slow = name not in (*FAST, *CONTROLS)
        assert np.isfinite(table.hits[row]).sum() == few == (24 if not slow else few) and table.pointing(name).n == few
        assert np.isfinite(table.deletions[row]).sum() == np.isfinite(table.insertions[row]).sum() == min(4, few)
        assert np.isfinite(table.correlations[row]).all(axis=0).sum() <= (2 if slow else 5)
    assert trust.pictures_of("rise", SPEC, 24) == 3  # 60 passes buy three
    assert table.pointing("mask").value == table.shares[table.methods.index("mask")].min() == 1
    assert table.similarity("centre", "all") == Mean(1, 1, 1, 5)
    np.testing.assert_allclose(table.covered, IMAGES.masks.mean(axis=(1, 2)) if IMAGES.masks is not None else 0)


def test_a_cell_of_the_table_is_what_one_picture_gives(checkpoint: Checkpoint, table: TrustTable):
    for name in ("grad_cam", "deep_lift", "occlusion"):
        row = table.methods.index(name)
        at = int(np.flatnonzero(np.isfinite(table.correlations[row, 0]))[0])
        (image,) = images_for(checkpoint, IMAGES.images[at : at + 1]).numpy()
        target, assumed = int(IMAGES.labels[at]), trust.SETTINGS.get(name, {})

        def made(network: Any, image: np.ndarray = image, name: str = name, target: int = target) -> np.ndarray:
            if name == "grad_cam":
                return enlarge(grad_cam(trace(network, image, target)[LAYER]), (16, 16))
            *_, last = explain(network, image, target, name, trust.SETTINGS.get(name, {}))
            assert last.result is not None
            return as_map(last.result)

        assert isinstance(assumed, dict) and IMAGES.masks is not None
        whole, mask = made(checkpoint.network), IMAGES.masks[at]
        assert table.shares[row, at] == pytest.approx(share_on_mask(whole, mask), rel=1e-3)
        assert table.hits[row, at] in mask[whole == whole.max()]
        randomised = made(partly_random(checkpoint.network, 1))
        expected = spearman(np.abs(whole), np.abs(randomised))
        assert table.correlations[row, 0, at] == pytest.approx(expected, abs=0.01)


def test_the_network_is_left_as_found_and_the_work_can_be_left(checkpoint: Checkpoint):
    before = {name: values.numpy().tobytes() for name, values in checkpoint.network.state_dict().items()}
    work = trust.trust(checkpoint, IMAGES, shapes.CLASS_NAMES, threads=2)
    share, found = next(work)
    assert 0 < share < 1 and found is None
    work.close()
    assert before == {name: values.numpy().tobytes() for name, values in checkpoint.network.state_dict().items()}
    assert not any(module._forward_hooks or module._backward_hooks for module in checkpoint.network.modules())


def test_what_cannot_be_measured_says_why(checkpoint: Checkpoint):
    for split, message in (
        (replace(IMAGES, masks=None), "`split` has no masks"),
        (measurement.rows(IMAGES, np.arange(0)), "`split` holds no images"),
    ):
        with pytest.raises(ValueError, match=message):
            next(trust.trust(checkpoint, split, shapes.CLASS_NAMES))
    with pytest.raises(ValueError, match="has no layer with feature maps; choose another network"):
        trust.layer_of(ArchitectureSpec((Stage(1, 3),), input_shape=(3, 1, 1), classes=2))
    assert "deep_lift" not in trust.methods_of(replace(SPEC, activation="gelu"))


# --- what it says -----------------------------------------------------------------------------------------------------


def made(n: int, hits: dict[str, float], alike: dict[str, float]) -> TrustTable:
    """A table whose maps point at the object in these shares of n pictures, and stay similar so far."""
    names = ("grad_cam", "gradient", "occlusion", *CONTROLS)
    rows = np.array([[index < round(hits[name] * n) for index in range(n)] for name in names], float)
    better = {"mask": 0.1, "grad_cam": 0.2, "gradient": 0.5, "occlusion": 0.21, "centre": 0.4, "noise": 0.5}
    spread = np.linspace(-0.01, 0.01, n)
    deletions = np.array([better[name] + spread for name in names])
    levels = [[np.full(n, alike.get(name, 0.0)) + spread for _ in RANDOM_LEVELS] for name in names]
    return TrustTable(
        names, tuple(RANDOM_LEVELS), LAYER, rows, rows, deletions, 1 - deletions, np.array(levels), np.full(n, 0.2)
    )


SHARES = {"grad_cam": 0.9, "gradient": 0.2, "occlusion": 0.62, "mask": 1.0, "centre": 0.6, "noise": 0.2}


def test_the_sentences_follow_from_the_intervals():
    found = made(100, SHARES, {"gradient": 0.8})
    first, second, third = trust_sentences.findings("plain-8", found)
    assert first == (
        "plain-8: the centre of the image lies on the object in 60.0% of 100 images (50.2% to 69.1%). 1 of 3 methods "
        "points at the object more often, first Grad-CAM (90.0%). 1 of 3 methods points at it less often: Gradient. "
        "For 1 the interval of the difference holds 0."
    )
    assert second == (
        "plain-8: the order of the map beats a random order of pixels, in both curves, for all 3 methods but Gradient."
    )
    assert third.startswith("plain-8: with all weights random, Gradient keeps a rank correlation above 0.5. Such a map")
    assert found.ranked[0] == "mask" and trust_sentences.cells(found)[1][0] == "Grad-CAM"
    (row,) = [row for row in trust_sentences.rows_of(found) if row["map"] == "grad_cam"]
    assert row["above_centre_value"] == pytest.approx(0.3) and row["pointing_n"] == 100


def test_it_is_honest_where_nothing_can_be_told():
    alike = {"grad_cam": 0.6, "gradient": 0.6, "occlusion": 0.6}
    same = made(100, dict.fromkeys(SHARES, 0.6), {})
    first, _, third = trust_sentences.findings("x", same)
    assert "None of the 3 methods can be told to point at the object more often." in first
    assert third == "x: with all weights random, no map keeps a rank correlation that is surely above 0.5."
    few = trust_sentences.findings("x", made(10, SHARES, alike))
    assert "From fewer than 20 images no difference is told." in few[0] and "more often, first" not in few[0]
    assert (
        "for no method." in few[1]
        and "Grad-CAM (10 images), Occlusion (10 images) and Gradient (10 images) keep a rank" in few[2]
    )


def test_a_table_can_be_stored(table: TrustTable):
    again = stored_results.unpack(TrustTable, stored_results.pack(table))
    assert again is not None and trust_sentences.cells(again) == trust_sentences.cells(table)


# --- terminal and page ------------------------------------------------------------------------------------------------


def test_the_terminal_prints_the_table(checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "own.safetensors"
    checkpoints.save(checkpoint, file)
    assert main(["trust", str(file), "--count", "6", "--json", "--threads", "1"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["networks"]
    assert found["n"] == 6 and found["layer"] == LAYER and len(found["results"]) == 18 and len(found["sentences"]) == 3
    mask = next(row for row in found["results"] if row["map"] == "mask")
    assert (
        mask["pointing_value"] == 1
        and mask["share_low"] == pytest.approx(1)
        and mask["random_all_value"] == pytest.approx(1)
    )
    assert main(["trust", str(file), "--count", "3"]) == 0
    text = capsys.readouterr().out
    assert (
        "the mask itself" in text
        and "Signed Grad-CAM" in text
        and "From fewer than 20 images no difference is told." in text
    )
    assert main(["trust", str(file), "--count", "0"]) == 2 and main(["trust", *[str(file)] * 5]) == 2
    assert "5 networks are too many at once; 4 is the most." in capsys.readouterr().err


PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import experiments
navigation.run({"experiments": ("Experiments", experiments.show)})
"""


def test_the_question_on_the_page(monkeypatch: pytest.MonkeyPatch):
    files: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: files.setdefault(label, data))
    app = AppTest.from_string(PAGE, default_timeout=120)
    query = {"question": "trust", "first": "shapes-plain-8", "second": "shapes-resnet-8", "n": "20"}
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    said = "\n".join(each.value for each in (*app.markdown, *app.caption))
    assert re.search(r"This takes about [\d,]+ passes for 20 images and 15 methods\.", said)
    (button,) = [each for each in app.button if each.label.startswith("Measure (about")]
    button.click().run()
    said = "\n".join(each.value for each in (*app.markdown, *app.caption)).replace("\\", "")
    assert not app.exception and not app.error
    for title in ("plain-8", "ResNet-8"):
        assert f"{title}: the centre of the image lies on the object in " in said
        assert f"{title}. Class activation maps are of stages.2.0." in said
    assert "| the mask itself | 20 | 100.0 (83.9\u2060…\u2060100.0) |" in said
    assert app.query_params["measure"] in ("yes", ["yes"])
    heads, *lines = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert heads.startswith("network,map,title,pointing_value,") and len(lines) == 2 * 18


def test_networks_that_know_no_shapes_are_told_so():
    app = AppTest.from_string(PAGE, default_timeout=120)
    for name, value in {"question": "trust", "first": "cifar10jpeg-plain-8", "second": "cifar10jpeg-resnet-8"}.items():
        app.query_params[name] = value
    app.run()
    (info,) = app.info
    assert "no images with exact masks" in info.value and "trained on the drawn shapes" in info.value
