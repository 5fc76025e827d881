//! Runs are admitted to memory, and give it back.
//!
//! Owns: these tests. May not touch: how a footprint is worked out.

use super::*;
use clino_domain::budget::Claim;
use clino_domain::graph::ModelReader;

const MIB: u64 = 1 << 20;

/// A registry within so many MiB.
fn within(mib: u64) -> (Registry, Budget) {
    let budget = Budget::new(mib * MIB);
    (registry(10).0.within(Memory::new(&budget)), budget)
}

/// A run that takes what `KEPT KEY WORKING` says.
fn sized(size: &str) -> RunSpec {
    RunSpec { config_json: size.into(), ..run_spec("a", Delivery::Latest) }
}

fn used(budget: &Budget) -> u64 {
    budget.used() / MIB
}

fn end(registry: &Registry, run: &RunId) {
    registry.close(run, true).unwrap();
}

#[test]
fn row_55_a_run_that_does_not_fit_is_refused_when_it_opens() {
    let (registry, budget) = within(100);
    let never = registry.open("a", sized("60 - 50")).unwrap_err();
    assert_eq!((never.kind, never.violations[0].field.as_str()), (FaultKind::Invalid, "memory"));
    assert!(never.message.contains("110 MiB (60 MiB for probes, 50 MiB for the gradient)"), "{never}");
    let first = registry.open("a", sized("60 - 30")).unwrap().run.id.clone();
    let full = registry.open("b", sized("11 - 30")).unwrap_err();
    assert_eq!(full.kind, FaultKind::Exhausted);
    assert!(
        full.message.contains("10 MiB of 100 MiB are free (60 MiB for runs, 30 MiB for measuring)"),
        "{full}"
    );
    assert_eq!((used(&budget), registry.list().len()), (90, 1), "nothing of it stays");
    registry.open("b", sized("10 - 30")).unwrap();
    end(&registry, &first);
    registry.open("c", sized("60 - 10")).unwrap();
    assert_eq!(used(&budget), 10 + 60 + 30);
}

#[test]
fn row_54_a_run_gives_back_what_it_takes_when_it_is_closed_and_measured() {
    let (registry, budget) = within(100);
    let opened = registry.open("a", sized("40 - 50")).unwrap();
    let run = opened.run.id.clone();
    let prepared = Arc::downgrade(&opened.validated);
    drop(opened);
    push(&registry, announcement(&run, 1)).unwrap();
    assert_eq!(registry.due()[0].working, 50 * MIB);
    let due = registry.take(&run).unwrap();
    end(&registry, &run);
    assert_eq!(used(&budget), 90, "it is still measured");
    assert!(due.run.validated().is_ok());
    registry.finish(&run);
    assert_eq!((used(&budget), prepared.upgrade().is_none()), (0, true), "its probes are gone");
    assert_eq!(due.run.validated().unwrap_err().kind, FaultKind::Precondition);
    assert_eq!(push(&registry, announcement(&run, 2)).unwrap_err().kind, FaultKind::Precondition);
}

#[test]
fn row_54_a_hundred_runs_share_a_probe_and_a_hundred_that_were_closed_keep_none() {
    let budget = Budget::new(100 * MIB);
    let registry = registry(1_000).0.within(Memory::new(&budget));
    for i in 0..100 {
        registry.open(&format!("together {i}"), sized("40 probe 20")).unwrap();
    }
    assert_eq!(used(&budget), 60);
    registry.list().iter().for_each(|(run, _)| end(&registry, &run.id));
    assert_eq!(used(&budget), 0);
    for i in 0..100 {
        let run = registry.open(&format!("one by one {i}"), sized("60 - 40")).unwrap().run.id.clone();
        end(&registry, &run);
    }
    assert_eq!((used(&budget), registry.list().len()), (0, 200));
    assert!(registry.list().iter().all(|(run, _)| run.validated().is_err()));
}

