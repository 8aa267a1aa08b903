"""Laws of `explorer.torchvision_models`: torchvision's files with random weights, and a server on this machine.

No internet is used and nothing of torch is replaced but the addresses and sizes of files in torchvision's metadata.

One file: every case needs the server and the small files of weights that are made here.
"""

import hashlib
import io
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import ResNet18_Weights, get_model

from explorer import downloads, torchvision_models
from explorer.architectures import describe
from explorer.checkpoints import CheckpointError
from explorer.downloads import DownloadError, DownloadProgress
from explorer.torchvision_models import PUBLISHED, cache_folder, download, is_available, load
from explorer.weights_import import NORMALISATIONS, resnets, vggs

ROOT = Path(__file__).parents[1]
NAME = "resnet18"


def publish(name: str, content: bytes, monkeypatch: pytest.MonkeyPatch, port: int = 9) -> str:
    """Makes torchvision's metadata say that `content` is the file of `name`; returns the file's name."""
    about = PUBLISHED[name]
    file = f"{about.builder}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(about.weights.value, "url", f"http://127.0.0.1:{port}/models/{file}")
    monkeypatch.setitem(about.weights.meta, "_file_size", len(content) / 2**20)
    return file


def trained(builder: str, **changes: Any) -> nn.Module:
    """torchvision's own network in evaluation mode, no tensor of which has its first value."""
    with torch.device("meta"):
        network = get_model(builder, weights=None, **changes)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.is_floating_point():
                bound = (6 / value[0].numel()) ** 0.5 if value.dim() > 1 else 0.2
                value.uniform_(-bound, bound, generator=generator)
            else:
                value.fill_(7)
    return network.eval()


