//! A landscape with what the measures of one snapshot share on it.
//!
//! Owns: the memory of a snapshot, and what it leaves for the next. May not touch: what is remembered.

use crate::landscape::{GradientSummary, Landscape, Point};
use crate::outputs::Outputs;
use clino_domain::Fault;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// How an ascent is done; with the draw it names its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AscentKey {
    /// Bits of the numbers that define it.
    pub numbers: [u64; 4],
    /// The discrete choices that define it.
    pub choices: [u32; 5],
    /// Number of the draw.
    pub draw: u32,
}

/// Result of one ascent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AscentResult {
    /// Loss at the end of the draw less the loss at w0.
    pub rise: f64,
    /// l2 norm of the displacement at the end.
    pub displacement: f64,
}

/// What measures of one snapshot on one group have in common.
#[derive(Debug, Default)]
pub struct SharedCache {
    /// The outputs of the base forward at w0.
    pub outputs: Option<Arc<Outputs>>,
    /// Finished ascents: `sharpness`, its profile and the flat radius meet on the same radii and draws.
    pub ascents: HashMap<AscentKey, AscentResult>,
    /// ‖gradient‖² of an example with a label.
    pub squares: HashMap<(usize, usize), f64>,
}

/// Numbers that one snapshot leaves for the next one of its run, such as where a search may begin.
#[derive(Debug, Clone, Default)]
pub struct Hints(pub BTreeMap<String, f64>);

/// A landscape with what its measures share.
pub struct MeasureScope<'a> {
    /// The loss around this snapshot.
    pub landscape: &'a mut dyn Landscape,
    /// Shared between the measures of this snapshot on this group.
    pub cache: &'a mut SharedCache,
    /// Left by the run's last snapshot, for this one to leave to the next.
    pub hints: &'a mut Hints,
    /// Key of this group among the hints.
    pub group: String,
    /// Seconds since this measure began, for those that may end by time.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
}

impl MeasureScope<'_> {
    /// Scores at w0, computed once a snapshot.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    pub fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        if self.cache.outputs.is_none() {
            self.cache.outputs = Some(self.landscape.outputs()?);
        }
        Ok(self.cache.outputs.clone().unwrap_or_default())
    }

    /// The gradient at w0, computed once a snapshot.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    pub fn slope(&mut self) -> Result<GradientSummary, Fault> {
        self.landscape.slope(None)
    }

    /// Runs `job` for each of the draws, which rise; the results are in their order.
    ///
    /// # Errors
    /// The first fault of a job; `Cancelled` if a stop was requested.
    pub fn explore<R: Send>(
        &mut self,
        draws: &[u32],
        job: impl Fn(&mut dyn Point, u32) -> Result<R, Fault> + Sync,
    ) -> Result<Vec<R>, Fault> {
        let found: Mutex<Vec<(u32, R)>> = Mutex::default();
        self.landscape.visit(draws, &|point, draw| {
            let result = job(point, draw)?;
            found.lock().unwrap_or_else(PoisonError::into_inner).push((draw, result));
            Ok(())
        })?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(draw, _)| *draw);
        Ok(found.into_iter().map(|(_, result)| result).collect())
    }

    /// Runs `job` on one point with the whole machine.
    ///
    /// # Errors
    /// The fault of the job, or a stop.
    pub fn walk<R: Send>(
        &mut self,
        job: impl Fn(&mut dyn Point) -> Result<R, Fault> + Sync,
    ) -> Result<R, Fault> {
        let mut found = self.explore(&[0], |point, _| job(point))?;
        found.pop().ok_or_else(|| Fault::internal("a walk without an end"))
    }
}
