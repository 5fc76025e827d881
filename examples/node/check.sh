#!/usr/bin/env bash
# Runs the client against a daemon over TCP and over a unix socket, and looks for a reading: check.sh DAEMON_BINARY
set -euo pipefail
binary=$(realpath "${1:?the clino program}")
cd "$(dirname "$0")"
work=$(mktemp -d)
daemon=
end() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap end EXIT

npm ci --silent --no-audit --no-fund

mkfifo "$work/line"
env -u CLINO_ADDR "$binary" serve --listen 127.0.0.1:0 --socket "$work/clino.sock" >"$work/line" 2>"$work/log" &
daemon=$!
read -r line <"$work/line" || { cat "$work/log"; exit 1; }
tcp=$(sed -n 's|.*http://\([0-9.:]*\).*|\1|p' <<<"$line")

for address in "$tcp" "unix://$work/clino.sock"; do
    said=$(timeout 60 node client.mjs "$address") || { echo "no answer over $address"; cat "$work/log"; exit 1; }
    grep -Eq '^step 1 en loss [0-9]+\.[0-9]+$' <<<"$said" || { echo "no reading over $address: $said"; exit 1; }
    echo "${address%%:*}: $(head -n 1 <<<"$said")"
done
