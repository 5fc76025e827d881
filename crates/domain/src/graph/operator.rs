//! Operators with their attributes, as the protocol has them.
//!
//! Owns: which attributes there are. May not touch: shapes, arithmetic; docs/graph.md says what each means.

use super::kinds::{
    BinaryKind, CompareKind, GatherMode, PadMode, PoolKind, RecurrentKind, ReduceKind, UnaryKind,
    UpsampleKind, ValueType,
};

/// A number of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    /// This many.
    Fixed(i64),
    /// The value with this place: a scalar I64 that depends on sizes alone.
    Value(usize),
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident $text:literal { $($(#[$about:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $($(#[$doc])* #[derive(Debug, Clone, PartialEq)] pub struct $name { $($(#[$about])* pub $field: $type),* })+

        /// What a node does.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Operator { $($(#[$doc])* $name($name)),+ }

        impl Operator {
            /// Names of all operators, as the fields of the protocol's `Node`.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// As the field of the protocol's `Node`.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $text),+ }
            }
        }
    };
}

operators! {
    /// Another shape of as many elements.
    Reshape "reshape" {
        /// Sizes of the axes; one may be -1.
        shape: Vec<Size>,
    }
    /// Axes in another order.
    Permute "permute" {
        /// Axis `i` of the result is axis `axes[i]` of the operand.
        axes: Vec<usize>,
    }
    /// Repeated along axes of size 1.
    Expand "expand" {
        /// Sizes of the axes; -1 keeps one.
        shape: Vec<Size>,
    }
    /// Every `step`-th element of an axis from `start` to `end`.
    Slice "slice" {
        /// Which axis.
        axis: usize,
        /// First element.
        start: Size,
        /// Behind the last element; `None`: the end of the axis.
        end: Option<Size>,
        /// From one element to the next, at least 1.
        step: u64,
    }
    /// Axes reversed.
    Flip "flip" {
        /// Which axes.
        axes: Vec<usize>,
    }
    /// Operands one after the other.
    Concat "concat" {
        /// Along which axis.
        axis: usize,
    }
    /// More elements around.
    Pad "pad" {
        /// What they are.
        mode: PadMode,
        /// With [`PadMode::Constant`].
        value: f64,
        /// How many more before, by axis.
        before: Vec<Size>,
        /// How many more behind, by axis.
        after: Vec<Size>,
    }
    /// Elements chosen by indices.
    Gather "gather" {
        /// How indices choose.
        mode: GatherMode,
        /// Axes that indices replace.
        axes: Vec<usize>,
        /// The row that gets no gradient.
        padding_index: Option<i64>,
    }
    /// Elements put in at indices.
    Scatter "scatter" {
        /// How indices choose.
        mode: GatherMode,
        /// Axes that indices replace.
        axes: Vec<usize>,
        /// Whether they are added.
        add: bool,
    }
    /// x wᵀ + b.
    Linear "linear" {}
    /// Products of matrices, batch by batch.
    MatMul "matmul" {}
    /// Groups of rows, each multiplied by a matrix of its own.
    GroupedMatMul "grouped_matmul" {}
    /// Convolution.
    Conv "conv" {
        /// From one window to the next, by spatial axis.
        stride: Vec<u64>,
        /// Zeros before, by spatial axis.
        before: Vec<u64>,
        /// Zeros behind, by spatial axis.
        after: Vec<u64>,
        /// From one element of a window to the next, by spatial axis.
        dilation: Vec<u64>,
        /// Groups of channels, at least 1.
        groups: u64,
        /// Whether it is the transposed one.
        transposed: bool,
        /// Elements more at the end of a transposed one.
        output_padding: Vec<u64>,
    }
    /// softmax(q kᵀ scale + mask) v.
    Attention "attention" {
        /// Whether query i sees keys 0..=i only.
        causal: bool,
        /// Factor of the scores; `None`: 1/√d.
        scale: Option<f64>,
    }
    /// Layer normalization.
    LayerNorm "layer_norm" {
        /// Over how many of the last axes.
        axes: usize,
        /// Added to the variance.
        epsilon: f64,
    }
    /// Normalization by the root of the mean square.
    RmsNorm "rms_norm" {
        /// Over how many of the last axes.
        axes: usize,
        /// Added to the mean square.
        epsilon: f64,
    }
    /// Batch normalization by given statistics.
    BatchNorm "batch_norm" {
        /// Added to the variance.
        epsilon: f64,
    }
    /// Group normalization.
    GroupNorm "group_norm" {
        /// Into how many groups the channels fall.
        groups: u64,
        /// Added to the variance.
        epsilon: f64,
    }
    /// Softmax, or its logarithm.
    Softmax "softmax" {
        /// Along which axis.
        axis: usize,
        /// Whether it is the logarithm.
        log: bool,
    }
    /// One operand, element by element.
    Unary "unary" {
        /// What is done.
        kind: UnaryKind,
        /// Numbers that the kind has.
        parameters: Vec<f64>,
    }
    /// Two operands, element by element.
    Binary "binary" {
        /// What is done.
        kind: BinaryKind,
    }
    /// A question about two operands, element by element.
    Compare "compare" {
        /// What is asked.
        kind: CompareKind,
    }
    /// One of two operands, element by element.
    Where "where" {}
    /// One result for the elements along axes.
    Reduce "reduce" {
        /// What is made of them.
        kind: ReduceKind,
        /// Along which axes; none: all.
        axes: Vec<usize>,
        /// Whether they stay, with size 1.
        keep: bool,
        /// Correction of a variance, order of a norm.
        parameter: f64,
    }
    /// Running sums or products.
    Cumulate "cumulate" {
        /// Along which axis.
        axis: usize,
        /// Whether they are products.
        product: bool,
    }
    /// The k greatest or least.
    TopK "top_k" {
        /// Along which axis.
        axis: usize,
        /// How many.
        k: Size,
        /// Whether it is the least.
        least: bool,
    }
    /// All elements in order.
    Sort "sort" {
        /// Along which axis.
        axis: usize,
        /// Whether they fall.
        falling: bool,
    }
    /// How often each number occurs.
    Count "count" {
        /// Numbers that are counted: 0 to less than this.
        bins: Size,
    }
    /// Numbers at equal distances.
    Arange "arange" {
        /// The first.
        start: Size,
        /// Before this one.
        end: Size,
        /// From one to the next; not 0.
        step: Size,
        /// Whether they are WORK.
        work: bool,
    }
    /// One value everywhere.
    Full "full" {
        /// Sizes of the axes.
        shape: Vec<Size>,
        /// The value where there is no operand.
        value: f64,
        /// Of which type.
        of: ValueType,
    }
    /// Another type.
    Cast "cast" {
        /// Which one.
        to: ValueType,
    }
    /// Windows over spatial axes.
    Pool "pool" {
        /// What is made of a window.
        kind: PoolKind,
        /// Sizes of a window.
        kernel: Vec<u64>,
        /// From one window to the next.
        stride: Vec<u64>,
        /// Elements around.
        padding: Vec<u64>,
        /// From one element of a window to the next.
        dilation: Vec<u64>,
        /// Whether a last window may end beyond the operand.
        ceil: bool,
        /// Whether a mean counts the padding.
        count_padding: bool,
        /// What a mean divides by; 0: the number of elements.
        divisor: u64,
        /// Sizes of the result of an adaptive one.
        output: Vec<Size>,
    }
    /// More elements along spatial axes.
    Upsample "upsample" {
        /// How they are made.
        kind: UpsampleKind,
        /// Sizes of the result.
        output: Vec<Size>,
        /// Whether the corners of both coincide.
        align_corners: bool,
        /// Factors by which coordinates are scaled, where they were given.
        scales: Vec<f64>,
    }
    /// The size of an axis.
    Dim "dim" {
        /// Which axis.
        axis: usize,
    }
    /// A recurrent layer.
    Recurrent "recurrent" {
        /// Which one.
        kind: RecurrentKind,
        /// How many on top of each other.
        layers: usize,
        /// Whether it runs both ways.
        bidirectional: bool,
        /// Whether it has biases.
        biases: bool,
        /// Whether the batch is the first axis.
        batch_first: bool,
    }
}
