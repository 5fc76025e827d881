#![allow(clippy::unwrap_used)]

use super::assembler::MAX_CHUNK;
use super::*;
use clino_domain::budget::Budget;
use clino_domain::*;
use proptest::prelude::*;

fn manifest(lengths: &[u64]) -> Manifest {
    let spec = |(i, length): (usize, &u64)| TensorSpec {
        name: format!("t{i}"),
        dtype: Dtype::F32,
        shape: vec![*length],
    };
    Manifest::new(lengths.iter().enumerate().map(spec).collect(), vec![]).unwrap()
}

fn begin(lengths: &[u64]) -> (Assembler, Budget) {
    let budget = Budget::new(1 << 30);
    let spool = Spool::new(std::env::temp_dir());
    (Assembler::begin(manifest(lengths), budget.nothing(), &spool).unwrap(), budget)
}

fn bytes(length: u64) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 7) as u8).collect()
}

const HEADER: SnapshotHeader = SnapshotHeader::live(3);

#[test]
fn row_15_a_damaged_chunk_is_refused_and_the_offset_kept() {
    let (mut assembler, _) = begin(&[4]);
    let data = bytes(16);
    assembler.chunk(0, &data[..8], crc32c(&data[..8])).unwrap();
    let fault = assembler.chunk(8, &data[8..], 7).unwrap_err();
    assert_eq!((fault.kind, fault.committed), (FaultKind::DataLoss, Some(8)));
    assembler.chunk(8, &data[8..], crc32c(&data[8..])).unwrap();
    assert_eq!(assembler.commit().unwrap().digest().len(), 64);
}

#[test]
fn row_16_gaps_overlaps_and_overruns_tell_what_is_committed() {
    let (mut assembler, _) = begin(&[4]);
    let data = bytes(24);
    assembler.chunk(0, &data[..8], crc32c(&data[..8])).unwrap();
    for (offset, part) in [(4, &data[4..12]), (12, &data[12..16]), (8, &data[8..24])] {
        let fault = assembler.chunk(offset, part, crc32c(part)).unwrap_err();
        assert_eq!((fault.kind, fault.committed), (FaultKind::OutOfRange, Some(8)));
    }
    let fault = assembler.commit().unwrap_err();
    assert_eq!((fault.kind, fault.committed), (FaultKind::Invalid, Some(8)));
}

#[test]
fn chunks_have_bounds() {
    let (mut assembler, _) = begin(&[1 << 20]);
    for data in [vec![], vec![0; MAX_CHUNK + 1]] {
        assert_eq!(assembler.chunk(0, &data, crc32c(&data)).unwrap_err().kind, FaultKind::Invalid);
    }
}

#[test]
fn a_huge_declaration_takes_no_memory_before_its_bytes() {
    let budget = Budget::new(1 << 52);
    let mut assembler = Assembler::in_memory(manifest(&[1 << 50]), budget.nothing()).unwrap();
    assembler.chunk(0, b"abcd", crc32c(b"abcd")).unwrap();
    assert_eq!(budget.used(), 64 << 10, "what came, and a little");
    drop(assembler);
    assert_eq!(budget.used(), 0);
}

fn fill(assembler: &mut Assembler, bytes: usize) -> Result<(), Fault> {
    let part = vec![7; MAX_CHUNK];
    let crc = crc32c(&part);
    (0..bytes / MAX_CHUNK).try_for_each(|_| assembler.chunk(assembler.received, &part, crc))
}

