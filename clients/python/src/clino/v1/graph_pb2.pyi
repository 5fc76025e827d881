from clino.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValueType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VALUE_TYPE_UNSPECIFIED: _ClassVar[ValueType]
    VALUE_TYPE_WORK: _ClassVar[ValueType]
    VALUE_TYPE_I64: _ClassVar[ValueType]
    VALUE_TYPE_BOOL: _ClassVar[ValueType]
VALUE_TYPE_UNSPECIFIED: ValueType
VALUE_TYPE_WORK: ValueType
VALUE_TYPE_I64: ValueType
VALUE_TYPE_BOOL: ValueType

class Model(_message.Message):
    __slots__ = ("graph", "tensors", "loss")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    graph: Graph
    tensors: TensorList
    loss: LossSpec
    def __init__(self, graph: _Optional[_Union[Graph, _Mapping]] = ..., tensors: _Optional[_Union[TensorList, _Mapping]] = ..., loss: _Optional[_Union[LossSpec, _Mapping]] = ...) -> None: ...

class TensorList(_message.Message):
    __slots__ = ("tensors",)
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[GraphTensor]
    def __init__(self, tensors: _Optional[_Iterable[_Union[GraphTensor, _Mapping]]] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ("version", "producer", "tensors", "inputs", "constants", "nodes", "outputs", "symbols")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    CONSTANTS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    version: int
    producer: str
    tensors: _containers.RepeatedCompositeFieldContainer[GraphTensor]
    inputs: _containers.RepeatedCompositeFieldContainer[GraphInput]
    constants: _containers.RepeatedCompositeFieldContainer[GraphConstant]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    outputs: _containers.RepeatedCompositeFieldContainer[GraphOutput]
    symbols: _containers.RepeatedCompositeFieldContainer[SizeSymbol]
    def __init__(self, version: _Optional[int] = ..., producer: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[GraphTensor, _Mapping]]] = ..., inputs: _Optional[_Iterable[_Union[GraphInput, _Mapping]]] = ..., constants: _Optional[_Iterable[_Union[GraphConstant, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[GraphOutput, _Mapping]]] = ..., symbols: _Optional[_Iterable[_Union[SizeSymbol, _Mapping]]] = ...) -> None: ...

class GraphTensor(_message.Message):
    __slots__ = ("name", "kind", "shape", "dtype", "alias_of")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[GraphTensor.Kind]
        KIND_PARAM: _ClassVar[GraphTensor.Kind]
        KIND_FROZEN: _ClassVar[GraphTensor.Kind]
        KIND_BUFFER: _ClassVar[GraphTensor.Kind]
    KIND_UNSPECIFIED: GraphTensor.Kind
    KIND_PARAM: GraphTensor.Kind
    KIND_FROZEN: GraphTensor.Kind
    KIND_BUFFER: GraphTensor.Kind
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    ALIAS_OF_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: GraphTensor.Kind
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: _types_pb2.Dtype
    alias_of: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[GraphTensor.Kind, str]] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., alias_of: _Optional[str] = ...) -> None: ...

class SizeSymbol(_message.Message):
    __slots__ = ("name", "least", "most")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    name: str
    least: int
    most: int
    def __init__(self, name: _Optional[str] = ..., least: _Optional[int] = ..., most: _Optional[int] = ...) -> None: ...

class Axis(_message.Message):
    __slots__ = ("fixed", "symbol")
    FIXED_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    fixed: int
    symbol: int
    def __init__(self, fixed: _Optional[int] = ..., symbol: _Optional[int] = ...) -> None: ...

class GraphInput(_message.Message):
    __slots__ = ("name", "dtype", "shape", "shared")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: _types_pb2.Dtype
    shape: _containers.RepeatedCompositeFieldContainer[Axis]
    shared: bool
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., shape: _Optional[_Iterable[_Union[Axis, _Mapping]]] = ..., shared: bool = ...) -> None: ...

