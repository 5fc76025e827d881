from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Dtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[Dtype]
    DTYPE_F32: _ClassVar[Dtype]
    DTYPE_F16: _ClassVar[Dtype]
    DTYPE_BF16: _ClassVar[Dtype]
    DTYPE_F64: _ClassVar[Dtype]
    DTYPE_I64: _ClassVar[Dtype]
    DTYPE_I32: _ClassVar[Dtype]
    DTYPE_BOOL: _ClassVar[Dtype]
    DTYPE_U8: _ClassVar[Dtype]
    DTYPE_I8: _ClassVar[Dtype]
    DTYPE_I16: _ClassVar[Dtype]
    DTYPE_U16: _ClassVar[Dtype]

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_UNSPECIFIED: _ClassVar[Precision]
    PRECISION_AUTO: _ClassVar[Precision]
    PRECISION_F32: _ClassVar[Precision]
    PRECISION_F64: _ClassVar[Precision]
DTYPE_UNSPECIFIED: Dtype
DTYPE_F32: Dtype
DTYPE_F16: Dtype
DTYPE_BF16: Dtype
DTYPE_F64: Dtype
DTYPE_I64: Dtype
DTYPE_I32: Dtype
DTYPE_BOOL: Dtype
DTYPE_U8: Dtype
DTYPE_I8: Dtype
DTYPE_I16: Dtype
DTYPE_U16: Dtype
PRECISION_UNSPECIFIED: Precision
PRECISION_AUTO: Precision
PRECISION_F32: Precision
PRECISION_F64: Precision

class TensorSpec(_message.Message):
    __slots__ = ("name", "dtype", "shape", "byte_length")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    BYTE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: Dtype
    shape: _containers.RepeatedScalarFieldContainer[int]
    byte_length: int
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[Dtype, str]] = ..., shape: _Optional[_Iterable[int]] = ..., byte_length: _Optional[int] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "target")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: str
    def __init__(self, name: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("offset", "data", "crc32c")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    crc32c: int
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("number", "text", "flag", "numbers")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    number: float
    text: str
    flag: bool
    numbers: Numbers
    def __init__(self, number: _Optional[float] = ..., text: _Optional[str] = ..., flag: bool = ..., numbers: _Optional[_Union[Numbers, _Mapping]] = ...) -> None: ...

class Numbers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Work(_message.Message):
    __slots__ = ("forwards", "backwards", "passes", "operations")
    FORWARDS_FIELD_NUMBER: _ClassVar[int]
    BACKWARDS_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    forwards: float
    backwards: float
    passes: float
    operations: float
    def __init__(self, forwards: _Optional[float] = ..., backwards: _Optional[float] = ..., passes: _Optional[float] = ..., operations: _Optional[float] = ...) -> None: ...

class SnapshotRef(_message.Message):
    __slots__ = ("step", "attempt")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    step: int
    attempt: int
    def __init__(self, step: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class ModelChecked(_message.Message):
    __slots__ = ("snapshot", "group", "rows", "trainer_loss", "configured_loss", "difference", "tolerance", "agrees", "sentence", "tensors", "graph")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TRAINER_LOSS_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_LOSS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    AGREES_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    snapshot: SnapshotRef
    group: str
    rows: int
    trainer_loss: float
    configured_loss: float
    difference: float
    tolerance: float
    agrees: bool
    sentence: str
    tensors: _containers.RepeatedCompositeFieldContainer[TensorMismatch]
    graph: bool
    def __init__(self, snapshot: _Optional[_Union[SnapshotRef, _Mapping]] = ..., group: _Optional[str] = ..., rows: _Optional[int] = ..., trainer_loss: _Optional[float] = ..., configured_loss: _Optional[float] = ..., difference: _Optional[float] = ..., tolerance: _Optional[float] = ..., agrees: bool = ..., sentence: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[TensorMismatch, _Mapping]]] = ..., graph: bool = ...) -> None: ...

class TensorMismatch(_message.Message):
    __slots__ = ("tensor", "trainer_norm", "own_norm")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    TRAINER_NORM_FIELD_NUMBER: _ClassVar[int]
    OWN_NORM_FIELD_NUMBER: _ClassVar[int]
    tensor: str
    trainer_norm: float
    own_norm: float
    def __init__(self, tensor: _Optional[str] = ..., trainer_norm: _Optional[float] = ..., own_norm: _Optional[float] = ...) -> None: ...

class ParameterInfo(_message.Message):
    __slots__ = ("name", "summary", "standard", "range")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    STANDARD_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    standard: Value
    range: str
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., standard: _Optional[_Union[Value, _Mapping]] = ..., range: _Optional[str] = ...) -> None: ...
