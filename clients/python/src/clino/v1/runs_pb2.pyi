from clino.v1 import decisions_pb2 as _decisions_pb2
from clino.v1 import graph_pb2 as _graph_pb2
from clino.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    DELIVERY_LATEST: _ClassVar[Delivery]
    DELIVERY_EVERY: _ClassVar[Delivery]

class Moment(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MOMENT_UNSPECIFIED: _ClassVar[Moment]
    MOMENT_LAST: _ClassVar[Moment]
    MOMENT_BEST: _ClassVar[Moment]
    MOMENT_AT_STEP: _ClassVar[Moment]

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTION_UNSPECIFIED: _ClassVar[Direction]
    DIRECTION_MINIMIZE: _ClassVar[Direction]
    DIRECTION_MAXIMIZE: _ClassVar[Direction]
DELIVERY_UNSPECIFIED: Delivery
DELIVERY_LATEST: Delivery
DELIVERY_EVERY: Delivery
MOMENT_UNSPECIFIED: Moment
MOMENT_LAST: Moment
MOMENT_BEST: Moment
MOMENT_AT_STEP: Moment
DIRECTION_UNSPECIFIED: Direction
DIRECTION_MINIMIZE: Direction
DIRECTION_MAXIMIZE: Direction

class OpenRunRequest(_message.Message):
    __slots__ = ("idempotency_key", "name", "config_json", "groups", "measures", "seed", "delivery", "precision", "budget_seconds", "gpu_only", "project", "experiment", "tags", "policy", "resume", "model")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SECONDS_FIELD_NUMBER: _ClassVar[int]
    GPU_ONLY_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    name: str
    config_json: str
    groups: _containers.RepeatedCompositeFieldContainer[ProbeGroup]
    measures: _containers.RepeatedCompositeFieldContainer[MeasureRequest]
    seed: int
    delivery: Delivery
    precision: _types_pb2.Precision
    budget_seconds: float
    gpu_only: bool
    project: str
    experiment: str
    tags: _containers.ScalarMap[str, str]
    policy: _decisions_pb2.Policy
    resume: bool
    model: _graph_pb2.Model
    def __init__(self, idempotency_key: _Optional[str] = ..., name: _Optional[str] = ..., config_json: _Optional[str] = ..., groups: _Optional[_Iterable[_Union[ProbeGroup, _Mapping]]] = ..., measures: _Optional[_Iterable[_Union[MeasureRequest, _Mapping]]] = ..., seed: _Optional[int] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., precision: _Optional[_Union[_types_pb2.Precision, str]] = ..., budget_seconds: _Optional[float] = ..., gpu_only: bool = ..., project: _Optional[str] = ..., experiment: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., policy: _Optional[_Union[_decisions_pb2.Policy, _Mapping]] = ..., resume: bool = ..., model: _Optional[_Union[_graph_pb2.Model, _Mapping]] = ...) -> None: ...

class ProbeGroup(_message.Message):
    __slots__ = ("name", "probe", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    probe: Probe
    digest: str
    def __init__(self, name: _Optional[str] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("tensors",)
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[ProbeTensor]
    def __init__(self, tensors: _Optional[_Iterable[_Union[ProbeTensor, _Mapping]]] = ...) -> None: ...

class ProbeTensor(_message.Message):
    __slots__ = ("spec", "data")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    spec: _types_pb2.TensorSpec
    data: bytes
    def __init__(self, spec: _Optional[_Union[_types_pb2.TensorSpec, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class MeasureRequest(_message.Message):
    __slots__ = ("name", "parameters")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.Value, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    parameters: _containers.MessageMap[str, _types_pb2.Value]
    def __init__(self, name: _Optional[str] = ..., parameters: _Optional[_Mapping[str, _types_pb2.Value]] = ...) -> None: ...

class OpenRunResponse(_message.Message):
    __slots__ = ("run_id", "measures", "precision", "parameters", "created", "plan", "warnings")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    measures: _containers.RepeatedCompositeFieldContainer[MeasureRequest]
    precision: _types_pb2.Precision
    parameters: _containers.RepeatedCompositeFieldContainer[_types_pb2.TensorSpec]
    created: bool
    plan: _containers.RepeatedCompositeFieldContainer[Planned]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, run_id: _Optional[str] = ..., measures: _Optional[_Iterable[_Union[MeasureRequest, _Mapping]]] = ..., precision: _Optional[_Union[_types_pb2.Precision, str]] = ..., parameters: _Optional[_Iterable[_Union[_types_pb2.TensorSpec, _Mapping]]] = ..., created: bool = ..., plan: _Optional[_Iterable[_Union[Planned, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class Planned(_message.Message):
    __slots__ = ("measure", "work", "counted", "seconds")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    measure: str
    work: _types_pb2.Work
    counted: bool
    seconds: float
    def __init__(self, measure: _Optional[str] = ..., work: _Optional[_Union[_types_pb2.Work, _Mapping]] = ..., counted: bool = ..., seconds: _Optional[float] = ...) -> None: ...

class PutProbeRequest(_message.Message):
    __slots__ = ("begin", "chunk", "commit")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    begin: ProbeManifest
    chunk: _types_pb2.Chunk
    commit: _types_pb2.Commit
    def __init__(self, begin: _Optional[_Union[ProbeManifest, _Mapping]] = ..., chunk: _Optional[_Union[_types_pb2.Chunk, _Mapping]] = ..., commit: _Optional[_Union[_types_pb2.Commit, _Mapping]] = ...) -> None: ...

class ProbeManifest(_message.Message):
    __slots__ = ("tensors", "project")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[_types_pb2.TensorSpec]
    project: str
    def __init__(self, tensors: _Optional[_Iterable[_Union[_types_pb2.TensorSpec, _Mapping]]] = ..., project: _Optional[str] = ...) -> None: ...

class PutProbeResponse(_message.Message):
    __slots__ = ("digest", "warnings")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    digest: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digest: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: RunSummary
    def __init__(self, run: _Optional[_Union[RunSummary, _Mapping]] = ...) -> None: ...

class RunFilter(_message.Message):
    __slots__ = ("project", "experiment", "tags", "open")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    experiment: str
    tags: _containers.ScalarMap[str, str]
    open: bool
    def __init__(self, project: _Optional[str] = ..., experiment: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., open: bool = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: RunFilter
    page_size: int
    page_token: str
    def __init__(self, filter: _Optional[_Union[RunFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[RunSummary]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[RunSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchRunsRequest(_message.Message):
    __slots__ = ("filter", "interval_seconds")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    filter: RunFilter
    interval_seconds: float
    def __init__(self, filter: _Optional[_Union[RunFilter, _Mapping]] = ..., interval_seconds: _Optional[float] = ...) -> None: ...

class WatchRunsResponse(_message.Message):
    __slots__ = ("runs", "forgotten")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[RunSummary]
    forgotten: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, runs: _Optional[_Iterable[_Union[RunSummary, _Mapping]]] = ..., forgotten: _Optional[_Iterable[str]] = ...) -> None: ...

class CompareRunsRequest(_message.Message):
    __slots__ = ("filter", "on", "moment", "step", "direction")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ON_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    filter: RunFilter
    on: str
    moment: Moment
    step: int
    direction: Direction
    def __init__(self, filter: _Optional[_Union[RunFilter, _Mapping]] = ..., on: _Optional[str] = ..., moment: _Optional[_Union[Moment, str]] = ..., step: _Optional[int] = ..., direction: _Optional[_Union[Direction, str]] = ...) -> None: ...

class CompareRunsResponse(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[ComparedRun]
    def __init__(self, runs: _Optional[_Iterable[_Union[ComparedRun, _Mapping]]] = ...) -> None: ...

class ComparedRun(_message.Message):
    __slots__ = ("run_id", "name", "project", "experiment", "snapshot", "value", "stderr")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    name: str
    project: str
    experiment: str
    snapshot: _types_pb2.SnapshotRef
    value: float
    stderr: float
    def __init__(self, run_id: _Optional[str] = ..., name: _Optional[str] = ..., project: _Optional[str] = ..., experiment: _Optional[str] = ..., snapshot: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., value: _Optional[float] = ..., stderr: _Optional[float] = ...) -> None: ...

class CloseRunRequest(_message.Message):
    __slots__ = ("run_id", "resumable", "abandon")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RESUMABLE_FIELD_NUMBER: _ClassVar[int]
    ABANDON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    resumable: bool
    abandon: bool
    def __init__(self, run_id: _Optional[str] = ..., resumable: bool = ..., abandon: bool = ...) -> None: ...

class CloseRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: RunSummary
    def __init__(self, run: _Optional[_Union[RunSummary, _Mapping]] = ...) -> None: ...

class RunSummary(_message.Message):
    __slots__ = ("run_id", "name", "model_type", "parameters", "groups", "measures", "seed", "delivery", "precision", "closed", "accepted", "measured", "skipped", "pending", "next_sequence", "plan", "budget_seconds", "project", "experiment", "tags", "policy", "decision", "latest", "last_accepted", "last_measured", "opened_at", "model_check", "refused", "refusal", "memory", "waiting")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    LAST_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    LAST_MEASURED_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    MODEL_CHECK_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    name: str
    model_type: str
    parameters: int
    groups: _containers.RepeatedScalarFieldContainer[str]
    measures: _containers.RepeatedCompositeFieldContainer[MeasureRequest]
    seed: int
    delivery: Delivery
    precision: _types_pb2.Precision
    closed: bool
    accepted: int
    measured: int
    skipped: int
    pending: int
    next_sequence: int
    plan: _containers.RepeatedCompositeFieldContainer[Planned]
    budget_seconds: float
    project: str
    experiment: str
    tags: _containers.ScalarMap[str, str]
    policy: _decisions_pb2.Policy
    decision: _decisions_pb2.Decision
    latest: _containers.RepeatedCompositeFieldContainer[Latest]
    last_accepted: _types_pb2.SnapshotRef
    last_measured: _types_pb2.SnapshotRef
    opened_at: float
    model_check: _types_pb2.ModelChecked
    refused: int
    refusal: str
    memory: _containers.RepeatedCompositeFieldContainer[MemoryShare]
    waiting: str
    def __init__(self, run_id: _Optional[str] = ..., name: _Optional[str] = ..., model_type: _Optional[str] = ..., parameters: _Optional[int] = ..., groups: _Optional[_Iterable[str]] = ..., measures: _Optional[_Iterable[_Union[MeasureRequest, _Mapping]]] = ..., seed: _Optional[int] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., precision: _Optional[_Union[_types_pb2.Precision, str]] = ..., closed: bool = ..., accepted: _Optional[int] = ..., measured: _Optional[int] = ..., skipped: _Optional[int] = ..., pending: _Optional[int] = ..., next_sequence: _Optional[int] = ..., plan: _Optional[_Iterable[_Union[Planned, _Mapping]]] = ..., budget_seconds: _Optional[float] = ..., project: _Optional[str] = ..., experiment: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., policy: _Optional[_Union[_decisions_pb2.Policy, _Mapping]] = ..., decision: _Optional[_Union[_decisions_pb2.Decision, _Mapping]] = ..., latest: _Optional[_Iterable[_Union[Latest, _Mapping]]] = ..., last_accepted: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., last_measured: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., opened_at: _Optional[float] = ..., model_check: _Optional[_Union[_types_pb2.ModelChecked, _Mapping]] = ..., refused: _Optional[int] = ..., refusal: _Optional[str] = ..., memory: _Optional[_Iterable[_Union[MemoryShare, _Mapping]]] = ..., waiting: _Optional[str] = ...) -> None: ...

class MemoryShare(_message.Message):
    __slots__ = ("purpose", "bytes", "measuring", "shared")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MEASURING_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    purpose: str
    bytes: int
    measuring: bool
    shared: bool
    def __init__(self, purpose: _Optional[str] = ..., bytes: _Optional[int] = ..., measuring: bool = ..., shared: bool = ...) -> None: ...

class Latest(_message.Message):
    __slots__ = ("measure", "group", "value", "stderr")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    measure: str
    group: str
    value: float
    stderr: float
    def __init__(self, measure: _Optional[str] = ..., group: _Optional[str] = ..., value: _Optional[float] = ..., stderr: _Optional[float] = ...) -> None: ...

class ListMeasuresRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListMeasuresResponse(_message.Message):
    __slots__ = ("measures",)
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    measures: _containers.RepeatedCompositeFieldContainer[MeasureInfo]
    def __init__(self, measures: _Optional[_Iterable[_Union[MeasureInfo, _Mapping]]] = ...) -> None: ...

class MeasureInfo(_message.Message):
    __slots__ = ("name", "summary", "source", "cost", "needs", "parameters", "standard", "formula", "invariance", "rescaling", "parts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STANDARD_FIELD_NUMBER: _ClassVar[int]
    FORMULA_FIELD_NUMBER: _ClassVar[int]
    INVARIANCE_FIELD_NUMBER: _ClassVar[int]
    RESCALING_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    source: str
    cost: str
    needs: _containers.RepeatedScalarFieldContainer[str]
    parameters: _containers.RepeatedCompositeFieldContainer[_types_pb2.ParameterInfo]
    standard: bool
    formula: str
    invariance: str
    rescaling: bool
    parts: _containers.RepeatedCompositeFieldContainer[PartInfo]
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., source: _Optional[str] = ..., cost: _Optional[str] = ..., needs: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Iterable[_Union[_types_pb2.ParameterInfo, _Mapping]]] = ..., standard: bool = ..., formula: _Optional[str] = ..., invariance: _Optional[str] = ..., rescaling: bool = ..., parts: _Optional[_Iterable[_Union[PartInfo, _Mapping]]] = ...) -> None: ...

class PartInfo(_message.Message):
    __slots__ = ("name", "summary")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ...) -> None: ...
