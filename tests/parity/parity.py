"""Holds clino's rules against Optuna's pruners, on random traces, through the real binary.

    pip install -r tests/parity/requirements.txt
    CLINO_BIN=target/debug/clino python tests/parity/parity.py [--traces 1000] [--rule median] [--seed 1]

Each case is a study of several runs, told to both in the same order: as Optuna's trials are reported and asked about, and as
lines of `clino decide`. The step at which each run is first stopped must be the same. Where it is not, the cause must be one
of those that docs/deciding.md lists, which is shown and not believed:

- nan: the same case without the values that are not finite gives the same steps in both.
- rungs: before or at the difference a run was stopped at a rung while its reading had crossed a further one as well.
- auto: before or at the difference a run was reported before Optuna knew its automatic resource, and so entered on no rung;
  or the resource that it keeps was no longer what it would find anew.

Prints one table; exits with 1 if a difference has no such cause.
"""

import argparse
import inspect
import json
import math
import os
import random
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field

import optuna
from optuna.pruners._successive_halving import _completed_rung_key, _estimate_min_resource
from optuna.trial import TrialState

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.CRITICAL)

NAN = math.nan


@dataclass
class Case:
    name: str
    rule: str
    direction: str
    parameters: dict  # of clino's rule
    pruner: dict  # arguments of Optuna's
    enforce: bool
    runs: int
    told: list  # (run, step, value) in order
    names: list = field(default_factory=list)

    def finite(self):
        told = [line for line in self.told if math.isfinite(line[2])]
        return Case(**{**self.__dict__, "told": told})


# --- traces -------------------------------------------------------------------------------------------------------------


def steps(rng, count):
    """Rising steps: all, or every so many, or with holes."""
    kind = rng.choice(["all", "all", "every", "holes", "sparse"])
    first = rng.choice([0, 0, 1])
    if kind == "every":
        gap = rng.randint(2, 7)
        return [first + gap * i for i in range(count)]
    if kind in ("holes", "sparse"):
        grid = range(first, first + count * (2 if kind == "holes" else 9))
        return sorted(rng.sample(grid, count))
    return [first + i for i in range(count)]


def values(rng, count, ties, nan):
    """A way down or up with noise, or a walk; on a coarse grid where ties are wanted."""
    level, slope, noise = rng.uniform(-1, 3), rng.uniform(-0.15, 0.15), rng.choice([0, 0.05, 0.5])
    out = []
    for i in range(count):
        value = level + slope * i + rng.gauss(0, 1) * noise
        if ties:
            value = round(value * 2) / 2
        if rng.random() < nan:
            value = rng.choice([NAN, NAN, NAN, math.inf, -math.inf])
        out.append(value)
    if nan and rng.random() < 0.1:
        out = [NAN] * count
    return out


def told(rng, runs, longest, ties):
    """Lines in order: runs one after the other, or interleaved."""
    common = steps(rng, longest)
    nan = rng.choice([0, 0, 0, 0.15])
    lines = []
    for run in range(runs):
        count = rng.randint(1, longest)
        own = common[:count] if rng.random() < 0.8 else steps(rng, count)
        lines.append([(run, step, value) for step, value in zip(own, values(rng, count, ties, nan))])
    if rng.random() < 0.5:
        return [line for run in lines for line in run]
    mixed = []
    while any(lines):
        run = rng.choice([run for run in lines if run])
        mixed.append(run.pop(0))
    return mixed


# --- rules: clino's parameters, and those of the pruner -------------------------------------------------------------------


def ranking(rng):
    return {
        "n_startup_trials": rng.choice([0, 1, 2, 3]),
        "n_warmup_steps": rng.choice([0, 0, 1, 4]),
        "interval_steps": rng.choice([1, 1, 2, 5]),
        "n_min_trials": rng.choice([1, 1, 2, 3]),
    }


def median(rng):
    both = ranking(rng)
    return both, both


def percentile(rng):
    both = {"percentile": rng.choice([0.0, 10.0, 25.0, 33.3, 50.0, 75.0, 100.0]), **ranking(rng)}
    return both, both