class GraphConstant(_message.Message):
    __slots__ = ("dtype", "shape", "data")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: _types_pb2.Dtype
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class GraphOutput(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("operands", "results", "origin", "reshape", "permute", "expand", "slice", "flip", "concat", "pad", "gather", "scatter", "linear", "matmul", "grouped_matmul", "conv", "attention", "layer_norm", "rms_norm", "batch_norm", "group_norm", "softmax", "unary", "binary", "compare", "where", "reduce", "cumulate", "top_k", "sort", "count", "arange", "full", "cast", "pool", "upsample", "dim", "recurrent")
    OPERANDS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    RESHAPE_FIELD_NUMBER: _ClassVar[int]
    PERMUTE_FIELD_NUMBER: _ClassVar[int]
    EXPAND_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    FLIP_FIELD_NUMBER: _ClassVar[int]
    CONCAT_FIELD_NUMBER: _ClassVar[int]
    PAD_FIELD_NUMBER: _ClassVar[int]
    GATHER_FIELD_NUMBER: _ClassVar[int]
    SCATTER_FIELD_NUMBER: _ClassVar[int]
    LINEAR_FIELD_NUMBER: _ClassVar[int]
    MATMUL_FIELD_NUMBER: _ClassVar[int]
    GROUPED_MATMUL_FIELD_NUMBER: _ClassVar[int]
    CONV_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    LAYER_NORM_FIELD_NUMBER: _ClassVar[int]
    RMS_NORM_FIELD_NUMBER: _ClassVar[int]
    BATCH_NORM_FIELD_NUMBER: _ClassVar[int]
    GROUP_NORM_FIELD_NUMBER: _ClassVar[int]
    SOFTMAX_FIELD_NUMBER: _ClassVar[int]
    UNARY_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    COMPARE_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    REDUCE_FIELD_NUMBER: _ClassVar[int]
    CUMULATE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ARANGE_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    CAST_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    UPSAMPLE_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    RECURRENT_FIELD_NUMBER: _ClassVar[int]
    operands: _containers.RepeatedScalarFieldContainer[int]
    results: int
    origin: str
    reshape: Reshape
    permute: Permute
    expand: Expand
    slice: Slice
    flip: Flip
    concat: Concat
    pad: Pad
    gather: Gather
    scatter: Scatter
    linear: Linear
    matmul: MatMul
    grouped_matmul: GroupedMatMul
    conv: Conv
    attention: Attention
    layer_norm: LayerNorm
    rms_norm: RmsNorm
    batch_norm: BatchNorm
    group_norm: GroupNorm
    softmax: Softmax
    unary: Unary
    binary: Binary
    compare: Compare
    where: Where
    reduce: Reduce
    cumulate: Cumulate
    top_k: TopK
    sort: Sort
    count: Count
    arange: Arange
    full: Full
    cast: Cast
    pool: Pool
    upsample: Upsample
    dim: Dim
    recurrent: Recurrent
    def __init__(self, operands: _Optional[_Iterable[int]] = ..., results: _Optional[int] = ..., origin: _Optional[str] = ..., reshape: _Optional[_Union[Reshape, _Mapping]] = ..., permute: _Optional[_Union[Permute, _Mapping]] = ..., expand: _Optional[_Union[Expand, _Mapping]] = ..., slice: _Optional[_Union[Slice, _Mapping]] = ..., flip: _Optional[_Union[Flip, _Mapping]] = ..., concat: _Optional[_Union[Concat, _Mapping]] = ..., pad: _Optional[_Union[Pad, _Mapping]] = ..., gather: _Optional[_Union[Gather, _Mapping]] = ..., scatter: _Optional[_Union[Scatter, _Mapping]] = ..., linear: _Optional[_Union[Linear, _Mapping]] = ..., matmul: _Optional[_Union[MatMul, _Mapping]] = ..., grouped_matmul: _Optional[_Union[GroupedMatMul, _Mapping]] = ..., conv: _Optional[_Union[Conv, _Mapping]] = ..., attention: _Optional[_Union[Attention, _Mapping]] = ..., layer_norm: _Optional[_Union[LayerNorm, _Mapping]] = ..., rms_norm: _Optional[_Union[RmsNorm, _Mapping]] = ..., batch_norm: _Optional[_Union[BatchNorm, _Mapping]] = ..., group_norm: _Optional[_Union[GroupNorm, _Mapping]] = ..., softmax: _Optional[_Union[Softmax, _Mapping]] = ..., unary: _Optional[_Union[Unary, _Mapping]] = ..., binary: _Optional[_Union[Binary, _Mapping]] = ..., compare: _Optional[_Union[Compare, _Mapping]] = ..., where: _Optional[_Union[Where, _Mapping]] = ..., reduce: _Optional[_Union[Reduce, _Mapping]] = ..., cumulate: _Optional[_Union[Cumulate, _Mapping]] = ..., top_k: _Optional[_Union[TopK, _Mapping]] = ..., sort: _Optional[_Union[Sort, _Mapping]] = ..., count: _Optional[_Union[Count, _Mapping]] = ..., arange: _Optional[_Union[Arange, _Mapping]] = ..., full: _Optional[_Union[Full, _Mapping]] = ..., cast: _Optional[_Union[Cast, _Mapping]] = ..., pool: _Optional[_Union[Pool, _Mapping]] = ..., upsample: _Optional[_Union[Upsample, _Mapping]] = ..., dim: _Optional[_Union[Dim, _Mapping]] = ..., recurrent: _Optional[_Union[Recurrent, _Mapping]] = ...) -> None: ...

class Size(_message.Message):
    __slots__ = ("fixed", "value")
    FIXED_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    fixed: int
    value: int
    def __init__(self, fixed: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...

class Reshape(_message.Message):
    __slots__ = ("shape",)
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedCompositeFieldContainer[Size]
    def __init__(self, shape: _Optional[_Iterable[_Union[Size, _Mapping]]] = ...) -> None: ...

class Permute(_message.Message):
    __slots__ = ("axes",)
    AXES_FIELD_NUMBER: _ClassVar[int]
    axes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, axes: _Optional[_Iterable[int]] = ...) -> None: ...

class Expand(_message.Message):
    __slots__ = ("shape",)
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedCompositeFieldContainer[Size]
    def __init__(self, shape: _Optional[_Iterable[_Union[Size, _Mapping]]] = ...) -> None: ...

class Slice(_message.Message):
    __slots__ = ("axis", "start", "end", "step")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    axis: int
    start: Size
    end: Size
    step: int
    def __init__(self, axis: _Optional[int] = ..., start: _Optional[_Union[Size, _Mapping]] = ..., end: _Optional[_Union[Size, _Mapping]] = ..., step: _Optional[int] = ...) -> None: ...

class Flip(_message.Message):
    __slots__ = ("axes",)
    AXES_FIELD_NUMBER: _ClassVar[int]
    axes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, axes: _Optional[_Iterable[int]] = ...) -> None: ...

