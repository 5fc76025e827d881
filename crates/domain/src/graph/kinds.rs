//! The closed lists of what operators of one family do.
//!
//! Owns: their names, in the order of their numbers on the wire. May not touch: arithmetic.

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "` of the protocol; docs/graph.md says what it does.")] $variant),+
        }

        impl $name {
            /// All of them, in the order of their numbers on the wire, from 1.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As the protocol names it, without its prefix.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

kinds!(
    /// What is in the new elements of a padded tensor.
    PadMode { Constant = "CONSTANT", Reflect = "REFLECT", Replicate = "REPLICATE", Circular = "CIRCULAR" }
);
kinds!(
    /// How indices choose elements.
    GatherMode { Take = "TAKE", Along = "ALONG", Points = "POINTS" }
);
kinds!(
    /// What is done to one operand, element by element.
    UnaryKind {
        Neg = "NEG", Abs = "ABS", Sign = "SIGN", Exp = "EXP", Expm1 = "EXPM1", Log = "LOG", Log1p = "LOG1P",
        Log2 = "LOG2", Sqrt = "SQRT", Rsqrt = "RSQRT", Reciprocal = "RECIPROCAL", Sin = "SIN", Cos = "COS",
        Tan = "TAN", Asin = "ASIN", Acos = "ACOS", Atan = "ATAN", Sinh = "SINH", Cosh = "COSH", Tanh = "TANH",
        Erf = "ERF", Sigmoid = "SIGMOID", LogSigmoid = "LOG_SIGMOID", Silu = "SILU", Relu = "RELU", Gelu = "GELU",
        GeluTanh = "GELU_TANH", Softplus = "SOFTPLUS", Elu = "ELU", LeakyRelu = "LEAKY_RELU", Clamp = "CLAMP",
        Hardtanh = "HARDTANH", Hardsigmoid = "HARDSIGMOID", Hardswish = "HARDSWISH", Mish = "MISH",
        Floor = "FLOOR", Ceil = "CEIL", Trunc = "TRUNC", Round = "ROUND", Not = "NOT", IsNan = "IS_NAN",
        IsInf = "IS_INF", NanToNum = "NAN_TO_NUM", Detach = "DETACH",
    }
);
kinds!(
    /// What is done to two operands, element by element.
    BinaryKind {
        Add = "ADD", Sub = "SUB", Mul = "MUL", Div = "DIV", Pow = "POW", Maximum = "MAXIMUM", Minimum = "MINIMUM",
        Fmod = "FMOD", Remainder = "REMAINDER", FloorDiv = "FLOOR_DIV", TruncDiv = "TRUNC_DIV", Atan2 = "ATAN2",
        And = "AND", Or = "OR", Xor = "XOR", ShiftLeft = "SHIFT_LEFT", ShiftRight = "SHIFT_RIGHT",
    }
);
kinds!(
    /// What is asked of two operands.
    CompareKind { Eq = "EQ", Ne = "NE", Lt = "LT", Le = "LE", Gt = "GT", Ge = "GE" }
);
kinds!(
    /// What is made of elements along axes.
    ReduceKind {
        Sum = "SUM", Mean = "MEAN", Max = "MAX", Min = "MIN", Prod = "PROD", Any = "ANY", All = "ALL",
        Argmax = "ARGMAX", Argmin = "ARGMIN", Logsumexp = "LOGSUMEXP", Variance = "VARIANCE", Norm = "NORM",
    }
);
kinds!(
    /// What is made of a window.
    PoolKind { Max = "MAX", Mean = "MEAN", AdaptiveMean = "ADAPTIVE_MEAN", AdaptiveMax = "ADAPTIVE_MAX" }
);
kinds!(
    /// How elements between others are made.
    UpsampleKind { Nearest = "NEAREST", NearestExact = "NEAREST_EXACT", Linear = "LINEAR", Bicubic = "BICUBIC" }
);
kinds!(
    /// Which recurrent layer.
    RecurrentKind { Lstm = "LSTM", Gru = "GRU", Tanh = "TANH", Relu = "RELU" }
);
kinds!(
    /// The types of values.
    ValueType { Work = "WORK", I64 = "I64", Bool = "BOOL" }
);
kinds!(
    /// What a tensor of a snapshot is for.
    TensorKind { Param = "PARAM", Frozen = "FROZEN", Buffer = "BUFFER" }
);
