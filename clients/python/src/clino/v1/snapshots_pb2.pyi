from clino.v1 import decisions_pb2 as _decisions_pb2
from clino.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WeightKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEIGHT_KIND_UNSPECIFIED: _ClassVar[WeightKind]
    WEIGHT_KIND_LIVE: _ClassVar[WeightKind]
    WEIGHT_KIND_MASTER: _ClassVar[WeightKind]
    WEIGHT_KIND_EMA: _ClassVar[WeightKind]
    WEIGHT_KIND_SWA: _ClassVar[WeightKind]
WEIGHT_KIND_UNSPECIFIED: WeightKind
WEIGHT_KIND_LIVE: WeightKind
WEIGHT_KIND_MASTER: WeightKind
WEIGHT_KIND_EMA: WeightKind
WEIGHT_KIND_SWA: WeightKind

class PushSnapshotRequest(_message.Message):
    __slots__ = ("begin", "chunk", "commit")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    begin: BeginSnapshot
    chunk: _types_pb2.Chunk
    commit: _types_pb2.Commit
    def __init__(self, begin: _Optional[_Union[BeginSnapshot, _Mapping]] = ..., chunk: _Optional[_Union[_types_pb2.Chunk, _Mapping]] = ..., commit: _Optional[_Union[_types_pb2.Commit, _Mapping]] = ...) -> None: ...

class BeginSnapshot(_message.Message):
    __slots__ = ("run_id", "idempotency_key", "step", "attempt", "kind", "initialization", "tensors", "aliases", "digest", "model_check")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    INITIALIZATION_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MODEL_CHECK_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    idempotency_key: str
    step: int
    attempt: int
    kind: WeightKind
    initialization: bool
    tensors: _containers.RepeatedCompositeFieldContainer[_types_pb2.TensorSpec]
    aliases: _containers.RepeatedCompositeFieldContainer[_types_pb2.Alias]
    digest: str
    model_check: ModelCheck
    def __init__(self, run_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., step: _Optional[int] = ..., attempt: _Optional[int] = ..., kind: _Optional[_Union[WeightKind, str]] = ..., initialization: bool = ..., tensors: _Optional[_Iterable[_Union[_types_pb2.TensorSpec, _Mapping]]] = ..., aliases: _Optional[_Iterable[_Union[_types_pb2.Alias, _Mapping]]] = ..., digest: _Optional[str] = ..., model_check: _Optional[_Union[ModelCheck, _Mapping]] = ...) -> None: ...

class ModelCheck(_message.Message):
    __slots__ = ("group", "rows", "losses", "dtype", "gradient_norms")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_NORMS_FIELD_NUMBER: _ClassVar[int]
    group: str
    rows: _containers.RepeatedScalarFieldContainer[int]
    losses: _containers.RepeatedScalarFieldContainer[float]
    dtype: _types_pb2.Dtype
    gradient_norms: _containers.RepeatedCompositeFieldContainer[TensorNorm]
    def __init__(self, group: _Optional[str] = ..., rows: _Optional[_Iterable[int]] = ..., losses: _Optional[_Iterable[float]] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., gradient_norms: _Optional[_Iterable[_Union[TensorNorm, _Mapping]]] = ...) -> None: ...

class TensorNorm(_message.Message):
    __slots__ = ("tensor", "norm")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    tensor: str
    norm: float
    def __init__(self, tensor: _Optional[str] = ..., norm: _Optional[float] = ...) -> None: ...

class PushSnapshotResponse(_message.Message):
    __slots__ = ("snapshot_id", "step", "attempt", "digest", "measures", "unmeasured", "replaced", "repeated_upload", "decision", "staleness", "warnings")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    UNMEASURED_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_UPLOAD_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    step: int
    attempt: int
    digest: str
    measures: _containers.RepeatedScalarFieldContainer[str]
    unmeasured: _containers.RepeatedCompositeFieldContainer[Unmeasured]
    replaced: _types_pb2.SnapshotRef
    repeated_upload: bool
    decision: _decisions_pb2.Decision
    staleness: _decisions_pb2.Staleness
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, snapshot_id: _Optional[str] = ..., step: _Optional[int] = ..., attempt: _Optional[int] = ..., digest: _Optional[str] = ..., measures: _Optional[_Iterable[str]] = ..., unmeasured: _Optional[_Iterable[_Union[Unmeasured, _Mapping]]] = ..., replaced: _Optional[_Union[_types_pb2.SnapshotRef, _Mapping]] = ..., repeated_upload: bool = ..., decision: _Optional[_Union[_decisions_pb2.Decision, _Mapping]] = ..., staleness: _Optional[_Union[_decisions_pb2.Staleness, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class Unmeasured(_message.Message):
    __slots__ = ("measure", "reason")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    measure: str
    reason: str
    def __init__(self, measure: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
