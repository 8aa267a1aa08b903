"""nginx and Caddy in front of the app, by the files of `deploy/`. As a script: installs the two, or says how."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from driving.server_process import ROOT, end, wait_for

PROGRAMS = {"nginx": "nginx", "caddy": "caddy", "openssl": "openssl"}  # each with its package of Debian
MISSING = "The tests of deploy/ need {}: install {} (on Debian `sudo apt install {}`) and start again."  # never skipped
NGINX, CADDY = ROOT / "deploy" / "nginx.conf", ROOT / "deploy" / "Caddyfile"
LOGIN = ("student", "look")
LOGIN_HASH = "$2y$04$abcdefghijklmnopqrstuuGrx/tTPJ.4b3OesYY.uiK4aodfIuBOe"  # of that password, in few rounds
START_S = 20.0
LOGIN_SECRET = "5e" * 32  # in the cookie of a browser that is logged in
PATH = "/explorer"  # below which both files have the app too

# What stands around a file of nginx's http context. One process, so that it is of the user who starts it.
_NGINX_AROUND = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/errors.txt;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/explorer.conf;
}}
"""


class Proxy(NamedTuple):
    """Where it answers, and the certificate of the authority that it has its own from."""

    url: str
    authority: Path


def missing() -> str:
    """A sentence about the programs that are not here; "" where all are."""
    absent = [name for name in PROGRAMS if not _program(name)]
    packages = " ".join(PROGRAMS[name] for name in absent)
    return MISSING.format(" and ".join(absent), "them" if absent[1:] else "it", packages) if absent else ""


def install() -> None:
    """Installs Debian's packages of what is missing when root, and does nothing elsewhere."""
    absent = [package for name, package in PROGRAMS.items() if not _program(name)]
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {' and '.join(absent)}.", flush=True)
        patient = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
        subprocess.run([*patient, "update"])
        subprocess.run(
            [*patient, "install", "-y", "--no-install-recommends", *absent],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )


@contextmanager
def nginx(
    folder: Path, apps: Sequence[str], changes: Mapping[str, str] | None = None, secret: str = LOGIN_SECRET
) -> Iterator[Proxy]:
    """nginx with `deploy/nginx.conf` in front of these addresses ("127.0.0.1:8501"). `changes` replaces further texts
    of the file. Its own files lie in the folder. Raises RuntimeError where it does not start or is not here."""
    _check_programs()
    http, https = free_ports(2)
    certificate, key, users, kept = (folder / name for name in ("nginx.crt", "nginx.key", "users.txt", "secret.txt"))
    _make_certificate(certificate, key)
    users.write_text(f"{LOGIN[0]}:{LOGIN_HASH}\n", encoding="utf-8", newline="\n")
    kept.write_text(f"default '{secret}';\n", encoding="utf-8", newline="\n")
    replaced = {
        "    server 127.0.0.1:8501 max_fails=0;\n": "".join(f"    server {app} max_fails=0;\n" for app in apps),
        "listen 80;": f"listen 127.0.0.1:{http};",
        "listen 443 ssl;": f"listen 127.0.0.1:{https} ssl;",
        "ssl_certificate /etc/nginx/explorer.crt;": f"ssl_certificate {certificate};",
        "ssl_certificate_key /etc/nginx/explorer.key;": f"ssl_certificate_key {key};",
        "/etc/nginx/explorer.htpasswd": str(users),
        "include /etc/nginx/explorer.secret;": f"include {kept};",
        **(changes or {}),
    }
    text = NGINX.read_text(encoding="utf-8")
    for old, new in replaced.items():
        if text.count(old) != 1:
            raise RuntimeError(f"deploy/nginx.conf has {old!r} {text.count(old)} times, and should have it once.")
        text = text.replace(old, new)
    (folder / "explorer.conf").write_text(text, encoding="utf-8", newline="\n")
    (folder / "nginx.conf").write_text(_NGINX_AROUND.format(folder=folder), encoding="utf-8", newline="\n")
    command = [_program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors.txt")]
    with _running(command, https, folder / "nginx.txt", {}):
        yield Proxy(f"https://127.0.0.1:{https}", certificate)


@contextmanager
def caddy(folder: Path, apps: Sequence[str], secret: str = LOGIN_SECRET) -> Iterator[Proxy]:
    """Caddy with `deploy/Caddyfile` in front of these addresses, as `nginx`."""
    _check_programs()
    http, https = free_ports(2)
    environment = {
        "EXPLORER_HOST": "127.0.0.1",
        "EXPLORER_USER": LOGIN[0],
        "EXPLORER_PASSWORD_HASH": LOGIN_HASH,
        "EXPLORER_LOGIN_SECRET": secret,
        "EXPLORER_APPS": " ".join(apps),
        "EXPLORER_HTTP_PORT": str(http),
        "EXPLORER_HTTPS_PORT": str(https),
        **{name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")},
    }
    command = [_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(CADDY)]
    with _running(command, https, folder / "caddy.txt", environment):
        yield Proxy(f"https://127.0.0.1:{https}", folder / "caddy" / "pki" / "authorities" / "local" / "root.crt")


@contextmanager
def _running(command: list[str], port: int, log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    # A proxy of the caller's environment would stand between this one and the app.
    inherited = {name: value for name, value in os.environ.items() if not re.search("_proxy$", name, re.IGNORECASE)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**inherited, **environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        if not wait_for(lambda: process.poll() is not None or _listens(port), START_S) or process.poll() is not None:
            raise RuntimeError(f"{command[0]} did not start. {log.read_text(encoding='utf-8', errors='replace')}")
        yield
    finally:
        end(process)


def _check_programs() -> None:
    if said := missing():
        raise RuntimeError(said)


def _program(name: str) -> str:
    """Its path, "" where it is not here. Debian's nginx lies where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or ""


def _listens(port: int) -> bool:
    """Whether it has its certificate too, which Caddy makes while it listens already."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as made, trusting.wrap_socket(made):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def _make_certificate(certificate: Path, key: Path) -> None:
    """A certificate of its own for 127.0.0.1, for two days."""
    subprocess.run(
        f"{_program('openssl')} req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
        f"-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -out {certificate} -keyout {key}".split(),
        check=True,
        capture_output=True,
    )


def main() -> int:
    if missing():
        install()
    if said := missing():
        print(said, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
