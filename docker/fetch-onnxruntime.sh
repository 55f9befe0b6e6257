#!/bin/sh
# Fetches ONNX Runtime's shared library, pinned by hash, out of PyPI's wheel into .onnxruntime/ (or the folder given).
#
#   docker/fetch-onnxruntime.sh [FOLDER]
#
# Does nothing, and needs no network, once the right library is there. ONNXRUNTIME_ARCH=x86_64|aarch64 fetches for
# another machine, PYTHON=… picks the interpreter whose pip is used.
set -eu

version=1.31.1
folder=${1:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.onnxruntime}
arch=${ONNXRUNTIME_ARCH:-$(uname -m)}
python=${PYTHON:-python3}
library=libonnxruntime.so.$version

fail() {
    echo "fetch-onnxruntime: $*" >&2
    exit 1
}

case $arch in
x86_64 | amd64)
    platform=manylinux_2_28_x86_64
    wheel_sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
    library_sha256=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3
    ;;
aarch64 | arm64)
    platform=manylinux_2_28_aarch64
    wheel_sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
    library_sha256=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467
    ;;
*) fail "no ONNX Runtime $version is pinned for $(uname -s) on $arch; install it yourself and set ORT_DYLIB_PATH" ;;
esac
[ "$(uname -s)" = Linux ] || fail "the pinned library is for Linux; install ONNX Runtime yourself and set ORT_DYLIB_PATH"

is_pinned() {
    echo "$library_sha256  $1" | sha256sum -c - >/dev/null 2>&1
}

if is_pinned "$folder/$library"; then
    echo "ONNX Runtime $version ($arch) is already in $folder"
    exit 0
fi

"$python" -m pip --version >/dev/null 2>&1 ||
    fail "$python has no pip, which downloads the wheel; install it (Debian: apt-get install python3-pip)"

mkdir -p "$folder"
scratch=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

echo "Fetching ONNX Runtime $version ($arch) from PyPI into $folder"
echo "onnxruntime==$version --hash=sha256:$wheel_sha256" >"$scratch/requirements.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --platform "$platform" \
    --dest "$scratch" --requirement "$scratch/requirements.txt" ||
    fail "pip could not download the wheel (no network, or its hash is not the pinned one); run this again"

"$python" - "$scratch" "$library" <<'PYTHON'
import pathlib, shutil, sys, zipfile

scratch, library = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = scratch.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for member, name in [
        (f"onnxruntime/capi/{library}", library),
        ("onnxruntime/LICENSE", "LICENSE"),
        ("onnxruntime/ThirdPartyNotices.txt", "ThirdPartyNotices.txt"),
    ]:
        with archive.open(member) as source, open(scratch / name, "wb") as target:
            shutil.copyfileobj(source, target)
PYTHON

is_pinned "$scratch/$library" || fail "$library in the wheel is not the pinned one"
chmod 644 "$scratch/$library"
mv -f "$scratch/LICENSE" "$scratch/ThirdPartyNotices.txt" "$folder/"
# Last, and by rename: another build never sees half a library.
mv -f "$scratch/$library" "$folder/$library"
echo "ONNX Runtime $version is in $folder/$library"
