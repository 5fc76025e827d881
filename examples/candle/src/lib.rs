//! A BERT in candle as its trainer writes it: tensors, slow operations, gradients for every parameter.

pub mod network;
#[path = "../../finetune/text.rs"]
pub mod text;
pub mod train;
#[path = "../../finetune/unigram.rs"]
pub mod unigram;
