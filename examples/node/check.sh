#!/usr/bin/env bash
# Runs the client against a daemon over TCP and over a unix socket, and looks for a reading: check.sh DAEMON_BINARY
set -euo pipefail
. "$(dirname "$0")/../with_daemon.sh"
cd "$(dirname "$0")"

npm ci --silent --no-audit --no-fund

serve
tcp=$(sed -n 's|.*http://\([0-9.:]*\).*|\1|p' <<<"$line")

for address in "$tcp" "unix://$work/clino.sock"; do
    said=$(timeout 60 node client.mjs "$address") || { echo "no answer over $address"; cat "$work/log"; exit 1; }
    grep -Eq '^step 1 en loss [0-9]+\.[0-9]+$' <<<"$said" || { echo "no reading over $address: $said"; exit 1; }
    echo "${address%%:*}: $(head -n 1 <<<"$said")"
done
