"""torchvision's networks that are downloaded: each page offers them from its first visit on."""

from pathlib import Path

import pytest

from explorer import torchvision_models
from explorer.torchvision_models import PUBLISHED, downloaded
from tests.messages import labels
from tests.test_compare import open_compare
from tests.test_gradients import open_gradients
from tests.test_pages import open_app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision's files lie, with that of ResNet-18: its name alone, which is all that a list needs."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = torchvision_models.cache_folder()
    folder.mkdir(parents=True)
    (folder / PUBLISHED["resnet18"].file).write_bytes(b"weights")
    return folder


def test_those_whose_file_is_there_are_known(folder: Path) -> None:
    assert downloaded() == ("resnet18",)
    (folder / PUBLISHED["resnet50"].file).touch()
    (folder / "resnet34-0123456789ab.pth").touch()  # not the published one
    assert downloaded() == ("resnet18", "resnet50")
    assert downloaded(folder / "nowhere") == ()


def test_every_page_offers_them_at_its_first_visit(folder: Path) -> None:
    app = open_app()
    assert "ResNet-18 · torchvision" in labels(app).values()
    beside = labels(app, beside="shapes-plain-20")
    assert beside and "ResNet-18 · torchvision" not in beside.values(), "it knows other classes"
    for page in (open_compare(), open_gradients(source="checkpoint")):
        assert "ResNet-18 · torchvision" in labels(page).values()


def test_what_is_not_downloaded_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert not [label for label in labels(open_app()).values() if "torchvision" in label]
