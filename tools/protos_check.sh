#!/usr/bin/env bash
# Protos are well formed, break no client, and the generated code is the one that they generate.
set -euo pipefail
cd "$(dirname "$0")/.."
buf="$PWD/tools/node/node_modules/.bin/buf"
(cd protos && "$buf" lint && "$buf" format --diff --exit-code)
# Against the last release; before the first one, nothing can break.
release=$(git tag --list 'v*' --sort=-version:refname | head -n 1)
[ -z "$release" ] || "$buf" breaking protos --against ".git#tag=$release,subdir=protos"
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
cp -r libs/headrace/api "$before/api"
tools/protos.sh
if ! diff -r -q -x __pycache__ "$before/api" libs/headrace/api; then
  echo "protos: the checked-in code was not what protos/ generates; it is now: commit it" >&2
  exit 1
fi
