#!/usr/bin/env bash
# Writes the pinned, hashed requirements anew; without index lines, so that any index serves them.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${HEADRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/headrace}"
[ -x "$cache/uv/bin/uv" ] || { python3 -m venv "$cache/uv" && "$cache/uv/bin/pip" install --quiet uv; }
lock() { "$cache/uv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header "$@"; }
lock --extra dev pyproject.toml -o requirements/dev.txt
lock --extra server pyproject.toml -o requirements/server.txt
lock requirements/protos.in -o requirements/protos.txt
