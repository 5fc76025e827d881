#!/usr/bin/env bash
# deploy/check.sh [FOLDER]: everything here that can be proven is proven against a real daemon, a real Prometheus and a
# real Alertmanager. They are taken from Debian packages into FOLDER (kept for the next time), without being installed,
# so that no service starts. $CLINO_BIN is the daemon, target/release/clino if it is not set. Takes about a minute.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/clino-deploy}
clino=$(realpath "${CLINO_BIN:-$here/../target/release/clino}")
work=$(mktemp -d)
pids=()
linked=

finish() {
    local pid
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    if [ -n "$linked" ]; then rm -f "$linked"; rmdir "${linked%/*}" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$work"/*.log >&2 || true
    exit 1
}

# Prometheus, its promtool, and Alertmanager.
mkdir -p "$cache"
if [ ! -x "$cache/root/usr/bin/promtool" ] || [ ! -x "$cache/root/usr/bin/prometheus-alertmanager" ]; then
    apt-get update -qq >"$work/apt.log" 2>&1 || fail "apt-get update"
    (cd "$cache" && apt-get download -qq prometheus prometheus-alertmanager) >>"$work/apt.log" 2>&1 || fail "apt-get download"
    for package in "$cache"/*.deb; do dpkg -x "$package" "$cache/root"; done
fi
if [ ! -x "$cache/venv/bin/python" ]; then
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/python" -m pip install --quiet "prometheus-client==0.23.1" "PyYAML==6.0.3"
fi
tools=$cache/root/usr/bin
python=$cache/venv/bin/python

told() { sed -n "s/^ *\(.*SUCCESS.*\)$/proof: $1: \1/p" "$2"; } # WHO LOG: what it says of itself

# What needs no daemon.
(cd "$here/prometheus" && "$tools/promtool" check rules clino.rules.yml) >"$work/rules.log" || fail "rules"
told "promtool check rules clino.rules.yml" "$work/rules.log"
"$tools/promtool" check config "$here/prometheus/prometheus.yml" >"$work/config.log" || fail "prometheus.yml"
"$tools/amtool" check-config "$here/prometheus/alertmanager.yml" >"$work/config.log" || fail "alertmanager.yml"
(cd "$here/prometheus" && "$tools/promtool" test rules tests.yml) >"$work/tests.log" || fail "tests of rules"
told "promtool test rules tests.yml" "$work/tests.log"
"$python" "$here/check.py" files "$here" "$work/dashboard.rules.yml" || fail "files"
"$tools/promtool" check rules "$work/dashboard.rules.yml" >"$work/dashboard.log" || fail "queries of the dashboard"
told "promtool check rules, the dashboard's queries" "$work/dashboard.log"
if ! command -v systemd-analyze >/dev/null; then
    apt-get update -qq >"$work/apt.log" 2>&1 && apt-get install -qq --yes --no-install-recommends systemd >>"$work/apt.log" 2>&1 ||
        fail "there is no systemd-analyze, and the package systemd cannot be installed"
fi
# The program is not installed there; everything else must be right.
sed "s|^ExecStart=[^ ]*|ExecStart=$clino|" "$here/systemd/clino.service" >"$work/clino.service"
systemd-analyze verify --man=no "$work/clino.service" >"$work/unit.log" 2>&1 || fail "clino.service"
! grep -i "clino.service" "$work/unit.log" || fail "clino.service"
score=$(systemd-analyze security --offline=true "$work/clino.service" 2>/dev/null | sed -n 's/.*Overall exposure level[^:]*: \([0-9.]*\).*/\1/p')
echo "proof: systemd-analyze verify finds nothing in clino.service; exposure ${score:-unknown} of 10 (less is better)"

# What an image is built from: cargo finds all of its files there.
mkdir "$work/context"
ignored=()
while read -r line; do
    case $line in
        '' | \#*) ;;
        '**/'*) ignored+=(--no-anchored --exclude="${line#\*\*/}") ;;
        *) ignored+=(--anchored --exclude="./$line") ;;
    esac
