#!/usr/bin/env bash
# Make the virtual environment $1, unless a working one is there already. Called by the Makefile.
set -euo pipefail
venv=$1

# torch 2.14.1 has packages for these versions of Python and no others.
oldest=3.11 newest=3.14

say() { echo "$*" >&2; }

fits() {
    "$1" -I -c "import sys; sys.exit(not (${oldest/./,}) <= sys.version_info[:2] <= (${newest/./,}))" 2>/dev/null
}

if fits "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

python=
for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if fits "$name"; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    say "No Python from $oldest to $newest on the PATH: install one (on Debian 12 or newer: apt install python3 python3-venv) and run make again."
    exit 1
fi

# Debian ships Python without ensurepip; it comes with the package pythonX.Y-venv.
if ! "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -I -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing $package, because $python cannot make virtual environments without it."
        apt-get update -qq || true
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" >&2 || true
    fi
    if ! "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
        say "$python cannot make virtual environments: install $package (on Debian: sudo apt install $package) and run make again."
        exit 1
    fi
fi

exec "$python" -m venv --clear "$venv"
