#!/bin/sh
# Fetches a program that building needs, pinned by hash, out of PyPI's wheel into .tools/NAME.
#
#   docker/fetch-tool.sh cmake      # libjpeg-turbo is built with it; not fetched where the system has one
#   docker/fetch-tool.sh maturin    # the wheel is built with it
#
# Does nothing, and needs no network, once that version is there.
set -eu

name=${1:-}
folder=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.tools
python=${PYTHON:-python3}

fail() {
    echo "fetch-tool: $*" >&2
    exit 1
}

# What each is: the program in the wheel, how its version is printed, the wheels' hashes, and what to do without it.
case $name in
cmake)
    version=3.31.6 program=cmake/data/bin/cmake printed="cmake version"
    x86_64=1c8b05df0602365da91ee6a3336fe57525b137706c4ab5675498f662ae1dbcec
    aarch64=42d9883b8958da285d53d5f69d40d9650c2d1bcf922d82b3ebdceb2b3a7d4521
    otherwise="install cmake, or build with FEATURES= (the image crate then decodes JPEG)"
    ! command -v cmake >/dev/null || exit 0
    ;;
maturin)
    version=1.16.0 program=bin/maturin printed=maturin
    x86_64=837db2f4d93d4899c3ac393fb3cc9eebf35b6002336e5d574f4a4fb6c49fe283
    aarch64=e285ec9eb10243d45d10417178cb2eb76e0cbb184d0aa4378b503489fa12ee78
    otherwise="\`pip install .\` builds with the one that PyPI has"
    ;;
*) fail "there is no tool '$name': give cmake or maturin" ;;
esac

if [ "$("$folder/$name/$program" --version 2>/dev/null | head -n 1)" = "$printed $version" ]; then
    exit 0
fi
case $(uname -m) in
x86_64 | amd64) hash=$x86_64 ;;
aarch64 | arm64) hash=$aarch64 ;;
*) fail "no $name $version is pinned for $(uname -m); $otherwise" ;;
esac

echo "Fetching $name $version from PyPI into $folder"
mkdir -p "$folder"
scratch=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
echo "$name==$version --hash=sha256:$hash" >"$scratch/requirements.txt"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --target "$scratch/tree" --requirement "$scratch/requirements.txt" ||
    fail "pip could not install $name; $otherwise"
rm -rf "${folder:?}/$name"
mv "$scratch/tree" "$folder/$name"