class Concat(_message.Message):
    __slots__ = ("axis",)
    AXIS_FIELD_NUMBER: _ClassVar[int]
    axis: int
    def __init__(self, axis: _Optional[int] = ...) -> None: ...

class Pad(_message.Message):
    __slots__ = ("mode", "value", "before", "after")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[Pad.Mode]
        MODE_CONSTANT: _ClassVar[Pad.Mode]
        MODE_REFLECT: _ClassVar[Pad.Mode]
        MODE_REPLICATE: _ClassVar[Pad.Mode]
        MODE_CIRCULAR: _ClassVar[Pad.Mode]
    MODE_UNSPECIFIED: Pad.Mode
    MODE_CONSTANT: Pad.Mode
    MODE_REFLECT: Pad.Mode
    MODE_REPLICATE: Pad.Mode
    MODE_CIRCULAR: Pad.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    mode: Pad.Mode
    value: float
    before: _containers.RepeatedCompositeFieldContainer[Size]
    after: _containers.RepeatedCompositeFieldContainer[Size]
    def __init__(self, mode: _Optional[_Union[Pad.Mode, str]] = ..., value: _Optional[float] = ..., before: _Optional[_Iterable[_Union[Size, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[Size, _Mapping]]] = ...) -> None: ...

class Gather(_message.Message):
    __slots__ = ("mode", "axes", "padding_index")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[Gather.Mode]
        MODE_TAKE: _ClassVar[Gather.Mode]
        MODE_ALONG: _ClassVar[Gather.Mode]
        MODE_POINTS: _ClassVar[Gather.Mode]
    MODE_UNSPECIFIED: Gather.Mode
    MODE_TAKE: Gather.Mode
    MODE_ALONG: Gather.Mode
    MODE_POINTS: Gather.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    PADDING_INDEX_FIELD_NUMBER: _ClassVar[int]
    mode: Gather.Mode
    axes: _containers.RepeatedScalarFieldContainer[int]
    padding_index: int
    def __init__(self, mode: _Optional[_Union[Gather.Mode, str]] = ..., axes: _Optional[_Iterable[int]] = ..., padding_index: _Optional[int] = ...) -> None: ...

class Scatter(_message.Message):
    __slots__ = ("mode", "axes", "add")
    MODE_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    mode: Gather.Mode
    axes: _containers.RepeatedScalarFieldContainer[int]
    add: bool
    def __init__(self, mode: _Optional[_Union[Gather.Mode, str]] = ..., axes: _Optional[_Iterable[int]] = ..., add: bool = ...) -> None: ...

class Linear(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MatMul(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GroupedMatMul(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Conv(_message.Message):
    __slots__ = ("stride", "before", "after", "dilation", "groups", "transposed", "output_padding")
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    DILATION_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PADDING_FIELD_NUMBER: _ClassVar[int]
    stride: _containers.RepeatedScalarFieldContainer[int]
    before: _containers.RepeatedScalarFieldContainer[int]
    after: _containers.RepeatedScalarFieldContainer[int]
    dilation: _containers.RepeatedScalarFieldContainer[int]
    groups: int
    transposed: bool
    output_padding: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, stride: _Optional[_Iterable[int]] = ..., before: _Optional[_Iterable[int]] = ..., after: _Optional[_Iterable[int]] = ..., dilation: _Optional[_Iterable[int]] = ..., groups: _Optional[int] = ..., transposed: bool = ..., output_padding: _Optional[_Iterable[int]] = ...) -> None: ...

class Attention(_message.Message):
    __slots__ = ("causal", "scale")
    CAUSAL_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    causal: bool
    scale: float
    def __init__(self, causal: bool = ..., scale: _Optional[float] = ...) -> None: ...

class LayerNorm(_message.Message):
    __slots__ = ("axes", "epsilon")
    AXES_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    axes: int
    epsilon: float
    def __init__(self, axes: _Optional[int] = ..., epsilon: _Optional[float] = ...) -> None: ...

class RmsNorm(_message.Message):
    __slots__ = ("axes", "epsilon")
    AXES_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    axes: int
    epsilon: float
    def __init__(self, axes: _Optional[int] = ..., epsilon: _Optional[float] = ...) -> None: ...

class BatchNorm(_message.Message):
    __slots__ = ("epsilon",)
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    epsilon: float
    def __init__(self, epsilon: _Optional[float] = ...) -> None: ...

class GroupNorm(_message.Message):
    __slots__ = ("groups", "epsilon")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    groups: int
    epsilon: float
    def __init__(self, groups: _Optional[int] = ..., epsilon: _Optional[float] = ...) -> None: ...

class Softmax(_message.Message):
    __slots__ = ("axis", "log")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    axis: int
    log: bool
    def __init__(self, axis: _Optional[int] = ..., log: bool = ...) -> None: ...

class Unary(_message.Message):
    __slots__ = ("kind", "parameters")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Unary.Kind]
        KIND_NEG: _ClassVar[Unary.Kind]
        KIND_ABS: _ClassVar[Unary.Kind]
        KIND_SIGN: _ClassVar[Unary.Kind]
        KIND_EXP: _ClassVar[Unary.Kind]
        KIND_EXPM1: _ClassVar[Unary.Kind]
        KIND_LOG: _ClassVar[Unary.Kind]
        KIND_LOG1P: _ClassVar[Unary.Kind]
        KIND_LOG2: _ClassVar[Unary.Kind]
        KIND_SQRT: _ClassVar[Unary.Kind]
        KIND_RSQRT: _ClassVar[Unary.Kind]
        KIND_RECIPROCAL: _ClassVar[Unary.Kind]
        KIND_SIN: _ClassVar[Unary.Kind]
        KIND_COS: _ClassVar[Unary.Kind]
        KIND_TAN: _ClassVar[Unary.Kind]
        KIND_ASIN: _ClassVar[Unary.Kind]
        KIND_ACOS: _ClassVar[Unary.Kind]
        KIND_ATAN: _ClassVar[Unary.Kind]
        KIND_SINH: _ClassVar[Unary.Kind]
        KIND_COSH: _ClassVar[Unary.Kind]
        KIND_TANH: _ClassVar[Unary.Kind]
        KIND_ERF: _ClassVar[Unary.Kind]
        KIND_SIGMOID: _ClassVar[Unary.Kind]
        KIND_LOG_SIGMOID: _ClassVar[Unary.Kind]
        KIND_SILU: _ClassVar[Unary.Kind]
        KIND_RELU: _ClassVar[Unary.Kind]
        KIND_GELU: _ClassVar[Unary.Kind]
        KIND_GELU_TANH: _ClassVar[Unary.Kind]
        KIND_SOFTPLUS: _ClassVar[Unary.Kind]
        KIND_ELU: _ClassVar[Unary.Kind]
        KIND_LEAKY_RELU: _ClassVar[Unary.Kind]
        KIND_CLAMP: _ClassVar[Unary.Kind]
        KIND_HARDTANH: _ClassVar[Unary.Kind]
        KIND_HARDSIGMOID: _ClassVar[Unary.Kind]
        KIND_HARDSWISH: _ClassVar[Unary.Kind]
        KIND_MISH: _ClassVar[Unary.Kind]
        KIND_FLOOR: _ClassVar[Unary.Kind]
        KIND_CEIL: _ClassVar[Unary.Kind]
        KIND_TRUNC: _ClassVar[Unary.Kind]
        KIND_ROUND: _ClassVar[Unary.Kind]
        KIND_NOT: _ClassVar[Unary.Kind]
        KIND_IS_NAN: _ClassVar[Unary.Kind]
        KIND_IS_INF: _ClassVar[Unary.Kind]
        KIND_NAN_TO_NUM: _ClassVar[Unary.Kind]
        KIND_DETACH: _ClassVar[Unary.Kind]
    KIND_UNSPECIFIED: Unary.Kind
    KIND_NEG: Unary.Kind
    KIND_ABS: Unary.Kind
    KIND_SIGN: Unary.Kind
    KIND_EXP: Unary.Kind
    KIND_EXPM1: Unary.Kind
    KIND_LOG: Unary.Kind
    KIND_LOG1P: Unary.Kind
    KIND_LOG2: Unary.Kind
    KIND_SQRT: Unary.Kind
    KIND_RSQRT: Unary.Kind
    KIND_RECIPROCAL: Unary.Kind
    KIND_SIN: Unary.Kind
    KIND_COS: Unary.Kind
    KIND_TAN: Unary.Kind
    KIND_ASIN: Unary.Kind
    KIND_ACOS: Unary.Kind
    KIND_ATAN: Unary.Kind
    KIND_SINH: Unary.Kind
    KIND_COSH: Unary.Kind
    KIND_TANH: Unary.Kind
    KIND_ERF: Unary.Kind
    KIND_SIGMOID: Unary.Kind
    KIND_LOG_SIGMOID: Unary.Kind
    KIND_SILU: Unary.Kind
    KIND_RELU: Unary.Kind
    KIND_GELU: Unary.Kind
    KIND_GELU_TANH: Unary.Kind
    KIND_SOFTPLUS: Unary.Kind
    KIND_ELU: Unary.Kind
    KIND_LEAKY_RELU: Unary.Kind
    KIND_CLAMP: Unary.Kind
    KIND_HARDTANH: Unary.Kind
    KIND_HARDSIGMOID: Unary.Kind
    KIND_HARDSWISH: Unary.Kind
    KIND_MISH: Unary.Kind
    KIND_FLOOR: Unary.Kind
    KIND_CEIL: Unary.Kind
    KIND_TRUNC: Unary.Kind
    KIND_ROUND: Unary.Kind
    KIND_NOT: Unary.Kind
    KIND_IS_NAN: Unary.Kind
    KIND_IS_INF: Unary.Kind
    KIND_NAN_TO_NUM: Unary.Kind
    KIND_DETACH: Unary.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    kind: Unary.Kind
    parameters: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, kind: _Optional[_Union[Unary.Kind, str]] = ..., parameters: _Optional[_Iterable[float]] = ...) -> None: ...

class Binary(_message.Message):
    __slots__ = ("kind",)
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Binary.Kind]
        KIND_ADD: _ClassVar[Binary.Kind]
        KIND_SUB: _ClassVar[Binary.Kind]
        KIND_MUL: _ClassVar[Binary.Kind]
        KIND_DIV: _ClassVar[Binary.Kind]
        KIND_POW: _ClassVar[Binary.Kind]
        KIND_MAXIMUM: _ClassVar[Binary.Kind]
        KIND_MINIMUM: _ClassVar[Binary.Kind]
        KIND_FMOD: _ClassVar[Binary.Kind]
        KIND_REMAINDER: _ClassVar[Binary.Kind]
        KIND_FLOOR_DIV: _ClassVar[Binary.Kind]
        KIND_TRUNC_DIV: _ClassVar[Binary.Kind]
        KIND_ATAN2: _ClassVar[Binary.Kind]
        KIND_AND: _ClassVar[Binary.Kind]
        KIND_OR: _ClassVar[Binary.Kind]
        KIND_XOR: _ClassVar[Binary.Kind]
        KIND_SHIFT_LEFT: _ClassVar[Binary.Kind]
        KIND_SHIFT_RIGHT: _ClassVar[Binary.Kind]
    KIND_UNSPECIFIED: Binary.Kind
    KIND_ADD: Binary.Kind
    KIND_SUB: Binary.Kind
    KIND_MUL: Binary.Kind
    KIND_DIV: Binary.Kind
    KIND_POW: Binary.Kind
    KIND_MAXIMUM: Binary.Kind
    KIND_MINIMUM: Binary.Kind
    KIND_FMOD: Binary.Kind
    KIND_REMAINDER: Binary.Kind
    KIND_FLOOR_DIV: Binary.Kind
    KIND_TRUNC_DIV: Binary.Kind
    KIND_ATAN2: Binary.Kind
    KIND_AND: Binary.Kind
    KIND_OR: Binary.Kind
    KIND_XOR: Binary.Kind
    KIND_SHIFT_LEFT: Binary.Kind
    KIND_SHIFT_RIGHT: Binary.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    kind: Binary.Kind
    def __init__(self, kind: _Optional[_Union[Binary.Kind, str]] = ...) -> None: ...

