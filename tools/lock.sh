#!/usr/bin/env bash
# Make the two locks from pyproject.toml: requirements.txt (a machine without a GPU: no CUDA package in it) and
# requirements-gpu.txt (a GPU worker on Linux x86-64). Versions come from the package index; run it to upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# One CPU build for all; on GPUs the build whose CUDA runtime faiss-gpu-cuvs shares.
echo "torch==2.13.0" > "$scratch/cpu-pins.txt"
echo "torch==2.15.0" > "$scratch/gpu-pins.txt"

compile() { "$uv" pip compile --quiet --no-header --no-annotate --extra dev "$@"; }

# torch's wheel on the index is the CUDA build on Linux and says so in its dependencies; the CPU build has none of them.
UV_FIND_LINKS= compile pyproject.toml --universal --python-version 3.11 --constraint "$scratch/cpu-pins.txt" \
  --output-file "$scratch/cpu.txt"
{
  echo "# The exact environment of a machine without a GPU, made by tools/lock.sh. Install it with: make setup"
  grep -vE '^(nvidia-|cuda-|triton==)' "$scratch/cpu.txt"
} > requirements.txt

sed 's/"faiss-cpu>=[0-9.]*"/"faiss-gpu-cuvs>=1.15"/' pyproject.toml > "$scratch/pyproject.toml"
UV_FIND_LINKS= compile "$scratch/pyproject.toml" --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
  --constraint "$scratch/gpu-pins.txt" --output-file "$scratch/gpu.txt"
{
  echo "# The exact environment of a GPU worker (Linux x86-64, Python 3.12, driver 580 or newer), made by tools/lock.sh."
  cat "$scratch/gpu.txt"
} > requirements-gpu.txt
