#!/bin/sh
# Fetches maturin, with which the wheel is built, pinned by hash, from PyPI into .tools/.
#
#   docker/fetch-maturin.sh
#
# Does nothing, and needs no network, once that version is there.
set -eu

version=1.16.0
folder=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.tools
python=${PYTHON:-python3}

fail() {
    echo "fetch-maturin: $*" >&2
    exit 1
}

if [ "$("$folder/maturin/bin/maturin" --version 2>/dev/null)" = "maturin $version" ]; then
    exit 0
fi
case $(uname -m) in
x86_64 | amd64) hash=837db2f4d93d4899c3ac393fb3cc9eebf35b6002336e5d574f4a4fb6c49fe283 ;;
aarch64 | arm64) hash=e285ec9eb10243d45d10417178cb2eb76e0cbb184d0aa4378b503489fa12ee78 ;;
*) fail "no maturin $version is pinned for $(uname -m); \`pip install .\` builds with the one that PyPI has" ;;
esac

echo "Fetching maturin $version from PyPI into $folder"
mkdir -p "$folder"
scratch=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
echo "maturin==$version --hash=sha256:$hash" >"$scratch/requirements.txt"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --target "$scratch/tree" --requirement "$scratch/requirements.txt" ||
    fail "pip could not install maturin"
rm -rf "$folder/maturin"
mv "$scratch/tree" "$folder/maturin"
