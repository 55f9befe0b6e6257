#!/bin/sh
# Installs the Debian package where systemd is process 1, in a container, and has the unit started, reloaded, hung, killed, misconfigured and stopped.
#
#   docker/systemd-test.sh [PACKAGE]
#
# PACKAGE is what `make deb` made. Needs a Docker Engine. IMAGE=name takes an image that has systemd and curl, of the Debian on which the package was
# made; else one is built from debian:RELEASE (default: that of this machine).
set -eu
cd "$(dirname "$0")/.."

package=${1:-$(ls "${CARGO_TARGET_DIR:-target}"/debian/repserve_*.deb)}
image=${IMAGE:-}
name=repserve-systemd-test
# Limits are set by systemd: all but CAP_SYS_RESOURCE, which not every machine gives.
capabilities="AUDIT_CONTROL AUDIT_READ AUDIT_WRITE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK KILL LEASE MKNOD NET_ADMIN NET_BIND_SERVICE \
NET_RAW SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_NICE SYS_PTRACE SYS_TTY_CONFIG"

fail() {
    echo "systemd-test: $*" >&2
    inside journalctl --no-pager -o cat -u repserve >&2 || true
    exit 1
}

inside() {
    docker exec "$name" "$@"
}

property() {
    inside systemctl show -P "$1" repserve
}

# expect WHAT WANTED FOUND
expect() {
    [ "$2" = "$3" ] || fail "$1 is '$3', expected '$2'"
    echo "$1: $3"
}

# until_is PROPERTY VALUE: waits two minutes at most.
until_is() {
    for _ in $(seq 240); do
        [ "$(property "$1")" = "$2" ] && break
        sleep 0.5
    done
    expect "$1" "$2" "$(property "$1")"
}

classify() {
    inside curl --silent --show-error --data-binary @/ship.jpg -H 'content-type: image/jpeg' 'http://127.0.0.1:8080/classify?top_k=1' |
        grep -q '"label":"ship"' || fail "the ship is not classified as one"
    echo "classifies a ship"
}

if [ -z "$image" ]; then
    release=${RELEASE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
    image=repserve-systemd:$release
    printf 'FROM debian:%s\nRUN apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv curl\n' "$release" |
        docker build --quiet --tag "$image" - >/dev/null
fi
docker rm --force "$name" >/dev/null 2>&1 || true
trap 'docker rm --force "$name" >/dev/null 2>&1' EXIT
docker run --detach --name "$name" --cap-drop ALL $(printf -- '--cap-add %s ' $capabilities) \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cgroupns=private \
    --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --env container=docker "$image" \
    sh -c 'for mounted in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,rw "$mounted"; done 2>/dev/null; exec /lib/systemd/systemd' >/dev/null
for _ in $(seq 120); do
    inside systemctl is-system-running 2>/dev/null | grep -Eq 'running|degraded' && break
    sleep 0.5
done
expect "process 1" systemd "$(inside cat /proc/1/comm)"

echo "== Installing $package"
docker cp -q "$package" "$name:/repserve.deb"
docker cp -q models/repvgg-cifar10/examples/ship.jpg "$name:/ship.jpg"
inside sh -c 'apt-get install -y --no-install-recommends /repserve.deb >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }'
expect "after the installation" inactive "$(property ActiveState)"

echo "== Start"
inside systemctl enable --now repserve
expect "state" active "$(property ActiveState)"
expect "status" ready "$(property StatusText)"
classify
main=$(property MainPID)
expect "capabilities" 0000000000000000 "$(inside awk '/CapEff/ { print $2 }' "/proc/$main/status")"
inside awk '/^Uid/ { exit $2 == 0 }' "/proc/$main/status" || fail "it runs as root"

echo "== Reload"
inside systemctl reload repserve
expect "status" ready "$(property StatusText)"
expect "process" "$main" "$(property MainPID)"

echo "== A server that hangs is ended by the watchdog and started again"
inside sh -c "kill -STOP $main"
until_is NRestarts 1
until_is StatusText ready
classify

echo "== One that is killed is started again"
inside systemctl kill --signal KILL repserve
until_is NRestarts 2
until_is StatusText ready

echo "== Stop"
inside systemctl stop repserve
expect "state" inactive "$(property ActiveState)"
expect "result" success "$(property Result)"

echo "== Wrong settings"
inside sh -c 'echo "[server]
lissten = 3" >>/etc/repserve/repserve.toml'
inside systemctl start repserve 2>/dev/null && fail "it starts with wrong settings"
expect "state" failed "$(property ActiveState)"
expect "starts again" 0 "$(property NRestarts)"
inside journalctl --no-pager -o cat -u repserve | grep 'did you mean `server.listen`' || fail "the log does not name the key"

echo "== Removing the package"
inside sh -c 'apt-get purge -y repserve >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }'
inside sh -c '! test -e /usr/lib/repserve && ! test -e /etc/repserve/repserve.toml' || fail "files are left"
echo "== Done"
