#!/bin/sh
# Builds target/debian/repserve_VERSION_ARCH.deb with cargo-deb (fetched into .tools/), unpacks it and classifies an image with what it holds.
#
#   docker/make-deb.sh
#
# DEB_FLAGS are further flags of cargo-deb, such as --fast (compresses less). DEB_PROFILE=dev packs cargo's dev build, to try this out in less time.
set -eu
cd "$(dirname "$0")/.."

version=3.8.0
profile=${DEB_PROFILE:-release}
features=jpeg-turbo-simd,otlp
target=${CARGO_TARGET_DIR:-target}
built=$target/$([ "$profile" = dev ] && echo debug || echo "$profile")
# cargo-deb finds what it packs beside the binary.
staged=$built/deb
packages=$target/debian

fail() {
    echo "make-deb: $*" >&2
    exit 1
}

command -v nasm >/dev/null ||
    fail "the package's binary decodes JPEG with SIMD, for which nasm is missing: \`make deps\` installs it"
command -v dpkg-shlibdeps >/dev/null || fail "dpkg-shlibdeps is missing; install it (Debian: apt-get install dpkg-dev)"
if [ "$(.tools/cargo-deb/bin/cargo-deb --version 2>/dev/null)" != "cargo-deb $version" ]; then
    echo "== Building cargo-deb $version into .tools"
    cargo install --quiet --locked --force --version "$version" --root .tools/cargo-deb cargo-deb
fi

echo "== Building the binary"
# As `make build` does, so that what it has built is taken.
cargo build --locked --profile "$profile" --no-default-features --features "$features"
rm -rf "$staged" "$packages"
mkdir -p "$staged/completions" "$packages"
"$built/repserve" man --out "$staged/man" >/dev/null
"$built/repserve" completions bash >"$staged/completions/repserve.bash"
"$built/repserve" completions zsh >"$staged/completions/_repserve"
"$built/repserve" completions fish >"$staged/completions/repserve.fish"

echo "== Packing"
# The time of the last change, not that of the build, goes into the package. Set before, it would have the C code built anew.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
.tools/cargo-deb/bin/cargo-deb --quiet --locked --no-build --profile "$profile" ${DEB_FLAGS:-} --output "$packages/" ||
    fail "cargo-deb could not make the package"
set -- "$packages"/repserve_*.deb

echo "== Checking $1"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
dpkg-deb -x "$1" "$unpacked"
python3 tests/python/pictures.py "$unpacked/picture.png"
(cd "$unpacked" && env -i usr/bin/repserve classify --quiet picture.png) || fail "what the package holds does not run"
sha256sum "$1"