class Compare(_message.Message):
    __slots__ = ("kind",)
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Compare.Kind]
        KIND_EQ: _ClassVar[Compare.Kind]
        KIND_NE: _ClassVar[Compare.Kind]
        KIND_LT: _ClassVar[Compare.Kind]
        KIND_LE: _ClassVar[Compare.Kind]
        KIND_GT: _ClassVar[Compare.Kind]
        KIND_GE: _ClassVar[Compare.Kind]
    KIND_UNSPECIFIED: Compare.Kind
    KIND_EQ: Compare.Kind
    KIND_NE: Compare.Kind
    KIND_LT: Compare.Kind
    KIND_LE: Compare.Kind
    KIND_GT: Compare.Kind
    KIND_GE: Compare.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    kind: Compare.Kind
    def __init__(self, kind: _Optional[_Union[Compare.Kind, str]] = ...) -> None: ...

class Where(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Reduce(_message.Message):
    __slots__ = ("kind", "axes", "keep", "parameter")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Reduce.Kind]
        KIND_SUM: _ClassVar[Reduce.Kind]
        KIND_MEAN: _ClassVar[Reduce.Kind]
        KIND_MAX: _ClassVar[Reduce.Kind]
        KIND_MIN: _ClassVar[Reduce.Kind]
        KIND_PROD: _ClassVar[Reduce.Kind]
        KIND_ANY: _ClassVar[Reduce.Kind]
        KIND_ALL: _ClassVar[Reduce.Kind]
        KIND_ARGMAX: _ClassVar[Reduce.Kind]
        KIND_ARGMIN: _ClassVar[Reduce.Kind]
        KIND_LOGSUMEXP: _ClassVar[Reduce.Kind]
        KIND_VARIANCE: _ClassVar[Reduce.Kind]
        KIND_NORM: _ClassVar[Reduce.Kind]
    KIND_UNSPECIFIED: Reduce.Kind
    KIND_SUM: Reduce.Kind
    KIND_MEAN: Reduce.Kind
    KIND_MAX: Reduce.Kind
    KIND_MIN: Reduce.Kind
    KIND_PROD: Reduce.Kind
    KIND_ANY: Reduce.Kind
    KIND_ALL: Reduce.Kind
    KIND_ARGMAX: Reduce.Kind
    KIND_ARGMIN: Reduce.Kind
    KIND_LOGSUMEXP: Reduce.Kind
    KIND_VARIANCE: Reduce.Kind
    KIND_NORM: Reduce.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_FIELD_NUMBER: _ClassVar[int]
    kind: Reduce.Kind
    axes: _containers.RepeatedScalarFieldContainer[int]
    keep: bool
    parameter: float
    def __init__(self, kind: _Optional[_Union[Reduce.Kind, str]] = ..., axes: _Optional[_Iterable[int]] = ..., keep: bool = ..., parameter: _Optional[float] = ...) -> None: ...