def saved(state: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    return trained("resnet18")


@pytest.fixture(scope="module")
def resnet18_file(resnet18: nn.Module) -> bytes:
    """As torchvision's older files are: parameters that ask for a gradient, and no counters of batches."""
    state = {**resnet18.state_dict(), **dict(resnet18.named_parameters())}
    return saved({key: value for key, value in state.items() if not key.endswith("num_batches_tracked")})


# --- what torchvision says --------------------------------------------------------------------------------------------


def test_all_resnets_and_vggs_are_there_and_share_one_recipe():
    builders = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
    builders += ["resnext50_32x4d", "wide_resnet50_2"]
    builders += [f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")]
    second = {f"resnet{depth}-v2" for depth in (50, 101, 152)}
    assert set(PUBLISHED) == {*builders, *second}
    for name, about in PUBLISHED.items():
        assert about.recipe == ("IMAGENET1K_V2" if name in second else "IMAGENET1K_V1")
        assert about.builder == name.removesuffix("-v2")
    assert len({about.title for about in PUBLISHED.values()}) == len({about.file for about in PUBLISHED.values()}) == 18


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvisions_metadata_describe_our_network(name: str):
    about = PUBLISHED[name]
    (file,) = about.request.files
    assert about.address == file.url == f"https://download.pytorch.org/models/{about.builder}-{file.digest}.pth"
    assert re.fullmatch("[0-9a-f]{8,}", file.digest) and about.file == f"{about.builder}-{file.digest}.pth"
    assert about.parameters == describe(about.spec).parameters
    halved = name == "wide_resnet50_2"  # published in float16
    assert about.download_bytes == pytest.approx((2 if halved else 4) * about.parameters, rel=0.01)
    assert 0.69 < about.top1 < about.top5 < 0.97
    assert len(set(about.class_names)) > 990 and len(about.class_names) == about.spec.classes == 1000
    transforms, imagenet = about.weights.transforms(), NORMALISATIONS["imagenet"]
    assert (tuple(transforms.mean), tuple(transforms.std)) == (imagenet.mean, imagenet.std)
    assert transforms.interpolation.value == "bilinear" and transforms.antialias
    assert about.spec.input_shape == (3, 224, 224) and transforms.crop_size == [224]
    assert transforms.resize_size == [232 if name.endswith("-v2") else 256]


@pytest.mark.parametrize("name", [name for name in PUBLISHED if not name.endswith("-v2")])
def test_from_names_and_shapes_alone_each_is_recognised_as_the_network_that_is_promised(name: str):
    with torch.device("meta"):
        state = get_model(PUBLISHED[name].builder, weights=None).state_dict()
    layout = vggs.vgg(state, "it") if name.startswith("vgg") else resnets.resnet(state, (), "it")
    assert [candidate.spec for candidate in layout.candidates] == [PUBLISHED[name].spec]


def test_the_first_accuracies_are_the_published_ones():
    """https://docs.pytorch.org/vision/stable/models.html"""
    expected = {"resnet18": 0.69758, "resnet50": 0.7613, "resnet50-v2": 0.80858, "vgg16": 0.71592, "vgg16_bn": 0.7336}
    assert {name: PUBLISHED[name].top1 for name in expected} == expected


def test_only_names_of_the_list_are_known(tmp_path: Path):
    for call in (load, is_available, lambda *arguments: list(download(*arguments))):
        with pytest.raises(ValueError, match="must be one of resnet18, .*, vgg19_bn, received 'resnet20'"):
            call("resnet20", tmp_path)


# --- loading ----------------------------------------------------------------------------------------------------------


def test_the_cache_is_torch_hubs(resnet18_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = publish(NAME, resnet18_file, monkeypatch)
    assert not is_available(NAME)
    cache_folder().mkdir(parents=True)
    (cache_folder() / file).write_bytes(resnet18_file)
    assert is_available(NAME) and list(download(NAME))[0].attempt == 1
    torch.hub.load_state_dict_from_url(PUBLISHED[NAME].address, weights_only=True)  # nobody listens at that port


@pytest.mark.usefixtures("in_this_process")
def test_a_downloaded_resnet_computes_what_torchvisions_does(
    resnet18: nn.Module, resnet18_file: bytes, server: "Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.content = resnet18_file
    publish(NAME, resnet18_file, monkeypatch, server.port)
    list(download(NAME, tmp_path))
    checkpoint = load(NAME, tmp_path)
    about = PUBLISHED[NAME]
    assert checkpoint.spec == about.spec and checkpoint.data == "ImageNet-1k" and checkpoint.seed is None
    assert checkpoint.class_names == tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    assert checkpoint.class_names[207] == "golden retriever"
    assert (checkpoint.mean, checkpoint.std) == (NORMALISATIONS["imagenet"].mean, NORMALISATIONS["imagenet"].std)
    assert checkpoint.resize_shorter_to == 256
    assert not checkpoint.network.training and not any(p.requires_grad for p in checkpoint.network.parameters())
    figures = checkpoint.metrics["torchvision"]
    assert figures["accuracy"] == about.top1 and figures["source"] == "ResNet18_Weights.IMAGENET1K_V1"
    assert "torchvision's own" in figures["note"] and "not measured here" in figures["note"]
    assert set(checkpoint.metrics) == {"torchvision"}  # nothing that could be taken for a measurement of ours
    assert_same_logits(checkpoint.network, resnet18)


@pytest.mark.usefixtures("in_this_process")
def test_a_loaded_vgg_computes_what_torchvisions_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From the format before PyTorch 1.6, in which torchvision's VGGs without BatchNorm were published."""
    theirs = trained("vgg11")
    content = saved(theirs.state_dict(), _use_new_zipfile_serialization=False)
    path = tmp_path / publish("vgg11", content, monkeypatch)
    path.write_bytes(content)
    del content
    try:
        assert_same_logits(load("vgg11", tmp_path).network, theirs)
    finally:
        path.unlink()  # half a gigabyte


def assert_same_logits(ours: nn.Module, theirs: nn.Module) -> None:
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(image)
        assert expected.std() > 0.01
        torch.testing.assert_close(ours(image), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


class Canary:
    """An object whose pickle, when it is unpickled, makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def poisoned(canary: Path, old: bool) -> bytes:
    content = saved({"conv1.weight": Canary(canary)}, _use_new_zipfile_serialization=not old)
    torch.load(io.BytesIO(content), weights_only=False)
    canary.rmdir()  # so it does what it threatens
    return content


@pytest.mark.usefixtures("in_this_process")  # where the canary is in reach
@pytest.mark.parametrize("old", [False, True])
def test_a_poisoned_file_is_refused_and_not_unpickled(
    old: bool, resnet18_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    canary = tmp_path / "canary"
    content = poisoned(canary, old)
    file = publish(NAME, resnet18_file, monkeypatch)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the file that torchvision published") as caught:
        load(NAME, tmp_path)
    assert_one_sentence(str(caught.value))
    assert f"`{file}` in `{tmp_path}`" in str(caught.value) and not canary.exists()

    # Eight digits can be forged by who has a day: even then nothing of it runs.
    (tmp_path / publish(NAME, content, monkeypatch)).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(NAME, tmp_path)
    assert_one_sentence(str(caught.value))
    assert "published" not in str(caught.value) and not canary.exists()


def test_damage_is_found_at_every_load(resnet18_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / publish(NAME, resnet18_file, monkeypatch)
    flipped = bytearray(resnet18_file)
    flipped[len(flipped) // 2] ^= 1
    for content in (bytes(flipped), resnet18_file[:-1], b""):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not the file that torchvision published, whose sha256 begins"):
            load(NAME, tmp_path)
    with path.open("wb") as file:
        file.truncate(2**42)  # 4 TB, which would take hours to read
    with pytest.raises(CheckpointError, match="is not the file that torchvision published"):
        load(NAME, tmp_path)
    path.unlink()
    path.mkdir()
    assert not is_available(NAME, tmp_path)
    with pytest.raises(CheckpointError, match="is not the file that torchvision published"):
        load(NAME, tmp_path)
    path.rmdir()
    with pytest.raises(CheckpointError, match=f"`{path.name}` is not in `.*`; download it first, or put it there"):
        load(NAME, tmp_path)


@pytest.mark.usefixtures("in_this_process")
def test_a_network_of_other_sizes_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = saved(trained("resnet18", num_classes=10).state_dict())
    (tmp_path / publish(NAME, content, monkeypatch)).write_bytes(content)
    with pytest.raises(CheckpointError, match="holds another network than ResNet-18"):
        load(NAME, tmp_path)


@pytest.mark.usefixtures("in_this_process")
def test_a_file_without_a_network_is_refused_in_the_words_of_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = pickle.dumps({"conv1.weight": [1.0]}, protocol=2)
    (tmp_path / publish(NAME, content, monkeypatch)).write_bytes(content)
    with pytest.raises(CheckpointError, match="is a pickle, but none of `torch.save`, so it is not opened"):
        load(NAME, tmp_path)


# --- downloading ------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """What it sends, and how: `serve` is asked, with the number of the request, for the bytes that it sends."""

    content: bytes = b""
    serve: Callable[[int, bytes], bytes | None] = lambda number, content: content
    continues: bool = True
    may_send: Callable[[int], bool] = lambda sent: True  # what follows so many bytes; asked until it may
    asked: list[int] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                begun = int(re.findall(r"\d+", self.headers.get("Range", "0"))[0]) if server.continues else 0
                server.asked.append(begun)
                content = server.serve(len(server.asked), server.content)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(206 if begun else 200)
                self.send_header("Content-Length", str(max(len(content), len(server.content)) - begun))
                self.end_headers()
                try:
                    for start in range(begun, len(content), 2**16):
                        while not server.may_send(start):
                            if server.ended.wait(0.005):
                                return
                        self.wfile.write(content[start : start + 2**16])
                        self.wfile.flush()
                except OSError:  # whoever asked has gone
                    pass

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of a megabyte that torchvision's metadata call ResNet-18; quick retries and quick news."""
    served = Server(bytes(range(256)) * 2**12)
    with ThreadingHTTPServer(("127.0.0.1", 0), served.handler()) as listening:
        listening.daemon_threads = True
        served.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        publish(NAME, served.content, monkeypatch, served.port)
        monkeypatch.setattr(downloads, "RETRY_PAUSES_S", (0.01, 0.01))
        monkeypatch.setattr(downloads, "PROGRESS_INTERVAL_S", 0.02)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield served
        served.ended.set()
        listening.shutdown()
        thread.join()


def place(folder: Path) -> Path:
    return folder / PUBLISHED[NAME].file


def assert_one_sentence(text: str) -> None:
    assert text.endswith(".") and ". " not in text and "\n" not in text
    assert not any(word in text for word in ("Error", "Errno", "urlopen", "Traceback", "weights_only"))


def test_a_download_says_how_far_it_is_and_leaves_one_file(server: Server, tmp_path: Path):
    transfers: list[DownloadProgress] = []
    # A block more only when all before it were seen: no size goes by unseen, however seldom this process looks.
    server.may_send = lambda sent: bool(transfers) and transfers[-1].done_bytes >= sent - sent % downloads._BLOCK
    folder = tmp_path / "new" / "cache"
    assert not is_available(NAME, folder)
    for transfer in download(NAME, folder):
        transfers.append(transfer)
    total = len(server.content)
    assert transfers[-1] == DownloadProgress(total, total, 1) == list(download(NAME, folder))[0]
    sizes = [transfer.done_bytes for transfer in transfers]
    assert sizes == sorted(sizes) and {transfer.attempt for transfer in transfers} == {1}
    assert set(sizes) >= set(range(0, total + 1, downloads._BLOCK))
    assert is_available(NAME, folder) and list(folder.iterdir()) == [place(folder)]
    assert place(folder).read_bytes() == server.content and server.asked == [0]
    assert place(folder).stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("continues", [True, False])
def test_a_server_that_dies_midway_is_asked_again(continues: bool, server: Server, tmp_path: Path):
    server.serve = lambda number, content: content[: number * 300_000] if number < 3 else content
    server.continues = continues
    transfers = list(download(NAME, tmp_path))
    assert server.asked == ([0, 300_000, 600_000] if continues else [0, 0, 0])
    assert {transfer.attempt for transfer in transfers[:-1]} == {1, 2, 3}
    assert place(tmp_path).read_bytes() == server.content


WRONG: dict[str, Callable[[int, bytes], bytes | None]] = {
    "what 127.0.0.1:.* sent was cut off or changed on the way": lambda number, content: content[:-1] + b"!",
    "127.0.0.1:.* does not hand it out": lambda number, content: None,
}


@pytest.mark.parametrize("words", WRONG)
def test_what_was_not_published_never_reaches_the_cache(words: str, server: Server, tmp_path: Path):
    server.serve = WRONG[words]
    with pytest.raises(DownloadError, match=words) as caught:
        list(download(NAME, tmp_path))
    assert_one_sentence(str(caught.value))
    assert len(server.asked) == 3 and not any(server.asked) and not list(tmp_path.iterdir())


def test_no_more_is_taken_than_was_published(server: Server, tmp_path: Path):
    server.serve = lambda number, content: content * 9
    most = 0
    with pytest.raises(DownloadError):
        for _ in download(NAME, tmp_path):
            most = max(most, *(path.stat().st_size for path in tmp_path.rglob("*.pth")), 0)
    assert most <= len(server.content) + torchvision_models._SLACK + downloads._BLOCK


def test_offline_says_what_to_do_and_that_works(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    publish(NAME, server.content, monkeypatch, port=9)  # nobody listens there
    with pytest.raises(DownloadError) as caught:
        list(download(NAME, tmp_path))
    sentence, about = str(caught.value), PUBLISHED[NAME]
    assert_one_sentence(sentence)
    assert sentence.startswith(
        "ResNet-18 cannot be downloaded because 127.0.0.1:9 cannot be reached; check the network"
    )
    assert f"or put `{about.file}` (1 MB, from http://127.0.0.1:9/models/) into `{tmp_path}` by hand and" in sentence
    assert "everything else in this app needs no network" in sentence and not list(tmp_path.iterdir())

    place(tmp_path).write_bytes(b"half")
    with pytest.raises(DownloadError, match="by hand .`resnet18-.*` there is not the file that was published. and"):
        list(download(NAME, tmp_path))
    assert place(tmp_path).read_bytes() == b"half"
    place(tmp_path).write_bytes(server.content)
    assert [transfer.attempt for transfer in download(NAME, tmp_path)] == [1] and is_available(NAME, tmp_path)
    assert not server.asked


def test_a_wrong_file_is_replaced(server: Server, tmp_path: Path):
    place(tmp_path).write_bytes(server.content[:-1])
    list(download(NAME, tmp_path))
    assert place(tmp_path).read_bytes() == server.content and len(server.asked) == 1


def test_a_full_or_locked_disk_is_told_before_anything_is_sent(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    with pytest.raises(
        DownloadError, match="cannot be stored in `.*file/folder`; allow this program .* `TORCH_HOME`"
    ) as locked:
        list(download(NAME, tmp_path / "file" / "folder"))
    monkeypatch.setitem(PUBLISHED[NAME].weights.meta, "_file_size", 10**12)
    with pytest.raises(DownloadError, match="the disk is full: downloading ResNet-18 needs .* MB in `") as full:
        list(download(NAME, tmp_path))
    assert_one_sentence(str(locked.value))
    assert_one_sentence(str(full.value))
    assert not server.asked and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_download_that_is_given_up_leaves_nothing_and_harms_no_other(server: Server, tmp_path: Path):
    server.may_send = lambda sent: sent < downloads._BLOCK
    given_up, one, other = (download(NAME, tmp_path) for _ in range(3))
    while next(given_up).done_bytes == 0:
        pass
    given_up.close()
    assert not list(tmp_path.iterdir())
    server.may_send = lambda sent: len(server.asked) == 3  # thus both at once
    for _ in zip_longest(one, other):
        pass
    assert list(tmp_path.iterdir()) == [place(tmp_path)] and place(tmp_path).read_bytes() == server.content


@pytest.mark.parametrize("kind", ["checksum", "refused", "unreachable", "full", "unwritable"])
@pytest.mark.parametrize("wrong", [False, True])
def test_each_failure_has_its_sentence(kind: str, wrong: bool, tmp_path: Path):
    if wrong:
        (tmp_path / PUBLISHED["vgg19"].file).touch()
    error = downloads._error(PUBLISHED["vgg19"].request, tmp_path, kind)
    for sentence in (str(error), error.without_path()):
        assert_one_sentence(sentence)
    assert f"`{tmp_path}`" in str(error) and str(tmp_path) not in error.without_path()
