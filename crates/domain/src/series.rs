//! Series: one subject of one run, step by step.
//!
//! Owns: order, attempts, bounds. May not touch: what is made of it, where older points are read from.

use super::SnapshotRef;
use std::collections::VecDeque;

/// So many points of a series are held, or some more; of older ones the least and the greatest.
pub const MOST_POINTS: usize = 1_024;
/// So many are dropped at once, which costs little.
const BLOCK: usize = MOST_POINTS / 8;
/// So many points are read back at once where older ones are asked for.
pub const PAGE: usize = 32;
/// So many pages of them are held; nobody should ask for more of a series at once.
pub const MOST_PAGES: usize = 8;

/// What was observed at one snapshot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesPoint {
    /// Snapshot of the value.
    pub at: SnapshotRef,
    /// Not a number where there is none.
    pub value: f64,
    /// Standard error of the value, where it is known.
    pub stderr: Option<f64>,
    /// Whether it is missing because something was not finite.
    pub non_finite: bool,
}

impl SeriesPoint {
    /// Whether rules may look at it.
    pub fn counts(&self) -> bool {
        self.value.is_finite()
    }
}

/// Which end is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Lower values are better.
    #[default]
    Minimize,
    /// Higher values are better.
    Maximize,
}

impl Direction {
    /// Whether `one` is better than `other`; equal ones are not.
    pub fn better(self, one: f64, other: f64) -> bool {
        match self {
            Self::Minimize => one < other,
            Self::Maximize => one > other,
        }
    }

    /// `value` made better by `delta`.
    pub fn improved(self, value: f64, delta: f64) -> f64 {
        match self {
            Self::Minimize => value - delta,
            Self::Maximize => value + delta,
        }
    }

    /// `value` made worse by `delta`.
    pub fn worsened(self, value: f64, delta: f64) -> f64 {
        self.improved(value, -delta)
    }

    /// The first of the points with the best value.
    pub fn best(self, points: impl IntoIterator<Item = SeriesPoint>) -> Option<SeriesPoint> {
        let better = |best: SeriesPoint, next: SeriesPoint| {
            if self.better(next.value, best.value) { next } else { best }
        };
        points.into_iter().reduce(better)
    }
}

/// Extremes of points that are no longer held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Earlier {
    /// How many had a value.
    pub count: u64,
    /// Point with the smallest value.
    pub least: SeriesPoint,
    /// Point with the largest value.
    pub greatest: SeriesPoint,
}

impl Earlier {
    /// The better of the two.
    pub fn best(&self, direction: Direction) -> SeriesPoint {
        match direction {
            Direction::Minimize => self.least,
            Direction::Maximize => self.greatest,
        }
    }
}

/// The step from which on points would have to be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub u64);

/// All points of some steps, read back.
#[derive(Debug, Clone, PartialEq)]
struct SeriesPage {
    from: u64,
    /// The last of the steps.
    until: u64,
    points: Vec<SeriesPoint>,
}

/// Points in the order of their steps; a later attempt at a step takes the place of an earlier one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    points: Vec<SeriesPoint>,
    earlier: Option<Earlier>,
    /// The greatest step whose point is held no longer.
    horizon: Option<u64>,
    /// Of what is held no longer.
    pages: VecDeque<SeriesPage>,
    /// Of all points that came, whatever became of them.
    observed: u64,
}

impl Series {
    /// Of points in any order.
    pub fn of(points: impl IntoIterator<Item = SeriesPoint>) -> Self {
        let mut series = Self::default();
        points.into_iter().for_each(|point| series.push(point));
        series
    }

