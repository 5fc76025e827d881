"""Client of clino: sends the parameters of a training run and receives its generalization measures.

    run = clino.init(model, probes={"en": {...}, "de": {...}}, loss="cross_entropy")
    run.snapshot(model, step=0, init=True)
    ...
    run.snapshot(model, step)
    ...
    run.finish()
    for reading in run.readings(): ...

Flow: `_init` reads the arguments of a run. A torch module is `_described` by its graph, which `_exporting` has made in
a process of its own, with examples of the `_graph_probes`. `_run` (called by the training loop) copies parameters with
`_tensors` into `_slot`. `_sender` takes them from there and talks to the daemon through `_link` and `_daemon`.
`_watcher` writes the results into `_journal`, where `_run` reads them. `_account` counts the outcome of each snapshot;
`_ending` waits for the end of a run. The newest decision is in `_verdict`, where the loop can read it without waiting.
`_model_check` uses `_evaluation` (of a graph `graph._compare`) to compute the losses of a few `_rows` with a live
module; the daemon compares them. `clino.integrations` has callbacks for other trainers. `clino.graph` exports any torch
module as a graph, and needs torch. `clino.v1` has the messages of the protocol.
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
