#!/usr/bin/env bash
# Generates libs/headrace/api from protos/ with pinned tools, the same on every machine.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${HEADRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/headrace}"
venv="$cache/protos-$(sha256sum requirements/protos.txt | cut -c1-12)"
if [ ! -x "$venv/bin/protoc-gen-mypy_grpc" ]; then
  echo "protos: installing the pinned generator into $venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --require-hashes -r requirements/protos.txt
fi
find libs/headrace/api -name '*_pb2*' -delete 2>/dev/null || true
PATH="$venv/bin:$PATH" "$venv/bin/python" -m grpc_tools.protoc -I protos \
  --python_out=libs --pyi_out=libs --grpc_python_out=libs --mypy_grpc_out=quiet:libs \
  $(cd protos && find headrace -name '*.proto' | sort)
# Files of messages alone get an empty gRPC stub: nothing to keep.
find libs/headrace/api -name '*_pb2_grpc.py' ! -name '*_service_pb2_grpc.py' -delete
find libs/headrace/api -name '*_pb2_grpc.pyi' ! -name '*_service_pb2_grpc.pyi' -delete
for folder in $(find libs/headrace/api -type d ! -name '__pycache__'); do
  [ -e "$folder/__init__.py" ] || printf '"""Generated from protos/ by `make protos`."""\n' > "$folder/__init__.py"
done
