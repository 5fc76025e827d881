"""Turns the arguments of a user into a run that has begun.

Owns: the arguments of `clino.init`. May not touch: what the loop calls afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, SupportsIndex

from clino import _arguments, _config, _probes, _request
from clino._policy import PolicyLike, policy_of
from clino._request import MeasureLike
from clino._run import Run, inert
from clino._settings import Mode, Settings, check_of, mode_of
from clino.v1 import runs_pb2

if TYPE_CHECKING:
    from clino._described import Described


def refused(check: Callable[[], object], strict: bool) -> Run | None:
    """Run `check`. If it raises, report the error and return a failed run; otherwise return None."""
    run = inert(strict)

    def go() -> None:
        check()

    run.guarded(go)
    return run if run.error is not None else None


def _model_of(model: object, config: object, loss: object, space: str) -> tuple[Described | None, str]:
    """The module that is measured as a graph, or the text of a configuration."""
    if model is not None and config is not None:
        raise TypeError("config: found it beside model, expected one of them: both are the first argument")
    given = config if model is None else model
    module = _config.module_of(given)
    if module is not None:
        from clino._described import Described  # imports torch, which is there

        return Described(module, loss, space), ""
    for field, found, default in (("loss", loss, None), ("space", space, "adapter")):
        if found is not default and found != default:
            raise ValueError(
                f"{field}: found {found!r:.80} beside a configuration, which has its own: leave it out, or give the "
                "torch module in the place of the configuration"
            )
    return None, _config.text_of(given)


@_arguments.names_checked
def init(
    model: object = None,
    probes: object = None,
    measures: str | Iterable[MeasureLike] | None = None,
    *,
    config: object = None,
    loss: object = None,
    space: Literal["adapter", "merged"] = "adapter",
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

    `model` is the torch module that is trained. A process of its own exports its forward as a graph, while the training
    begins. `loss` is what `clino.graph.export` takes: a name ("cross_entropy", "causal_lm", "mse", ...), a loss of
    torch.nn, or a function of (outputs, labels); None means the loss of the Hugging Face head, or what the output's
    shape suggests. `space` says for PEFT adapters what is perturbed. If the model cannot be exported, a warning says
    where and why, and only measures of the weights work; the same without `probes`. `model` (`config` is the same) may
    also be a configuration that the daemon knows: a mapping, the path or text of a Hugging Face config.json, or a
    config object.

    `probes` maps the names of groups, such as languages, to examples: columns by the names of the arguments of
    `forward`, and `labels` (of a configuration: `input_ids`, `attention_mask`, optional `token_type_ids` and `labels`;
    for an mlp `inputs` and `labels`). Each group is a mapping of columns, a Hugging Face encoding or data set, a data
    frame, a tuple (x, y), or a list of rows. You can give a single group without a name; it is then called "probe".
    Columns are tensors, arrays or lists. Lists of tokens of different lengths are padded on the right with the
    configuration's padding, and a missing mask is created; labels of tokens are padded with the loss's `ignore_index`.

    `measures` are names, names with parameters as on the command line
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
    compared what it says with the graph or configuration. If they differ, there are no readings, and an error says so.
    If the model cannot be evaluated (a mapping never can), `run.warnings` says why. `check=False` (or CLINO_CHECK=0)
    turns this check off. The check changes neither the module nor random states.

    Returns immediately, connects in the background, and raises nothing. With `strict=True` it waits for the daemon's
    answer, and every problem is raised, either here or by the next call on the run.
    """
    run = Run(strict)

    def start() -> None:
        if mode_of(mode) == "disabled":
            return
        described, config_json = _model_of(model, config, loss, space)
        groups, remarks = _probes.groups(probes, config_json) if described is None else described.groups(probes)
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
        settings, compares = Settings.of(addr, token), check_of(check)
        if described is not None:
            described.begin(groups)
        run.start(settings, request, compares, described)

    run.prepare(start)
    return run
