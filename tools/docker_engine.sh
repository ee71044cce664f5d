#!/usr/bin/env bash
# Sees to a Docker engine: returns 0 when one answers, else installs Debian's and starts it in the background (as root).
#
# Tried as root on Debian 12, on a bare machine and in a virtual machine without systemd: dockerd needs no flags there.
# It takes overlay2, iptables (nft) and cgroup v1 or v2 as it finds them. Where one of these is missing, as inside
# another container, it is told to do without, at the price written beside each.
set -euo pipefail

log="${TMPDIR:-/tmp}/headrace-dockerd.log"

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

fail() { echo "docker_engine: $*" >&2; exit 1; }

install_engine() {
  command -v apt-get >/dev/null || fail "no engine answers, and this is no Debian: install and start Docker yourself"
  echo "docker_engine: installing Debian's docker.io" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # iptables is only recommended, and without it containers reach nothing; debootstrap makes the base of our images;
  # from Debian 13 on the client is a package of its own.
  local packages=(docker.io iptables debootstrap)
  if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
}

flags() {
  # No overlay in the kernel, or /var/lib/docker on overlay itself: plain copies of layers, slow and large.
  grep -qw overlay /proc/filesystems && [ "$(stat -f -c %T /var/lib)" != overlayfs ] || echo --storage-driver=vfs
  # No way to write packet filters: containers reach each other and the host, not the outside, and ports go through a proxy.
  iptables -t nat -nL >/dev/null 2>&1 || echo "--iptables=false --ip6tables=false"
}

answers && exit 0
[ "$(id -u)" = 0 ] || fail "no engine answers, and only root can start one: start Docker, or run this as root"
command -v dockerd >/dev/null || install_engine
mkdir -p /sys/fs/cgroup
if ! mountpoint -q /sys/fs/cgroup; then  # a machine without systemd may have left them out
  mount -t cgroup2 none /sys/fs/cgroup || fail "cannot mount /sys/fs/cgroup, which containers need"
fi
rm -f /var/run/docker.pid  # left by a killed engine, it would stop the next; none answers, so none holds it
# shellcheck disable=SC2046  # the flags are words
setsid dockerd $(flags) >"$log" 2>&1 </dev/null &
for _ in $(seq 120); do
  answers && { echo "docker_engine: $(docker version --format '{{.Server.Version}}') answers" >&2; exit 0; }
  kill -0 $! 2>/dev/null || break
  sleep 0.5
done
tail -20 "$log" >&2
fail "dockerd did not come up within a minute; all it said is in $log"
