#!/bin/sh
# Write the hashed requirement files: what runs, what tests need on top, what builds the package.
# They hold versions and hashes, never addresses.
set -eu
uv=${1:-uv}
compile() { "$uv" pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet "$@"; }
compile pyproject.toml --extra local --extra postgres --extra redis -o requirements/run.txt
compile pyproject.toml --extra local --extra postgres --extra redis --extra dev -c requirements/run.txt -o requirements/dev.txt
printf 'hatchling==1.33.0\neditables\n' | compile - -o requirements/build.txt
