from clino.v1 import decisions_pb2 as _decisions_pb2
from clino.v1 import snapshots_pb2 as _snapshots_pb2
from clino.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_MEASURED: _ClassVar[Outcome]
    OUTCOME_UNDEFINED: _ClassVar[Outcome]
    OUTCOME_UNAVAILABLE: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]
    OUTCOME_SKIPPED: _ClassVar[Outcome]

class Ended(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDED_UNSPECIFIED: _ClassVar[Ended]
    ENDED_DRAWS: _ClassVar[Ended]
    ENDED_TARGET: _ClassVar[Ended]
    ENDED_MAX_DRAWS: _ClassVar[Ended]
    ENDED_MAX_SECONDS: _ClassVar[Ended]

class SnapshotState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SNAPSHOT_STATE_UNSPECIFIED: _ClassVar[SnapshotState]
    SNAPSHOT_STATE_WAITING: _ClassVar[SnapshotState]
    SNAPSHOT_STATE_MEASURING: _ClassVar[SnapshotState]
    SNAPSHOT_STATE_MEASURED: _ClassVar[SnapshotState]
    SNAPSHOT_STATE_SKIPPED: _ClassVar[SnapshotState]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_MEASURED: Outcome
OUTCOME_UNDEFINED: Outcome
OUTCOME_UNAVAILABLE: Outcome
OUTCOME_FAILED: Outcome
OUTCOME_SKIPPED: Outcome
ENDED_UNSPECIFIED: Ended
ENDED_DRAWS: Ended
ENDED_TARGET: Ended
ENDED_MAX_DRAWS: Ended
ENDED_MAX_SECONDS: Ended
SNAPSHOT_STATE_UNSPECIFIED: SnapshotState
SNAPSHOT_STATE_WAITING: SnapshotState
SNAPSHOT_STATE_MEASURING: SnapshotState
SNAPSHOT_STATE_MEASURED: SnapshotState
SNAPSHOT_STATE_SKIPPED: SnapshotState

class WatchRequest(_message.Message):
    __slots__ = ("run_id", "from_sequence")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    from_sequence: int
    def __init__(self, run_id: _Optional[str] = ..., from_sequence: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("sequence", "accepted", "skipped", "started", "reading", "finished", "gap", "closed", "draining", "decided", "checked")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    READING_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    accepted: SnapshotAccepted
    skipped: SnapshotSkipped
    started: MeasurementStarted
    reading: Reading
    finished: MeasurementFinished
    gap: Gap
    closed: RunClosed
    draining: Draining
    decided: _decisions_pb2.Decision
    checked: _types_pb2.ModelChecked
    def __init__(self, sequence: _Optional[int] = ..., accepted: _Optional[_Union[SnapshotAccepted, _Mapping]] = ..., skipped: _Optional[_Union[SnapshotSkipped, _Mapping]] = ..., started: _Optional[_Union[MeasurementStarted, _Mapping]] = ..., reading: _Optional[_Union[Reading, _Mapping]] = ..., finished: _Optional[_Union[MeasurementFinished, _Mapping]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ..., closed: _Optional[_Union[RunClosed, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ..., decided: _Optional[_Union[_decisions_pb2.Decision, _Mapping]] = ..., checked: _Optional[_Union[_types_pb2.ModelChecked, _Mapping]] = ...) -> None: ...

class SnapshotAccepted(_message.Message):
    __slots__ = ("snapshot", "kind", "initialization")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    INITIALIZATION_FIELD_NUMBER: _ClassVar[int]
    snapshot: _types_pb2.SnapshotRef
    kind: _snapshots_pb2.WeightKind
    initialization: bool
    def __init__(self, snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., kind: _Optional[_Union[_snapshots_pb2.WeightKind, str]] = ..., initialization: bool = ...) -> None: ...

class SnapshotSkipped(_message.Message):
    __slots__ = ("snapshot", "reason")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    snapshot: _types_pb2.SnapshotRef
    reason: str
    def __init__(self, snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class MeasurementStarted(_message.Message):
    __slots__ = ("snapshot", "readings")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    snapshot: _types_pb2.SnapshotRef
    readings: int
    def __init__(self, snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., readings: _Optional[int] = ...) -> None: ...

class MeasurementFinished(_message.Message):
    __slots__ = ("snapshot", "seconds")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    snapshot: _types_pb2.SnapshotRef
    seconds: float
    def __init__(self, snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., seconds: _Optional[float] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("lost",)
    LOST_FIELD_NUMBER: _ClassVar[int]
    lost: int
    def __init__(self, lost: _Optional[int] = ...) -> None: ...

class RunClosed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Draining(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Reading(_message.Message):
    __slots__ = ("measure", "parameters", "group", "snapshot", "outcome", "value", "draws", "estimate", "parts", "tensors", "rungs", "reason", "seconds", "precision", "ended", "runs", "surface", "remark", "work", "interval")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.Value, _Mapping]] = ...) -> None: ...
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DRAWS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RUNGS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    measure: str
    parameters: _containers.MessageMap[str, _types_pb2.Value]
    group: str
    snapshot: _types_pb2.SnapshotRef
    outcome: Outcome
    value: float
    draws: _containers.RepeatedScalarFieldContainer[float]
    estimate: Estimate
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    tensors: _containers.RepeatedCompositeFieldContainer[TensorParts]
    rungs: _containers.RepeatedCompositeFieldContainer[Rung]
    reason: str
    seconds: float
    precision: _types_pb2.Precision
    ended: Ended
    runs: _containers.RepeatedCompositeFieldContainer[Quadrature]
    surface: Surface
    remark: str
    work: _types_pb2.Work
    interval: Interval
    def __init__(self, measure: _Optional[str] = ..., parameters: _Optional[_Mapping[str, _types_pb2.Value]] = ..., group: _Optional[str] = ..., snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., value: _Optional[float] = ..., draws: _Optional[_Iterable[float]] = ..., estimate: _Optional[_Union[Estimate, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., tensors: _Optional[_Iterable[_Union[TensorParts, _Mapping]]] = ..., rungs: _Optional[_Iterable[_Union[Rung, _Mapping]]] = ..., reason: _Optional[str] = ..., seconds: _Optional[float] = ..., precision: _Optional[_Union[_types_pb2.Precision, str]] = ..., ended: _Optional[_Union[Ended, str]] = ..., runs: _Optional[_Iterable[_Union[Quadrature, _Mapping]]] = ..., surface: _Optional[_Union[Surface, _Mapping]] = ..., remark: _Optional[str] = ..., work: _Optional[_Union[_types_pb2.Work, _Mapping]] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("mean", "stderr", "min", "max")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    mean: float
    stderr: float
    min: float
    max: float
    def __init__(self, mean: _Optional[float] = ..., stderr: _Optional[float] = ..., min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high", "level")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    level: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., level: _Optional[float] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class TensorParts(_message.Message):
    __slots__ = ("tensor", "parts")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    tensor: str
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, tensor: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class Rung(_message.Message):
    __slots__ = ("alpha", "value", "draws", "stderr")
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DRAWS_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    alpha: float
    value: float
    draws: _containers.RepeatedScalarFieldContainer[float]
    stderr: float
    def __init__(self, alpha: _Optional[float] = ..., value: _Optional[float] = ..., draws: _Optional[_Iterable[float]] = ..., stderr: _Optional[float] = ...) -> None: ...

class Quadrature(_message.Message):
    __slots__ = ("nodes", "weights")
    NODES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedScalarFieldContainer[float]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, nodes: _Optional[_Iterable[float]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Surface(_message.Message):
    __slots__ = ("dimensions", "axis", "losses")
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    dimensions: int
    axis: _containers.RepeatedScalarFieldContainer[float]
    losses: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, dimensions: _Optional[int] = ..., axis: _Optional[_Iterable[float]] = ..., losses: _Optional[_Iterable[float]] = ...) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("run_id", "snapshot")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    snapshot: _types_pb2.SnapshotRef
    def __init__(self, run_id: _Optional[str] = ..., snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("snapshot", "kind", "state", "readings", "reason")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    snapshot: _types_pb2.SnapshotRef
    kind: _snapshots_pb2.WeightKind
    state: SnapshotState
    readings: _containers.RepeatedCompositeFieldContainer[Reading]
    reason: str
    def __init__(self, snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., kind: _Optional[_Union[_snapshots_pb2.WeightKind, str]] = ..., state: _Optional[_Union[SnapshotState, str]] = ..., readings: _Optional[_Iterable[_Union[Reading, _Mapping]]] = ..., reason: _Optional[str] = ...) -> None: ...
