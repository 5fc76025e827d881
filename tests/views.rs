//! Many runs, as they are listed, watched and compared; and what the commands on them print.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use clino_client::Client;
use clino_domain::{Comparison, Direction, Moment, RunFilter, RunNews, RunSummary};
use clino_proto::pb;
use common::{Clients, Daemon, PATIENCE, TestUpload, blamed, group, measure, open_request, quick};
use pb::watch_response::Event;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tonic::Code;

/// A request for a run of an experiment.
fn labelled(key: &str, project: &str, experiment: &str, tags: &[(&str, &str)]) -> pb::OpenRunRequest {
    let tags = tags.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let (project, experiment) = (project.to_owned(), experiment.to_owned());
    pb::OpenRunRequest { name: key.into(), measures: quick(), project, experiment, tags, ..open_request(key) }
}

async fn open(clients: &mut Clients, request: pb::OpenRunRequest) -> String {
    clients.runs.open_run(request).await.unwrap().into_inner().run_id
}

async fn close(clients: &mut Clients, run: &str) {
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: run.into(), resumable: false, abandon: false })
        .await
        .unwrap();
}

/// Pushes a snapshot and waits until it is measured.
async fn measured(clients: &mut Clients, run: &str, step: u64) {
    let attempt = clients.push(TestUpload::new(run, step)).await.unwrap().attempt;
    let at = Some(pb::SnapshotRef { step, attempt });
    clients
        .watch_until(run, |event| matches!(event, Event::Finished(finished) if finished.snapshot == at))
        .await;
}

async fn client(daemon: &Daemon) -> Client {
    Client::connect(&daemon.http).await.unwrap()
}

fn names(runs: &[RunSummary]) -> Vec<&str> {
    runs.iter().map(|run| run.name.as_str()).collect()
}

#[tokio::test]
async fn filters_choose_runs() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    open(&mut clients, labelled("a", "red", "sweep", &[("lr", "1e-3"), ("seed", "1")])).await;
    let b = open(&mut clients, labelled("b", "red", "", &[("lr", "1e-3")])).await;
    open(&mut clients, labelled("c", "blue", "sweep", &[("lr", "1e-4"), ("seed", "1")])).await;
    open(&mut clients, labelled("d", "", "", &[])).await;
    close(&mut clients, &b).await;
    let client = client(&daemon).await;
    let found = async |change: &dyn Fn(&mut RunFilter)| {
        let mut filter = RunFilter::default();
        change(&mut filter);
        names(&client.runs(&filter).await.unwrap()).concat()
    };
    assert_eq!(found(&|_| {}).await, "abcd");
    assert_eq!(found(&|f| f.project = Some("red".into())).await, "ab");
    assert_eq!(found(&|f| f.project = Some("default".into())).await, "d");
    assert_eq!(found(&|f| f.experiment = Some("sweep".into())).await, "ac");
    assert_eq!(found(&|f| f.tags = [("lr".into(), "1e-3".into())].into()).await, "ab");
    assert_eq!(
        found(&|f| f.tags = [("lr".into(), "1e-3".into()), ("seed".into(), "1".into())].into()).await,
        "a"
    );
    assert_eq!(found(&|f| f.open = true).await, "acd");
    assert_eq!(found(&|f| f.project = Some("green".into())).await, "");
    let run =
        client.runs(&RunFilter { experiment: Some("sweep".into()), ..RunFilter::default() }).await.unwrap();
    assert_eq!(run[0].label.tags["seed"], "1");
}

#[tokio::test]
async fn pages_neither_repeat_nor_lose_a_run_while_others_come_and_go() {
    let daemon = Daemon::start(&["--runs", "9"]);
    let mut clients = daemon.clients().await;
    let mut ids = Vec::new();
    for i in 0..8 {
        ids.push(open(&mut clients, labelled(&format!("run {i}"), "", "", &[])).await);
    }
    let client = client(&daemon).await;
    let every = RunFilter::default();
    let first = client.page(&every, 3, None).await.unwrap();
    assert_eq!(names(&first.runs), ["run 0", "run 1", "run 2"]);
    // The last run of the page and one of the next are forgotten, and two others come.
    close(&mut clients, &ids[2]).await;
    close(&mut clients, &ids[4]).await;
    for key in ["new 0", "new 1", "new 2"] {
        open(&mut clients, labelled(key, "", "", &[])).await;
    }
    let second = client.page(&every, 3, first.next.as_deref()).await.unwrap();
    assert_eq!(names(&second.runs), ["run 3", "run 5", "run 6"]);
    let third = client.page(&every, 3, second.next.as_deref()).await.unwrap();
    assert_eq!(names(&third.runs), ["run 7", "new 0", "new 1"]);
    let last = client.page(&every, 3, third.next.as_deref()).await.unwrap();
    assert_eq!((names(&last.runs), last.next), (vec!["new 2"], None));
    let exact = client.page(&every, 9, None).await.unwrap();
    assert_eq!((exact.runs.len(), exact.next), (9, None));
    for bad in ["x", "\x1b[2J"] {
        let fault = client.page(&every, 3, Some(bad)).await.unwrap_err();
        assert_eq!(fault.violations[0].field, "page_token");
    }
}