    /// Takes in a point.
    pub fn push(&mut self, point: SeriesPoint) {
        self.observed += 1;
        self.pages.retain(|page| !(page.from..=page.until).contains(&point.at.step));
        if self.points.len() == self.points.capacity() {
            // Twice as many, but never more than there will be.
            let room = MOST_POINTS + BLOCK - self.points.len();
            self.points.reserve_exact(self.points.len().max(4).min(room));
        }
        let place = self.points.partition_point(|known| known.at.step < point.at.step);
        match self.points.get_mut(place) {
            Some(known) if known.at.step == point.at.step => {
                if known.at.attempt <= point.at.attempt {
                    *known = point;
                }
            }
            _ => self.points.insert(place, point),
        }
        if self.points.len() >= MOST_POINTS + BLOCK {
            let dropped: Vec<_> = self.points.drain(..BLOCK).collect();
            self.horizon = self.horizon.max(dropped.last().map(|point| point.at.step));
            dropped.into_iter().filter(SeriesPoint::counts).for_each(|point| self.bury(point));
        }
    }

    fn bury(&mut self, point: SeriesPoint) {
        let known = self.earlier.get_or_insert(Earlier { count: 0, least: point, greatest: point });
        known.count += 1;
        if point.value < known.least.value {
            known.least = point;
        }
        if point.value > known.greatest.value {
            known.greatest = point;
        }
    }

    /// Points in the order of their steps, those without a value among them.
    pub fn points(&self) -> &[SeriesPoint] {
        &self.points
    }

    /// Those up to `step`.
    pub fn until(&self, step: u64) -> &[SeriesPoint] {
        &self.points[..self.points.partition_point(|point| point.at.step <= step)]
    }

    /// What is known of the points before the first that is held.
    pub fn earlier(&self) -> Option<&Earlier> {
        self.earlier.as_ref()
    }

    /// The point of a step, if it has a value.
    ///
    /// # Errors
    /// If it would have to be read back.
    pub fn at(&self, step: u64) -> Result<Option<SeriesPoint>, Missing> {
        let points = if self.gone(step) { &self.page(step)?.points } else { &self.points };
        let place = points.partition_point(|point| point.at.step < step);
        Ok(points.get(place).filter(|point| point.at.step == step && point.counts()).copied())
    }

    /// The first point with a value at a step or behind it.
    ///
    /// # Errors
    /// If it would have to be read back.
    pub fn first_from(&self, step: u64) -> Result<Option<SeriesPoint>, Missing> {
        let first = |points: &[SeriesPoint], step| {
            points.iter().find(|point| point.at.step >= step && point.counts()).copied()
        };
        let mut step = step;
        while self.gone(step) {
            let page = self.page(step)?;
            if let Some(point) = first(&page.points, step) {
                return Ok(Some(point));
            }
            step = page.until.saturating_add(1);
        }
        Ok(first(&self.points, step))
    }

    /// Whether points have been dropped that were held when `step` was the newest.
    pub fn short_of(&self, step: u64) -> bool {
        self.horizon.is_some() && self.points.last().is_some_and(|last| step < last.at.step)
    }

    /// Whether a step lies where points are held no longer.
    fn gone(&self, step: u64) -> bool {
        self.horizon.is_some_and(|horizon| step <= horizon)
    }

    fn page(&self, step: u64) -> Result<&SeriesPage, Missing> {
        let page = self.pages.iter().find(|page| (page.from..=page.until).contains(&step));
        page.ok_or(Missing(step))
    }

    /// Takes in what was read back: the [`PAGE`] first points at `from` or behind it in the order of their steps, or all
    /// if there are not so many. The oldest page makes room.
    pub fn turn(&mut self, from: u64, points: Vec<SeriesPoint>) {
        let last = points.last().filter(|_| points.len() >= PAGE).map(|point| point.at.step);
        let until = last.or(self.horizon).unwrap_or(from).max(from);
        self.pages.push_back(SeriesPage { from, until, points });
        if self.pages.len() > MOST_PAGES {
            self.pages.pop_front();
        }
    }