def successive_halving(rng):
    both = {
        "min_resource": rng.choice([1, 1, 1, 2, 2, 3, 3, 4, 5, "auto"]),
        "reduction_factor": rng.choice([2, 3, 4]),
        "min_early_stopping_rate": rng.choice([0, 0, 1, 2]),
    }
    both["bootstrap_count"] = 0 if both["min_resource"] == "auto" else rng.choice([0, 0, 1, 2])
    return both, both


def hyperband(rng):
    both = {
        "min_resource": rng.choice([1, 1, 2, 3]),
        "max_resource": rng.choice([3, 4, 9, 16, 27, 40, 64, 81, 243, "auto"]),
        "reduction_factor": rng.choice([2, 3, 4]),
    }
    both["bootstrap_count"] = 0 if both["max_resource"] == "auto" else rng.choice([0, 0, 1])
    return {**both, "study": None}, both


def patient(rng):
    both = {"patience": rng.randint(0, 6), "min_delta": rng.choice([0.0, 0.0, 0.1, 0.5, 1.0])}
    return {**both, "counting": "optuna"}, {"wrapped_pruner": None, **both}


def threshold(rng):
    bounds = {"lower": rng.choice([-1.0, 0.0, 0.5]), "upper": rng.choice([1.0, 1.5, 2.5])}
    if rng.random() < 0.5:
        bounds.pop(rng.choice(["lower", "upper"]))
    start, interval = rng.choice([0, 0, 1, 4]), rng.choice([1, 1, 2, 5])
    ours = {**bounds, "start_step": start, "interval_steps": interval}
    return ours, {**bounds, "n_warmup_steps": start, "interval_steps": interval}


def wilcoxon(rng):
    both = {"p_threshold": rng.choice([0.05, 0.1, 0.1, 0.25, 0.5]), "n_startup_steps": rng.choice([0, 2, 2, 5])}
    return {**both, "best_by": rng.choice(["last", "mean"])}, dict(both)


# Name in clino, pruner, parameters, most runs, most values of a run.
RULES = {
    "median": (optuna.pruners.MedianPruner, median, 8, 20),
    "percentile": (optuna.pruners.PercentilePruner, percentile, 8, 20),
    "successive_halving": (optuna.pruners.SuccessiveHalvingPruner, successive_halving, 9, 20),
    "hyperband": (optuna.pruners.HyperbandPruner, hyperband, 9, 20),
    "patience": (optuna.pruners.PatientPruner, patient, 2, 25),
    "threshold": (optuna.pruners.ThresholdPruner, threshold, 2, 25),
    "wilcoxon": (optuna.pruners.WilcoxonPruner, wilcoxon, 5, 25),
}


def cases(rule, count, seed):
    _, parameters, most, longest = RULES[rule]
    for i in range(count):
        rng = random.Random(f"{seed} {rule} {i}")
        ours, theirs = parameters(rng)
        # Some long runs: exact tests end at 50 pairs, and automatic resources begin to move at 200 steps.
        far = rng.random() < 0.05
        runs = rng.randint(1, 3) if far else rng.randint(1, most)
        length = rng.randint(60, 240) if far else rng.randint(1, longest)
        ties = rng.random() < 0.4
        if rule == "wilcoxon" and ties:
            # With ties SciPy goes through all signs of up to 13 pairs, one by one: many seconds. A unit test has those.
            if far or rng.random() < 0.5:
                ours["n_startup_steps"] = theirs["n_startup_steps"] = 14
            else:
                length = min(length, 6)
        name = f"{rule}-{seed}-{i}"
        if "study" in ours:
            ours["study"] = name
        lines = told(rng, runs, length, ties)
        # Hyperband deals by the name; everywhere else the order of names is that of trials.
        names = [str(run) if rule == "hyperband" else f"{run:02}" for run in range(runs)]
        direction = rng.choice(["minimize", "maximize"])
        yield Case(name, rule, direction, ours, theirs, rng.random() < 0.5, runs, lines, names)


# --- Optuna ---------------------------------------------------------------------------------------------------------------


@dataclass
class Told:
    stops: dict
    """Of each run, the step of its first stop."""
    causes: dict
    """Of each documented cause, the first line at which it was there."""


def returned(case, run_values):
    """What a trial's objective returns: the last value, or the mean."""
    good = [value for value in run_values if math.isfinite(value)]
    if not good:
        return None
    if case.parameters.get("best_by") == "mean":
        total = 0.0
        for value in good:
            total += value
        return total / len(good)
    return good[-1]


