#!/usr/bin/env bash
# Trains with candle beside a daemon and looks for a reading: check.sh DAEMON_BINARY TRAINER_BINARY
set -euo pipefail
. "$(dirname "$0")/../with_daemon.sh"
trainer=$(realpath "${2:?the trainer in candle}")

serve
timeout 120 "$trainer" --addr "unix://$work/clino.sock" || { echo "the training failed"; cat "$work/log"; exit 1; }
for _ in $(seq 60); do
    said=$("$binary" watch --addr "unix://$work/clino.sock" --once)
    ! grep -Eq '^ *pooled +[0-9.]+ +[0-9.e-]+ ±' <<<"$said" || { echo "$said"; exit 0; }
    sleep 1
done
echo "no reading came: $said"
exit 1
