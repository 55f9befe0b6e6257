#!/bin/sh
# Deploys compose.scale.yaml as a Docker Swarm stack: `docker/stack-deploy.sh [NAME] [DOCKER STACK DEPLOY OPTIONS]`.
#
# Compose resolves the file (`extends`, variables); what a stack does not know is left out.
set -eu
cd "$(dirname "$0")"
name=${1:-repserve}
[ $# -gt 0 ] && shift

if docker compose version >/dev/null 2>&1; then
    compose="docker compose"
else
    compose=docker-compose
fi
# The words of $compose are separate arguments.
# shellcheck disable=SC2086
$compose -f compose.scale.yaml config | python3 ./stack.py | docker stack deploy --compose-file - "$@" "$name"
