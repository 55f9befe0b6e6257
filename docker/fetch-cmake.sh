#!/bin/sh
# Fetches cmake, with which libjpeg-turbo is built, pinned by hash, out of PyPI's wheel into .tools/ where the system has none.
#
#   docker/fetch-cmake.sh
#
# Does nothing, and needs no network, once cmake is there.
set -eu

version=3.31.6
folder=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.tools
python=${PYTHON:-python3}

fail() {
    echo "fetch-cmake: $*" >&2
    exit 1
}

if command -v cmake >/dev/null || [ -x "$folder/cmake/data/bin/cmake" ]; then
    exit 0
fi
case $(uname -m) in
x86_64 | amd64) hash=1c8b05df0602365da91ee6a3336fe57525b137706c4ab5675498f662ae1dbcec ;;
aarch64 | arm64) hash=42d9883b8958da285d53d5f69d40d9650c2d1bcf922d82b3ebdceb2b3a7d4521 ;;
*) fail "no cmake $version is pinned for $(uname -m); install cmake, or build with FEATURES= (the image crate then decodes JPEG)" ;;
esac

echo "Fetching cmake $version from PyPI into $folder"
mkdir -p "$folder"
scratch=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
echo "cmake==$version --hash=sha256:$hash" >"$scratch/requirements.txt"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --target "$scratch/tree" --requirement "$scratch/requirements.txt" ||
    fail "pip could not install cmake; install it, or build with FEATURES= (the image crate then decodes JPEG)"
rm -rf "$folder/cmake"
mv "$scratch/tree/cmake" "$folder/cmake"
