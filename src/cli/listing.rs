//! Readings line by line, as they are made: the widths of the columns are known before the first of them.
//!
//! Owns: the lines. May not touch: where readings come from.

use super::table::{details, parameters, with_error};
use super::words::{shortened, width, wrapped};
use clino_domain::text::shown;
use clino_domain::{MeasureRequest, Reading};
use clino_engine::Task;

const VALUE: &str = "value ± standard error";
/// Columns of a group's name where there is little room.
const GROUP: usize = 16;
/// Columns that remarks need beside the others; with fewer they stand below.
const REMARKS: usize = 24;
/// Before what stands below.
const INDENT: &str = "    ";

/// The columns of some readings.
#[derive(Debug)]
pub struct Listing {
    room: Option<usize>,
    measure: usize,
    group: usize,
    parameters: usize,
}

impl Listing {
    /// For these readings, in at most `room` columns where there is a limit.
    pub fn new(tasks: &[Task], room: Option<usize>) -> Self {
        let all: Vec<_> = tasks.iter().map(|task| (&task.measure, task.group.as_deref())).collect();
        Self::of(&all, room)
    }

    /// The same of measures and groups.
    pub fn of(tasks: &[(&MeasureRequest, Option<&str>)], room: Option<usize>) -> Self {
        let longest =
            |title: &str, widths: Vec<usize>| widths.into_iter().max().unwrap_or(0).max(width(title));
        let groups = tasks.iter().map(|(_, group)| width(&shown(group.unwrap_or_default())));
        let measures = tasks.iter().map(|(measure, _)| width(&measure.name));
        let settings = tasks.iter().map(|(measure, _)| width(&parameters(&measure.parameters)));
        let group = longest("group", groups.collect());
        Self {
            room,
            measure: longest("measure", measures.collect()),
            group: if room.is_some() { group.min(GROUP) } else { group },
            parameters: longest("parameters", settings.collect()),
        }
    }

    /// The titles and a line below them.
    pub fn head(&self) -> String {
        let titles = self.line(["measure", "group", VALUE, "parameters", "also"]);
        let longest = titles.lines().map(width).max().unwrap_or(0);
        let line = "─".repeat(self.room.unwrap_or(longest.max(80)).min(longest.max(80)));
        format!("{titles}{line}\n")
    }

    /// A reading as a line.
    pub fn reading(&self, reading: &Reading) -> String {
        let value = reading.value.map_or("-".into(), |value| with_error(value, reading.estimate.as_ref()));
        let group = shown(reading.group.as_deref().unwrap_or_default());
        let parameters = parameters(&reading.parameters);
        self.line([&shown(&reading.measure), &group, &value, &parameters, &details(reading)])
    }

    fn line(&self, [measure, group, value, parameters, details]: [&str; 5]) -> String {
        let group = shortened(group, self.group);
        let first = [padded(measure, self.measure), padded(&group, self.group), aligned(value, width(VALUE))];
        let first = format!(" {}", first.join("  "));
        let Some(room) = self.room else {
            let all = format!("{first}  {}  {details}", padded(parameters, self.parameters));
            return all.trim_end().to_owned() + "\n";
        };
        let before = width(&first) + 2 + self.parameters + 2;
        if before + REMARKS <= room {
            let lines = wrapped(details, room - before);
            let begun = format!("{first}  {}  {}", padded(parameters, self.parameters), lines[0]);
            let further = lines[1..].iter().map(|line| format!("\n{}{line}", " ".repeat(before)));
            return begun.trim_end().to_owned() + &further.collect::<String>() + "\n";
        }
        let below = [parameters, details].iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>();
        let below = below.join(", ");
        if width(&first) + 2 + width(&below) <= room {
            return format!("{first}  {below}").trim_end().to_owned() + "\n";
        }
        let lines = wrapped(&below, room.saturating_sub(INDENT.len()));
        let lines = lines.iter().filter(|line| !line.is_empty()).map(|line| format!("\n{INDENT}{line}"));
        first.trim_end().to_owned() + &lines.collect::<String>() + "\n"
    }
}

fn padded(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

fn aligned(text: &str, to: usize) -> String {
    format!("{}{text}", " ".repeat(to.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clino_domain::{Estimate, Precision, SnapshotRef, Value};

    fn reading() -> Reading {
        let parameters = [("alpha".to_owned(), Value::Number(0.01)), ("draws".into(), Value::Number(2.0))];
        let request = MeasureRequest { name: "sharpness".into(), parameters: parameters.into() };
        let at = SnapshotRef { step: 1, attempt: 1 };
        let remark = "a remark of so many words that it does not fit into one line of a terminal";
        Reading {
            value: Some(0.5),
            estimate: Estimate::of(&[0.25, 0.75]),
            remark: Some(remark.into()),
            ..Reading::blank(request, Some("en"), at, Precision::F64)
        }
    }

    fn text(room: Option<usize>) -> String {
        let reading = reading();
        let request =
            MeasureRequest { name: reading.measure.clone(), parameters: reading.parameters.clone() };
        let listing = Listing::of(&[(&request, Some("en"))], room);
        listing.head() + &listing.reading(&reading)
    }

    #[test]
    fn columns_stand_below_each_other_and_no_line_is_too_long() {
        for room in 48..160 {
            let text = text(Some(room));
            assert!(text.lines().all(|line| width(line) <= room), "{room}:\n{text}");
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains("sharpness en 0.50000 ± 0.25 alpha=0.01"), "{text}");
            assert!(flat.contains("that it does not fit into one line of a terminal"), "{text}");
        }
        assert_eq!(text(None).lines().count(), 3);
    }
}
