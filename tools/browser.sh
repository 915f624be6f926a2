#!/bin/sh
# Installs Debian's chromium for the browser tests where that is allowed; says how otherwise.
set -eu
if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then
    exit 0
fi
install="apt-get install -y --no-install-recommends chromium fonts-dejavu-core"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update -q && $install) >/dev/null || echo "chromium could not be installed; browser tests will be skipped" >&2
else
    echo "No chromium here: the browser tests will be skipped. To run them: sudo $install" >&2
fi
