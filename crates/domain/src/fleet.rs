//! Many runs: which of them are asked for, and how they compare.
//!
//! Owns: filters, comparisons, what is the best. May not touch: where readings are kept.

use super::{Direction, RunId, RunLabel, RunSummary, Series, SeriesPoint, Subject};
use std::collections::BTreeMap;

/// Which runs; what is empty does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Only runs of this project.
    pub project: Option<String>,
    /// Only runs of this experiment.
    pub experiment: Option<String>,
    /// With all of these.
    pub tags: BTreeMap<String, String>,
    /// Only those that take snapshots.
    pub open: bool,
}

impl RunFilter {
    /// Whether a run is among them.
    pub fn matches(&self, label: &RunLabel, closed: bool) -> bool {
        let is = |asked: &Option<String>, found: &String| asked.as_ref().is_none_or(|asked| asked == found);
        is(&self.project, &label.project)
            && is(&self.experiment, &label.experiment)
            && self.tags.iter().all(|(name, text)| label.tags.get(name) == Some(text))
            && !(self.open && closed)
    }
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunPage {
    /// In the order of their ids, which is that in which they were opened.
    pub runs: Vec<RunSummary>,
    /// What asks for the next one; `None`: this is the last.
    pub next: Option<String>,
}

/// What is new among runs that are watched.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunNews {
    /// Those that have changed, as they stand.
    pub runs: Vec<RunSummary>,
    /// Those that the daemon holds no longer.
    pub forgotten: Vec<RunId>,
}

/// Which snapshot of a run is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Moment {
    /// The one that was measured last.
    #[default]
    Last,
    /// The one with the best value.
    Best,
    /// The newest one up to a step.
    AtStep(u64),
}

/// Runs side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Which runs to compare.
    pub filter: RunFilter,
    /// Subject by which runs are compared.
    pub on: Subject,
    /// At which snapshot of each.
    pub moment: Moment,
    /// Which end is the best.
    pub direction: Direction,
}

impl Comparison {
    /// The point of a run that is compared, of all its points in the order in which they were measured. Of a step that
    /// was measured again only the latest attempt counts; of equal values the earliest step is the best.
    pub fn choose(&self, points: Vec<SeriesPoint>) -> Option<SeriesPoint> {
        let chosen = match self.moment {
            Moment::Last => points.last().copied(),
            Moment::AtStep(step) => points.into_iter().filter(|p| p.at.step <= step).max_by_key(|p| p.at),
            Moment::Best => self.best(&Series::of(points)),
        };
        chosen.filter(SeriesPoint::counts)
    }

    fn best(&self, series: &Series) -> Option<SeriesPoint> {
        let earlier = series.earlier().map(|earlier| earlier.best(self.direction));
        self.direction
            .best(earlier.into_iter().chain(series.points().iter().copied()).filter(SeriesPoint::counts))
    }

    /// The best first, those without a value last; equal ones stay in their order.
    pub fn rank(&self, runs: &mut [ComparedRun]) {
        runs.sort_by(|one, other| match (&one.point, &other.point) {
            (Some(one), Some(other)) => match self.direction {
                Direction::Minimize => one.value.total_cmp(&other.value),
                Direction::Maximize => other.value.total_cmp(&one.value),
            },
            (one, other) => one.is_none().cmp(&other.is_none()),
        });
    }
}

