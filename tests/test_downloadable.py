"""Laws of `explorer.datasets.downloadable`: small files in torchvision's format, from a server on this machine.

No internet is used and nothing of torch is replaced but the addresses and checksums of the files.

One file: every case needs the server and the small copies of the data that are made here.
"""

import gc
import gzip
import hashlib
import io
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, FashionMNIST

from explorer import downloads
from explorer.datasets import downloadable, transfer
from explorer.datasets.downloadable import DOWNLOADABLE, DownloadError, DownloadProgress, download, is_available, load

NAMES = tuple(DOWNLOADABLE)
PER_BATCH, TEST_COUNT = 40, 20
CLASSES = [f"class {i}" for i in range(10)]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(count: int) -> list[int]:
    return [i % 10 for i in range(count)]


def cifar_batch(seed: int, count: int) -> bytes:
    return pickle.dumps({"data": pixels(seed, count, 3072), "labels": labels(count)})


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@dataclass
class Server:
    """What a server hands out, and how it behaves: `serve` is asked for the bytes it sends of a file."""

    files: dict[str, bytes] = field(default_factory=dict)
    serve: Callable[[str, bytes], bytes | None] = lambda name, content: content
    seconds_per_block: float = 0
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[-1]
                server.asked.append(name)
                content = server.serve(name, server.files[name])
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.files[name])))
                self.end_headers()
                try:
                    for start in range(0, len(content), 4096):
                        self.wfile.write(content[start : start + 4096])
                        self.wfile.flush()
                        time.sleep(server.seconds_per_block)
                except OSError:  # whoever asked has gone
                    pass

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of both datasets, to which torchvision's classes point; quick retries and quick news."""
    served = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), served.handler()) as listening:
        listening.daemon_threads = True
        served.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        publish(served, monkeypatch)
        yield served
        listening.shutdown()
        thread.join()


def publish(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = {f"data_batch_{i}": cifar_batch(i, PER_BATCH) for i in range(1, 6)}
    batches |= {"test_batch": cifar_batch(6, TEST_COUNT), "batches.meta": pickle.dumps({"label_names": CLASSES})}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in batches.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    sums = [[name, md5(content)] for name, content in batches.items()]
    address = f"http://127.0.0.1:{server.port}/"
    monkeypatch.setattr(CIFAR10, "url", f"{address}{CIFAR10.filename}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(packed.getvalue()))
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums[6][1]})

    fashion = {
        "train-images-idx3-ubyte.gz": idx(pixels(7, 200, 28, 28)),
        "train-labels-idx1-ubyte.gz": idx(np.array(labels(200), np.uint8)),
        "t10k-images-idx3-ubyte.gz": idx(pixels(8, 30, 28, 28)),
        "t10k-labels-idx1-ubyte.gz": idx(np.array(labels(30), np.uint8)),
    }
    assert [name for name, _ in FashionMNIST.resources] == list(fashion)
    monkeypatch.setattr(FashionMNIST, "mirrors", [address])
    monkeypatch.setattr(FashionMNIST, "resources", [(name, md5(content)) for name, content in fashion.items()])

    server.files = {CIFAR10.filename: packed.getvalue(), **fashion}
    totals = {"cifar10": len(packed.getvalue()), "fashion-mnist": sum(map(len, fashion.values()))}
    for name, total in totals.items():
        monkeypatch.setitem(DOWNLOADABLE, name, replace(DOWNLOADABLE[name], download_bytes=total))
    monkeypatch.setattr(downloads, "PAUSES", ())
    monkeypatch.setattr(downloads, "SECONDS_BETWEEN_TRANSFERS", 0.05)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def installed(name: str, folder: Path) -> list[Path]:
    return [folder / path for path, _ in downloadable._source(name).files]


def private_folders(folder: Path) -> list[Path]:
    return list(folder.glob(f"{downloads._PREFIX}*"))


