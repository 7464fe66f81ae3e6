#!/usr/bin/env bash
# Lint, format, types, tests. Arguments go to pytest: ./check.sh -m 'not simulator and not slow' is the fast group.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
./setup.sh --extras
export PATH="$PWD/.venv/bin:$PATH"
unset PYTHONDONTWRITEBYTECODE  # many tests start processes, which would compile all they import

ruff check .
ruff format --check .
mypy
# Files of tests are shared out to a process per core; -n 0 runs all in one.
python -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
