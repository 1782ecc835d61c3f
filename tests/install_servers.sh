#!/bin/sh
# Installs the servers that tests of the team deployment start: Redis and PostgreSQL.
# Does nothing where both are there; needs root and a Debian-like system otherwise.
set -eu

have_redis() { command -v redis-server >/dev/null 2>&1; }
have_postgres() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

if have_redis && have_postgres; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "install_servers: redis-server and postgresql are missing; install them as root" >&2
    exit 1
fi

# The packages would start system-wide servers; the tests start their own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq
apt-get install -y -qq --no-install-recommends redis-server postgresql >/dev/null
have_redis && have_postgres
