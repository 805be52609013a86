#!/bin/sh
# jobrunner.sh DIRECTORY ARGUMENT…: runs jobrunner in the directory that `just` was called from, so that a path on the
# command line means what its writer meant, and with this checkout's .env wherever that is.
set -eu
root=$(CDPATH='' cd -P -- "${0%/*}/.." && pwd)
cd -- "$1"
shift
if [ "$(pwd -P)" = "$root" ] || [ -e .env ] || [ ! -e "$root/.env" ]; then
    exec "$root/tools/with-engine.sh" "$root/.venv/bin/jobrunner" "$@"
fi
exec "$root/tools/with-engine.sh" "$root/.venv/bin/python" -m dotenv -f "$root/.env" run --no-override -- \
    "$root/.venv/bin/jobrunner" "$@"
