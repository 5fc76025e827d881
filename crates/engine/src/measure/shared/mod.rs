//! What several measures are made of: ascents, climbs, curvature, Lanczos' iteration, draws, fits.
//!
//! Owns: ways of looking. May not touch: what is measured with them, and its parameters' defaults.

pub mod ascent;
pub mod climb;
pub mod curvature;
pub mod draws;
pub mod ends;
pub mod initialization;
pub mod lanczos;
pub mod power_law;
pub mod ratio;
pub mod reach;
pub mod score;
