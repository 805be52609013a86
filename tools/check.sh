#!/bin/sh
# All the checks, each of them even when one before it failed; the exit code is 0 when all passed.
failed=
check() {
    name=$1
    shift
    echo "== $name" >&2
    "$@" || failed="$failed $name"
}
check format ruff format --check --quiet .
check lint ruff check --quiet .
check types mypy
# What is only run now and then must not rot unseen.
check benchmarks env MYPYPATH=tests mypy benchmarks
check imports lint-imports --no-logo
check locks python tools/locks.py check
if [ -n "$failed" ]; then
    echo "Failed:$failed (\`just fix\` puts right what it can)" >&2
    exit 1
fi
echo "All checks passed" >&2
