"""A forked child, as a data loader makes them, is left alone and leaves the parent alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fake import FakeDaemon
from support import CONFIG

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

START = f"""
import os, sys, numpy, clino
run = clino.init({CONFIG!r}, {{"en": {{"inputs": [[0.0] * 4], "labels": [0]}}}}, addr=sys.argv[1])
run.snapshot({{"w": numpy.ones(1 << 20)}}, 0, init=True)
"""

FORKS = """
for step in range(1, 21):
    run.snapshot({"w": numpy.ones(1 << 20)}, step)
    run.ask_plan()
    child = os.fork()
    if child == 0:
        run.snapshot({"w": numpy.ones(3)}, 1000)
        assert run.readings(wait=5) == []
        assert list(run.watch()) == []
        assert run.ask_plan() == run.plan
        assert not run.finish()
        if step % 2:
            sys.exit(7)
        os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, status
assert run.finish(), "the parent's run is whole"
assert run.stats.sent + run.stats.replaced == 21, run.stats
"""

LOADER = """
import torch
class Data(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, i): return torch.full((3,), float(i))
for epoch in range(3):
    loader = torch.utils.data.DataLoader(Data(), batch_size=8, num_workers=2, multiprocessing_context="fork")
    for step, batch in enumerate(loader):
        run.snapshot({"w": batch}, 10 * epoch + step + 1)
assert run.finish()
"""


def go(daemon: FakeDaemon, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START + code, daemon.addr], timeout=120, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert max(one.begin.step for one in daemon.run.received) < 1000
    assert daemon.run.closed


def test_children_are_inert_and_end(daemon: FakeDaemon) -> None:
    go(daemon, FORKS)


def test_a_data_loader_forks_beside_a_run(daemon: FakeDaemon) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    go(daemon, LOADER)
