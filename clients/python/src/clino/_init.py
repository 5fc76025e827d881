"""Turns the arguments of a user into a run that has begun.

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
    """Run `check`. If it raises, report the error and return a failed run; otherwise return None."""
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
    """Begin a run: the model that is trained, the probes to measure it on, and the measures.

    `config` is a mapping, the path or text of a Hugging Face config.json, or a config object. `probes` maps the names
    of groups, such as languages, to `input_ids`, `attention_mask`, optional `token_type_ids` and `labels` (for an mlp:
    `inputs` and `labels`). Each group is a mapping of these columns, a Hugging Face encoding or data set, a data frame,
    a pair (x, y), or a list of rows. You can give a single group without a name; it is then called "probe". Columns are
    tensors, arrays or lists. Lists of different lengths are padded on the right with the configuration's padding, and a
    missing mask is created. `measures` are names, names with parameters as on the command line
    ("sharpness:alpha=0.002,draws=4"), or mappings of a `name` and parameters; None means the daemon's default set.
    `budget` is the time that a snapshot may take, in seconds: measures run from the cheapest to the most expensive, and
    those that do not fit are reported as skipped. With `gpu_only`, the CPU never takes the place of a GPU.

    `policy` says when the run should stop. It is a list of rules, or a `clino.Policy`, which can also be enforced. Each
    rule is a `clino.Rule` or a mapping of a `name`, the subject `on` and parameters. `project` (else CLINO_PROJECT) is
    the project that owns the run, `experiment` groups the runs that are compared, and `tags` are names and texts for
    finding the run.

    `resume` (else CLINO_RUN_ID) continues the run of a trainer that ended. Give a key of your own (if no run has this
    key, a new one begins), or the `key` or `id` of a run. Use the same key from the first start on: a run that was
    opened only with `name` cannot be continued by that name. All other arguments must be the same; name and tags do not
    change. The run keeps its first initialization and its policy, and repeated steps become further attempts.

    `addr` (else CLINO_ADDR, else the default socket of this user's `clino serve`) is http://HOST:PORT,
    https://HOST:PORT or unix:///PATH. `token` (else CLINO_TOKEN, else the content of the file CLINO_TOKEN_FILE) is sent
    to it. `mode` (else CLINO_MODE) may be "disabled", which makes every call a no-op: use it on all ranks except one.

    A torch module given to `snapshot` is evaluated on a few rows of the first probe group, until the daemon has
    compared its losses with those of the configuration. If they differ, there are no readings, and an error says so. If
    the model cannot be evaluated (a mapping never can), `run.warnings` says why. `check=False` (or CLINO_CHECK=0) turns
    this check off. The check changes neither the module nor random states.

    Returns immediately, connects in the background, and raises nothing. With `strict=True` it waits for the daemon's
    answer, and every problem is raised, either here or by the next call on the run.
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
