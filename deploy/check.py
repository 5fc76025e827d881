"""Parts of check.sh that read files and answers."""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from itertools import count
from pathlib import Path

import yaml

PATIENCE = 30.0
#: Families that a daemon shows only once something has happened that does not happen here.
ELSEWHERE = {"clino_not_ready", "clino_snapshots_skipped_total", "clino_decisions_total", "clino_history_lag_seconds", "clino_run_advice"}


def load(path: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def queries(dashboard: Path) -> list[str]:
    """Every query of a dashboard, with its variables filled in."""
    found = json.loads(dashboard.read_text())
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids)), "two panels have the same id"
    for panel in found["panels"]:
        at = panel["gridPos"]
        assert 0 <= at["x"] and at["x"] + at["w"] <= 24, panel["title"]
        assert panel["type"] == "row" or panel["targets"], panel["title"]
    texts = [target["expr"] for panel in found["panels"] for target in panel.get("targets", [])]
    texts += [annotation["expr"] for annotation in found["annotations"]["list"]]
    for name, value in (("$__rate_interval", "5m"), ("$__range", "1h"), ("$job", "clino"), ("$instance", ".*"),
                        ("$measure", ".*")):
        texts = [text.replace(name, value) for text in texts]
    assert not any("$" in text for text in texts), "an unknown variable"
    return texts


