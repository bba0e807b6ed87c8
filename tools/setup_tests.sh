#!/usr/bin/env bash
# What the tests need beside .venv: TeX, with which they typeset the PDFs they read. Idempotent.
set -euo pipefail

packages="texlive-latex-base texlive-latex-recommended texlive-fonts-recommended lmodern"
command -v pdflatex >/dev/null && kpsewhich lmodern.sty >/dev/null && kpsewhich microtype.sty >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "setup: installing TeX ($packages) for the tests" >&2
  apt-get update -qq
  # shellcheck disable=SC2086
  exec env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi
echo "setup: the tests typeset PDFs with pdflatex, which is missing. Debian: apt-get install $packages" >&2
exit 64