def optuna_stops(case):
    pruner = RULES[case.rule][0](**case.pruner)
    study = optuna.create_study(
        direction=case.direction, pruner=pruner, study_name=case.name, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    trials = [study.ask() for _ in range(case.runs)]
    last = {run: place for place, (run, _, _) in enumerate(case.told)}
    stops, causes, seen = {}, {}, [[] for _ in trials]
    ended = set()
    for place, (run, step, value) in enumerate(case.told):
        if run in ended:
            continue
        trial = trials[run]
        seen[run].append(value)
        trial.report(value, step)
        prune = trial.should_prune()
        for cause in found_causes(study, pruner, trial, step, prune):
            causes.setdefault(cause, place)
        if prune:
            stops.setdefault(run, (place, step))
            if case.enforce:
                study.tell(trial, state=TrialState.PRUNED)
                ended.add(run)
                continue
        if last[run] == place:
            result = returned(case, seen[run])
            state = TrialState.FAIL if result is None else None
            study.tell(trial, result, state=state)
    return Told(stops, causes)


def found_causes(study, pruner, trial, step, prune):
    """Which of the documented differences there are after this report."""
    if not isinstance(pruner, (optuna.pruners.HyperbandPruner, optuna.pruners.SuccessiveHalvingPruner)):
        return
    halving, trials = pruner, study.get_trials(deepcopy=False)
    if isinstance(pruner, optuna.pruners.HyperbandPruner):
        lasts = [t.last_step for t in trials if t.state == TrialState.COMPLETE and t.last_step is not None]
        kept, anew = pruner._max_resource, max(lasts, default=-1) + 1
        known = bool(pruner._pruners)
    else:
        kept, anew = pruner._min_resource, _estimate_min_resource(trials)
        known = kept is not None
    if pruner.was_auto and (not known or kept != anew):
        yield "auto"
    if not prune:
        return
    if isinstance(pruner, optuna.pruners.HyperbandPruner):
        halving = pruner._pruners[pruner._get_bracket_id(study, trial)]
    attrs = study._storage.get_trial_system_attrs(trial._trial_id)
    rung = 0
    while _completed_rung_key(rung) in attrs:
        rung += 1
    further = halving._min_resource * halving._reduction_factor ** (halving._min_early_stopping_rate + rung)
    if step >= further:
        yield "rungs"


# --- clino ----------------------------------------------------------------------------------------------------------------


def word(value):
    return value if math.isfinite(value) else str(value)


def clino_stops(binary, all_cases):
    lines = []
    for case in all_cases:
        parameters = {**case.parameters, "mode": case.direction[:3]}
        rule = {"name": case.rule, "on": "value", "parameters": parameters}
        mode = "enforce" if case.enforce else "advise"
        lines.append(json.dumps({"case": case.name, "policy": {"mode": mode, "rules": [rule]}}))
        for run, step, value in case.told:
            lines.append(json.dumps({"run": case.names[run], "step": step, "value": word(value)}))
    done = subprocess.run(
        [binary, "decide", "--format", "json"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"clino decide: {done.stderr}")
    stops = {case.name: {} for case in all_cases}
    by_name = {case.name: case for case in all_cases}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        case = by_name[answer["case"]]
        if answer["stop"] is not None:
            stops[case.name][case.names.index(answer["run"])] = answer["stop"]["evaluated"]["step"]
    return stops


# --- the comparison -------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    traces: int = 0
    runs: int = 0
    stopped: int = 0
    same: int = 0
    nan: int = 0
    rungs: int = 0
    auto: int = 0
    unexplained: list = field(default_factory=list)


def differ(case, theirs, ours):
    """Runs whose steps differ, and the first line at which any does."""
    wrong = [run for run in range(case.runs) if theirs.get(run, (0, None))[1] != ours.get(run)]
    places = {(run, step): place for place, (run, step, _) in reversed(list(enumerate(case.told)))}
    lines = [place for run in wrong for place, _ in [theirs.get(run, (math.inf, None))]]
    lines += [places[run, ours[run]] for run in wrong if run in ours]
    return wrong, min(lines, default=math.inf)


def cause(case, theirs, ours):
    """Why a case without NaN differs, if it is documented; None if not."""
    _, first = differ(case, theirs.stops, ours)
    for name in ("rungs", "auto"):
        if theirs.causes.get(name, math.inf) <= first:
            return name
    return None


def compare(binary, rule, count, seed):
    row = Row()
    every = list(cases(rule, count, seed))
    clean = [case.finite() for case in every]
    ours, ours_clean = clino_stops(binary, every), clino_stops(binary, clean)
    for case, without in zip(every, clean):
        theirs = optuna_stops(case)
        row.traces += 1
        row.runs += case.runs
        row.stopped += len(theirs.stops)
        wrong, _ = differ(case, theirs.stops, ours[case.name])
        row.same += case.runs - len(wrong)
        has_nan = len(case.told) != len(without.told)
        theirs_clean = optuna_stops(without) if has_nan else theirs
        wrong_clean, _ = differ(without, theirs_clean.stops, ours_clean[case.name])
        if wrong_clean:
            name = cause(without, theirs_clean, ours_clean[case.name])
            if name is None:
                row.unexplained.append(case.name)
                continue
            if wrong:
                setattr(row, name, getattr(row, name) + len(wrong))
        elif wrong:
            if not has_nan:
                row.unexplained.append(case.name)
            row.nan += len(wrong)
    return row


# Parameters of Optuna's that have another name here, or none.
RENAMED = {("threshold", "n_warmup_steps"): "start_step", ("patience", "wrapped_pruner"): None}


def other_defaults(binary):
    """Parameters of Optuna's pruners that clino's rule does not have by that name, or has with another default."""
    listed = subprocess.run([binary, "rules", "--format", "json"], capture_output=True, text=True, check=True)
    rules = {rule["name"]: {each["name"]: each["default"] for each in rule["parameters"]} for rule in json.loads(listed.stdout)}
    for rule, (pruner, *_) in RULES.items():
        for name, parameter in inspect.signature(pruner).parameters.items():
            here = RENAMED.get((rule, name), name)
            theirs = parameter.default
            if here is None or theirs is inspect.Parameter.empty and here in rules[rule]:
                continue
            ours = rules[rule].get(here, "none of that name")
            if ours != ("none" if theirs is None else theirs):
                yield f"{rule}: {name} is {theirs} in Optuna, {ours} here"


def prepare():
    """Optuna writes what it finds over "auto": this remembers that it was so. And of trials that are equally good its
    memory takes the first that ended, its files that with the lowest number, as clino takes the lowest id: so the latter."""
    optuna.storages.InMemoryStorage.get_best_trial = optuna.storages.BaseStorage.get_best_trial
    for pruner, name in ((optuna.pruners.HyperbandPruner, "max_resource"), (optuna.pruners.SuccessiveHalvingPruner, "min_resource")):
        made = pruner.__init__

        def init(self, *args, made=made, name=name, **kwargs):
            made(self, *args, **kwargs)
            self.was_auto = kwargs.get(name, "auto") == "auto"

        pruner.__init__ = init


def main():
    parser = argparse.ArgumentParser(description="clino's rules against Optuna's pruners")
    parser.add_argument("--traces", type=int, default=1000, help="of each rule")
    parser.add_argument("--rule", choices=RULES, help="one rule only")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    binary = os.environ.get("CLINO_BIN", "target/debug/clino")
    differing = list(other_defaults(binary))
    prepare()
    began = time.monotonic()
    print(f"Optuna {optuna.__version__}, seed {asked.seed}\n")
    print("| rule | Optuna | traces | runs | stopped | same stop step | differ: nan | rungs | auto | unexplained |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    failed = bool(differing)
    for rule in [asked.rule] if asked.rule else RULES:
        row = compare(binary, rule, asked.traces, asked.seed)
        theirs = RULES[rule][0].__name__
        same = f"{row.same} ({100 * row.same / row.runs:.1f} %)"
        counts = [row.traces, row.runs, row.stopped, same, row.nan, row.rungs, row.auto, len(row.unexplained)]
        print(f"| `{rule}` | `{theirs}` |", " | ".join(map(str, counts)), "|", flush=True)
        if row.unexplained:
            failed = True
            print(f"unexplained: {', '.join(row.unexplained[:10])}", file=sys.stderr)
    print("\nNames and defaults:", "; ".join(differing) or "as Optuna's signatures have them")
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
