"""What a run's policy says, as the loop sees it: against a daemon that says what a test wants."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake import FakeDaemon
from support import CONFIG, begin, probes, until, weights

import clino
from clino._decisions import decision_of
from clino._verdict import Verdict
from clino.v1 import decisions_pb2, types_pb2

RULES: list[clino.RuleLike] = [
    clino.Rule("patience", "loss@pooled", patience=3),
    {"name": "threshold", "on": "mean(loss@*)", "upper": 9.5, "mode": "min"},
]
ENFORCED = clino.Policy(RULES, mode="enforce")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def opened(daemon: FakeDaemon, policy: clino.PolicyLike | None = RULES, **more: Any) -> clino.Run:
    run = begin(daemon.addr, policy=policy, **more)
    until(lambda: run.id is not None)
    return run


def test_a_policy_and_labels_go_with_the_run(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINO_PROJECT", "languages")
    with begin(daemon.addr, policy=RULES, experiment="lr", tags={"lr": 0.1, "who": "me"}):
        pass
    request = daemon.run.request
    assert (request.project, request.experiment, dict(request.tags)) == ("languages", "lr", {"lr": "0.1", "who": "me"})
    assert request.policy.mode == decisions_pb2.POLICY_MODE_ADVISE
    first, second = request.policy.rules
    assert (first.name, first.on, first.parameters["patience"].number) == ("patience", "loss@pooled", 3.0)
    assert (second.name, second.on) == ("threshold", "mean(loss@*)")
    assert (second.parameters["upper"].number, second.parameters["mode"].text) == (9.5, "min")


@pytest.mark.parametrize("policy", [ENFORCED, {"mode": "enforce", "rules": RULES}])
def test_a_policy_can_be_enforced(daemon: FakeDaemon, policy: clino.PolicyLike) -> None:
    with begin(daemon.addr, policy=policy, project="vision"):
        pass
    assert daemon.run.request.policy.mode == decisions_pb2.POLICY_MODE_ENFORCE
    assert len(daemon.run.request.policy.rules) == 2
    assert daemon.run.request.project == "vision"


def test_without_a_policy_nothing_stops(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    with opened(daemon, None) as run:
        run.snapshot(weights(), 0)
        assert not daemon.run.request.HasField("policy")
        for _ in range(3):
            assert not run.should_stop()
            assert run.decision() is None
        assert run.ask_decision() is None
        assert run.override("go on") is None
    none = (
        'the run has no policy: give clino.init one, such as policy=[clino.Rule("patience", "loss@pooled", patience=3)]'
    )
    assert warnings(caplog) == [
        f"clino: there are no decisions: {none}",
        f"clino: the daemon did not decide: {none}",
        f"clino: nothing was overridden: {none}",
    ]
    assert run.warnings == (), "it is nothing of the readings"
    strict = opened(daemon, None, strict=True, resume="another")
    assert not strict.should_stop(), "nothing is raised for asking"
    with pytest.raises(clino.ClinoError, match="the run has no policy: give"):
        strict.ask_decision()
    assert strict.finish()


def test_a_stop_comes_with_the_events(daemon: FakeDaemon) -> None:
    run = opened(daemon)
    assert not run.should_stop()
    daemon.decide("NOT_ENOUGH_DATA")
    until(lambda: run.decision() is not None)
    assert not run.should_stop()
    daemon.decide("CONTINUE")
    daemon.decide("STOP", sentence="loss@pooled has not improved for 3 checks")
    until(run.should_stop)
    decision = run.decision()
    assert decision is not None
    assert (decision.mode, decision.stops, decision.enforced, decision.latched) == ("advise", True, False, True)
    assert decision.staleness is None
    assert run.finish()
    assert run.should_stop(), "what was said last stays to be seen"
    advice = [event.advice for event in run.watch() if isinstance(event, clino.Decision)]
    assert advice == ["not_enough_data", "continue", "stop"]


def test_a_stop_comes_with_a_receipt(daemon: FakeDaemon) -> None:
    run = opened(daemon, delivery="every")
    daemon.decide("STOP", news=False)
    time.sleep(0.1)
    assert not run.should_stop()
    run.snapshot(weights(), 10)
    until(run.should_stop)
    run.readings(wait=10)
    decision = run.decision()
    assert decision is not None
    assert decision.staleness == clino.Staleness(snapshots=0, steps=0)
    assert run.finish()


def test_it_does_not_wait_and_does_not_raise(daemon: FakeDaemon) -> None:
    run = opened(daemon, strict=True)
    daemon.hold.clear()
    run.snapshot(weights(), 0)
    started = time.monotonic()
    for _ in range(1000):
        assert not run.should_stop()
        assert run.decision() is None
    # One that waited for the daemon, which holds everything, would wait for ever.
    assert time.monotonic() - started < 30
    daemon.hold.set()
    assert run.finish()


def test_every_field_comes_through(daemon: FakeDaemon) -> None:
    run = opened(daemon)
    daemon.decide(
        "STOP",
        reason=decisions_pb2.REASON_PATIENCE_EXHAUSTED,
        rule="patience on loss@pooled",
        sentence="no better for 3 checks",
        compared=[decisions_pb2.Compared(name="value", value=1.5), decisions_pb2.Compared(name="best", value=0.5)],
        evaluated=types_pb2.SnapshotRef(step=40, attempt=1),
        best=types_pb2.SnapshotRef(step=10, attempt=2),
        best_value=0.5,
        next_check_step=50,
        peers=["a", "b"],
        peer_count=70,
        history_digest="aa",
        policy_digest="bb",
    )
    decision = run.ask_decision()
    assert decision == clino.Decision(
        id="0",
        run_id=daemon.run.id,
        advice="stop",
        reason="patience_exhausted",
        sentence="no better for 3 checks",
        rule="patience on loss@pooled",
        compared={"value": 1.5, "best": 0.5},
        evaluated=clino.Snapshot(40, 1),
        best=clino.Snapshot(10, 2),
        best_value=0.5,
        next_check_step=50,
        peers=("a", "b"),
        peer_count=70,
        mode="advise",
        latched=True,
        overridden=None,
        staleness=clino.Staleness(snapshots=3, steps=30),
        history_digest="aa",
        policy_digest="bb",
    )
    assert decision.best_step == 10
    assert run.should_stop()
    assert run.finish()


def test_what_a_newer_daemon_says_is_no_stop() -> None:
    unknown = decisions_pb2.Decision.FromString(bytes([3 << 3, 99, 4 << 3, 98]))
    decision = decision_of(unknown)
    assert (decision.advice, decision.reason, decision.stops) == ("continue", "reason_98", False)
    assert (decision.rule, decision.evaluated, decision.best_step) == (None, None, None)
    assert (decision.best_value, decision.next_check_step) == (None, None)


# --- row 2 of the contract: a daemon that cannot be reached stops nobody


def test_a_daemon_that_is_away_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    run = begin("http://127.0.0.1:1", policy=ENFORCED)
    for step in range(20):
        run.snapshot(weights(), step)
        assert not run.should_stop()
        time.sleep(0.01)
    started = time.monotonic()
    assert run.ask_decision(timeout=0.2) is None
    assert run.override("go on") is None
    assert time.monotonic() - started < 20
    run.finish(timeout=1)
    assert not run.should_stop()
    assert len(warnings(caplog)) <= 3


def test_a_stop_is_not_kept_while_the_daemon_is_away_and_is_when_it_is_back(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/d.sock"
    first = FakeDaemon(address)
    run = begin(address, policy=RULES)
    until(lambda: run.id is not None)
    first.decide("STOP")
    until(run.should_stop)
    first.stop()
    until(lambda: not run.should_stop())
    # Tries to reach it, which fail, do not look like answers.
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert not run.should_stop()
        run.snapshot(weights(), 1)
        time.sleep(0.01)
    assert run.decision() is not None
    second = FakeDaemon(address)
    second.runs = first.runs
    until(run.should_stop, 30)
    assert run.finish()
    second.stop()


def test_a_daemon_that_forgot_the_run_forgot_its_decisions(daemon: FakeDaemon) -> None:
    run = opened(daemon)
    daemon.decide("STOP")
    until(run.should_stop)
    daemon.runs.clear()
    run.snapshot(weights(), 1)
    until(lambda: bool(daemon.runs) and bool(daemon.run.received))
    assert not run.should_stop()
    assert run.decision() is None
    assert run.finish()


# --- a STOP that stands, and one that is taken back


def test_a_stop_is_overridden(daemon: FakeDaemon) -> None:
    run = opened(daemon)
    daemon.decide("STOP")
    until(run.should_stop)
    decision = run.override("the probes were wrong")
    assert decision is not None
    assert decision.overridden == clino.Overridden(clino.Snapshot(7, 1), "the probes were wrong", "anybody")
    assert not run.should_stop()
    assert run.finish()


def test_somebody_else_overrides_it(daemon: FakeDaemon) -> None:
    run = opened(daemon)
    daemon.decide("STOP")
    until(run.should_stop)
    daemon.decide("CONTINUE", overridden=decisions_pb2.Overridden(reason="go on", by="operator"))
    until(lambda: not run.should_stop())
    daemon.decide("STOP", overridden=decisions_pb2.Overridden(reason="go on", by="operator"))
    until(run.should_stop)
    assert run.finish()


def test_an_override_of_nothing_is_said(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    run = opened(daemon)
    assert run.override("why not") is None
    assert warnings(caplog) == ["clino: nothing was overridden: run_id: found a run that has not been stopped"]
    assert run.finish()
    strict = begin(daemon.addr, policy=RULES, strict=True)
    daemon.runs.pop(run.id or "")
    with pytest.raises(clino.ClinoError, match="nothing was overridden"):
        strict.override("why not")
    strict.finish()


def test_news_is_newer_than_an_answer_that_it_overtook() -> None:
    def of(advice: decisions_pb2.Advice, number: str, overridden: bool = False) -> clino.Decision:
        message = decisions_pb2.Decision(advice=advice, decision_id=number, run_id="r")
        if overridden:
            message.overridden.reason = "go on"
        return decision_of(message)

    stop, go = decisions_pb2.ADVICE_STOP, decisions_pb2.ADVICE_CONTINUE
    verdict = Verdict()
    mark = verdict.mark()
    verdict.told(of(go, "2"))
    verdict.answered(of(stop, "1"), mark)
    assert verdict.decision == of(go, "2")
    verdict.answered(of(stop, "3"), verdict.mark())
    assert verdict.decision == of(stop, "3")
    verdict.told(of(go, "4", overridden=True))
    verdict.told(of(stop, "3"))
    assert verdict.decision == of(go, "4", overridden=True), "a stream that lags does not bring it back"
    mark = verdict.mark()
    verdict.forget()
    verdict.answered(of(stop, "5"), mark)
    assert verdict.decision is None


# --- a policy that is enforced


def test_an_enforced_stop_is_told_once_and_is_no_trouble(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    run = opened(daemon, ENFORCED)
    daemon.decide("STOP", news=False)
    for step in range(1, 6):
        run.snapshot(weights(), step)
        until(lambda step=step: daemon.run.refused >= step)  # type: ignore[misc]
    until(run.should_stop)
    assert warnings(caplog) == [
        "clino: no more snapshots are taken: run_id: its policy said STOP; override it to go on"
    ]
    assert run.override("go on") is not None
    run.snapshot(weights(), 6)
    until(lambda: bool(daemon.runs) and len(daemon.run.received) == 1)
    assert run.finish()
    assert len(warnings(caplog)) == 1
    assert (run.stats.sent, run.stats.failed) == (1, 5)


def test_strict_users_get_an_enforced_stop_once(daemon: FakeDaemon) -> None:
    run = opened(daemon, ENFORCED, strict=True)
    daemon.decide("STOP")
    run.snapshot(weights(), 1)
    until(lambda: run.stats.failed == 1)
    with pytest.raises(clino.ClinoError, match="policy said STOP"):
        run.snapshot(weights(), 2)
    run.snapshot(weights(), 3)
    until(lambda: run.stats.failed == 2)
    run.snapshot(weights(), 4)
    assert run.finish()


def test_another_refusal_of_an_enforced_run_is_still_trouble(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(number: int, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "attempt: found 1, which is taken")

    run = opened(daemon, ENFORCED)
    daemon.decide("CONTINUE")
    daemon.on_chunk = refuse
    run.snapshot(weights(), 1)
    until(lambda: run.stats.failed == 1)
    assert warnings(caplog) == ["clino: a snapshot was not accepted: attempt: found 1, which is taken"]
    assert not run.should_stop()
    run.finish()


# --- who asks


def test_a_token_goes_with_every_call(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    with clino.init(
        CONFIG, probes(100_000), addr=daemon.addr, token="clino_secret\n", policy=RULES, check=False
    ) as run:
        run.snapshot(weights(), 0)
        until(lambda: bool(run.readings()))
        daemon.decide("STOP")
        run.ask_decision()
        run.override("go on")
    calls = {"OpenRun", "GetRun", "CloseRun", "PutProbe", "PushSnapshot", "Watch", "Decide", "Override"}
    assert set(daemon.metadata) == calls
    for call in calls:
        assert daemon.metadata[call]["authorization"] == "Bearer clino_secret"
        assert daemon.metadata[call]["clino-client-version"] == "0.1.0"
    assert warnings(caplog) == []
    assert "secret" not in repr(run._link.__dict__ if run._link else None)


def test_a_token_of_the_environment_and_of_a_file_that_is_replaced(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("clino_first\n")
    monkeypatch.setenv("CLINO_TOKEN_FILE", str(file))
    run = begin(daemon.addr)
    until(lambda: run.id is not None)
    assert daemon.metadata["OpenRun"]["authorization"] == "Bearer clino_first"
    file.write_text("clino_second\n")
    run.ask_plan()
    assert daemon.metadata["GetRun"]["authorization"] == "Bearer clino_second"
    file.unlink()
    run.ask_plan()
    assert daemon.metadata["GetRun"]["authorization"] == "Bearer clino_second"
    assert run.finish()
    monkeypatch.setenv("CLINO_TOKEN", "clino_third")
    with begin(daemon.addr):
        pass
    assert daemon.metadata["OpenRun"]["authorization"] == "Bearer clino_third"


def test_files_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("CLINO_TOKEN_FILE", "CLINO_CA", "CLINO_CERT", "CLINO_KEY"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
        with pytest.raises(OSError, match="none"):
            begin("http://127.0.0.1:1", strict=True)
        monkeypatch.delenv(variable)
    (tmp_path / "cert").write_text("x")
    monkeypatch.setenv("CLINO_CERT", str(tmp_path / "cert"))
    with pytest.raises(ValueError, match="CLINO_KEY"):
        begin("http://127.0.0.1:1", strict=True)


def test_a_token_in_the_clear_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    run = begin("http://192.0.2.1:7411", token="clino_secret")
    run.finish(timeout=0)
    assert "https://" in warnings(caplog)[0]
    assert "secret" not in caplog.text


def test_a_client_that_may_only_push_ends_in_time(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    def denied(context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "found no access to read")

    daemon.on_watch = denied
    run = opened(daemon)
    run.snapshot(weights(), 0)
    daemon.decide("STOP", news=False)
    run.snapshot(weights(), 1)
    until(run.should_stop)
    started = time.monotonic()
    run.finish()
    assert time.monotonic() - started < 10
    assert warnings(caplog) == ["clino: the daemon does not tell its readings: found no access to read"]


def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run([*command.split(), *names], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl does not make a certificate here")
    own = (key.read_bytes(), cert.read_bytes())
    fake = FakeDaemon(credentials=grpc.ssl_server_credentials([own], cert.read_bytes(), require_client_auth=True))
    for variable, file in {"CLINO_CA": cert, "CLINO_CERT": cert, "CLINO_KEY": key}.items():
        monkeypatch.setenv(variable, str(file))
    with begin(fake.addr, token="clino_secret", strict=True) as run:
        run.snapshot(weights(), 0)
    assert len(fake.run.received) == 1
    assert fake.metadata["OpenRun"]["authorization"] == "Bearer clino_secret"
    fake.stop()


# --- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_is_never_stopped(daemon: FakeDaemon) -> None:
    run = opened(daemon)
    daemon.decide("STOP")
    until(run.should_stop)
    child = os.fork()
    if child == 0:
        quiet = not run.should_stop() and run.decision() is None and run.ask_decision() is None
        os._exit(0 if quiet and run.override("go on") is None else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert run.should_stop()
    assert run.finish()
