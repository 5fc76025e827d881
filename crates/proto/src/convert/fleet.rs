//! Filters, pages, news and comparisons of runs.
//!
//! Owns: nothing beside the conversion. May not touch: the registry.

use super::decisions::check_subject;
use super::{Coded, Complaints, at_from_pb, at_to_pb, summary_from_pb};
use crate::pb;
use clino_domain::text::{check_name, check_text, shown};
use clino_domain::{
    ComparedRun, Comparison, Direction, Fault, Moment, RunFilter, RunId, RunNews, RunPage, SeriesPoint,
    Subject,
};

/// Most tags of a filter: no run has more.
const MAX_TAGS: usize = 32;

impl Coded for Direction {
    type Pb = pb::Direction;
    const TABLE: &'static [(pb::Direction, Self)] =
        &[(pb::Direction::Minimize, Self::Minimize), (pb::Direction::Maximize, Self::Maximize)];
    fn name(pb: &pb::Direction) -> &'static str {
        pb.as_str_name()
    }
}

/// A filter; `None` is every run.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] with every field that no run can have, under `filter.`.
pub fn filter_from_pb(filter: Option<pb::RunFilter>) -> Result<RunFilter, Fault> {
    let pb::RunFilter { project, experiment, tags, open } = filter.unwrap_or_default();
    let mut complaints = Complaints::default();
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let project = given(project);
    let experiment = given(experiment);
    for (field, name) in [("project", &project), ("experiment", &experiment)] {
        if let Some(name) = name {
            complaints.keep("filter.", check_name(field, name));
        }
    }
    if tags.len() > MAX_TAGS {
        let description = format!("found {}, expected at most {MAX_TAGS}", tags.len());
        complaints.keep("filter.", Err::<(), _>(Fault::invalid("tags", description)));
    }
    for (name, text) in &tags {
        complaints.keep("filter.", check_name("tags", name));
        complaints.keep("filter.", check_text(&format!("tags.{}", shown(name)), text));
    }
    complaints.settle()?;
    Ok(RunFilter { project, experiment, tags: tags.into_iter().collect(), open })
}

/// Converts a filter to its message.
pub fn filter_to_pb(filter: &RunFilter) -> pb::RunFilter {
    pb::RunFilter {
        project: filter.project.clone().unwrap_or_default(),
        experiment: filter.experiment.clone().unwrap_or_default(),
        tags: filter.tags.clone().into_iter().collect(),
        open: filter.open,
    }
}

/// A page.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn page_from_pb(page: pb::ListRunsResponse) -> Result<RunPage, Fault> {
    let runs = page.runs.into_iter().map(summary_from_pb).collect::<Result<_, _>>()?;
    Ok(RunPage { runs, next: Some(page.next_page_token).filter(|token| !token.is_empty()) })
}

/// What is new.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn news_from_pb(news: pb::WatchRunsResponse) -> Result<RunNews, Fault> {
    let runs = news.runs.into_iter().map(summary_from_pb).collect::<Result<_, _>>()?;
    Ok(RunNews { runs, forgotten: news.forgotten.into_iter().map(RunId).collect() })
}

fn subject(text: &str) -> Result<Subject, Fault> {
    check_subject(text)?;
    text.parse::<Subject>().map_err(|wrong| Fault::invalid("on", wrong))
}

fn moment(moment: i32, step: u64) -> Result<Moment, Fault> {
    match pb::Moment::try_from(moment) {
        Ok(pb::Moment::Unspecified | pb::Moment::Last) => Ok(Moment::Last),
        Ok(pb::Moment::Best) => Ok(Moment::Best),
        Ok(pb::Moment::AtStep) => Ok(Moment::AtStep(step)),
        Err(_) => {
            let description = format!("found {moment}, expected MOMENT_LAST, MOMENT_BEST or MOMENT_AT_STEP");
            Err(Fault::invalid("moment", description))
        }
    }
}

/// What is to be compared.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] with every wrong field.
pub fn comparison_from_pb(request: pb::CompareRunsRequest) -> Result<Comparison, Fault> {
    let mut complaints = Complaints::default();
    let filter = complaints.keep("", filter_from_pb(request.filter));
    let on = complaints.keep("", subject(&request.on));
    let moment = complaints.keep("", moment(request.moment, request.step));
    let direction = complaints.keep("", Direction::or_default("direction", request.direction));
    complaints.settle()?;
    let missing =
        || Fault::internal("a required field is missing after validation, which is a defect of clino");
    Ok(Comparison {
        filter: filter.ok_or_else(missing)?,
        on: on.ok_or_else(missing)?,
        moment: moment.ok_or_else(missing)?,
        direction: direction.ok_or_else(missing)?,
    })
}