class Cumulate(_message.Message):
    __slots__ = ("axis", "product")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    axis: int
    product: bool
    def __init__(self, axis: _Optional[int] = ..., product: bool = ...) -> None: ...

class TopK(_message.Message):
    __slots__ = ("axis", "k", "least")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    axis: int
    k: Size
    least: bool
    def __init__(self, axis: _Optional[int] = ..., k: _Optional[_Union[Size, _Mapping]] = ..., least: bool = ...) -> None: ...

class Sort(_message.Message):
    __slots__ = ("axis", "falling")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    FALLING_FIELD_NUMBER: _ClassVar[int]
    axis: int
    falling: bool
    def __init__(self, axis: _Optional[int] = ..., falling: bool = ...) -> None: ...

class Count(_message.Message):
    __slots__ = ("bins",)
    BINS_FIELD_NUMBER: _ClassVar[int]
    bins: Size
    def __init__(self, bins: _Optional[_Union[Size, _Mapping]] = ...) -> None: ...

class Arange(_message.Message):
    __slots__ = ("start", "end", "step", "work")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    start: Size
    end: Size
    step: Size
    work: bool
    def __init__(self, start: _Optional[_Union[Size, _Mapping]] = ..., end: _Optional[_Union[Size, _Mapping]] = ..., step: _Optional[_Union[Size, _Mapping]] = ..., work: bool = ...) -> None: ...

