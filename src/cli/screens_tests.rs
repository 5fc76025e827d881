//! Every table at 80 columns, as a person sees it: `tests/views/at_80_columns.txt`. `UPDATE_GOLDEN=1` writes it.
#![allow(clippy::unwrap_used)]

use super::fleet_view::{DaemonNews, Fleet};
use super::listing::Listing;
use super::view::RunView;
use super::view::tests::{decision, run};
use super::words::width;
use super::{compare, history, open, plan, runs};
use clino_domain::{
    ComparedRun, Estimate, Event, Latest, MeasureRequest, OpenedRun, Outcome, Planned, Precision, Reading,
    Refusals, RunId, RunLabel, RunNews, RunSummary, SeriesPoint, SnapshotRef, Subject, Value, Work,
};
use std::path::Path;

const ROOM: usize = 80;
const IDS: [&str; 3] = [
    "01a213d0-4951-773d-9a61-3c0d79eafbf6",
    "01a213d0-4991-721c-b9d5-486275661a1f",
    "01a213d0-4991-7a07-8de1-0b1c2d3e4f50",
];
const NAMES: [&str; 3] =
    ["bert-large-uncased-mnli-lr-1e-3", "bert-large-uncased-mnli-lr-1e-4", "基準モデル/ja"];

fn at(step: u64) -> SnapshotRef {
    SnapshotRef { step, attempt: 1 }
}

fn measure(name: &str, alpha: f64) -> MeasureRequest {
    let parameters = [("alpha".to_owned(), Value::Number(alpha)), ("draws".to_owned(), Value::Number(2.0))];
    MeasureRequest { name: name.into(), parameters: parameters.into() }
}

/// Three runs of which only the first two have said anything.
fn three() -> Vec<RunSummary> {
    let latest = |measure: &str, value: f64, stderr: Option<f64>| Latest {
        measure: measure.into(),
        group: Some("pooled".into()),
        value: Some(value),
        stderr,
    };
    let values = [(0.11553, 0.012239, 9.7e-5), (1.4462, 0.17275, 5.3e-5), (f64::NAN, 0.0, 0.0)];
    let one = |place: usize| {
        let (loss, sharpness, stderr) = values[place];
        let measured = place < 2;
        RunSummary {
            run: RunId(IDS[place].into()),
            name: NAMES[place].into(),
            label: RunLabel {
                project: "translation".into(),
                tags: if measured { [("lr".into(), "1e-3".into())].into() } else { Default::default() },
                ..RunLabel::default()
            },
            accepted: if measured { 1204 } else { 0 },
            measured: if measured { 1187 } else { 0 },
            pending: u64::from(place == 0),
            last_accepted: measured.then(|| at(120_400)),
            last_measured: measured.then(|| at(120_300)),
            decision: (place == 1).then(|| decision("the loss is above 1")),
            latest: if measured {
                vec![latest("loss", loss, None), latest("sharpness", sharpness, Some(stderr))]
            } else {
                vec![]
            },
            ..run(vec![])
        }
    };
    (0..3).map(one).collect()
}

fn compared() -> String {
    let line = |place: usize, run: RunSummary| ComparedRun {
        run: run.run,
        name: run.name,
        project: run.label.project,
        experiment: "sweep".into(),
        point: (place < 2).then_some(SeriesPoint {
            at: at(120_300),
            value: 0.012239 + place as f64,
            stderr: Some(9.7e-5),
            non_finite: false,
        }),
    };
    let lines: Vec<_> = three().into_iter().enumerate().map(|(place, run)| line(place, run)).collect();
    let on = "sum(loss@xlm-r-en, -1*loss@xlm-r-de)".parse().unwrap();
    compare::text(&on, &lines, Some(ROOM))
}

fn fleet() -> String {
    let addresses =
        ["http://node-17.cluster.example:7411", "http://node-18.cluster.example:7411"].map(str::to_owned);
    let show: Vec<Subject> = ["loss", "sharpness"].iter().map(|subject| subject.parse().unwrap()).collect();
    let mut fleet = Fleet::new(&addresses, show);
    fleet.apply(0, DaemonNews::Here);
    fleet.apply(0, DaemonNews::News(RunNews { runs: three(), forgotten: vec![] }));
    fleet.apply(1, DaemonNews::Away("Connection refused (os error 111)".into()));
    fleet.render(None, Some(ROOM))
}

