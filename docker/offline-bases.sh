#!/bin/sh
# Makes stand-ins, under the same names, for the public images that the Dockerfile and the compose files use, so that
# both can be built and run on a Docker Engine that reaches Debian's mirror but no image registry.
#
#   docker/offline-bases.sh [build|compose|all]
#
# Needs root (debootstrap), a Docker Engine and, for the build image, the local Rust toolchain. An image that is already
# there, stand-in or real, is left alone: `docker image rm NAME` first to make it anew.
#
# Certificates that this machine trusts beyond Debian's are copied into docker/build-certificates/, which git and the
# images ignore: the Dockerfile trusts them in its build stage only.
set -eu

cd "$(dirname "$0")/.."
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
work=${CARGO_TARGET_DIR:-target}/offline-bases
label=org.repserve.stand-in=true

fail() {
    echo "offline-bases: $*" >&2
    exit 1
}

has_image() {
    docker image inspect "$1" >/dev/null 2>&1
}

pinned() {
    sed -n "s/^ARG $1=//p" Dockerfile
}

image_of() {
    sed -n "s|^ *image: *\\($1:.*\\)|\\1|p" docker/compose.yaml docker/compose.scale.yaml | head -n 1
}

debian() {
    has_image debian:trixie-slim && return
    [ "$(id -u)" = 0 ] || fail "debootstrap needs root"
    if ! command -v debootstrap >/dev/null; then
        echo "== Installing debootstrap"
        { apt-get update -qq && apt-get install -y --no-install-recommends debootstrap; } >/dev/null 2>&1 ||
            fail "debootstrap is missing, and apt-get cannot install it"
    fi
    echo "== debian:trixie-slim: debootstrap from $mirror"
    rm -rf "$work/debian"
    mkdir -p "$work"
    debootstrap --variant=minbase --include=ca-certificates trixie "$work/debian" "$mirror" >"$work/debootstrap.log" ||
        fail "debootstrap failed; see $work/debootstrap.log"
    tar -C "$work/debian" --exclude='./var/cache/apt/archives/*.deb' -c . |
        docker import --change "LABEL $label" --change 'CMD ["bash"]' - debian:trixie-slim >/dev/null
    rm -rf "$work/debian"
}

# stand_in IMAGE NAME [FOLDER ENTRY ENTRY]: builds offline-bases/NAME.Dockerfile with the two entries as its context.
stand_in() {
    image=$1 name=$2
    [ -n "$image" ] || fail "no image is pinned for $name"
    if has_image "$image"; then
        echo "== $image is already here"
        return
    fi
    debian
    echo "== $image: a stand-in out of Debian's packages"
    tar -c -C docker/offline-bases "$name.Dockerfile" ${3:+-C "$3" "$4" "$5"} |
        DOCKER_BUILDKIT=0 docker build --label "$label" --file "$name.Dockerfile" --tag "$image" - \
            >"$work/$name.log" 2>&1 || fail "building the stand-in for $image failed; see $work/$name.log"
}

host_certificates() {
    for certificate in /usr/local/share/ca-certificates/*.crt; do
        [ -e "$certificate" ] && cp "$certificate" docker/build-certificates/
    done
    return 0
}

build_bases() {
    sysroot=$(rustc --print sysroot) || fail "no Rust toolchain"
    case $(pinned RUST_IMAGE) in
    rust:"$(rustc --version | cut -d' ' -f2)"-*) ;;
    *) echo "offline-bases: note: $(pinned RUST_IMAGE) will hold $(rustc --version)" >&2 ;;
    esac
    host_certificates
    stand_in "$(pinned RUST_IMAGE)" rust "$sysroot" bin lib
    stand_in "$(pinned RUNTIME_IMAGE)" distroless-cc
}

# Debian has no Grafana, so it gets no stand-in.
compose_bases() {
    stand_in "$(image_of prom/prometheus)" prometheus
    stand_in "$(image_of nginx)" nginx
}

command -v docker >/dev/null || fail "docker is missing"
docker version >/dev/null 2>&1 || fail "no Docker Engine is running"
case ${1:-all} in
build) build_bases ;;
compose) compose_bases ;;
all)
    build_bases
    compose_bases
    echo "== All but Grafana are here; without a registry leave it out: docker compose -f docker/compose.yaml up repserve prometheus"
    ;;
*) fail "unknown set '$1': build, compose or all" ;;
esac