def files(here: Path, out: Path) -> None:
    """Files can be read and refer to what is there; the dashboard's queries go into a file of rules."""
    manifests = [document for path in sorted((here / "kubernetes").glob("*.yaml")) for document in load(path)]
    kinds = sorted(document["kind"] for document in manifests)
    for document in manifests:
        assert document["apiVersion"] and document["metadata"]["name"], document
    workload = next(document for document in manifests if document["kind"] == "StatefulSet")
    pod = workload["spec"]["template"]
    selector = workload["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    services = [document for document in manifests if document["kind"] == "Service"]
    assert workload["spec"]["serviceName"] in [service["metadata"]["name"] for service in services]
    ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
    for service in services:
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])} | claims
    for container in pod["spec"]["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert "grpc" in container["readinessProbe"] and "grpc" in container["livenessProbe"]
    names = {(document["kind"], document["metadata"]["name"]) for document in manifests}
    for volume in pod["spec"].get("volumes", []):
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in names, volume
    print(f"proof: Kubernetes manifests parse and fit together: {', '.join(kinds)}")

    alerts = {rule["alert"]: rule for group in load(here / "prometheus/clino.rules.yml")[0]["groups"]
              for rule in group["rules"] if "alert" in rule}
    tests = load(here / "prometheus/tests.yml")[0]["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    runbooks = (here / "../docs/operations.md").read_text()
    for name in alerts:
        outcomes = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name}
        assert outcomes == {True, False}, f"{name} has no test of firing and of being silent"
        assert re.search(rf"^#+ {name}$", runbooks, re.M), f"{name} has no runbook"
        assert alerts[name]["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}", name
    print(f"proof: promtool accepts the rules; {len(alerts)} alerts, each tested firing and silent, each with a runbook")

    found = queries(here / "grafana/clino.json")
    rules = [{"record": f"dashboard:query:{n}", "expr": text} for n, text in enumerate(found)]
    out.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    print(f"proof: promtool accepts all {len(found)} queries of the dashboard")


def work(clino: str, address: str, metrics: str, case: Path) -> None:
    """Opens a run, sends it a snapshot with the command line, and waits until that is measured."""

    def tell(*words: str) -> str:
        done = subprocess.run([clino, *words, "--addr", address], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run = tell("open", "--config", f"{case}/config.json", "--probe", f"en={case}/probe.safetensors", "--measure", "loss")
    tell("push", "--run", run.split()[0], "--step", "20", f"{case}/snapshot-0020.safetensors")

    def measured() -> bool:
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=5) as answer:
            return b"clino_snapshot_seconds_count 1" in answer.read()

    until("a snapshot is measured", measured)


def exposed(path: str) -> set[str]:
    """Names of the samples of a text that the reference parser accepts."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    families = list(text_string_to_metric_families(Path(path).read_text()))
    return {sample.name for family in families for sample in family.samples}


def metrics(here: Path, text: str, runs: str) -> None:
    """What rules and dashboard ask for is there."""
    names = exposed(text) | exposed(runs)
    rules = [rule for group in load(here / "prometheus/clino.rules.yml")[0]["groups"] for rule in group["rules"]]
    texts = [rule["expr"] for rule in rules] + queries(here / "grafana/clino.json")
    wanted = {name for text in texts for name in re.findall(r"\b((?:clino|process)_[a-z0-9_]+)\b(?!:)", text)}
    missing = wanted - names - ELSEWHERE
    assert not missing, f"nothing exposes {sorted(missing)}"
    source = (here / "../crates/domain/src/metrics.rs").read_text()
    for name in ELSEWHERE & wanted:
        assert f'"{name.removesuffix("_total")}"' in source, name
    lines = sum(1 for line in Path(text).read_text().splitlines() if not line.startswith("#"))
    print(f"proof: prometheus_client parses /metrics ({lines} series); {len(wanted)} metrics that rules and dashboard "
          f"use are there ({len(ELSEWHERE & wanted)} only by name)")


def ask(url: str) -> dict | list:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def until(what: str, found) -> None:
    end, error = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        try:
            if found():
                return
        except (OSError, KeyError, IndexError) as failure:
            error = failure
        time.sleep(0.3)
    raise SystemExit(f"{what}: not within {PATIENCE} s ({error})")


def scraped(prometheus: str) -> None:
    """A Prometheus sees the daemon."""
    def value(query: str) -> float:
        return float(ask(f"{prometheus}/api/v1/query?query={query}")["data"]["result"][0]["value"][1])

    until("up", lambda: value("up") == 1 and value("clino_ready") == 1)
    until("a recorded rule", lambda: value("clino:watchers") >= 0)
    accepted = value("clino_snapshots_accepted_total")
    assert accepted >= 1, accepted
    print(f"proof: a real Prometheus scrapes the daemon: up 1, clino_snapshots_accepted_total {accepted:.0f}")


def active(alertmanager: str) -> set[str]:
    """Names of the alerts that an Alertmanager was told of."""
    alerts = ask(f"{alertmanager}/api/v2/alerts")
    return {alert["labels"]["alertname"] for alert in alerts if alert["status"]["state"] == "active"}


def not_finite(snapshot: Path, out: Path) -> Path:
    """A safetensors file of the same tensors, all of them NaN."""
    data = snapshot.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = [tensor for name, tensor in json.loads(data[8:begin]).items() if name != "__metadata__"]
    assert {tensor["dtype"] for tensor in tensors} == {"F32"}, "expected a file of F32"
    out.write_bytes(data[:begin] + b"\x00\x00\xc0\x7f" * ((len(data) - begin) // 4))
    return out


def troubled(clino: str, address: str, alertmanager: str, case: Path) -> None:
    """Runs get into trouble on the real daemon until an Alertmanager was told of it."""

    def tell(*words: str) -> str:
        done = subprocess.run([clino, *words, "--addr", address], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    probe, good = f"en={case}/probe.safetensors", case / "snapshot-0020.safetensors"
    # Slow to measure: a newer snapshot takes the place of the one that waits.
    slow = tell("open", "--config", f"{case}/config.json", "--probe", probe, "--measure", "sharpness:draws=2000").split()[0]
    bad = tell("open", "--config", f"{case}/config.json", "--probe", probe, "--measure", "loss").split()[0]
    with tempfile.TemporaryDirectory() as folder:
        nan, steps, wanted = not_finite(good, Path(folder) / "nan.safetensors"), count(1), {"ClinoSnapshotsSkipped", "ClinoRunNonFinite"}

        def told() -> bool:
            for _ in range(5):
                tell("push", "--run", slow, "--step", str(next(steps)), str(good))
            tell("push", "--run", bad, "--step", str(next(steps)), str(nan))
            return wanted <= active(alertmanager)

        until("alerts of runs in trouble", told)
    print(f"proof: snapshots were skipped and were NaN on the real daemon, and {', '.join(sorted(wanted))} arrived at a real Alertmanager")


def alerted(alertmanager: str) -> None:
    """An Alertmanager was told that the daemon is down."""
    until("ClinoDown", lambda: "ClinoDown" in active(alertmanager))
    print("proof: the daemon ended, and ClinoDown arrived at a real Alertmanager")


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    match command:
        case "files":
            files(Path(words[0]), Path(words[1]))
        case "work":
            work(words[0], words[1], words[2], Path(words[3]))
        case "metrics":
            metrics(Path(words[0]), words[1], words[2])
        case "scraped":
            scraped(words[0])
        case "troubled":
            troubled(words[0], words[1], words[2], Path(words[3]))
        case "alerted":
            alerted(words[0])