#[test]
fn a_run_that_is_opened_again_is_admitted_again() {
    let (registry, budget) = within(100);
    let open = |key: &str, size: &str| registry.go_on(key, sized(size));
    let run = open("a", "40 - 10").unwrap().run.id.clone();
    end(&registry, &run);
    // The same request as before is answered and keeps nothing: the run takes no snapshots.
    let again = registry.open("a", sized("40 - 10")).unwrap();
    assert_eq!((again.created, again.run.id == run, used(&budget)), (false, true, 50));
    drop(again);
    assert_eq!(used(&budget), 0);
    let other = open("b", "60 - 10").unwrap().run.id.clone();
    assert_eq!(open("a", "40 - 10").unwrap_err().kind, FaultKind::Exhausted, "no room beside the other one");
    assert!(registry.get(&run).unwrap().1, "it stays closed");
    end(&registry, &other);
    assert_eq!(open("a", "40 - 10").unwrap().run.id, run);
    assert_eq!(used(&budget), 50);
    push(&registry, announcement(&run, 1)).unwrap();
    assert!(open("a", "40 - 10").is_ok(), "it is open");
    assert_eq!(used(&budget), 50);
    registry.take(&run).unwrap();
    registry.finish(&run);
    end(&registry, &run);
    assert_eq!(used(&budget), 0);
}

#[test]
fn a_run_of_an_earlier_process_is_admitted_when_it_gets_a_snapshot() {
    #[derive(Debug)]
    struct Disk(RunRecord);
    impl Vault for Disk {
        fn specification(&self, _: &RunId, read: ModelReader) -> Result<RunSpec, Fault> {
            self.0.clone().specification(run_spec("a", Delivery::Latest).groups, read)
        }
        fn idempotency(&self, _: &RunId) -> Result<IdempotencyRecord, Fault> {
            Ok(IdempotencyRecord { attempts: vec![], receipts: vec![] })
        }
        fn initialization(
            &self,
            _: &RunId,
            _: &dyn Layout,
        ) -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
            Ok(None)
        }
    }
    let spec = sized("40 - 50");
    let validated = Lenient.validate(&spec).unwrap();
    let record =
        super::super::run::record(("k".into(), "print".into()), &spec, vec!["d".into()], &validated, None);
    let run = record.id.clone();
    let (registry, budget) = within(100);
    let registry = registry.with_vault(Arc::new(Disk(record.clone())));
    registry.resume(vec![PersistedRun { record, closed: false, resumable: false, begun: true }]);
    assert_eq!(used(&budget), 0, "nobody knows whether it goes on");
    let other = budget.claim(20 * MIB).unwrap();
    let fault = push(&registry, announcement(&run, 1)).unwrap_err();
    assert_eq!((fault.kind, used(&budget)), (FaultKind::Exhausted, 20), "{fault}");
    drop(other);
    push(&registry, announcement(&run, 1)).unwrap();
    assert_eq!(used(&budget), 90);
    registry.take(&run).unwrap();
    registry.finish(&run);
    end(&registry, &run);
    assert_eq!(used(&budget), 0);
}

#[test]
fn probes_are_prepared_only_where_there_is_memory_for_it() {
    let (registry, budget) = within(1);
    let spec = TensorSpec { name: "inputs".into(), dtype: Dtype::U8, shape: vec![100_000] };
    let tensors = Arc::new(vec![Tensor::new(spec, vec![0; 100_000].into()).unwrap()]);
    let spec = RunSpec {
        groups: vec![ProbeGroup { name: "en".into(), tensors }],
        ..run_spec("a", Delivery::Latest)
    };
    let other: Claim = budget.claim(MIB / 2).unwrap();
    let fault = registry.open("a", spec.clone()).unwrap_err();
    assert_eq!((fault.kind, registry.list().len()), (FaultKind::Exhausted, 0));
    assert!(fault.message.contains("the probes cannot be prepared"), "{fault}");
    drop(other);
    registry.open("a", spec).unwrap();
    assert_eq!(budget.used(), 0, "what was claimed for preparing them is given back");
}
