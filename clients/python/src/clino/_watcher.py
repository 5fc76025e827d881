"""Follows the run's events from a thread of its own and writes them down.

Owns: the place in the stream, across reconnects. May not touch: the trainer's thread, the slot.
"""

from __future__ import annotations

import grpc

from clino._daemon import Trouble, describe, trouble
from clino._decisions import Decision
from clino._journal import Journal
from clino._link import Link
from clino._notices import LOG, Notices
from clino._readings import ModelChecked, SnapshotFinished, event_of
from clino._sender import FIRST_PAUSE, LONGEST_PAUSE, Sender
from clino._text import kind
from clino.v1 import reports_pb2

PLAN_TIMEOUT = 5.0


class Watcher:
    """One thread, ended by the run's last event or by stopping the link."""

    def __init__(self, link: Link, journal: Journal, sender: Sender, notices: Notices) -> None:
        self._link, self._journal, self._sender, self._notices = link, journal, sender, notices
        self._next = 0
        self._pause = FIRST_PAUSE
        # Whether the stream is broken; and whether the daemon does not let this client read.
        self.away = False
        self.refused = False
        # Why the daemon was not reached, while the stream is broken.
        self.absence: str | None = None
        self.saw_end = False
        # Whether the newest event closed the run: the last one, unless a trainer went on with it.
        self._closed = False
        # Up to here events are older than this process, and so are their decisions.
        self._older = 0

    def run(self) -> None:
        """Be the thread."""
        try:
            watched = None
            while not self.saw_end and (run_id := self._link.wait_open()) is not None:
                if run_id != watched:
                    watched, self._next = run_id, 0
                    self._closed = False
                self._follow(run_id)
                if not self.saw_end:
                    self._link.pause(self._pause)
                    self._pause = min(2 * self._pause, LONGEST_PAUSE)
        except Exception as error:  # as for the sender
            if not self._link.stopped:
                self._notices.fail("watcher", f"clino stopped reading: {error!r}")
        finally:
            self._journal.end()

    def _follow(self, run_id: str) -> None:
        """Read one stream to its end, whatever ends it."""
        call = None
        try:
            if self.away:
                # A stream says nothing until there is news: only an answer tells that the daemon is back.
                there = self._link.renew_plan(run_id, PLAN_TIMEOUT)
                # One that crashed may have lost its last events, and counts on from there.
                self._next = min(self._next, there)
                self.away, self.absence = False, None
            elif self._link.resumed and self._next == 0:
                # What its policy said in the past may have been taken back since.
                self._older = self._link.renew_plan(run_id, PLAN_TIMEOUT)
            call = self._link.daemon().watch(run_id, self._next)
            self._link.begin(call)
            for message in call:
                self._pause = FIRST_PAUSE
                self._next = message.sequence + 1
                self._take(message)
            if self._closed:
                self.saw_end = True
                self._renew_plan(run_id)
        except grpc.RpcError as error:
            self._broken(run_id, error)
        finally:
            if call is not None:
                self._link.end(call)

    def _take(self, message: reports_pb2.WatchResponse) -> None:
        self._closed = message.HasField("closed")
        event = event_of(message)
        if isinstance(event, Decision) and message.sequence >= self._older:
            self._link.verdict.told(event)
        if isinstance(event, ModelChecked) and not event.agrees:
            self._notices.fail("check", f"clino: {event.sentence}")
        mine = message.sequence >= self._older
        if event is not None:
            self._journal.add(event, mine)
        if isinstance(event, SnapshotFinished) and mine:
            self._look_for_values(event)

    def _look_for_values(self, event: SnapshotFinished) -> None:
        """Say once for each kind of reason that a snapshot was measured and has no value."""
        reason = self._journal.without_value((event.step, event.attempt))
        if reason is not None:
            # Which of the parameters it is differs from step to step.
            sort = kind(reason).partition(",")[0]
            self._notices.remark(f"step {event.step}: no reading has a value: {reason}", f"valueless {sort}")

    def _broken(self, run_id: str, error: grpc.RpcError) -> None:
        LOG.debug("clino: watching: %s", describe(error))
        found = trouble(error)
        self.away = found is Trouble.AWAY and not self._link.stopped
        self.absence = self._link.absence(error) if self.away else None
        self.refused = found is Trouble.REFUSED
        if found is Trouble.LOST:
            self._sender.lost(run_id)
        elif self.refused:
            self._notices.tell_once("watch", f"clino: the daemon does not tell its readings: {describe(error)}")

    def _renew_plan(self, run_id: str) -> None:
        """Leave the plan as the last snapshot made it: after the run nobody can ask any more."""
        try:
            self._link.renew_plan(run_id, PLAN_TIMEOUT)
        except grpc.RpcError as error:
            LOG.debug("clino: the last plan: %s", describe(error))