MARK = f"EXPLORER_TESTED_BY={os.getpid()}"
"""In the environment of every process that these tests start."""


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*MARK.split("="))


def downloading_processes() -> list[int]:
    """Of the whole machine, so that one that lost its parent is found too, but started by these tests."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = MARK.encode() in (folder / "environ").read_bytes().split(b"\0")
            if ours and b"explorer.datasets.transfer" in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_real_addresses_and_checksums_are_torchvisions():
    for name in NAMES:
        source = downloadable._source(name)
        assert source.server in {"www.cs.toronto.edu", "fashion-mnist.s3-website.eu-central-1.amazonaws.com"}
        assert all(len(checksum) == 32 for _, checksum in source.archives + source.files)
    assert len(downloadable._source("cifar10").files) == 7  # five to train, one to test, and the names


@pytest.mark.parametrize("name", NAMES)
def test_what_is_downloaded_can_be_loaded(name, server, tmp_path):
    folder = tmp_path / "new" / "data"
    assert not is_available(name, folder)
    transfers = list(download(name, folder))
    total = DOWNLOADABLE[name].download_bytes
    assert transfers[-1] == DownloadProgress(total, total, 1)
    assert all(0 <= t.done_bytes <= total == t.total_bytes and t.attempt == 1 for t in transfers)
    assert is_available(name, folder) and not private_folders(folder)
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(installed(name, folder))

    requests = len(server.asked)
    assert list(download(name, folder)) == [DownloadProgress(total, total, 1)] and len(server.asked) == requests

    dataset = load(name, folder)
    assert dataset.name == DOWNLOADABLE[name].title and dataset.input_shape == (3, 32, 32)
    assert (len(dataset.train), len(dataset.validation)) == (180, 20)
    assert np.bincount(dataset.validation.labels).tolist() == [2] * 10
    if name == "cifar10":
        assert dataset.class_names == tuple(CLASSES)
        everything = np.concatenate([pixels(i, PER_BATCH, 3, 32, 32) for i in range(1, 6)])
        np.testing.assert_array_equal(dataset.test.images, pixels(6, TEST_COUNT, 3, 32, 32))
    else:
        assert dataset.class_names == tuple(FashionMNIST.classes)
        everything = np.zeros((200, 3, 32, 32), np.uint8)
        everything[:, :, 2:30, 2:30] = pixels(7, 200, 28, 28)[:, None]
        assert dataset.test.images[:, :, 2:30, 2:30].sum() == dataset.test.images.sum() > 0
        assert any("black border" in note for note in dataset.notes)
    whole = load(name, folder, validation=0)
    np.testing.assert_array_equal(whole.train.images, everything)
    assert whole.train.labels.tolist() == labels(200) and len(whole.validation) == 0
    parts = np.concatenate([dataset.train.images, dataset.validation.images])
    assert sorted(image.tobytes() for image in parts) == sorted(image.tobytes() for image in everything)
    np.testing.assert_array_equal(load(name, folder).validation.images, dataset.validation.images)
    assert not np.array_equal(load(name, folder, seed=1).validation.images, dataset.validation.images)


def install(name: str, server: Server, folder: Path) -> None:
    """What a download leaves, without its seconds for a process of its own."""
    for path, _ in downloadable._source(name).archives:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(server.files[path.name])
        if name == "cifar10":
            with tarfile.open(folder / path) as archive:
                archive.extractall(folder, filter="data")
            (folder / path).unlink()


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_byte_is_named_and_repaired(name, server, tmp_path):
    install(name, server, tmp_path)
    for damaged in installed(name, tmp_path):
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match=f"^`{damaged.name}` of {DOWNLOADABLE[name].title} is damaged"):
            load(name, tmp_path)
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
    load(name, tmp_path)
    damaged.write_bytes(content[:-1])
    server.asked.clear()
    list(download(name, tmp_path))
    load(name, tmp_path)
    if name == "fashion-mnist":
        assert set(server.asked) == {damaged.name}  # the others were intact
    damaged.unlink()
    assert not is_available(name, tmp_path)
    with pytest.raises(ValueError, match="is not in `.*`; download it first"):
        load(name, tmp_path)


def test_a_server_that_dies_midway_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSES", (0.1, 0.1))
    server.serve = lambda name, content: content[:-100] if len(server.asked) <= 2 else content
    transfers = list(download("cifar10", tmp_path))
    assert {transfer.attempt for transfer in transfers[:-1]} == {1, 2}
    load("cifar10", tmp_path)


WRONG: dict[str, Callable[[str, bytes], bytes | None]] = {
    "checksum": lambda name, content: content[:-1] + bytes([content[-1] ^ 1]),
    "refused": lambda name, content: None,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["checksum", "cut off", "refused", "unreachable", "full"])
def test_every_failure_is_told_apart(name, kind, server, tmp_path, refused_address):
    source = downloadable._source(name)
    server.serve = WRONG.get(kind, server.serve)
    if kind == "cut off":
        server.serve = lambda name, content: content[: len(content) // 2]
        kind = "checksum"
    attributes = source.attributes
    if kind == "unreachable":
        attributes = {**attributes, "url": refused_address, "mirrors": [refused_address]}
        attributes = {key: value for key, value in attributes.items() if key in source.attributes}
    if kind == "full":
        archive = tmp_path / source.archives[0][0]
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.symlink_to("/dev/full")
    with warnings.catch_warnings():  # urllib leaves sockets of failed requests to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        failure = transfer.fetch(source.dataset, attributes, str(tmp_path))
        gc.collect()
    assert failure is not None and failure.kind == kind, failure


@pytest.fixture
def refused_address() -> Iterator[str]:
    """Nobody listens there, nor can anybody else begin to during the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/cifar-10-python.tar.gz"


