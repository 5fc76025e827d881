"""From what a user says of a run to a run that has begun.

Owns: the arguments of `clino.init`. May not touch: what the loop calls afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, SupportsIndex

from clino import _arguments, _config, _probes, _request
from clino._policy import PolicyLike, policy_of
from clino._request import MeasureLike
from clino._run import Run, inert
from clino._settings import Mode, Settings, check_of, mode_of
from clino.v1 import runs_pb2


def refused(check: Callable[[], object], strict: bool) -> Run | None:
    """Run `check`; what it raises is told, and makes a run that has failed."""
    run = inert(strict)

    def go() -> None:
        check()

    run.guarded(go)
    return run if run.error is not None else None


@_arguments.names_checked
def init(
    config: object,
    probes: object,
    measures: str | Iterable[MeasureLike] | None = None,
    *,
    seed: SupportsIndex = 0,
    name: str | None = None,
    resume: str | None = None,
    project: str | None = None,
    experiment: str | None = None,
    tags: Mapping[str, object] | None = None,
    policy: PolicyLike | None = None,
    addr: str | None = None,
    token: str | None = None,
    mode: Mode | None = None,
    delivery: Literal["latest", "every"] = "latest",
    precision: Literal["auto", "f32", "f64"] = "auto",
    budget: float | None = None,
    gpu_only: bool = False,
    strict: bool = False,
    check: bool | None = None,
) -> Run:
    """Begin a run: what is trained, on what it is probed, what is measured.

    `config` is a mapping, the path or text of a Hugging Face config.json, or a config object. `probes` maps names of
    groups, such as languages, to `input_ids`, `attention_mask`, optional `token_type_ids` and `labels` (for an mlp:
    `inputs` and `labels`): a mapping of them, an encoding or a data set of Hugging Face, a data frame, a pair (x, y),
    or a list of rows. A single group may be given without a name, and is called "probe" then. Columns are tensors,
    arrays or lists; lists of different lengths are filled up on the right with the configuration's padding, and a mask
    that is missing is made. `measures` are names, names with parameters as on the command line
    ("sharpness:alpha=0.002,draws=4"), or mappings of a `name` and parameters; None is the daemon's default set.
    `budget` is how many seconds a snapshot may take: measures go from the cheapest to the dearest, and what does not
    fit comes back as skipped. With `gpu_only` nothing is measured on a CPU in a GPU's place.

    `policy` says when the run should stop: a list of rules, each a `clino.Rule` or a mapping of a `name`, what it is
    `on` and parameters, or a `clino.Policy` of them that is to be enforced. `project` (else CLINO_PROJECT) is whose
    the run is, `experiment` which runs it is compared with, `tags` names and texts to find it by.

    `resume` (else CLINO_RUN_ID) goes on with a run of a trainer that ended: a key of your own, under which a run begins
    where there is none, or the `key` or `id` of a run. Give the same key from the first start on: a run that was opened
    with `name` alone is not gone on with by that name. It must be opened with the same content; name and tags stay as
    they were. The first initialization is kept, its policy goes on, and steps that come again are further attempts.

    `addr` (else CLINO_ADDR, else the socket at which this user's `clino serve` listens by default) is
    http://HOST:PORT, https://HOST:PORT or unix:///PATH, and `token` (else CLINO_TOKEN, else what the file
    CLINO_TOKEN_FILE holds) is shown there. `mode` (else CLINO_MODE)
    may be "disabled", which makes every call a no-op: give it on all ranks but one.

    A torch module that is given to `snapshot` is evaluated on a few rows of the first probe group, until the daemon has
    compared its losses with those of the configuration: where they differ there are no readings, and an error says so;
    where it cannot be evaluated, as a mapping never can, `run.warnings` says why.
    With `check=False` (or CLINO_CHECK=0) that is left out. Nothing of the module or of random states is changed by it.

    Returns at once, connecting in the background, and raises nothing. With `strict=True` it waits for the
    daemon's word, and every trouble is raised: here, or by the next call on the run.
    """
    run = Run(strict)

    def start() -> None:
        if mode_of(mode) == "disabled":
            return
        config_json = _config.text_of(config)
        groups, remarks = _probes.groups(probes, config_json)
        for remark in remarks:
            run.remark(remark)
        wanted = resume or os.environ.get("CLINO_RUN_ID") or ""
        request = runs_pb2.OpenRunRequest(
            idempotency_key=_request.key(wanted),
            resume=bool(wanted),
            name=_arguments.text("name", name),
            config_json=config_json,
            groups=groups,
            measures=_request.measures(measures),
            seed=_arguments.whole("seed", seed, _arguments.MOST_64, _arguments.SEED_ADVICE),
            delivery=_request.delivery(delivery),
            precision=_request.precision(precision),
            budget_seconds=_request.budget(budget),
            gpu_only=_arguments.flag("gpu_only", gpu_only),
            project=_arguments.text("project", project) or os.environ.get("CLINO_PROJECT", ""),
            experiment=_arguments.text("experiment", experiment),
            tags=_request.tags(tags),
            policy=policy_of(policy),
        )
        run.start(Settings.of(addr, token), request, check_of(check))

    run.prepare(start)
    return run
