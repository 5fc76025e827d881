//! Series: one subject of one run, step by step.
//!
//! Owns: order, attempts, bounds. May not touch: what is made of it.

use super::SnapshotRef;

/// So many points of a series are held; of older ones the least and the greatest.
pub const MOST_POINTS: usize = 4_096;

/// What was observed at one snapshot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// At which.
    pub at: SnapshotRef,
    /// Not a number where there is none.
    pub value: f64,
    /// Standard error of the value, where it is known.
    pub stderr: Option<f64>,
    /// Whether it is missing because something was not finite.
    pub non_finite: bool,
}

impl Point {
    /// Whether rules may look at it.
    pub fn counts(&self) -> bool {
        self.value.is_finite()
    }
}

/// Which end is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The least.
    #[default]
    Minimize,
    /// The greatest.
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
    pub fn best(self, points: impl IntoIterator<Item = Point>) -> Option<Point> {
        let better = |best: Point, next: Point| if self.better(next.value, best.value) { next } else { best };
        points.into_iter().reduce(better)
    }
}

/// Extremes of points that are no longer held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Earlier {
    /// How many had a value.
    pub count: u64,
    /// The least.
    pub least: Point,
    /// The greatest.
    pub greatest: Point,
}

impl Earlier {
    /// The better of the two.
    pub fn best(&self, direction: Direction) -> Point {
        match direction {
            Direction::Minimize => self.least,
            Direction::Maximize => self.greatest,
        }
    }
}

/// Points in the order of their steps; a later attempt at a step takes the place of an earlier one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    points: Vec<Point>,
    earlier: Option<Earlier>,
    /// Of all points that came, whatever became of them.
    observed: u64,
}

impl Series {
    /// Of points in any order.
    pub fn of(points: impl IntoIterator<Item = Point>) -> Self {
        let mut series = Self::default();
        points.into_iter().for_each(|point| series.push(point));
        series
    }

    /// Takes in a point.
    pub fn push(&mut self, point: Point) {
        self.observed += 1;
        let place = self.points.partition_point(|known| known.at.step < point.at.step);
        match self.points.get_mut(place) {
            Some(known) if known.at.step == point.at.step => {
                if known.at.attempt <= point.at.attempt {
                    *known = point;
                }
            }
            _ => self.points.insert(place, point),
        }
        // In blocks, so that dropping costs little.
        if self.points.len() >= MOST_POINTS + MOST_POINTS / 8 {
            let dropped: Vec<_> = self.points.drain(..MOST_POINTS / 8).collect();
            dropped.into_iter().filter(Point::counts).for_each(|point| self.bury(point));
        }
    }

    fn bury(&mut self, point: Point) {
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
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Those up to `step`.
    pub fn until(&self, step: u64) -> &[Point] {
        &self.points[..self.points.partition_point(|point| point.at.step <= step)]
    }

    /// What is known of the points before the first that is held.
    pub fn earlier(&self) -> Option<&Earlier> {
        self.earlier.as_ref()
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

    fn point(step: u64, attempt: u32, value: f64) -> Point {
        Point { at: SnapshotRef { step, attempt }, value, stderr: None, non_finite: false }
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
        assert!(series.points().len() < MOST_POINTS + MOST_POINTS / 8);
        let earlier = series.earlier().unwrap();
        assert_eq!((earlier.least.at.step, earlier.least.value), (10, -5.0));
        assert_eq!(earlier.count + series.points().len() as u64, many);
    }
}
