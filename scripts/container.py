"""Builds the container and uses the app in it as a visitor does: `python -m scripts.container`, or `make container`.

It needs Docker or Podman. `--debian-base` makes the image that the Dockerfile begins with from Debian's packages, with
mmdebstrap, for a machine that reaches no registry of images. What it prints is the measurement in docs/deploy.md.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.isolation import RUN
from benchmarks.rows import machine
from driving.protocol_client import Session
from driving.proxies import free_ports
from driving.server_process import ROOT, is_healthy, wait_for

IMAGE = "cnn-resnet-explorer"
PACKAGES = "python3,python3-venv,ca-certificates"  # what python:…-slim has, of Debian
START_S, TRAINING_S = 180.0, 300.0
CUDA = "nvidia triton cuda torch/lib/libtorch_cuda*"  # in site-packages, which PyTorch's own index has without
SHUT_IN = "--init --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges".split()
"""Options of `run` with which docs/deploy.md starts the container."""
NETWORKS = "ls /data/runs/*/*.safetensors"  # asked inside: outside, the folders of runs are another account's
NO_ENGINE = (
    "This needs an engine for containers that answers: start Docker, or install Podman (on Debian `sudo apt install "
    "podman runc catatonit`) and name it with --engine."
)


class Instruction(NamedTuple):
    """A line of a Dockerfile: "COPY" and "app.py ./"."""

    keyword: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """Those of a Dockerfile, without its comments. A continued line is one instruction."""
    lines = "\n".join(line for line in text.splitlines() if not re.match(r"\s*#", line))
    joined = re.sub(r"\\\n", "", lines).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in joined if line.strip()]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.container", description=__doc__.split("\n\n")[0])
    parser.add_argument("--engine", help='the program with its options, such as "podman --runtime runc"')
    parser.add_argument("--debian-base", action="store_true", help="make the first image from Debian's packages")
    parser.add_argument("--built", action="store_true", help="use the image that was built before")
    parser.add_argument("--build-options", default="", help="further options of the engine's `build`")
    parser.add_argument("--run-options", default="", help="further options of the engine's `run`")
    parser.add_argument("--host-network", action="store_true", help="where the engine cannot forward a port")
    asked = parser.parse_args(arguments)
    engine = shlex.split(asked.engine or _find_engine())
    if not engine:
        print(NO_ENGINE, file=sys.stderr)
        return 1
    if not asked.built:
        _build(engine, asked.debian_base, shlex.split(asked.build_options))
    _use(engine, asked.host_network, shlex.split(asked.run_options))
    size = int(_said(engine, "image", "inspect", "--format", "{{.Size}}", IMAGE))
    count = f"cd /opt/explorer/lib/python3*/site-packages && du -scm {CUDA} 2>/dev/null | tail -1 | cut -f1"
    cuda = int(_said(engine, "run", "--rm", *shlex.split(asked.run_options), IMAGE, "sh", "-c", count) or 0)
    print(f"Image: {size / 1e9:.2f} GB, of which CUDA {cuda * 2**20 / 1e9:.2f} GB. {machine()}")
    return 0


def _find_engine() -> str:
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            return name
    return ""


def _build(engine: Sequence[str], debian_base: bool, options: Sequence[str]) -> None:
    if debian_base:
        _make_base(engine)
    as_docker = ["--format", "docker"] if "podman" in engine[0] else []  # else it leaves the health check out
    subprocess.run([*engine, "build", *as_docker, *options, "-t", IMAGE, "."], cwd=ROOT, check=True)


def _make_base(engine: Sequence[str]) -> None:
    """The image that the Dockerfile begins with, under its own name, from Debian's packages."""
    steps = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    version = dict(step.value.split("=", 1) for step in steps if step.keyword == "ARG")["PYTHON"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root.tar")
        debian = version.rsplit("-", 1)[1]
        subprocess.run(["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", debian, str(root)], check=True)
        recipe = "FROM scratch\nADD root.tar /\nRUN ln -s /usr/bin/python3 /usr/local/bin/python\n"
        Path(folder, "Dockerfile").write_text(recipe, encoding="utf-8", newline="\n")
        subprocess.run([*engine, "build", "-t", f"docker.io/library/python:{version}", folder], check=True)


def _use(engine: Sequence[str], host_network: bool, options: Sequence[str]) -> None:
    """Starts the container as compose.yaml does, explains an image, trains a network, and prints how that went."""
    (port,) = free_ports(1)
    network = ["-p", f"127.0.0.1:{port}:8501"]
    if host_network:
        network = ["--network=host", "-e", f"STREAMLIT_SERVER_PORT={port}", "-e", "STREAMLIT_SERVER_ADDRESS=127.0.0.1"]
    begun = time.perf_counter()
    name = _said(engine, "run", "-d", *SHUT_IN, *network, *options, "-v", "/data", IMAGE)
    try:
        url = f"http://127.0.0.1:{port}"
        if not wait_for(lambda: is_healthy(url), START_S):
            raise RuntimeError(f"The container did not start. {_said(engine, 'logs', name)}")
        started = time.perf_counter() - begun
        print("User in the container:", _said(engine, "exec", name, "id", "-u"))
        refused = subprocess.run([*engine, "exec", name, "touch", "/app/x"], capture_output=True).returncode
        print("Its own files can be written:", "no" if refused else "YES")
        session = Session(url)
        session.rerun(first="shapes-plain-20", second="shapes-resnet-20")
        session.explain()
        session.rerun("build", **RUN)
        session.press("start")

        def is_over() -> bool:
            running = _said(engine, "container", "inspect", "--format", "{{.State.Running}}", name) == "true"
            return not running or has_network(engine, name)

        if not wait_for(is_over, TRAINING_S, every=1) or not has_network(engine, name):
            raise RuntimeError("The training in the container did not end with a network. Has it enough memory?")
        session.close()
        memory = _said(engine, "exec", name, "sh", "-c", "grep -h VmHWM /proc/[0-9]*/status | sort -k2n | tail -1")
        print(f"Answers after {started:.0f} s; explained an image, trained a network; {memory} at the largest process")
    finally:
        subprocess.run([*engine, "rm", "-fv", name], capture_output=True)  # with the volume of its data


def has_network(engine: Sequence[str], name: str) -> bool:
    """Whether a run has ended with a network in the container of that name; False where the container has ended."""
    return subprocess.run([*engine, "exec", name, "sh", "-c", NETWORKS], capture_output=True).returncode == 0


def _said(engine: Sequence[str], *arguments: str) -> str:
    done = subprocess.run([*engine, *arguments], capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{' '.join([*engine, *arguments])[:300]}: {done.stderr[-2000:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
