//! Registers whose values are not needed at the same time share a place.
//!
//! Owns: which place a register gets in the end. May not touch: predicates, constants and other registers that are
//! filled in, which keep theirs.
//!
//! nvcc gives every value a register of its own: their file would be larger than a processor's nearest cache. What
//! is needed where is computed for one thread, along the ways that it may go. Lanes that go different ways do not
//! disturb each other, for an instruction writes only lanes that run it, or all when all do.

use super::operands::Register;
use crate::program::{Ins, Kind, NONE, Special};
use std::collections::HashMap;

/// A run of instructions without a way in or out but at its ends.
struct Block {
    start: usize,
    end: usize,
    next: Vec<usize>,
    /// Registers that are needed at the start, and at the end, as bits.
    needed: Vec<u64>,
    after: Vec<u64>,
}

/// Gives registers their final places.
pub fn places(code: &mut [Ins], registers: &[Register], specials: &[(Special, u32)]) {
    let pinned: Vec<u32> = specials.iter().map(|(_, at)| *at).collect();
    let free: Vec<Register> =
        registers.iter().filter(|r| r.width > 1 && !pinned.contains(&r.at)).copied().collect();
    let numbers: HashMap<u32, usize> = free.iter().enumerate().map(|(n, r)| (r.at, n)).collect();
    let mut blocks = blocks(code, free.len().div_ceil(64));
    flow(code, &numbers, &mut blocks);
    let spans = spans(code, &numbers, &blocks, free.len());
    let chosen = choose(&free, &spans);
    let moved = |at: &mut u32| {
        if let Some(n) = numbers.get(at) {
            *at = chosen[*n];
        }
    };
    for i in code {
        i.s.iter_mut().chain(&mut i.extra).chain([&mut i.d]).for_each(moved);
    }
}

fn is_store(i: &Ins) -> bool {
    i.kind == Kind::Memory && i.d == NONE
}

/// Registers read, as far as they are numbered; what a guarded instruction writes may keep its old value.
fn read(i: &Ins, numbers: &HashMap<u32, usize>) -> Vec<usize> {
    let kept = i.guard != NONE;
    let vector = if is_store(i) || kept { i.extra } else { [NONE; 4] };
    let all = i.s.into_iter().chain(vector).chain(kept.then_some(i.d));
    all.filter_map(|at| numbers.get(&at).copied()).collect()
}

fn written(i: &Ins, numbers: &HashMap<u32, usize>) -> Vec<usize> {
    let vector = if is_store(i) { [NONE; 4] } else { i.extra };
    vector.into_iter().chain([i.d]).filter_map(|at| numbers.get(&at).copied()).collect()
}

fn blocks(code: &[Ins], words: usize) -> Vec<Block> {
    let ends = |i: &Ins| matches!(i.kind, Kind::Branch | Kind::Exit | Kind::Abort);
    let mut starts = vec![0];
    for (n, i) in code.iter().enumerate().filter(|(_, i)| ends(i)) {
        starts.push(n + 1);
        if i.kind == Kind::Branch {
            starts.push(i.target as usize);
        }
    }
    starts.retain(|start| *start < code.len());
    starts.sort_unstable();
    starts.dedup();
    let place = |n: usize| starts.binary_search(&n).ok();
    let block = |n: usize| {
        let (start, end) = (starts[n], starts.get(n + 1).copied().unwrap_or(code.len()));
        let last = &code[end - 1];
        let mut next = vec![];
        if last.kind == Kind::Branch {
            next.extend(place(last.target as usize));
        }
        if !ends(last) || last.guard != NONE {
            next.extend(place(end));
        }
        Block { start, end, next, needed: vec![0; words], after: vec![0; words] }
    };
    (0..starts.len()).map(block).collect()
}

/// Computes what is needed at the blocks' ends, from the last block to the first until nothing changes.
fn flow(code: &[Ins], numbers: &HashMap<u32, usize>, blocks: &mut [Block]) {
    let words = blocks.first().map_or(0, |block| block.needed.len());
    let of_block = |block: &Block| {
        let (mut reads, mut writes) = (vec![0u64; words], vec![0u64; words]);
        for i in code[block.start..block.end].iter().rev() {
            for n in written(i, numbers) {
                reads[n / 64] &= !(1 << (n % 64));
                writes[n / 64] |= 1 << (n % 64);
            }
            for n in read(i, numbers) {
                reads[n / 64] |= 1 << (n % 64);
            }
        }
        (reads, writes)
    };
    let own: Vec<_> = blocks.iter().map(of_block).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for n in (0..blocks.len()).rev() {
            for word in 0..words {
                let after = blocks[n].next.iter().fold(0, |all, next| all | blocks[*next].needed[word]);
                let needed = own[n].0[word] | after & !own[n].1[word];
                changed |= needed != blocks[n].needed[word];
                (blocks[n].after[word], blocks[n].needed[word]) = (after, needed);
            }
        }
    }
}

/// First and last instruction between which a register may be needed; the last is before the first for an unused one.
fn spans(code: &[Ins], numbers: &HashMap<u32, usize>, blocks: &[Block], count: usize) -> Vec<(usize, usize)> {
    let mut spans = vec![(usize::MAX, 0); count];
    let mut reach = |n: usize, at: usize| spans[n] = (spans[n].0.min(at), spans[n].1.max(at));
    for block in blocks {
        let has = |bits: &[u64], n: usize| bits[n / 64] >> (n % 64) & 1 == 1;
        (0..count).filter(|n| has(&block.needed, *n)).for_each(|n| reach(n, block.start));
        (0..count).filter(|n| has(&block.after, *n)).for_each(|n| reach(n, block.end - 1));
        for at in block.start..block.end {
            read(&code[at], numbers).into_iter().for_each(|n| reach(n, at));
            written(&code[at], numbers).into_iter().for_each(|n| reach(n, at));
        }
    }
    spans
}

/// Goes through the spans in order; a register takes the place of one of its width whose span is over.
fn choose(registers: &[Register], spans: &[(usize, usize)]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..registers.len()).filter(|n| spans[*n].0 <= spans[*n].1).collect();
    order.sort_unstable_by_key(|n| spans[*n]);
    let mut chosen: Vec<u32> = registers.iter().map(|r| r.at).collect();
    // Places by width, with the last instruction that needs each.
    let mut taken: HashMap<u8, Vec<(usize, u32)>> = HashMap::new();
    for n in order {
        let places = taken.entry(registers[n].width).or_default();
        match places.iter_mut().find(|(end, _)| *end < spans[n].0) {
            Some(place) => (chosen[n], place.0) = (place.1, spans[n].1),
            None => places.push((spans[n].1, registers[n].at)),
        }
    }
    chosen
}
