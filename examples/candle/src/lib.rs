//! A BERT in candle as its trainer writes it: tensors, slow operations, gradients for every parameter.

pub mod network;
pub mod text;
pub mod train;