@pytest.mark.parametrize("name", NAMES)
def test_offline_says_what_to_do(name, server, tmp_path, monkeypatch, refused_address):
    monkeypatch.setattr(CIFAR10, "url", refused_address)
    monkeypatch.setattr(FashionMNIST, "mirrors", [refused_address])
    source = downloadable._source(name)
    place = tmp_path / source.archives[0][0].parent
    place.mkdir(parents=True, exist_ok=True)
    (place / source.archives[0][0].name).write_bytes(b"half")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DownloadError) as caught:
        list(download(name, tmp_path))
    sentence = str(caught.value)
    assert sentence.startswith(f"{DOWNLOADABLE[name].title} cannot be downloaded because 127.0.0.1")
    assert "cannot be reached" in sentence and "the shapes, which need no network" in sentence
    assert f"`{source.archives[0][0].name}` there is not the file that was published" in sentence
    assert sorted(tmp_path.rglob("*")) == before and (place / source.archives[0][0].name).read_bytes() == b"half"

    # What it says to do works, without any network.
    assert f"into `{place}` by hand" in sentence
    for path, _ in source.archives:
        assert f"`{path.name}`" in sentence
        (place / path.name).write_bytes(server.files[path.name])
    list(download(name, tmp_path))
    load(name, tmp_path)
    assert not server.asked


def assert_one_sentence(text: str) -> None:
    assert text.endswith(".") and ". " not in text and "\n" not in text
    assert not any(word in text for word in ("Error", "Errno", "urlopen", "Traceback"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("checksum", "what .* sent was cut off or changed on the way"),
        ("refused", "does not hand it out"),
        ("unreachable", "cannot be reached"),
        ("stopped", "the process that downloads was ended"),
        ("full", "needs 360 MB in `data`; free some space"),
        ("unwritable", "allow this program to write there"),
    ],
)
def test_each_failure_has_its_sentence(kind, words):
    failure = downloads.DownloadFailure(kind, "Traceback: Errno")
    told = downloadable._told(DOWNLOADABLE["cifar10"], downloadable._source("cifar10"), Path("data"), failure, [])
    error = DownloadError(*told)
    assert re.search(words, str(error))
    for sentence in (str(error), error.without_path()):
        assert_one_sentence(sentence)
    assert "`data`" in str(error) and "`data`" not in error.without_path()