/// As many bytes as a run's labels can have.
fn heavy(key: &str) -> pb::OpenRunRequest {
    let tags = (0..32).map(|i| (format!("{i:0>128}"), "x".repeat(128))).collect();
    pb::OpenRunRequest { tags, ..labelled(key, "", "", &[]) }
}

#[tokio::test]
async fn a_page_fits_into_a_message_whatever_is_asked_for() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    for i in 0..260 {
        open(&mut clients, heavy(&format!("run {i}"))).await;
    }
    let client = client(&daemon).await;
    let page = client.page(&RunFilter::default(), 0, None).await.unwrap();
    assert!(page.runs.len() < 260 && page.next.is_some(), "{} runs", page.runs.len());
    let all = client.runs(&RunFilter::default()).await.unwrap();
    let expected: Vec<_> = (0..260).map(|i| format!("run {i}")).collect();
    assert_eq!(names(&all), expected);
    let mut news = std::pin::pin!(client.watch_runs(&RunFilter::default(), None).await.unwrap());
    let mut heard = Vec::new();
    while heard.len() < 260 {
        heard.extend(next(&mut news).await.runs);
    }
    assert_eq!(names(&heard), expected);
}

async fn next(news: &mut (impl Stream<Item = Result<RunNews, clino_domain::Fault>> + Unpin)) -> RunNews {
    timeout(PATIENCE, news.next()).await.expect("news come").expect("the stream goes on").unwrap()
}

/// News up to those that `enough` accepts, which are returned.
async fn until(
    news: &mut (impl Stream<Item = Result<RunNews, clino_domain::Fault>> + Unpin),
    mut enough: impl FnMut(&RunNews) -> bool,
) -> RunNews {
    loop {
        let heard = next(news).await;
        if enough(&heard) {
            return heard;
        }
    }
}

fn of<'a>(news: &'a RunNews, run: &str) -> Option<&'a RunSummary> {
    news.runs.iter().find(|known| known.run.0 == run)
}

#[tokio::test]
async fn a_watcher_sees_runs_come_change_and_go() {
    let mut daemon = Daemon::start(&["--runs", "2"]);
    let mut clients = daemon.clients().await;
    let early = open(&mut clients, labelled("early", "red", "", &[])).await;
    let client = client(&daemon).await;
    let quickly = Some(Duration::from_millis(50));
    let filter = RunFilter { project: Some("red".into()), open: true, ..RunFilter::default() };
    let mut news = Box::pin(client.watch_runs(&filter, quickly).await.unwrap());
    let first = next(&mut news).await;
    assert_eq!((names(&first.runs), first.forgotten.len()), (vec!["early"], 0));
    let mut blue = Box::pin(
        client
            .watch_runs(&RunFilter { project: Some("blue".into()), ..filter.clone() }, quickly)
            .await
            .unwrap(),
    );
    // What is empty is told too: whoever watches knows that it was heard.
    assert_eq!(next(&mut blue).await, RunNews::default());

    measured(&mut clients, &early, 7).await;
    let told = until(&mut news, |news| of(news, &early).is_some_and(|run| run.measured == 1)).await;
    let run = of(&told, &early).unwrap();
    assert_eq!(run.last_measured.unwrap().step, 7);
    assert!(run.latest.iter().any(|latest| latest.measure == "loss" && latest.value.is_some()));

    // Closed: told on, though only open ones are asked for.
    close(&mut clients, &early).await;
    until(&mut news, |news| of(news, &early).is_some_and(|run| run.closed)).await;
    let other = open(&mut clients, labelled("other", "blue", "", &[])).await;
    until(&mut blue, |news| of(news, &other).is_some()).await;
    // The daemon holds two runs: the closed one goes.
    let late = open(&mut clients, labelled("late", "red", "", &[])).await;
    let mut gone = false;
    until(&mut news, |news| {
        assert!(of(news, &other).is_none(), "a run of another project");
        gone = gone || news.forgotten.iter().any(|run| run.0 == early);
        gone && of(news, &late).is_some()
    })
    .await;

    daemon.signal("-TERM");
    let end = async { while news.next().await.is_some_and(|news| news.is_ok()) {} };
    timeout(PATIENCE, end).await.expect("the stream ends with the daemon");
    assert!(daemon.wait().0.success());
}

