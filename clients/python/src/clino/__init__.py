"""Client of clino: streams a training run's parameters out and its generalization measures back.

    run = clino.init(config, probes={"en": {...}, "de": {...}})
    run.snapshot(model, step=0, init=True)
    ...
    run.snapshot(model, step)
    ...
    run.finish()
    for reading in run.readings(): ...

Flow: `_init` takes what a user says of a run. `_run` (the loop's side) copies by `_tensors` into `_slot`; `_sender`
takes from there and speaks through `_link` and `_daemon`; `_watcher` writes what comes back into `_journal`, from where
`_run` reads it. `_account` counts what became of snapshots, `_ending` waits for the end of a run. The newest decision
lies in `_verdict`, where the loop finds it without waiting. `_model_check` lets `_evaluation` ask a live module for the
losses of a few `_rows`, which the daemon compares. `clino.integrations` is for trainers of others. `clino.v1` holds the
messages of the protocol.
"""

from clino import _quiet as _quiet  # before anything imports grpc
from clino._access import VERSION
from clino._decisions import Decision, Overridden, Snapshot, Staleness
from clino._init import init
from clino._notices import ClinoError
from clino._policy import Policy, PolicyLike, Rule, RuleLike
from clino._readings import (
    Event,
    Gap,
    Interval,
    ModelChecked,
    Quadrature,
    Reading,
    Rung,
    SnapshotFinished,
    SnapshotSkipped,
    Surface,
)
from clino._request import MeasureLike
from clino._run import Run, Status
from clino._summary import Stats
from clino._work import Planned, Work

__version__ = VERSION

__all__ = [
    "ClinoError",
    "Decision",
    "Event",
    "Gap",
    "Interval",
    "MeasureLike",
    "ModelChecked",
    "Overridden",
    "Planned",
    "Policy",
    "PolicyLike",
    "Quadrature",
    "Reading",
    "Rule",
    "RuleLike",
    "Run",
    "Rung",
    "Snapshot",
    "SnapshotFinished",
    "SnapshotSkipped",
    "Staleness",
    "Stats",
    "Status",
    "Surface",
    "Work",
    "__version__",
    "init",
]