class Full(_message.Message):
    __slots__ = ("shape", "value", "type")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedCompositeFieldContainer[Size]
    value: float
    type: ValueType
    def __init__(self, shape: _Optional[_Iterable[_Union[Size, _Mapping]]] = ..., value: _Optional[float] = ..., type: _Optional[_Union[ValueType, str]] = ...) -> None: ...

class Cast(_message.Message):
    __slots__ = ("type",)
    TYPE_FIELD_NUMBER: _ClassVar[int]
    type: ValueType
    def __init__(self, type: _Optional[_Union[ValueType, str]] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("kind", "kernel", "stride", "padding", "dilation", "ceil", "count_padding", "divisor", "output")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Pool.Kind]
        KIND_MAX: _ClassVar[Pool.Kind]
        KIND_MEAN: _ClassVar[Pool.Kind]
        KIND_ADAPTIVE_MEAN: _ClassVar[Pool.Kind]
        KIND_ADAPTIVE_MAX: _ClassVar[Pool.Kind]
    KIND_UNSPECIFIED: Pool.Kind
    KIND_MAX: Pool.Kind
    KIND_MEAN: Pool.Kind
    KIND_ADAPTIVE_MEAN: Pool.Kind
    KIND_ADAPTIVE_MAX: Pool.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    DILATION_FIELD_NUMBER: _ClassVar[int]
    CEIL_FIELD_NUMBER: _ClassVar[int]
    COUNT_PADDING_FIELD_NUMBER: _ClassVar[int]
    DIVISOR_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    kind: Pool.Kind
    kernel: _containers.RepeatedScalarFieldContainer[int]
    stride: _containers.RepeatedScalarFieldContainer[int]
    padding: _containers.RepeatedScalarFieldContainer[int]
    dilation: _containers.RepeatedScalarFieldContainer[int]
    ceil: bool
    count_padding: bool
    divisor: int
    output: _containers.RepeatedCompositeFieldContainer[Size]
    def __init__(self, kind: _Optional[_Union[Pool.Kind, str]] = ..., kernel: _Optional[_Iterable[int]] = ..., stride: _Optional[_Iterable[int]] = ..., padding: _Optional[_Iterable[int]] = ..., dilation: _Optional[_Iterable[int]] = ..., ceil: bool = ..., count_padding: bool = ..., divisor: _Optional[int] = ..., output: _Optional[_Iterable[_Union[Size, _Mapping]]] = ...) -> None: ...

