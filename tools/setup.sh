#!/usr/bin/env bash
# Build .venv from the lock and see that there is a Java for Spark. Idempotent: nothing to do takes a moment.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 64; }

lock=requirements.txt
if [ "$(uname -sm)" = "Linux x86_64" ] && nvidia-smi -L >/dev/null 2>&1; then lock=requirements-gpu.txt; fi
stamp=.venv/.installed
wanted=$(cat "$lock" tools/setup.sh | python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')

find_python() {
  for name in ${PYTHON:-} python3 python3.12 python3.11 python3.13; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$name"; return; fi
  done
  fail "no Python of 3.11 or newer with venv. Debian: apt-get install python3-venv; macOS: brew install python@3.12; or set PYTHON=."
}

# torch's wheel on the index is the CUDA build: 3 GB that a machine without a GPU has no use for. The CPU build comes
# from the folder or index that the environment names, else from PyTorch's own index.
torch_is_at_hand() {
  [ "$(uname -s)" = Darwin ] || [ "$lock" = requirements-gpu.txt ] ||
    ls "${UV_FIND_LINKS:-/nonexistent}"/torch-*cpu*.whl >/dev/null 2>&1
}

install_environment() {
  local python
  python=$(find_python)
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
  local uv_pin
  uv_pin=$(grep '^uv==' "$lock" | cut -d' ' -f1)
  if .venv/bin/python -m pip install --quiet "$uv_pin"; then
    local backend=()
    torch_is_at_hand || backend=(--torch-backend cpu)
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps "${backend[@]}" --requirement "$lock"
  else
    say "uv could not be installed, using pip (slower)"
    local index=()
    torch_is_at_hand || index=(--extra-index-url https://download.pytorch.org/whl/cpu)
    .venv/bin/python -m pip install --quiet --no-deps "${index[@]}" --requirement "$lock"
  fi
  .venv/bin/python -m pip check >&2 || fail "$lock does not fit together (above). Remove .venv and try again."
}

find_java() { .venv/bin/python -c 'from jobs.core.spark import find_java_home; find_java_home()' 2>/dev/null; }

install_java() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Java 17 from the system's packages"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless >/dev/null && find_java && return
  fi
  say "fetching a Java 17 runtime into .java/"
  mkdir -p .java
  .venv/bin/python -c 'import jdk; jdk.install("17", jre=True, path=".java")' && find_java && return
  fail "Spark needs Java 17 or newer. Debian: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17; or set JAVA_HOME."
}

case "$(uname -s)" in Linux | Darwin) ;; *) fail "this system is not supported. On Windows use WSL2." ;; esac
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  say "installing $lock into .venv"
  install_environment
  echo "$wanted" >"$stamp"
fi
find_java || install_java
.venv/bin/python -m jobs.core.class_archive
