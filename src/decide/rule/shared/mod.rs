//! What several rules share.
//!
//! Owns: the calendar of checks, ranks among runs, rungs, a test of pairs. May not touch: any one rule's parameters.

pub mod calendar;
pub mod ranking;
pub mod rungs;
pub mod signed_rank;
