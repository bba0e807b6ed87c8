#!/usr/bin/env bash
# What the tests need beside .venv: TeX, with which they typeset the PDFs they read, and Chromium, which opens the chat.
# Idempotent.
set -euo pipefail

has_tex() { command -v pdflatex >/dev/null && kpsewhich lmodern.sty >/dev/null && kpsewhich microtype.sty >/dev/null; }
has_browser() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null; }

missing=""
has_tex || missing="texlive-latex-base texlive-latex-recommended texlive-fonts-recommended lmodern"
has_browser || missing="$missing chromium"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "setup: installing for the tests: $missing" >&2
  apt-get update -qq
  # shellcheck disable=SC2086
  exec env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
echo "setup: the tests need $missing. Debian: apt-get install $missing" >&2
exit 64
