"""Comparing cams: numbers worked out by hand, the laws of shares, and `trace` picture by picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.attribution import enlarge, grad_cam, share_on_object
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split, shapes
from explorer.experiments.cam_metrics import ObjectShares, compare_cams, object_shares
from explorer.images import to_input
from explorer.tracing import trace

SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 32, 32), classes=10)
PICTURES = shapes.draw(6, seed=0)
NAMES = shapes.CLASS_NAMES


def array(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def checkpoint(spec: ArchitectureSpec = SPEC, shorter: int | None = None) -> Checkpoint:
    return Checkpoint(
        build(spec).freeze(), NAMES, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "test", resize_shorter_to=shorter
    )


def shares_of(asked: Checkpoint, split: Split = PICTURES, **arguments: str) -> ObjectShares:
    *_, (fraction, result) = object_shares(asked, split, NAMES, **arguments)  # type: ignore[arg-type]
    assert fraction == 1 and result is not None
    return result


def with_masks(masks: np.ndarray) -> Split:
    return Split(PICTURES.images[: len(masks)], PICTURES.labels[: len(masks)], masks)


def test_by_hand() -> None:
    # Deviations from the means 2 and 1: (-2, 0, 2, 0)·(-1, 1, 1, -1) = 4, squares 8 and 4. Regions above 2 and 1:
    # three pixels, and two of those.
    result = compare_cams(array([0, 2], [4, 2]), array([0, 2], [2, 0]))
    assert result.correlation == pytest.approx(4 / np.sqrt(8 * 4))
    assert result.iou == pytest.approx(2 / 3)
    assert (result.area_a, result.area_b) == (0.75, 0.5)
    assert result.chance == pytest.approx(0.375 / (1.25 - 0.375))
    assert result.difference.tolist() == [[0, 0], [2, 2]] and result.difference.dtype == np.float32
    assert result.reason is None
    assert compare_cams(array([0, 2], [4, 2]), array([0, 2], [2, 0]), threshold=1).iou == 0.5


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_scale_shows_in_the_difference_alone(scale: float) -> None:
    cam = np.random.default_rng(0).random((8, 8), np.float32)
    result = compare_cams(cam, np.float32(scale) * cam)
    assert result.correlation == pytest.approx(1) and result.iou == 1
    np.testing.assert_array_equal(result.difference, cam - np.float32(scale) * cam)
    turned = compare_cams(np.float32(scale) * cam, cam)
    np.testing.assert_array_equal(turned.difference, -result.difference)


def test_regions_apart_and_maps_against_each_other() -> None:
    result = compare_cams(array([1, 0], [0, 0]), array([0, 1], [1, 1]))
    assert result.correlation == pytest.approx(-1) and result.iou == 0


def test_grids_of_different_size_meet_on_the_finer_or_the_one_asked_for() -> None:
    generator = np.random.default_rng(0)
    small, large = generator.random((4, 6), np.float32), generator.random((8, 5), np.float32)
    result = compare_cams(small, large)
    np.testing.assert_array_equal(result.difference, enlarge(small, (8, 6)) - enlarge(large, (8, 6)))
    asked = compare_cams(small, large, (32, 32))
    np.testing.assert_array_equal(asked.difference, enlarge(small, (32, 32)) - enlarge(large, (32, 32)))
    expected = np.corrcoef(enlarge(small, (32, 32)).ravel(), enlarge(large, (32, 32)).ravel())[0, 1]
    assert asked.correlation == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_compared_is_none_with_a_reason() -> None:
    zero, cam, flat = np.zeros((2, 2), np.float32), array([0, 1], [2, 3]), np.full((2, 2), 0.1, np.float32)
    result = compare_cams(zero, cam, (7, 7))
    assert (result.correlation, result.iou, result.area_a, result.chance) == (None, None, None, None)
    assert result.reason == "Map A is zero everywhere." and result.difference.min() == -3
    assert compare_cams(cam, zero).reason == "Map B is zero everywhere."
    assert compare_cams(zero, zero).reason == "Map A is zero everywhere and map B is zero everywhere."
    even = compare_cams(flat, cam, (7, 7))
    assert even.correlation is None and even.reason == "Map A has one value everywhere, so nothing varies together."
    assert even.area_a == 1 and even.iou == even.area_b


def test_no_maps_are_refused() -> None:
    cam = array([0, 1])
    with pytest.raises(ValueError, match="`b` must be a finite map"):
        compare_cams(cam, array([0, np.nan]))
    with pytest.raises(ValueError, match="`a` must be a finite map"):
        compare_cams(cam[None], cam)
    for threshold in (0, 1.1):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            compare_cams(cam, cam, threshold=threshold)


@pytest.mark.parametrize("target", ["label", "prediction"])
def test_shares_are_those_of_each_picture_on_its_own(target: str) -> None:
    asked = checkpoint()
    assert PICTURES.masks is not None
    expected: dict[str, list[float]] = {}
    for picture, label, mask in zip(PICTURES.images, PICTURES.labels, PICTURES.masks, strict=True):
        image = to_input(picture.transpose(1, 2, 0), (32, 32), asked.mean, asked.std)
        for layer in trace(asked.network, image, int(label) if target == "label" else None).layers:
            share = share_on_object(grad_cam(layer), mask)
            expected.setdefault(layer.name, []).extend([] if share is None else [share])
    result = shares_of(asked, target=target)
    assert result.layers == tuple(expected) and result.pictures == 6
    assert result.chance == pytest.approx(PICTURES.masks.mean())
    for index, values in enumerate(expected.values()):
        assert result.n[index] == len(values) and result.zero[index] == 6 - len(values)
        assert result.mean[index] == pytest.approx(np.mean(values))
        assert result.error[index] == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)))


def test_progress_and_the_network_as_it_was() -> None:
    asked = checkpoint()
    before = {name: tensor.clone() for name, tensor in asked.network.state_dict().items()}
    seen = list(object_shares(asked, PICTURES, NAMES))
    assert [fraction for fraction, _ in seen] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert [result is None for _, result in seen] == [True] * 5 + [False]
    assert not asked.network.training and not any(p.requires_grad for p in asked.network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in asked.network.state_dict().items())


def test_an_object_that_fills_the_picture_has_all_of_every_cam() -> None:
    full = shares_of(checkpoint(), with_masks(np.ones((3, 32, 32), bool)))
    np.testing.assert_allclose(full.mean.compressed(), 1, rtol=1e-6)
    assert full.chance == 1 and full.mean.count() > 0
    assert shares_of(checkpoint(), with_masks(np.zeros((3, 32, 32), bool))).mean.max() == 0


def test_the_mask_is_cut_as_the_picture_is() -> None:
    asked = checkpoint(replace(SPEC, input_shape=(3, 16, 16)), shorter=32)  # it sees the centre, 8..24
    masks = np.zeros((2, 32, 32), bool)
    masks[:, 8:24, 8:24] = True
    assert shares_of(asked, with_masks(masks)).chance == 1
    hidden = shares_of(asked, with_masks(~masks))
    assert hidden.chance == 0 and hidden.mean.max() == 0
    whole = shares_of(checkpoint(replace(SPEC, input_shape=(3, 16, 16))), with_masks(masks))
    assert whole.chance == pytest.approx(0.25)


def test_cams_of_zeros_are_counted_and_not_averaged() -> None:
    asked = checkpoint()
    asked.network.head.fc.weight.fill_(0)
    result = shares_of(asked)
    assert result.n.tolist() == [0] * len(result.layers) and set(result.zero.tolist()) == {6}
    assert result.mean.mask.all() and result.error.mask.all()
    one = shares_of(checkpoint(), Split(PICTURES.images[:1], PICTURES.labels[:1], np.ones((1, 32, 32), bool)))
    assert one.error.mask.all() and one.mean.count() == (one.n == 1).sum() > 0


def test_what_cannot_be_scored_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="choose the drawn shapes"):
        shares_of(checkpoint(), Split(PICTURES.images, PICTURES.labels))
    with pytest.raises(ValueError, match="holds no images"):
        shares_of(checkpoint(), with_masks(np.ones((0, 32, 32), bool)))
    with pytest.raises(ValueError, match="`target` must be one of"):
        shares_of(checkpoint(), target="truth")
    with pytest.raises(ValueError, match="same classes"):
        next(object_shares(checkpoint(), PICTURES, ["ship", *NAMES[1:]]))
    training = checkpoint()
    training.network.train()
    with pytest.raises(ValueError, match="freeze"):
        shares_of(training)