#[tokio::test]
async fn nothing_is_said_while_nothing_changes() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("quiet", quick()).await;
    let client = client(&daemon).await;
    let quickly = Some(Duration::from_millis(50));
    let mut news = Box::pin(client.watch_runs(&RunFilter::default(), quickly).await.unwrap());
    assert_eq!(next(&mut news).await.runs.len(), 1);
    assert!(timeout(Duration::from_millis(300), news.next()).await.is_err(), "nothing has changed");
    measured(&mut clients, &run, 1).await;
    until(&mut news, |news| of(news, &run).is_some_and(|run| run.measured == 1)).await;
}

#[tokio::test]
async fn intervals_and_filters_that_make_no_sense_are_refused() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    for seconds in [0.0, 0.01, f64::NAN, 1e9] {
        let request = pb::WatchRunsRequest { interval_seconds: Some(seconds), ..Default::default() };
        let status = clients.runs.watch_runs(request).await.unwrap_err();
        assert_eq!(
            (status.code(), blamed(&status)),
            (Code::InvalidArgument, vec!["interval_seconds".into()])
        );
    }
    let filter = Some(pb::RunFilter { project: "../x".into(), ..Default::default() });
    let request = pb::WatchRunsRequest { filter: filter.clone(), ..Default::default() };
    assert_eq!(blamed(&clients.runs.watch_runs(request).await.unwrap_err()), ["filter.project"]);
    let request = pb::ListRunsRequest { filter, ..Default::default() };
    assert_eq!(blamed(&clients.runs.list_runs(request).await.unwrap_err()), ["filter.project"]);
}

/// Measures a snapshot of every run at each of the steps, while a watcher hears of all; tells by how much the daemon grew.
async fn rounds(
    daemon: &Daemon,
    clients: &mut Clients,
    runs: &[String],
    steps: std::ops::Range<u64>,
    brisk: &mut (impl Stream<Item = Result<RunNews, clino_domain::Fault>> + Unpin),
) -> u64 {
    let before = daemon.resident_bytes();
    for step in steps {
        for run in runs {
            clients.push(TestUpload::new(run, step)).await.unwrap();
        }
        let last = runs.last().unwrap();
        let at_step = |run: &RunSummary| run.last_measured.is_some_and(|at| at.step == step);
        until(brisk, |news| of(news, last).is_some_and(at_step)).await;
    }
    daemon.resident_bytes().saturating_sub(before)
}