#[test]
fn row_58_a_claim_grows_with_what_arrives_and_ends_with_it() {
    let budget = Budget::new(64 << 20);
    let elements = (60u64 << 20) / 4;
    let mut first = Assembler::in_memory(manifest(&[elements]), budget.nothing()).unwrap();
    let mut second = Assembler::in_memory(manifest(&[elements]), budget.nothing()).unwrap();
    fill(&mut first, 20 << 20).unwrap();
    assert!(budget.used() <= 40 << 20, "at most twice what came: {}", budget.used());
    fill(&mut second, 16 << 20).unwrap();
    let late = Assembler::in_memory(manifest(&[elements]), budget.nothing());
    assert_eq!(late.unwrap_err().kind, FaultKind::Exhausted, "no room for it now: it sends nothing");
    let never = Assembler::in_memory(manifest(&[1 << 40]), budget.nothing());
    assert_eq!(never.unwrap_err().kind, FaultKind::Invalid, "it is refused at once");
    // The one that asks for more than is left ends, and says how far it came; the other goes on.
    let fault = fill(&mut second, 44 << 20).unwrap_err();
    assert_eq!((fault.kind, fault.committed), (FaultKind::Exhausted, Some(second.received)));
    assert!(fault.retry.is_some() && second.received >= 24 << 20, "{fault:?} at {}", second.received);
    drop(second);
    fill(&mut first, 40 << 20).unwrap();
    assert_eq!(budget.used(), 60 << 20, "never beyond what was declared");
    let assembled = first.commit().unwrap();
    let (tensors, claim) = assembled.into_tensors().unwrap();
    assert_eq!((tensors.len(), claim.bytes()), (1, 60 << 20));
    drop(claim);
    assert_eq!(budget.used(), 0);
}

#[test]
fn row_58_bytes_in_a_file_are_claimed_from_the_disk_and_not_from_memory() {
    let budget = Budget::new(8 << 20);
    let large = || manifest(&[(40 << 20) / 4]);
    let spool = Spool::new(std::env::temp_dir()).keeping(1);
    let mut assembler = Assembler::begin(large(), budget.nothing(), &spool).unwrap();
    fill(&mut assembler, 40 << 20).unwrap();
    assert_eq!(budget.used(), 0);
    let held = assembler.commit().unwrap().hold(HEADER, vec![0]);
    assert_eq!(held.load().unwrap().data()[0].len(), 40 << 20);
    let full = Assembler::begin(large(), budget.nothing(), &spool.clone().keeping(u64::MAX)).unwrap_err();
    assert_eq!(full.kind, FaultKind::Exhausted);
    assert!(full.message.contains("--reserve"), "{full}");
    assert!(begin(&[8]).0.commit().is_err(), "small ones stay in memory");
}

#[test]
fn a_large_snapshot_lies_in_a_file_and_reads_the_same() {
    let lengths = [700_000, 0, 600_000];
    let (mut assembler, budget) = begin(&lengths);
    let data = bytes(1_300_000 * 4);
    for (i, part) in data.chunks(MAX_CHUNK).enumerate() {
        assembler.chunk((i * MAX_CHUNK) as u64, part, crc32c(part)).unwrap();
    }
    let held = assembler.commit().unwrap().hold(HEADER, vec![2, 0]);
    let snapshot = held.load().unwrap();
    assert_eq!(snapshot.data().concat(), data);
    let mut found = vec![0.0; 100];
    held.read(0, 599_900, 100, &mut |dtype, bytes| dtype.widen(bytes, &mut found)).unwrap();
    let mut expected = vec![0.0; 100];
    Dtype::F32.widen(&data[data.len() - 400..], &mut expected);
    let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(&expected));
    assert_eq!(budget.used(), 0, "it takes no memory");
    drop(held);
    assert_eq!(budget.used(), 0);
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_bytes_and_corruption_never_passes(
        lengths in prop::collection::vec(0u64..40, 1..6),
        cuts in prop::collection::vec(1usize..30, 1..40),
        flip in any::<prop::sample::Index>(),
    ) {
        let total: u64 = lengths.iter().sum::<u64>() * 4;
        let data = bytes(total);
        let (mut assembler, _) = begin(&lengths);
        let mut offset = 0;
        for cut in cuts.iter().cycle() {
            if offset == data.len() { break; }
            let part = &data[offset..data.len().min(offset + cut)];
            let mut damaged = part.to_vec();
            let place = flip.index(damaged.len());
            damaged[place] ^= 1;
            let fault = assembler.chunk(offset as u64, &damaged, crc32c(part)).unwrap_err();
            prop_assert_eq!((fault.kind, fault.committed), (FaultKind::DataLoss, Some(offset as u64)));
            assembler.chunk(offset as u64, part, crc32c(part)).unwrap();
            offset += part.len();
            prop_assert_eq!(assembler.received, offset as u64);
        }
        let (tensors, _claim) = assembler.commit().unwrap().into_tensors().unwrap();
        let joined: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.data.to_vec()).collect();
        prop_assert_eq!(joined, data);
    }
}
