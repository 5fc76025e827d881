//! All operators: one file, one line of `mod` and one line of [`dispatch`] each.
//!
//! Owns: which operator is computed where. May not touch: how.

/// Names the rule of an operator, which reads the operator's attributes as its own.
macro_rules! rule {
    ($operator:ident) => {
        /// The rule of the operator.
        pub struct Rule<'a>(pub &'a $operator);

        impl std::ops::Deref for Rule<'_> {
            type Target = $operator;
            fn deref(&self) -> &$operator {
                self.0
            }
        }
    };
}

pub mod arange;
pub mod attention;
pub mod batch_norm;
pub mod binary;
pub mod cast;
pub mod compare;
pub mod concat;
pub mod conv;
pub mod count;
pub mod cumulate;
pub mod dim;
pub mod expand;
pub mod flip;
pub mod full;
pub mod gather;
pub mod group_norm;
pub mod grouped_matmul;
pub mod layer_norm;
pub mod linear;
pub mod matmul;
pub mod pad;
pub mod permute;
pub mod pool;
pub mod recurrent;
pub mod reduce;
mod resample;
pub mod reshape;
pub mod rms_norm;
pub mod scatter;
mod selection;
pub mod slice;
pub mod softmax;
pub mod sort;
pub mod top_k;
pub mod unary;
pub mod upsample;
pub mod whether;
mod window;

/// Does something with the attributes of an operator, whichever it is.
macro_rules! dispatch {
    ($operator:expr, $op:ident => $body:expr) => {
        match $operator {
            clino_domain::graph::Operator::Arange(op) => $crate::operators::of!(arange, op, $op => $body),
            clino_domain::graph::Operator::Attention(op) => $crate::operators::of!(attention, op, $op => $body),
            clino_domain::graph::Operator::BatchNorm(op) => $crate::operators::of!(batch_norm, op, $op => $body),
            clino_domain::graph::Operator::Binary(op) => $crate::operators::of!(binary, op, $op => $body),
            clino_domain::graph::Operator::Cast(op) => $crate::operators::of!(cast, op, $op => $body),
            clino_domain::graph::Operator::Compare(op) => $crate::operators::of!(compare, op, $op => $body),
            clino_domain::graph::Operator::Concat(op) => $crate::operators::of!(concat, op, $op => $body),
            clino_domain::graph::Operator::Conv(op) => $crate::operators::of!(conv, op, $op => $body),
            clino_domain::graph::Operator::Count(op) => $crate::operators::of!(count, op, $op => $body),
            clino_domain::graph::Operator::Cumulate(op) => $crate::operators::of!(cumulate, op, $op => $body),
            clino_domain::graph::Operator::Dim(op) => $crate::operators::of!(dim, op, $op => $body),
            clino_domain::graph::Operator::Expand(op) => $crate::operators::of!(expand, op, $op => $body),
            clino_domain::graph::Operator::Flip(op) => $crate::operators::of!(flip, op, $op => $body),
            clino_domain::graph::Operator::Full(op) => $crate::operators::of!(full, op, $op => $body),
            clino_domain::graph::Operator::Gather(op) => $crate::operators::of!(gather, op, $op => $body),
            clino_domain::graph::Operator::GroupNorm(op) => $crate::operators::of!(group_norm, op, $op => $body),
            clino_domain::graph::Operator::GroupedMatMul(op) => $crate::operators::of!(grouped_matmul, op, $op => $body),
            clino_domain::graph::Operator::LayerNorm(op) => $crate::operators::of!(layer_norm, op, $op => $body),
            clino_domain::graph::Operator::Linear(op) => $crate::operators::of!(linear, op, $op => $body),
            clino_domain::graph::Operator::MatMul(op) => $crate::operators::of!(matmul, op, $op => $body),
            clino_domain::graph::Operator::Pad(op) => $crate::operators::of!(pad, op, $op => $body),
            clino_domain::graph::Operator::Permute(op) => $crate::operators::of!(permute, op, $op => $body),
            clino_domain::graph::Operator::Pool(op) => $crate::operators::of!(pool, op, $op => $body),
            clino_domain::graph::Operator::Recurrent(op) => $crate::operators::of!(recurrent, op, $op => $body),
            clino_domain::graph::Operator::Reduce(op) => $crate::operators::of!(reduce, op, $op => $body),
            clino_domain::graph::Operator::Reshape(op) => $crate::operators::of!(reshape, op, $op => $body),
            clino_domain::graph::Operator::RmsNorm(op) => $crate::operators::of!(rms_norm, op, $op => $body),
            clino_domain::graph::Operator::Scatter(op) => $crate::operators::of!(scatter, op, $op => $body),
            clino_domain::graph::Operator::Slice(op) => $crate::operators::of!(slice, op, $op => $body),
            clino_domain::graph::Operator::Softmax(op) => $crate::operators::of!(softmax, op, $op => $body),
            clino_domain::graph::Operator::Sort(op) => $crate::operators::of!(sort, op, $op => $body),
            clino_domain::graph::Operator::TopK(op) => $crate::operators::of!(top_k, op, $op => $body),
            clino_domain::graph::Operator::Unary(op) => $crate::operators::of!(unary, op, $op => $body),
            clino_domain::graph::Operator::Upsample(op) => $crate::operators::of!(upsample, op, $op => $body),
            clino_domain::graph::Operator::Where(op) => $crate::operators::of!(whether, op, $op => $body),
        }
    };
}
pub(crate) use dispatch;

macro_rules! of {
    ($module:ident, $attributes:ident, $op:ident => $body:expr) => {{
        let $op = &$crate::operators::$module::Rule($attributes);
        $body
    }};
}
pub(crate) use of;