/// A line of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedRun {
    /// Made by the daemon.
    pub run: RunId,
    /// Name of the run, for people; it need not be unique.
    pub name: String,
    /// Project of the run.
    pub project: String,
    /// Experiment of the run; empty if it has none.
    pub experiment: String,
    /// Its value and where; `None` where it has none.
    pub point: Option<SeriesPoint>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::SnapshotRef;

    fn point(step: u64, attempt: u32, value: f64) -> SeriesPoint {
        SeriesPoint { at: SnapshotRef { step, attempt }, value, stderr: None, non_finite: false }
    }

    fn comparison(moment: Moment, direction: Direction) -> Comparison {
        Comparison { filter: RunFilter::default(), on: "loss".parse().unwrap(), moment, direction }
    }

    fn chosen(moment: Moment, points: &[SeriesPoint]) -> Option<u64> {
        comparison(moment, Direction::Minimize).choose(points.to_vec()).map(|point| point.at.step)
    }

    #[test]
    fn filters_look_at_every_field() {
        let tags = BTreeMap::from([("lr".to_owned(), "1e-3".to_owned()), ("seed".into(), "2".into())]);
        let label = RunLabel { project: "a".into(), experiment: "e".into(), tags };
        let with = |change: fn(&mut RunFilter)| {
            let mut filter = RunFilter::default();
            change(&mut filter);
            filter.matches(&label, true)
        };
        assert!(with(|_| {}));
        assert!(with(|f| f.project = Some("a".into())) && !with(|f| f.project = Some("b".into())));
        assert!(with(|f| f.experiment = Some("e".into())) && !with(|f| f.experiment = Some("".into())));
        assert!(with(|f| f.tags = [("lr".into(), "1e-3".into())].into()));
        assert!(!with(|f| f.tags = [("lr".into(), "1e-3".into()), ("seed".into(), "3".into())].into()));
        assert!(!with(|f| f.tags = [("wd".into(), "1e-3".into())].into()));
        assert!(!with(|f| f.open = true));
    }

    #[test]
    fn moments_choose_points() {
        let points = [point(10, 1, 3.0), point(20, 1, 1.0), point(30, 1, 2.0)];
        assert_eq!(chosen(Moment::Last, &points), Some(30));
        assert_eq!(chosen(Moment::Best, &points), Some(20));
        assert_eq!(chosen(Moment::AtStep(25), &points), Some(20));
        assert_eq!(chosen(Moment::AtStep(9), &points), None);
        assert_eq!(chosen(Moment::Best, &[]), None);
        let best = comparison(Moment::Best, Direction::Maximize).choose(points.to_vec()).unwrap();
        assert_eq!(best.at.step, 10);
    }

    #[test]
    fn row_30_a_later_attempt_takes_the_place_of_an_earlier_one() {
        let points = [point(10, 1, 1.0), point(20, 1, 5.0), point(10, 2, 7.0)];
        assert_eq!(chosen(Moment::Best, &points), Some(20));
        let at = comparison(Moment::AtStep(10), Direction::Minimize).choose(points.to_vec()).unwrap();
        assert_eq!((at.at.attempt, at.value), (2, 7.0));
    }

    #[test]
    fn what_is_not_finite_has_no_value_and_comes_last() {
        let broken = [point(10, 1, 1.0), point(20, 1, f64::NAN)];
        assert_eq!(chosen(Moment::Last, &broken), None);
        assert_eq!(chosen(Moment::AtStep(20), &broken), None);
        assert_eq!(chosen(Moment::Best, &broken), Some(10));
        let line = |name: &str, value: Option<f64>| ComparedRun {
            run: RunId(name.into()),
            name: name.into(),
            project: String::new(),
            experiment: String::new(),
            point: value.map(|value| point(1, 1, value)),
        };
        let lines = [line("a", None), line("b", Some(2.0)), line("c", Some(1.0)), line("d", Some(2.0))];
        let ranked = |direction| {
            let mut lines = lines.clone();
            comparison(Moment::Last, direction).rank(&mut lines);
            lines.map(|line| line.name).concat()
        };
        assert_eq!(ranked(Direction::Minimize), "cbda");
        assert_eq!(ranked(Direction::Maximize), "bdca");
    }

    #[test]
    fn the_best_of_what_is_no_longer_held_is_known() {
        let many = crate::series::MOST_POINTS as u64 * 2;
        let points = (0..many).map(|step| point(step, 1, if step == 7 { -1.0 } else { 1.0 })).collect();
        let best = comparison(Moment::Best, Direction::Minimize).choose(points).unwrap();
        assert_eq!((best.at.step, best.value), (7, -1.0));
    }
}