fn readings(measures: &[MeasureRequest]) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (measure, value) in measures.iter().zip([0.11553, 1.4462e-7, -2.5, 12.25, 0.5]) {
        for group in ["xlm-roberta-english", "de", "pooled"] {
            let blank = Reading::blank(measure.clone(), Some(group), at(120_300), Precision::F32);
            let draws = [value, value * 1.5];
            readings.push(Reading {
                value: Some(value * 1.25),
                draws: draws.to_vec(),
                estimate: Estimate::of(&draws),
                remark: (measure.name == "flat_radius")
                    .then(|| "the loss rises by 0.5 at 0.03125, between 0.03 and 0.05".into()),
                ..blank
            });
        }
    }
    readings
}

fn measures() -> Vec<MeasureRequest> {
    vec![
        measure("loss", 0.0),
        measure("sharpness", 0.001),
        measure("sharpness", 0.01),
        measure("flat_radius", 0.0),
        measure("hessian_trace", 0.0),
    ]
}

fn watch() -> String {
    let watched = RunSummary { measures: measures(), ..three().remove(0) };
    let mut view = RunView::new(watched);
    view.apply(&Event::Started { snapshot: at(120_300), readings: 15 });
    for reading in readings(&measures()) {
        view.apply(&Event::Reading(Box::new(reading)));
    }
    view.apply(&Event::Finished { snapshot: at(120_300), seconds: 12.5 });
    view.render(Some(ROOM))
}

fn refused() -> String {
    let why = "tensors: these are LoRA adapters: send the model with them merged, in PEFT \
               copy.deepcopy(model).merge_and_unload()";
    let refusals = Refusals { count: 12, last: why.into() };
    RunView::counted(RunSummary { refusals, ..three().remove(2) }).render(Some(ROOM))
}

fn undefined() -> String {
    let watched = RunSummary { measures: measures(), ..three().remove(0) };
    let mut view = RunView::counted(watched);
    view.apply(&Event::Started { snapshot: at(120_300), readings: 15 });
    let reason = "1 of 387 parameters are not finite, the first in layers.0.weight".to_owned();
    for reading in readings(&measures()[..2]) {
        let reason = Some(reason.clone());
        let outcome = Outcome::Undefined;
        view.apply(&Event::Reading(Box::new(Reading {
            value: None,
            estimate: None,
            reason,
            outcome,
            ..reading
        })));
    }
    view.show(1.5);
    view.render(Some(ROOM))
}

fn measured() -> String {
    let measures = measures();
    let readings = readings(&measures);
    let tasks: Vec<_> = measures
        .iter()
        .flat_map(|m| ["xlm-roberta-english", "de", "pooled"].map(|group| (m, Some(group))))
        .collect();
    let listing = Listing::of(&tasks, Some(ROOM));
    listing.head() + &readings.iter().map(|reading| listing.reading(reading)).collect::<String>()
}

fn opened() -> String {
    let planned = |place: usize| Planned {
        work: Work {
            operations: if place == 4 { 2.5e12 } else { 0.0 },
            ..Work::of(16.0, 8.0, 24.0) * place as f64
        },
        counted: false,
        seconds: None,
    };
    let opened = OpenedRun {
        run: RunId(IDS[0].into()),
        measures: measures(),
        plan: (0..5).map(planned).collect(),
        precision: Precision::F32,
        parameters: vec![],
        warnings: vec![],
        created: true,
    };
    open::planned(&opened).render(Some(ROOM))
}

#[test]
fn every_table_fits_into_80_columns() {
    let screens = [
        ("clino runs", runs::table(&three()).render(Some(ROOM))),
        ("clino compare --on 'sum(loss@xlm-r-en, -1*loss@xlm-r-de)'", compared()),
        ("clino fleet", fleet()),
        ("clino watch", watch()),
        ("clino watch --once (nothing fits)", refused()),
        ("clino watch --once (not finite)", undefined()),
        ("clino measure", measured()),
        ("clino open (its plan)", opened()),
        ("clino plan --budget 60", plan::text(&plan::example(), Some(ROOM))),
        ("clino query", history::screen(Some(ROOM))),
    ];
    let mut text = String::new();
    for (command, screen) in screens {
        for line in screen.lines() {
            assert!(width(line) <= ROOM, "{command}: {line}");
        }
        text += &format!("$ {command}\n{screen}\n");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/views/at_80_columns.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
}