    /// How many points ever came: changes whenever the series does.
    pub fn observed(&self) -> u64 {
        self.observed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(step: u64, attempt: u32, value: f64) -> SeriesPoint {
        SeriesPoint { at: SnapshotRef { step, attempt }, value, stderr: None, non_finite: false }
    }

    #[test]
    fn row_30_the_latest_attempt_wins_and_steps_are_in_order() {
        let series = Series::of([
            point(5, 1, 1.0),
            point(9, 1, 2.0),
            point(5, 2, 3.0),
            point(7, 1, 4.0),
            point(5, 1, 0.0),
        ]);
        let found: Vec<_> = series.points().iter().map(|p| (p.at.step, p.value)).collect();
        assert_eq!(found, [(5, 3.0), (7, 4.0), (9, 2.0)]);
        assert_eq!(series.until(8).len(), 2);
        assert_eq!(series.observed(), 5);
    }

    #[test]
    fn what_is_dropped_leaves_its_extremes() {
        let many = MOST_POINTS as u64 * 3;
        let value = |step: u64| if step == 10 { -5.0 } else { step as f64 };
        let series = Series::of((0..many).map(|step| point(step, 1, value(step))));
        assert!(series.points().len() < MOST_POINTS + BLOCK);
        assert_eq!(series.points.capacity(), MOST_POINTS + BLOCK);
        let earlier = series.earlier().unwrap();
        assert_eq!((earlier.least.at.step, earlier.least.value), (10, -5.0));
        assert_eq!(earlier.count + series.points().len() as u64, many);
    }

    /// The page that an archive of these points would give.
    fn read_back(points: &[SeriesPoint], from: u64) -> Vec<SeriesPoint> {
        points.iter().filter(|point| point.at.step >= from).take(PAGE).copied().collect()
    }

    #[test]
    fn what_is_held_no_longer_is_missed_until_it_is_read_back() {
        let many = MOST_POINTS as u64 * 2;
        // Every tenth step; those of steps 100 to 900 have no value.
        let value = |step: u64| if (100..=900).contains(&step) { f64::NAN } else { step as f64 };
        let all: Vec<SeriesPoint> = (0..many).map(|n| point(10 * n, 1, value(10 * n))).collect();
        let mut series = Series::of(all.iter().copied());
        assert_eq!(series.at(10 * many - 10).unwrap().unwrap().value, 10.0 * many as f64 - 10.0);
        assert_eq!(series.at(10 * many - 5), Ok(None));
        assert_eq!((series.at(50), series.first_from(45)), (Err(Missing(50)), Err(Missing(45))));
        series.turn(45, read_back(&all, 45));
        assert_eq!(series.at(50).unwrap().unwrap().value, 50.0);
        assert_eq!((series.at(51), series.at(100), series.at(40)), (Ok(None), Ok(None), Err(Missing(40))));
        assert_eq!(series.first_from(45).unwrap().unwrap().at.step, 50);
        // The page ends among those without a value: the next one is due.
        let Err(Missing(next)) = series.first_from(100) else { panic!("nothing is missing") };
        assert_eq!(next, 50 + 10 * (PAGE as u64 - 1) + 1);
        let mut reads = 0;
        while let Err(Missing(step)) = series.first_from(100) {
            series.turn(step, read_back(&all, step));
            reads += 1;
        }
        assert_eq!((reads, series.first_from(100).unwrap().unwrap().at.step), (2, 910));
    }

    #[test]
    fn pages_are_bounded_and_a_later_attempt_makes_them_void() {
        let many = MOST_POINTS as u64 * 2;
        let all: Vec<SeriesPoint> = (0..many).map(|step| point(step, 1, 1.0)).collect();
        let mut series = Series::of(all.iter().copied());
        for page in 0..=MOST_PAGES as u64 {
            series.turn(page * PAGE as u64, read_back(&all, page * PAGE as u64));
        }
        assert_eq!(series.pages.len(), MOST_PAGES);
        assert_eq!(series.at(0), Err(Missing(0)));
        assert!(series.at(PAGE as u64).unwrap().is_some());
        series.push(point(PAGE as u64 + 1, 2, 5.0));
        assert_eq!(series.at(PAGE as u64), Err(Missing(PAGE as u64)));
        // Where nothing can be read back, nothing is there.
        series.turn(0, Vec::new());
        assert_eq!((series.at(0), series.at(PAGE as u64)), (Ok(None), Ok(None)));
        assert!(series.first_from(0).unwrap().is_some());
    }
}
