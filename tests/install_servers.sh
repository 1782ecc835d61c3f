#!/bin/sh
# Installs what tests start beside Python: Redis and PostgreSQL of the team deployment, Chromium, which
# reads the dashboard, and libfaketime, which sets clocks in fault tests. Does nothing where all are there; needs root and a Debian-like system
# otherwise.
set -eu

have_redis() { command -v redis-server >/dev/null 2>&1; }
have_postgres() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}
have_chromium() {
    for program in chromium chromium-browser google-chrome-stable google-chrome; do
        command -v "$program" >/dev/null 2>&1 && return
    done
    return 1
}
have_faketime() { command -v faketime >/dev/null 2>&1; }

missing=""
have_redis || missing="$missing redis-server"
have_postgres || missing="$missing postgresql"
# Pages are measured in it, which takes a font.
have_chromium || missing="$missing chromium fonts-dejavu-core"
have_faketime || missing="$missing faketime"

if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "install_servers: missing:$missing; install them as root" >&2
    exit 1
fi

# The packages would start system-wide servers; the tests start their own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq
# Each on its own: a system without one of them gets the others.
for package in $missing; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null || true
done
have_redis && have_postgres && have_chromium && have_faketime
