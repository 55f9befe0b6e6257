#!/bin/sh
# Installs cmake and nasm, the build tools of libjpeg-turbo. Without nasm it is built without its SIMD code.
set -eu

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

if command -v cmake >/dev/null && command -v nasm >/dev/null; then
    echo "cmake and nasm are already here"
elif command -v apt-get >/dev/null; then
    as_root apt-get update -qq
    as_root apt-get install -y --no-install-recommends cmake nasm
elif command -v dnf >/dev/null; then
    as_root dnf install -y cmake nasm
elif command -v apk >/dev/null; then
    as_root apk add cmake nasm
else
    echo "install-build-tools: install cmake and nasm with your system's packages (pip has cmake, not nasm)" >&2
    exit 1
fi