def test_a_server_that_falls_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.3)
    server.seconds_per_block = 5
    with pytest.raises(DownloadError, match="cannot be reached"):
        list(download("cifar10", tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_counts_as_a_failed_try(server, tmp_path):
    before = set(downloading_processes())
    server.seconds_per_block = 0.2
    transfers = download("cifar10", tmp_path)
    while next(transfers).done_bytes == 0:
        pass
    (pid,) = set(downloading_processes()) - before
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(DownloadError, match="the process that downloads was ended"):
        list(transfers)
    assert not list(tmp_path.iterdir())


def test_three_tries_with_growing_pauses():
    assert len(downloads.PAUSES) == 2 and 0 < downloads.PAUSES[0] < downloads.PAUSES[1]


def test_a_disk_that_is_too_small_or_locked_is_told_before_anything_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.setitem(DOWNLOADABLE, "cifar10", replace(DOWNLOADABLE["cifar10"], disk_bytes=10**18))
    with pytest.raises(DownloadError, match="the disk is full: downloading CIFAR-10 needs 1000000000000 MB in") as full:
        list(download("cifar10", tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot be stored in") as unwritable:
        list(download("fashion-mnist", tmp_path / "file" / "folder"))
    assert_one_sentence(str(full.value))
    assert_one_sentence(str(unwritable.value))
    assert not server.asked and not private_folders(tmp_path)


def test_closing_ends_the_process_and_leaves_nothing(server, tmp_path):
    before = set(downloading_processes())
    server.seconds_per_block = 0.2
    transfers = download("cifar10", tmp_path)
    while next(transfers).done_bytes == 0:
        pass
    assert set(downloading_processes()) - before and private_folders(tmp_path)
    transfers.close()
    assert not set(downloading_processes()) - before
    assert not list(tmp_path.iterdir())


def test_a_killed_program_takes_its_download_with_it_and_the_next_one_tidies_up(server, tmp_path):
    before = set(downloading_processes())
    server.seconds_per_block = 0.2
    script = (
        "import sys\nfrom torchvision.datasets import CIFAR10\nfrom explorer.datasets.downloadable import download\n"
        "CIFAR10.url, CIFAR10.tgz_md5 = sys.argv[2:]\n"
        "for transfer in download('cifar10', sys.argv[1]):\n"
        "    print(transfer.done_bytes, flush=True)\n"
    )
    arguments = [str(tmp_path), CIFAR10.url, CIFAR10.tgz_md5]
    root = Path(downloadable.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=root, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        while int(program.stdout.readline()) == 0:
            pass
        assert len(set(downloading_processes()) - before) == 1
        program.send_signal(signal.SIGKILL)
    wait_until(lambda: not set(downloading_processes()) - before)
    assert len(private_folders(tmp_path)) == 1
    server.seconds_per_block = 0
    list(download("cifar10", tmp_path))
    assert not private_folders(tmp_path)
    load("cifar10", tmp_path)


def test_several_at_once_do_not_harm_each_other(server, tmp_path):
    server.seconds_per_block = 1  # so that no child has all before the three are counted
    one, other, given_up = (download("cifar10", tmp_path) for _ in range(3))
    next(given_up), next(one)
    most = 0
    for _ in zip_longest(one, other):
        most = max(most, len(private_folders(tmp_path)))
        given_up.close()
        server.seconds_per_block = 0.02
    assert most == 3 and not private_folders(tmp_path)
    load("cifar10", tmp_path)


def test_only_names_of_the_list_are_known(tmp_path):
    for call in (load, is_available, lambda *arguments: list(download(*arguments))):
        with pytest.raises(ValueError, match="must be one of cifar10, fashion-mnist, received 'mnist'"):
            call("mnist", tmp_path)