#[tokio::test]
async fn row_11_a_slow_reader_gets_the_newest_state_and_nothing_grows() {
    let daemon = Daemon::start(&["--log", "warn"]);
    let mut clients = daemon.clients().await;
    let mut runs = Vec::new();
    for i in 0..30 {
        let mut request = heavy(&format!("run {i}"));
        // One small reading a snapshot, so that the runs themselves keep little.
        request.measures = vec![measure("param_norm", &[])];
        request.delivery = pb::Delivery::Every.into();
        runs.push(open(&mut clients, request).await);
    }
    let client = client(&daemon).await;
    let quickly = Some(Duration::from_millis(50));
    let mut brisk = Box::pin(client.watch_runs(&RunFilter::default(), quickly).await.unwrap());
    rounds(&daemon, &mut clients, &runs, 1..6, &mut brisk).await;
    let without = rounds(&daemon, &mut clients, &runs, 6..26, &mut brisk).await;
    // A window of 64 KiB and nobody who reads: a few answers are in flight, no more.
    let narrow = tonic::transport::Endpoint::from_shared(daemon.http.clone()).unwrap();
    let narrow = narrow.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut slow = Clients::new(narrow.connect().await.unwrap());
    let request = pb::WatchRunsRequest { interval_seconds: Some(0.05), ..Default::default() };
    let mut lagging = slow.runs.watch_runs(request).await.unwrap().into_inner();
    let with = rounds(&daemon, &mut clients, &runs, 26..46, &mut brisk).await;
    // 600 summaries of 8 KiB, in 64 strings each, would be much more than two or three answers of 30.
    assert!(with < without + (4 << 20), "{with} bytes with a reader that does not read, {without} without");
    // It reads at last: a few old answers, then how each run is now.
    let (mut newest, mut answers) = (HashMap::new(), 0);
    let read = async {
        while newest.len() < runs.len() || newest.values().any(|step| *step != 45) {
            let answer = lagging.message().await.unwrap().unwrap();
            answers += 1;
            for run in answer.runs {
                newest.insert(run.run_id, run.last_measured.map_or(0, |at| at.step));
            }
        }
    };
    timeout(PATIENCE, read).await.expect("the newest states come");
    assert!(answers <= 8, "{answers} answers for a reader that was away for 20 rounds");
    println!("{with} bytes with, {without} without; {answers} answers");
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_32_hostile_labels_are_refused_by_name() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let long = "y".repeat(129);
    let cases = [
        (labelled("k", "../../etc", "", &[]), "project"),
        (labelled("k", "", "a\u{202e}b", &[]), "experiment"),
        (labelled("k", "", "", &[("\x1b[2J", "x")]), "tags"),
        (labelled("k", "", "", &[("", "x")]), "tags"),
        (labelled("k", "", "", &[("note", "a\x1b[31mb")]), "tags.note"),
        (labelled("k", "", "", &[("note", "a\u{202e}b\n")]), "tags.note"),
        (labelled("k", "", "", &[("note", &long)]), "tags.note"),
    ];
    for (request, field) in cases {
        let status = clients.runs.open_run(request).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
        assert!(!status.message().contains(['\x1b', '\u{202e}']), "{:?}", status.message());
    }
    let many: Vec<_> = (0..33).map(|i| format!("t{i}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
    let status = clients.runs.open_run(labelled("k", "", "", &many)).await.unwrap_err();
    assert_eq!(blamed(&status), ["tags"]);
    // What is left is plain, and printed as it is.
    open(&mut clients, labelled("plain", "", "", &[("note", r#"<b>'"$(x)日本"#)])).await;
    let printed = printed(&["runs", "--addr", &daemon.http]);
    assert!(printed.contains(r#"note=<b>'"$(x)日本"#), "{printed}");
}

/// Runs whose readings differ: of the last, `sharpness` is not measured and a group is missing.
async fn sweep(clients: &mut Clients) -> [String; 3] {
    let sharpness = measure("sharpness", &[("alpha", 0.01), ("draws", 3.0)]);
    let mut runs = [const { String::new() }; 3];
    for (i, run) in runs.iter_mut().enumerate() {
        let mut request = labelled(&format!("run {i}"), "red", "sweep", &[("seed", &i.to_string())]);
        if i < 2 {
            request.measures.push(sharpness.clone());
        } else {
            request.groups = vec![group("en", 1)];
        }
        request.delivery = pb::Delivery::Every.into();
        *run = open(clients, request).await;
        for step in [10, 20, 30] {
            // Parameters go by the step.
            measured(clients, run, step + 100 * i as u64).await;
        }
    }
    runs
}

async fn value(
    clients: &mut Clients,
    run: &str,
    step: u64,
    measure: &str,
    group: Option<&str>,
) -> (f64, f64) {
    let snapshot = Some(pb::SnapshotRef { step, attempt: 1 });
    let request = pb::GetReportRequest { run_id: run.into(), snapshot };
    let report = clients.reports.get_report(request).await.unwrap().into_inner();
    let wanted = |reading: &&pb::Reading| reading.measure == measure && reading.group.as_deref() == group;
    let reading = report.readings.iter().find(wanted).unwrap();
    (reading.value.unwrap(), reading.estimate.and_then(|estimate| estimate.stderr).unwrap_or(f64::NAN))
}

#[tokio::test]
async fn runs_are_compared_by_any_reading() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let runs = sweep(&mut clients).await;
    open(&mut clients, labelled("fresh", "red", "sweep", &[])).await;
    open(&mut clients, labelled("other", "blue", "", &[])).await;
    let client = client(&daemon).await;
    let filter = RunFilter { experiment: Some("sweep".into()), ..RunFilter::default() };
    let compare = async |on: &str, moment, direction| {
        let on = on.parse().unwrap();
        client.compare(&Comparison { filter: filter.clone(), on, moment, direction }).await.unwrap()
    };

    // LAST: the pooled loss of each, in order; the run without a snapshot comes last.
    let lines = compare("loss", Moment::Last, Direction::Minimize).await;
    assert_eq!(lines.len(), 4);
    let mut expected = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        expected.push((
            value(&mut clients, run, 30 + 100 * i as u64, "loss", Some("pooled")).await.0,
            run.clone(),
        ));
    }
    expected.sort_by(|one, other| one.0.total_cmp(&other.0));
    for (line, (value, run)) in lines.iter().zip(&expected) {
        assert_eq!((line.point.unwrap().value, &line.run.0), (*value, run));
        assert_eq!((line.project.as_str(), line.experiment.as_str()), ("red", "sweep"));
    }
    assert_eq!((lines[3].name.as_str(), lines[3].point), ("fresh", None));
    let reverse = compare("loss", Moment::Last, Direction::Maximize).await;
    assert_eq!(reverse[0].run.0, expected[2].1);
    assert_eq!(reverse[3].name, "fresh");

    // BEST: the least of three snapshots, and where it was.
    let best = compare("loss@en", Moment::Best, Direction::Minimize).await;
    for line in &best[..3] {
        let i = runs.iter().position(|run| *run == line.run.0).unwrap() as u64;
        let mut least = (f64::INFINITY, 0);
        for step in [10, 20, 30].map(|step| step + 100 * i) {
            let loss = value(&mut clients, &line.run.0, step, "loss", Some("en")).await.0;
            least = if loss < least.0 { (loss, step) } else { least };
        }
        let point = line.point.unwrap();
        assert_eq!((point.value, point.at.step), least);
    }

    // AT_STEP: the newest one up to it; runs that begin later have none.
    let at = compare("param_norm", Moment::AtStep(125), Direction::Minimize).await;
    let steps: Vec<_> = at.iter().map(|line| (line.name.as_str(), line.point.map(|p| p.at.step))).collect();
    assert!(steps.contains(&("run 0", Some(30))) && steps.contains(&("run 1", Some(120))), "{steps:?}");
    assert_eq!(steps[2..], [("run 2", None), ("fresh", None)]);

    // Errors come along; runs that do not measure it, or lack a group, come last.
    let sharpness = compare("sharpness@de", Moment::Last, Direction::Minimize).await;
    let point = sharpness[0].point.unwrap();
    let i = runs.iter().position(|run| *run == sharpness[0].run.0).unwrap() as u64;
    let (mean, stderr) =
        value(&mut clients, &sharpness[0].run.0, 30 + 100 * i, "sharpness", Some("de")).await;
    assert_eq!((point.value, point.stderr), (mean, Some(stderr)));
    let without: Vec<_> = sharpness.iter().map(|line| line.point.is_none()).collect();
    assert_eq!(without, [false, false, true, true]);
    let gap = compare("sum(loss@de, -1*loss@en)", Moment::Last, Direction::Minimize).await;
    let line = gap.iter().find(|line| line.run.0 == runs[0]).unwrap();
    let (de, en) = (
        value(&mut clients, &runs[0], 30, "loss", Some("de")).await.0,
        value(&mut clients, &runs[0], 30, "loss", Some("en")).await.0,
    );
    assert_eq!(line.point.unwrap().value, de - en);
    assert!(gap.iter().find(|line| line.run.0 == runs[2]).unwrap().point.is_none());
}

#[tokio::test]
async fn subjects_that_make_no_sense_are_refused() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    for on in ["", "loss@", "loss@*", "losss", "median(loss)", "loss, margin", &"x".repeat(10_000)] {
        let request = pb::CompareRunsRequest { on: on.into(), ..Default::default() };
        let status = clients.runs.compare_runs(request).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["on".into()]), "{on:.20}");
        assert!(status.message().len() < 400);
    }
}

fn clino(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.args(arguments).env_remove("CLINO_ADDR").env_remove("COLUMNS").stdin(Stdio::null());
    command
}

/// What a command prints.
fn printed(arguments: &[&str]) -> String {
    let output = clino(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What differs from run to run in a word.
fn scrubbed(word: &str) -> &str {
    let number = |word: &str| word.contains(['.', 'e']) && word.parse::<f64>().is_ok();
    match word {
        _ if word.len() == 36 && word.matches('-').count() == 4 => "ID",
        _ if word.starts_with("http://") || word.starts_with("unix://") => "ADDRESS",
        _ if number(word) => "NUMBER",
        _ if word.chars().all(|c| c == '─') => "─",
        _ => word,
    }
}

/// Compares a text with a golden file, word by word; widths of columns go by what is scrubbed.
/// `UPDATE_GOLDEN=1` writes the file.
fn golden(name: &str, text: &str) {
    let line = |line: &str| line.split_whitespace().map(scrubbed).collect::<Vec<_>>().join(" ") + "\n";
    let text: String = text.lines().map(line).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/views").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}");
}

/// The same with so many columns.
fn printed_in(columns: usize, arguments: &[&str]) -> String {
    let output = clino(arguments).env("COLUMNS", columns.to_string()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_into_80_columns_and_lose_no_number() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    sweep(&mut clients).await;
    let long = "bert-large-uncased-finetuned-on-mnli-with-a-cosine-schedule";
    let request =
        pb::OpenRunRequest { name: long.into(), ..labelled("long", "red", "sweep", &[("lr", "1e-3")]) };
    let run = open(&mut clients, request).await;
    measured(&mut clients, &run, 1_000_000).await;
    let numbers = |text: &str| -> Vec<String> {
        let words = text.split_whitespace().filter(|word| word.parse::<f64>().is_ok());
        words.map(str::to_owned).collect()
    };
    let address = daemon.http.as_str();
    for arguments in [
        &["runs", "--addr", address][..],
        &["compare", "--addr", address, "--on", "sharpness@de"],
        &["compare", "--addr", address, "--on", "sum(loss@de, -1*loss@en)"],
        &[
            "fleet",
            address,
            "unix:///nowhere/clino.sock",
            "--once",
            "--show",
            "loss",
            "loss@de",
            "loss@en",
            "sharpness",
        ],
        &["watch", "--addr", address, &run, "--once"],
    ] {
        let (whole, narrow) = (printed(arguments), printed_in(80, arguments));
        let mut found = numbers(&narrow);
        for number in numbers(&whole) {
            let place = found.iter().position(|known| *known == number);
            found.remove(place.unwrap_or_else(|| panic!("{number} is not in\n{narrow}\nbut in\n{whole}")));
        }
        printed_in(60, arguments);
    }
    // Nothing has a policy: a column of nothing is not shown, but stays in a pipe.
    let runs = ["runs", "--addr", address];
    assert!(!printed_in(80, &runs).contains("advice") && printed(&runs).contains("advice"));
}

#[tokio::test]
async fn a_group_that_no_run_has_is_named_with_those_that_there_are() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let compare = ["compare", "--addr", &daemon.http, "--on", "loss@fr"];
    assert_eq!(printed(&compare), "no runs yet: a trainer opens one, or `clino open` does\n");
    let elsewhere = ["runs", "--addr", &daemon.http, "--project", "nano"];
    assert_eq!(printed(&elsewhere), "no run fits --project, --experiment, --tag and --open\n");
    open(&mut clients, labelled("a", "red", "", &[])).await;
    let output = clino(&compare).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("\"fr\"") && said.contains("\"de\", \"en\""), "{said}");
    for good in ["loss@de", "loss@pooled", "mean(loss@*)", "sum(loss@de, -1*loss@en)"] {
        printed(&["compare", "--addr", &daemon.http, "--on", good]);
    }
    let fleet = printed(&["fleet", &daemon.http, "--once", "--show", "loss@fr"]);
    assert!(fleet.ends_with("no run has a group fr: there are de, en\n"), "{fleet}");
    assert!(fleet.starts_with("1 daemon, 0 away; 1 run, 1 open\n"), "{fleet}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_nothing_says_why() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = open(&mut clients, labelled("a", "red", "", &[])).await;
    let watch = ["watch", "--addr", &daemon.http, &run, "--once"];
    assert!(printed(&watch).contains("waiting for a snapshot"), "nothing is no mistake");
    for step in [1, 2] {
        let mut upload = TestUpload::new(&run, step);
        upload.begin.tensors[0].name = "fc1.weight".into();
        clients.push(upload).await.unwrap_err();
    }
    let said = printed(&watch);
    assert!(said.contains("2 uploads refused; the last: tensors: expected the names of an mlp"), "{said}");
    let listed = printed(&["runs", "--addr", &daemon.http]);
    assert!(listed.contains(" refused "), "{listed}");
    let json = printed(&["runs", "--addr", &daemon.http, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["refused"], 2);
    assert!(json["refusal"].as_str().unwrap().contains("fc1.weight"), "{json}");
    measured(&mut clients, &run, 3).await;
    let listed = printed(&["runs", "--addr", &daemon.http]);
    assert!(listed.contains(" open "), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_one_line_ends_a_list_quietly() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = open(&mut clients, labelled("a", "red", "", &[])).await;
    measured(&mut clients, &run, 1).await;
    for arguments in [
        &["runs", "--addr", &daemon.http, "--format", "json"][..],
        &["fleet", &daemon.http],
        &["watch", "--addr", &daemon.http, &run],
    ] {
        let mut command = clino(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, command.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        // What goes on hears of something new, and of nobody who reads it.
        measured(&mut clients, &run, 2).await;
        let output = command.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

/// Waits until the policy of a run has said something.
async fn settled(clients: &mut Clients, run: &str) {
    clients.watch_until(run, |event| matches!(event, Event::Decided(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_print_what_the_golden_files_say() {
    let (one, two) = (Daemon::start(&[]), Daemon::start(&[]));
    let (mut clients, mut others) = (one.clients().await, two.clients().await);
    let runs = sweep(&mut clients).await;
    close(&mut clients, &runs[0]).await;
    open(&mut clients, labelled("fresh", "", "", &[])).await;
    // No model has a norm below zero.
    let upper = measure("threshold", &[("upper", 0.0)]).parameters;
    let rule = pb::Rule { name: "threshold".into(), on: "param_norm".into(), parameters: upper };
    let policy = Some(pb::Policy { rules: vec![rule], ..Default::default() });
    let request = pb::OpenRunRequest { policy, ..labelled("other", "blue", "", &[]) };
    let other = open(&mut others, request).await;
    measured(&mut others, &other, 5).await;
    settled(&mut others, &other).await;

    golden("runs.txt", &printed(&["runs", "--addr", &one.http]));
    golden(
        "runs_open.txt",
        &printed(&["runs", "--addr", &one.http, "--open", "--tag", "seed=1", "--project", "red"]),
    );
    let compare = ["compare", "--addr", &one.http, "--on", "sharpness@de", "--experiment", "sweep"];
    golden("compare.txt", &printed(&compare));
    golden(
        "compare_best.txt",
        &printed(&["compare", "--addr", &two.http, "--on", "loss", "--moment", "best"]),
    );
    let away = "unix:///nowhere/clino.sock";
    let fleet = ["fleet", &one.http, &two.http, away, "--once", "--show", "loss", "loss@de", "sharpness"];
    golden("fleet.txt", &printed(&fleet));
    golden("watch.txt", &printed(&["watch", "--addr", &two.http, "--once"]));

    let objects = |text: String| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let listed = objects(printed(&["runs", "--addr", &one.http, "--format", "json"]));
    let ids: Vec<_> = listed.iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert_eq!(ids[..3], runs.each_ref().map(String::as_str));
    assert_eq!((&listed[0]["state"], &listed[3]["state"]), (&"closed".into(), &"waiting".into()));
    assert_eq!(listed[1]["tags"]["seed"], "1");
    let pooled = |run: &serde_json::Value| {
        let latest = run["latest"].as_array().unwrap();
        latest.iter().find(|latest| latest["group"] == "pooled" && latest["measure"] == "loss").unwrap()["value"].clone()
    };
    assert!(pooled(&listed[1]).is_f64());
    let compared = objects(printed(&["compare", "--addr", &one.http, "--on", "loss", "--format", "json"]));
    let ranks: Vec<_> = compared.iter().map(|line| line["rank"].as_u64()).collect();
    assert_eq!(ranks, [Some(1), Some(2), Some(3), None]);
    let heard = objects(printed(&["fleet", &one.http, away, "--once", "--format", "json"]));
    assert_eq!(heard.len(), 1 + 4 + 1);
    assert_eq!((&heard[0]["event"], &heard[5]["event"]), (&"here".into(), &"away".into()));
    assert_eq!(heard[1]["values"]["loss"]["value"], pooled(&listed[0]));
}

#[tokio::test]
async fn a_run_is_opened_with_labels() {
    let daemon = Daemon::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let config = path("config.json");
    std::fs::write(&config, common::CONFIG).unwrap();
    let inputs: Vec<u8> = common::bytes_of(&common::numbers(32, 1));
    let labels = 0i64.to_le_bytes().repeat(4);
    let view = |dtype, shape: &[usize], data| {
        safetensors::tensor::TensorView::new(dtype, shape.to_vec(), data).unwrap()
    };
    let probe = [
        ("inputs", view(safetensors::Dtype::F32, &[4, 8], &inputs)),
        ("labels", view(safetensors::Dtype::I64, &[4], &labels)),
    ];
    let file = path("probe.safetensors");
    safetensors::serialize_to_file(probe, None, Path::new(&file)).unwrap();
    let base = ["open", "--addr", &daemon.http, "--config", &config, "--probe", &file];
    let labels = ["--project", "red", "--experiment", "sweep", "--tag", "lr=1e-3", "--tag", "seed=1"];
    let id = printed(&[&base[..], &labels].concat());
    let run = daemon.clients().await.run(id.trim()).await;
    assert_eq!((run.project.as_str(), run.experiment.as_str()), ("red", "sweep"));
    assert_eq!((run.tags["lr"].as_str(), run.tags["seed"].as_str()), ("1e-3", "1"));
    let refused = |more: &[&str]| {
        let output = clino(&[&base[..], more].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--tag", "lr=1", "--tag", "lr=2"]).contains("found \"lr\" twice"));
    assert!(refused(&["--policy", &path("none.toml")]).contains("none.toml"));
}

/// A command whose lines are read as they come.
struct CommandLines(Child, Receiver<String>);

impl CommandLines {
    fn of(arguments: &[&str]) -> Self {
        let mut child = clino(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(16);
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self(child, lines)
    }

    /// The first object from here on that `wanted` accepts.
    fn find(&self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            let line = self.1.recv_timeout(PATIENCE).expect("the command goes on");
            let object = serde_json::from_str(&line).unwrap();
            if wanted(&object) {
                return object;
            }
        }
    }
}

impl Drop for CommandLines {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_goes_away_is_called_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("b.sock");
    let (one, two) = (Daemon::start(&[]), Daemon::at(&socket, &[]));
    let address = two.unix.clone().unwrap();
    let mut clients = one.clients().await;
    let run = open(&mut clients, labelled("steady", "red", "", &[])).await;
    let lines = CommandLines::of(&["fleet", &one.http, &address, "--format", "json", "--show", "loss"]);
    let of = |event: &'static str, daemon: &str| {
        let daemon = daemon.to_owned();
        move |line: &serde_json::Value| line["event"] == event && line["daemon"] == *daemon
    };
    lines.find(of("here", &address));
    drop(two);
    let away = lines.find(of("away", &address));
    assert!(!away["why"].as_str().unwrap().is_empty());
    // The other one is heard all the while.
    measured(&mut clients, &run, 3).await;
    let line = lines.find(|line| line["daemon"] == *one.http && line["step"] == 3);
    assert!(line["values"]["loss"]["value"].is_f64(), "{line}");
    let two = Daemon::at(&socket, &[]);
    lines.find(of("here", &address));
    two.clients().await.open("again", quick()).await;
    lines.find(|line| line["daemon"] == *address && line["event"] == "run" && line["name"] == "a test");
}

#[test]
fn a_filter_that_no_daemon_understands_ends_the_command() {
    let daemon = Daemon::start(&[]);
    for once in [&["--once"][..], &[]] {
        let output = clino(&[&["fleet", &daemon.http, "--project", "../x"], once].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("filter.project"));
    }
    let part = clino(&["fleet", "--show", "sam.rise"]).output().unwrap();
    assert!(String::from_utf8_lossy(&part.stderr).contains(".rise"));
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release --test views -- --ignored --nocapture"]
async fn how_long_a_thousand_runs_take() {
    let daemon = Daemon::start(&["--runs", "1000", "--log", "warn"]);
    let mut clients = daemon.clients().await;
    for i in 0..1_000 {
        let request = labelled(&format!("run {i}"), "red", "sweep", &[("lr", "1e-3"), ("seed", "1")]);
        let measures = if i % 2 == 0 { vec![] } else { quick() };
        let run = open(&mut clients, pb::OpenRunRequest { measures, ..request }).await;
        if i % 2 == 1 {
            for step in 1..=5 {
                clients.push(TestUpload::new(&run, step)).await.unwrap();
            }
        }
    }
    let client = client(&daemon).await;
    let every = RunFilter::default();
    while client.runs(&every).await.unwrap().iter().any(|run| run.pending > 0) {}
    let tell = |what: &str, mut took: Vec<f64>| {
        took.sort_by(f64::total_cmp);
        println!("{what}: median {:.2} ms, longest {:.2} ms", took[took.len() / 2], took[took.len() - 1]);
    };
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let (mut listed, mut bytes) = (Vec::new(), 0);
    for _ in 0..20 {
        let began = Instant::now();
        let mut token = String::new();
        loop {
            let request = pb::ListRunsRequest { page_token: token, ..Default::default() };
            let page = clients.runs.list_runs(request).await.unwrap().into_inner();
            bytes = prost::Message::encoded_len(&page);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        listed.push(ms(began));
    }
    tell("ListRuns of 1000", listed);
    println!("last page {bytes} bytes");
    for (what, moment) in [("LAST", Moment::Last), ("BEST", Moment::Best)] {
        let mut compared = Vec::new();
        for _ in 0..20 {
            let (began, on) = (Instant::now(), "mean(loss@*)".parse().unwrap());
            let direction = Direction::Minimize;
            client.compare(&Comparison { filter: every.clone(), on, moment, direction }).await.unwrap();
            compared.push(ms(began));
        }
        tell(&format!("CompareRuns of 1000, {what}"), compared);
    }
    let mut watched = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let mut news = Box::pin(client.watch_runs(&every, None).await.unwrap());
        let mut heard = 0;
        while heard < 1_000 {
            heard += next(&mut news).await.runs.len();
        }
        watched.push(ms(began));
    }
    tell("first answers of WatchRuns of 1000", watched);
}
