"""Laws of `explorer.datasets.downloadable`: small files in torchvision's format, from a server on this machine.

No internet is used and nothing of torch is replaced but the addresses and checksums of the files.

One file: every case needs the server and the small copies of the data that are made here.
"""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, FashionMNIST

from explorer import downloads
from explorer.datasets.downloadable import DOWNLOADABLE, download, is_available, load
from explorer.downloads import DownloadError, DownloadFailure, DownloadProgress, PublishedFile

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
    server.files = {CIFAR10.filename: packed.getvalue(), **fashion}
    contents = {**batches, **server.files}

    def served(file: PublishedFile) -> PublishedFile:
        address = f"http://127.0.0.1:{server.port}/{file.url.split('/')[-1]}"
        return replace(file, url=address, digest=md5(contents[file.path.name]))

    for name, about in DOWNLOADABLE.items():
        files = tuple(map(served, about.files))
        tar = None if about.archive is None else served(about.archive)
        total = sum(len(contents[file.path.name]) for file in about.remote)
        monkeypatch.setitem(DOWNLOADABLE, name, replace(about, files=files, archive=tar, download_bytes=total))
    monkeypatch.setattr(downloads, "RETRY_PAUSES_S", ())
    monkeypatch.setattr(downloads, "PROGRESS_INTERVAL_S", 0.05)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def installed(name: str, folder: Path) -> list[Path]:
    return [folder / file.path for file in DOWNLOADABLE[name].files]


def private_folders(folder: Path) -> list[Path]:
    return list(folder.glob(f"{downloads._PREFIX}*"))


def downloading() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.endswith("(_attempt)")]


def test_the_real_addresses_and_checksums_are_torchvisions():
    cifar, fashion = DOWNLOADABLE["cifar10"], DOWNLOADABLE["fashion-mnist"]
    batches = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]
    assert [[str(file.path), file.digest] for file in cifar.files] == [
        [f"{CIFAR10.base_folder}/{name}", digest] for name, digest in batches
    ]
    assert cifar.archive is not None
    assert (cifar.archive.url, str(cifar.archive.path)) == (CIFAR10.url, CIFAR10.filename)
    assert cifar.archive.digest == CIFAR10.tgz_md5
    assert [(file.url, str(file.path), file.digest) for file in fashion.files] == [
        (f"{FashionMNIST.mirrors[0]}{name}", f"FashionMNIST/raw/{name}", digest)
        for name, digest in FashionMNIST.resources
    ]
    assert fashion.class_names == tuple(FashionMNIST.classes)
    assert {file.algorithm for file in (*cifar.remote, *cifar.files, *fashion.files)} == {"md5"}


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
    """What a download leaves, without a download."""
    for path in (file.path for file in DOWNLOADABLE[name].remote):
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
    monkeypatch.setattr(downloads, "RETRY_PAUSES_S", (0.1, 0.1))
    server.serve = lambda name, content: content[:-100] if len(server.asked) <= 1 else content
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
    file = DOWNLOADABLE[name].remote[0]
    server.serve = WRONG.get(kind, server.serve)
    if kind == "cut off":
        server.serve = lambda name, content: content[: len(content) // 2]
        kind = "checksum"
    if kind == "unreachable":
        file = replace(file, url=refused_address)
    if kind == "full":
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).symlink_to("/dev/full")
    with pytest.raises(DownloadFailure) as caught:
        downloads._fetch(file, tmp_path, threading.Event())
    assert caught.value.kind == kind, caught.value