class Upsample(_message.Message):
    __slots__ = ("kind", "output", "align_corners", "scales")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Upsample.Kind]
        KIND_NEAREST: _ClassVar[Upsample.Kind]
        KIND_NEAREST_EXACT: _ClassVar[Upsample.Kind]
        KIND_LINEAR: _ClassVar[Upsample.Kind]
        KIND_BICUBIC: _ClassVar[Upsample.Kind]
    KIND_UNSPECIFIED: Upsample.Kind
    KIND_NEAREST: Upsample.Kind
    KIND_NEAREST_EXACT: Upsample.Kind
    KIND_LINEAR: Upsample.Kind
    KIND_BICUBIC: Upsample.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ALIGN_CORNERS_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    kind: Upsample.Kind
    output: _containers.RepeatedCompositeFieldContainer[Size]
    align_corners: bool
    scales: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, kind: _Optional[_Union[Upsample.Kind, str]] = ..., output: _Optional[_Iterable[_Union[Size, _Mapping]]] = ..., align_corners: bool = ..., scales: _Optional[_Iterable[float]] = ...) -> None: ...

class Dim(_message.Message):
    __slots__ = ("axis",)
    AXIS_FIELD_NUMBER: _ClassVar[int]
    axis: int
    def __init__(self, axis: _Optional[int] = ...) -> None: ...

