#!/bin/sh
# Makes .venv from a lock file: tools/venv.sh PYTHON LOCKFILE
# Debian and Ubuntu ship Python without its venv module; it is installed where that is allowed.
set -eu
python=$1
lock=$2

if [ -z "$python" ]; then
    echo "Signoff needs Python 3.11 or newer. Install it, or name it: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    install="apt-get install -y --no-install-recommends $package"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && $install
    else
        echo "This Python has no venv module. Install it, then run make again: sudo $install" >&2
        exit 1
    fi
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
# The package itself, built by the locked build backend.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