/// What is to be compared.
pub fn comparison_to_pb(comparison: &Comparison) -> pb::CompareRunsRequest {
    let (moment, step) = match comparison.moment {
        Moment::Last => (pb::Moment::Last, 0),
        Moment::Best => (pb::Moment::Best, 0),
        Moment::AtStep(step) => (pb::Moment::AtStep, step),
    };
    pb::CompareRunsRequest {
        filter: Some(filter_to_pb(&comparison.filter)),
        on: comparison.on.to_string(),
        moment: moment.into(),
        step,
        direction: comparison.direction.to_pb(),
    }
}

/// A line of a comparison.
pub fn compared_to_pb(line: ComparedRun) -> pb::ComparedRun {
    pb::ComparedRun {
        run_id: line.run.0,
        name: line.name,
        project: line.project,
        experiment: line.experiment,
        snapshot: line.point.map(|point| at_to_pb(point.at)),
        value: line.point.map(|point| point.value),
        stderr: line.point.and_then(|point| point.stderr),
    }
}

/// A line of a comparison.
///
/// # Errors
/// A value without its snapshot.
pub fn compared_from_pb(line: pb::ComparedRun) -> Result<ComparedRun, Fault> {
    let at = line.snapshot;
    let stderr = line.stderr;
    let point =
        |value: f64| Ok::<_, Fault>(SeriesPoint { at: at_from_pb(at)?, value, stderr, non_finite: false });
    Ok(ComparedRun {
        run: RunId(line.run_id),
        name: line.name,
        project: line.project,
        experiment: line.experiment,
        point: line.value.map(point).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::{FaultKind, SnapshotRef};
    use std::collections::HashMap;

    fn blamed(fault: &Fault) -> Vec<&str> {
        assert_eq!(fault.kind, FaultKind::Invalid);
        let mut fields: Vec<_> = fault.violations.iter().map(|violation| violation.field.as_str()).collect();
        fields.sort_unstable();
        fields
    }

    #[test]
    fn filters_come_back_as_they_went() {
        let tags = [("lr".to_owned(), "1e-3".to_owned())].into();
        let filter = RunFilter { project: Some("a".into()), experiment: Some("e".into()), tags, open: true };
        for filter in [filter, RunFilter::default()] {
            assert_eq!(filter_from_pb(Some(filter_to_pb(&filter))).unwrap(), filter);
        }
        assert_eq!(filter_from_pb(None).unwrap(), RunFilter::default());
    }

    #[test]
    fn row_32_what_no_run_can_have_is_refused_with_every_field() {
        let filter = pb::RunFilter {
            project: "../../etc".into(),
            experiment: "a\u{202e}b".into(),
            tags: [("\x1b[2J".into(), "x".into()), ("long".into(), "y".repeat(129))].into(),
            open: false,
        };
        let fault = filter_from_pb(Some(filter)).unwrap_err();
        assert_eq!(
            blamed(&fault),
            ["filter.experiment", "filter.project", "filter.tags", "filter.tags.long"]
        );
        assert!(!format!("{fault:?}").contains('\x1b') && fault.message.len() < 400);
        let tags: HashMap<_, _> = (0..33).map(|i| (format!("t{i}"), String::new())).collect();
        let many = pb::RunFilter { tags: tags.into_iter().collect(), ..Default::default() };
        assert_eq!(blamed(&filter_from_pb(Some(many)).unwrap_err()), ["filter.tags"]);
    }

    #[test]
    fn comparisons_come_back_as_they_went() {
        let on: Subject = "mean(loss@*)".parse().unwrap();
        for moment in [Moment::Last, Moment::Best, Moment::AtStep(9)] {
            let direction = Direction::Maximize;
            let comparison = Comparison { filter: RunFilter::default(), on: on.clone(), moment, direction };
            assert_eq!(comparison_from_pb(comparison_to_pb(&comparison)).unwrap(), comparison);
        }
        let plain = pb::CompareRunsRequest { on: "loss".into(), ..Default::default() };
        let plain = comparison_from_pb(plain).unwrap();
        assert_eq!((plain.moment, plain.direction), (Moment::Last, Direction::Minimize));
    }

    #[test]
    fn wrong_fields_of_a_comparison_are_named() {
        let request =
            pb::CompareRunsRequest { on: "loss@".into(), moment: 9, direction: 9, ..Default::default() };
        let fault = comparison_from_pb(request).unwrap_err();
        assert_eq!(blamed(&fault), ["direction", "moment", "on"]);
        let long = pb::CompareRunsRequest { on: "x".repeat(5_000), ..Default::default() };
        assert_eq!(blamed(&comparison_from_pb(long).unwrap_err()), ["on"]);
    }

    #[test]
    fn lines_come_back_as_they_went() {
        let at = SnapshotRef { step: 3, attempt: 2 };
        for point in [None, Some(SeriesPoint { at, value: 0.5, stderr: Some(0.1), non_finite: false })] {
            let text = |text: &str| text.to_owned();
            let name = text("n");
            let project = text("p");
            let experiment = text("e");
            let line = ComparedRun { run: RunId("r".into()), name, project, experiment, point };
            assert_eq!(compared_from_pb(compared_to_pb(line.clone())).unwrap(), line);
        }
    }
}
