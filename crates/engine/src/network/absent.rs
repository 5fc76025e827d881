//! A build without candle: there is no second implementation, and it says why.
//!
//! Owns: the sentence. May not touch: anything else.

use super::Network;
use clino_domain::{Fault, FaultKind};
use std::sync::Arc;

const MISSING: &str = "this clino was built without candle: build it with `cargo build --release --features candle`, \
                      or leave out --network candle";

/// The arithmetic of one architecture in candle: none.
pub enum CandleModel {}

impl CandleModel {
    /// Never any.
    ///
    /// # Errors
    /// Always [`FaultKind::Unavailable`].
    pub fn read(_model_type: &str, _config_json: &str) -> Result<Self, Fault> {
        Err(Fault::new(FaultKind::Unavailable, MISSING))
    }
}

/// Never any network.
///
/// # Errors
/// Always [`FaultKind::Unavailable`].
pub fn build(_config_json: &str) -> Result<Arc<dyn Network>, Fault> {
    Err(Fault::new(FaultKind::Unavailable, MISSING))
}
