from clino.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PolicyMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_MODE_UNSPECIFIED: _ClassVar[PolicyMode]
    POLICY_MODE_ADVISE: _ClassVar[PolicyMode]
    POLICY_MODE_ENFORCE: _ClassVar[PolicyMode]

class Advice(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADVICE_UNSPECIFIED: _ClassVar[Advice]
    ADVICE_CONTINUE: _ClassVar[Advice]
    ADVICE_STOP: _ClassVar[Advice]
    ADVICE_NOT_ENOUGH_DATA: _ClassVar[Advice]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_NO_RULE_FIRED: _ClassVar[Reason]
    REASON_WARMING_UP: _ClassVar[Reason]
    REASON_THRESHOLD_CROSSED: _ClassVar[Reason]
    REASON_PATIENCE_EXHAUSTED: _ClassVar[Reason]
    REASON_DIVERGED: _ClassVar[Reason]
    REASON_PLATEAU: _ClassVar[Reason]
    REASON_TREND_REVERSED: _ClassVar[Reason]
    REASON_NON_FINITE: _ClassVar[Reason]
    REASON_WORSE_THAN_MEDIAN: _ClassVar[Reason]
    REASON_BELOW_PERCENTILE: _ClassVar[Reason]
    REASON_NOT_PROMOTED: _ClassVar[Reason]
    REASON_SIGNIFICANTLY_WORSE: _ClassVar[Reason]
POLICY_MODE_UNSPECIFIED: PolicyMode
POLICY_MODE_ADVISE: PolicyMode
POLICY_MODE_ENFORCE: PolicyMode
ADVICE_UNSPECIFIED: Advice
ADVICE_CONTINUE: Advice
ADVICE_STOP: Advice
ADVICE_NOT_ENOUGH_DATA: Advice
REASON_UNSPECIFIED: Reason
REASON_NO_RULE_FIRED: Reason
REASON_WARMING_UP: Reason
REASON_THRESHOLD_CROSSED: Reason
REASON_PATIENCE_EXHAUSTED: Reason
REASON_DIVERGED: Reason
REASON_PLATEAU: Reason
REASON_TREND_REVERSED: Reason
REASON_NON_FINITE: Reason
REASON_WORSE_THAN_MEDIAN: Reason
REASON_BELOW_PERCENTILE: Reason
REASON_NOT_PROMOTED: Reason
REASON_SIGNIFICANTLY_WORSE: Reason

class Policy(_message.Message):
    __slots__ = ("mode", "rules")
    MODE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    mode: PolicyMode
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    def __init__(self, mode: _Optional[_Union[PolicyMode, str]] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("name", "on", "parameters")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.Value, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    on: str
    parameters: _containers.MessageMap[str, _types_pb2.Value]
    def __init__(self, name: _Optional[str] = ..., on: _Optional[str] = ..., parameters: _Optional[_Mapping[str, _types_pb2.Value]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("decision_id", "run_id", "advice", "reason", "rule", "sentence", "compared", "evaluated", "best", "best_value", "next_check_step", "peers", "peer_count", "mode", "latched", "overridden", "history_digest", "policy_digest")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    BEST_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEXT_CHECK_STEP_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    PEER_COUNT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LATCHED_FIELD_NUMBER: _ClassVar[int]
    OVERRIDDEN_FIELD_NUMBER: _ClassVar[int]
    HISTORY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    run_id: str
    advice: Advice
    reason: Reason
    rule: str
    sentence: str
    compared: _containers.RepeatedCompositeFieldContainer[Compared]
    evaluated: _types_pb2.SnapshotRef
    best: _types_pb2.SnapshotRef
    best_value: float
    next_check_step: int
    peers: _containers.RepeatedScalarFieldContainer[str]
    peer_count: int
    mode: PolicyMode
    latched: bool
    overridden: Overridden
    history_digest: str
    policy_digest: str
    def __init__(self, decision_id: _Optional[str] = ..., run_id: _Optional[str] = ..., advice: _Optional[_Union[Advice, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., rule: _Optional[str] = ..., sentence: _Optional[str] = ..., compared: _Optional[_Iterable[_Union[Compared, _Mapping]]] = ..., evaluated: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., best: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., best_value: _Optional[float] = ..., next_check_step: _Optional[int] = ..., peers: _Optional[_Iterable[str]] = ..., peer_count: _Optional[int] = ..., mode: _Optional[_Union[PolicyMode, str]] = ..., latched: bool = ..., overridden: _Optional[_Union[Overridden, _Mapping]] = ..., history_digest: _Optional[str] = ..., policy_digest: _Optional[str] = ...) -> None: ...

class Compared(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class Overridden(_message.Message):
    __slots__ = ("at", "reason", "by")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    at: _types_pb2.SnapshotRef
    reason: str
    by: str
    def __init__(self, at: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., reason: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class Staleness(_message.Message):
    __slots__ = ("snapshots", "steps")
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    snapshots: int
    steps: int
    def __init__(self, snapshots: _Optional[int] = ..., steps: _Optional[int] = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("run_id", "as_of_step")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AS_OF_STEP_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    as_of_step: int
    def __init__(self, run_id: _Optional[str] = ..., as_of_step: _Optional[int] = ...) -> None: ...

class DecideResponse(_message.Message):
    __slots__ = ("decision", "staleness")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    staleness: Staleness
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., staleness: _Optional[_Union[Staleness, _Mapping]] = ...) -> None: ...

class WatchDecisionsRequest(_message.Message):
    __slots__ = ("run_id", "from_sequence")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    from_sequence: int
    def __init__(self, run_id: _Optional[str] = ..., from_sequence: _Optional[int] = ...) -> None: ...

class WatchDecisionsResponse(_message.Message):
    __slots__ = ("sequence", "decision", "staleness")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    decision: Decision
    staleness: Staleness
    def __init__(self, sequence: _Optional[int] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ..., staleness: _Optional[_Union[Staleness, _Mapping]] = ...) -> None: ...

class OverrideRequest(_message.Message):
    __slots__ = ("run_id", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class OverrideResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class ListRulesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRulesResponse(_message.Message):
    __slots__ = ("rules",)
    RULES_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[RuleInfo]
    def __init__(self, rules: _Optional[_Iterable[_Union[RuleInfo, _Mapping]]] = ...) -> None: ...

class RuleInfo(_message.Message):
    __slots__ = ("name", "summary", "source", "across", "parameters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ACROSS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    source: str
    across: bool
    parameters: _containers.RepeatedCompositeFieldContainer[_types_pb2.ParameterInfo]
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., source: _Optional[str] = ..., across: bool = ..., parameters: _Optional[_Iterable[_Union[_types_pb2.ParameterInfo, _Mapping]]] = ...) -> None: ...