class Recurrent(_message.Message):
    __slots__ = ("kind", "layers", "bidirectional", "biases", "batch_first")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Recurrent.Kind]
        KIND_LSTM: _ClassVar[Recurrent.Kind]
        KIND_GRU: _ClassVar[Recurrent.Kind]
        KIND_TANH: _ClassVar[Recurrent.Kind]
        KIND_RELU: _ClassVar[Recurrent.Kind]
    KIND_UNSPECIFIED: Recurrent.Kind
    KIND_LSTM: Recurrent.Kind
    KIND_GRU: Recurrent.Kind
    KIND_TANH: Recurrent.Kind
    KIND_RELU: Recurrent.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BIDIRECTIONAL_FIELD_NUMBER: _ClassVar[int]
    BIASES_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIRST_FIELD_NUMBER: _ClassVar[int]
    kind: Recurrent.Kind
    layers: int
    bidirectional: bool
    biases: bool
    batch_first: bool
    def __init__(self, kind: _Optional[_Union[Recurrent.Kind, str]] = ..., layers: _Optional[int] = ..., bidirectional: bool = ..., biases: bool = ..., batch_first: bool = ...) -> None: ...

class LossSpec(_message.Message):
    __slots__ = ("cross_entropy", "squared_error", "huber", "binary_cross_entropy", "given", "output", "labels", "auxiliary", "batch_coupled")
    CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    SQUARED_ERROR_FIELD_NUMBER: _ClassVar[int]
    HUBER_FIELD_NUMBER: _ClassVar[int]
    BINARY_CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    AUXILIARY_FIELD_NUMBER: _ClassVar[int]
    BATCH_COUPLED_FIELD_NUMBER: _ClassVar[int]
    cross_entropy: CrossEntropy
    squared_error: SquaredError
    huber: Huber
    binary_cross_entropy: BinaryCrossEntropy
    given: Given
    output: str
    labels: str
    auxiliary: _containers.RepeatedCompositeFieldContainer[AuxiliaryLoss]
    batch_coupled: bool
    def __init__(self, cross_entropy: _Optional[_Union[CrossEntropy, _Mapping]] = ..., squared_error: _Optional[_Union[SquaredError, _Mapping]] = ..., huber: _Optional[_Union[Huber, _Mapping]] = ..., binary_cross_entropy: _Optional[_Union[BinaryCrossEntropy, _Mapping]] = ..., given: _Optional[_Union[Given, _Mapping]] = ..., output: _Optional[str] = ..., labels: _Optional[str] = ..., auxiliary: _Optional[_Iterable[_Union[AuxiliaryLoss, _Mapping]]] = ..., batch_coupled: bool = ...) -> None: ...

class CrossEntropy(_message.Message):
    __slots__ = ("ignore_index", "shift", "smoothing", "class_weights", "classes_first")
    IGNORE_INDEX_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIRST_FIELD_NUMBER: _ClassVar[int]
    ignore_index: int
    shift: int
    smoothing: float
    class_weights: _containers.RepeatedScalarFieldContainer[float]
    classes_first: bool
    def __init__(self, ignore_index: _Optional[int] = ..., shift: _Optional[int] = ..., smoothing: _Optional[float] = ..., class_weights: _Optional[_Iterable[float]] = ..., classes_first: bool = ...) -> None: ...

class SquaredError(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Huber(_message.Message):
    __slots__ = ("delta", "smooth")
    DELTA_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_FIELD_NUMBER: _ClassVar[int]
    delta: float
    smooth: bool
    def __init__(self, delta: _Optional[float] = ..., smooth: bool = ...) -> None: ...

class BinaryCrossEntropy(_message.Message):
    __slots__ = ("positive_weights",)
    POSITIVE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    positive_weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, positive_weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Given(_message.Message):
    __slots__ = ("weights",)
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    weights: str
    def __init__(self, weights: _Optional[str] = ...) -> None: ...

class AuxiliaryLoss(_message.Message):
    __slots__ = ("output", "weight")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    output: str
    weight: float
    def __init__(self, output: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...