@pytest.fixture
def refused_address() -> Iterator[str]:
    """Nobody listens there, nor can anybody else begin to during the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/cifar-10-python.tar.gz"


@pytest.mark.parametrize("name", NAMES)
def test_offline_says_what_to_do(name, server, tmp_path, monkeypatch, refused_address):
    about = DOWNLOADABLE[name]
    if about.archive is None:
        away = replace(about, files=tuple(replace(file, url=refused_address) for file in about.files))
    else:
        away = replace(about, archive=replace(about.archive, url=refused_address))
    monkeypatch.setitem(DOWNLOADABLE, name, away)
    first = about.remote[0].path
    place = tmp_path / first.parent
    place.mkdir(parents=True, exist_ok=True)
    (tmp_path / first).write_bytes(b"half")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DownloadError) as caught:
        list(download(name, tmp_path))
    sentence = str(caught.value)
    assert sentence.startswith(f"{DOWNLOADABLE[name].title} cannot be downloaded because 127.0.0.1")
    assert "cannot be reached" in sentence and "the shapes, which need no network" in sentence
    assert f"`{first.name}` there is not the file that was published" in sentence
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / first).read_bytes() == b"half"

    # What it says to do works, without any network.
    assert f"into `{place}` by hand" in sentence
    for file in about.remote:
        assert f"`{file.path.name}`" in sentence
        (tmp_path / file.path).write_bytes(server.files[file.path.name])
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
        ("full", "needs 360 MB in `data`; free some space"),
        ("unwritable", "allow this program to write there"),
    ],
)
def test_each_failure_has_its_sentence(kind, words):
    error = downloads._error(DOWNLOADABLE["cifar10"], Path("data"), kind)
    assert re.search(words, str(error))
    for sentence in (str(error), error.without_path()):
        assert_one_sentence(sentence)
    assert "`data`" in str(error) and "`data`" not in error.without_path()


def test_a_server_that_falls_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "READ_TIMEOUT_S", 0.3)
    server.seconds_per_block = 5
    with pytest.raises(DownloadError, match="cannot be reached"):
        list(download("cifar10", tmp_path))
    assert not list(tmp_path.iterdir())


def test_three_tries_with_growing_pauses():
    first, second = downloads.RETRY_PAUSES_S
    assert 0 < first < second


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


def test_closing_ends_the_download_and_leaves_nothing(server, tmp_path):
    server.seconds_per_block = 0.2
    transfers = download("cifar10", tmp_path)
    while next(transfers).done_bytes == 0:
        pass
    assert downloading() and private_folders(tmp_path)
    transfers.close()
    assert not downloading() and not list(tmp_path.iterdir())


def test_a_stopped_thread_asks_for_nothing_more_and_makes_no_folder_anew(server, tmp_path):
    stop = threading.Event()
    stop.set()
    downloads._fetch(DOWNLOADABLE["fashion-mnist"].files[0], tmp_path / "removed", stop)
    assert not server.asked and not (tmp_path / "removed").exists()


def test_a_killed_program_takes_its_download_with_it_and_a_later_one_tidies_up(server, tmp_path):
    server.seconds_per_block = 0.2
    script = (
        "import sys\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from explorer.datasets.downloadable import DOWNLOADABLE\nfrom explorer.downloads import download\n"
        "about = DOWNLOADABLE['cifar10']\n"
        "about = replace(about, archive=replace(about.archive, url=sys.argv[2]))\n"
        "for transfer in download(about, Path(sys.argv[1])):\n"
        "    print(transfer.done_bytes, flush=True)\n"
    )
    root, (archive,) = Path(downloads.__file__).parents[1], DOWNLOADABLE["cifar10"].remote
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), archive.url], cwd=root, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        while int(program.stdout.readline()) == 0:
            pass
        program.send_signal(signal.SIGKILL)
    (left,) = private_folders(tmp_path)
    server.seconds_per_block = 0
    list(download("fashion-mnist", tmp_path))
    assert private_folders(tmp_path) == [left], "it may be of a program that runs"
    for path in (*left.rglob("*"), left):
        os.utime(path, (0, time.time() - downloads._ABANDONED_AFTER_S - 1))
    list(download("cifar10", tmp_path))
    assert not private_folders(tmp_path)
    load("cifar10", tmp_path)


def test_several_at_once_do_not_harm_each_other(server, tmp_path):
    server.seconds_per_block = 1  # so that no thread has all before the three are counted
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