done <"$here/../.dockerignore"
tar -C "$here/.." "${ignored[@]}" -cf - . | tar -C "$work/context" -xf -
(cd "$work/context" && cargo metadata --locked --offline --no-deps --format-version 1) >"$work/context.json" 2>"$work/context.log" || fail ".dockerignore"
echo "proof: of the container's context cargo reads the manifest and finds every target; $(du -sm "$work/context" | cut -f1) MiB"

# The daemon, with some work behind it. It reads variables that begin with CLINO_: none but its own are for it.
for name in $(compgen -e CLINO_); do unset "$name"; done
"$python" "$here/check_flags.py" known "$clino" "$here" || fail "what the daemon is told"
"$python" "$here/check_flags.py" starts "$clino" "$here" || fail "a start as unit, container and manifests have it"
"$clino" serve --listen 127.0.0.1:0 --http 127.0.0.1:0 --run-metrics 10 --threads 1 >"$work/clino.out" 2>"$work/clino.log" &
daemon=$!
pids+=("$daemon")
for _ in $(seq 100); do grep -q '^listening' "$work/clino.out" && break; sleep 0.1; done
grep -q '^listening' "$work/clino.out" || fail "the daemon does not start"
grpc=$(grep -o ' http://[^ ]*' "$work/clino.out" | tr -d ' ')
metrics=$(sed -n 's|.*metrics=http://||p' "$work/clino.out")
[ -n "$metrics" ] || fail "the daemon prints no metrics address"
for _ in $(seq 100); do curl -sf "http://$metrics/readyz" >/dev/null && break; sleep 0.1; done
"$python" "$here/check.py" work "$clino" "$grpc" "$metrics" "$here/../tests/cases/mlp-tanh" || fail "work for the daemon"
curl -sf "http://$metrics/metrics" >"$work/metrics.txt" || fail "/metrics"
curl -sf "http://$metrics/metrics/runs" >"$work/runs.txt" || fail "/metrics/runs"
"$python" "$here/check.py" metrics "$here" "$work/metrics.txt" "$work/runs.txt" || fail "metrics"

# A Prometheus and an Alertmanager of its own, with the shipped rules; the alerts' pauses are cut short.
free() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
prometheus=127.0.0.1:$(free) alertmanager=127.0.0.1:$(free)
sed 's/^\( *for:\).*/\1 1s/; s/interval: 30s/interval: 1s/' "$here/prometheus/clino.rules.yml" >"$work/clino.rules.yml"
sed "s/scrape_interval: 15s/scrape_interval: 1s/; s/evaluation_interval: 15s/evaluation_interval: 1s/
    s/127.0.0.1:9093/$alertmanager/; s/127.0.0.1:9464/$metrics/" "$here/prometheus/prometheus.yml" >"$work/prometheus.yml"
# Debian's Alertmanager looks for its templates there and nowhere else.
templates=/usr/share/prometheus/alertmanager
if [ ! -e "$templates/default.tmpl" ]; then
    mkdir -p "${templates%/*}" && ln -sfn "$(realpath "$cache")/root$templates" "$templates" || fail "cannot write $templates"
    linked=$templates
fi
"$tools/prometheus-alertmanager" --config.file="$here/prometheus/alertmanager.yml" --storage.path="$work/am" \
    --web.listen-address="$alertmanager" --cluster.listen-address= >"$work/alertmanager.log" 2>&1 &
pids+=("$!")
"$tools/prometheus" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
    --web.listen-address="$prometheus" --log.level=warn >"$work/prometheus.log" 2>&1 &
pids+=("$!")
"$python" "$here/check.py" scraped "http://$prometheus" || fail "Prometheus does not scrape the daemon"
"$python" "$here/check.py" troubled "$clino" "$grpc" "http://$alertmanager" "$here/../tests/cases/mlp-tanh" || fail "no alert of runs in trouble"
kill -TERM "$daemon"
wait "$daemon" || fail "the daemon does not end cleanly"
"$python" "$here/check.py" alerted "http://$alertmanager" || fail "no alert of a daemon that is down"
