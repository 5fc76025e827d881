"""When a run should stop, as a user says it.

Owns: the accepted forms of policies. May not touch: what a rule means; which rules there are, the daemon knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clino._arguments import found_of, shown
from clino._decisions import PolicyMode
from clino._request import value_of
from clino.v1 import decisions_pb2

# As a sentence shows a policy.
EXAMPLE = '[clino.Rule("patience", "loss@pooled", patience=3)]'
NO_POLICY = f"the run has no policy: give clino.init one, such as policy={EXAMPLE}"

_MODES = {"advise": decisions_pb2.POLICY_MODE_ADVISE, "enforce": decisions_pb2.POLICY_MODE_ENFORCE}


@dataclass(frozen=True, init=False, slots=True)
class Rule:
    """A rule by name, on a reading such as loss@de, margin@pooled or mean(loss@*), with its parameters."""

    name: str
    on: str
    parameters: Mapping[str, object]

    def __init__(self, name: str, on: str, **parameters: object) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "on", on)
        object.__setattr__(self, "parameters", parameters)


RuleLike = Rule | Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, of which the first that says so stops the run.

    With `mode` "advise" that is said, and nothing more. With "enforce" the daemon takes no more snapshots of the run
    after a STOP, and integrations end the training.
    """

    rules: Sequence[RuleLike]
    mode: PolicyMode = "advise"


PolicyLike = Policy | Mapping[str, object] | Sequence[RuleLike]


def policy_of(wanted: PolicyLike | None) -> decisions_pb2.Policy | None:
    """Take a policy, a mapping of its `rules` and `mode`, or a list of its rules; None is none."""
    if wanted is None:
        return None
    policy = _policy(wanted)
    if not isinstance(policy.mode, str) or policy.mode not in _MODES:
        raise ValueError(f"policy.mode: found {found_of(policy.mode, _MODES)}, expected one of {', '.join(_MODES)}")
    if isinstance(policy.rules, (str, Mapping, Rule)) or not isinstance(policy.rules, Sequence):
        raise TypeError(f"policy: found {shown(policy.rules)}, expected a list of rules: give {EXAMPLE}")
    rules = [_rule(f"policy.rules[{index}]", rule) for index, rule in enumerate(policy.rules)]
    return decisions_pb2.Policy(mode=_MODES[policy.mode], rules=rules)


def _policy(wanted: PolicyLike) -> Policy:
    if isinstance(wanted, Policy):
        return wanted
    if isinstance(wanted, Mapping):
        unknown = next((str(key) for key in wanted if key not in ("rules", "mode")), None)
        if unknown is not None or "rules" not in wanted:
            found = "no rules" if unknown is None else f"{unknown!r}"
            raise ValueError(f"policy: found {found}, expected rules and mode: give {{'rules': {EXAMPLE}}}")
        return Policy(**{str(key): value for key, value in wanted.items()})  # type: ignore[arg-type]
    return Policy(wanted)


def _rule(field: str, rule: RuleLike) -> decisions_pb2.Rule:
    if isinstance(rule, Mapping):
        rest = {str(key): value for key, value in rule.items() if key not in ("name", "on")}
        name, on, parameters = rule.get("name"), rule.get("on"), rest
    elif isinstance(rule, Rule):
        name, on, parameters = rule.name, rule.on, dict(rule.parameters)
    else:
        raise TypeError(f"{field}: found {shown(rule)}, expected a clino.Rule or a mapping: give {EXAMPLE}")
    if not isinstance(name, str) or not isinstance(on, str):
        missing = "name" if not isinstance(name, str) else "on"
        raise ValueError(f"{field}: found no {missing}, expected a name and what it is on: give {EXAMPLE}")
    values = {key: value_of(f"{field}.{key}", value) for key, value in parameters.items()}
    return decisions_pb2.Rule(name=name, on=on, parameters=values)
