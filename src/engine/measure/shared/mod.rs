//! What several measures are made of: ascents, climbs, curvature, draws, fits.
//!
//! Owns: ways of looking. May not touch: what is measured with them, and its parameters' defaults.

pub mod ascent;
pub mod climb;
pub mod curvature;
pub mod draws;
pub mod power_law;
pub mod score;
