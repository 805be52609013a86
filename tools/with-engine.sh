#!/bin/sh
# Runs a command with DOCKER_HOST set to this checkout's private engine, where that is the one which answers.
set -eu
root=$(CDPATH='' cd -P -- "${0%/*}/.." && pwd)
if [ -z "${DOCKER_HOST-}" ] && [ ! -S /var/run/docker.sock ]; then
    url=$("$root/.venv/bin/python" -E -s "$root/docker/engine.py" status 2>/dev/null) && export DOCKER_HOST="$url"
fi
exec "$@"
