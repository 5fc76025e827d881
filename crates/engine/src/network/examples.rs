//! Examples one by one: what makes an example itself, and batches of some of them.
//!
//! What is drawn by chance for an example is named by its content, so that it does not depend on where in a probe the
//! example stands. Owns: that name. May not touch: what is drawn.

use super::batch::{Batch, Inputs, Tokens};
use super::rows::Rows;
use super::targets::Targets;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ops::Range;

/// SHA-256 of what a network reads of an example, and of its label.
pub type Content = [u8; 32];

/// Of every unit, in their order. Little-endian: for each token that is read its id, type, position (u32 each) and
/// whether it is masked (u32: 0 or 1), or for each feature its f64; then the label (u64).
pub fn contents(batches: &[Batch]) -> Vec<Content> {
    let of = |batch: &Batch, i: usize| -> Content {
        let mut digest = Sha256::new();
        match &batch.inputs {
            Inputs::Features(features) => {
                let width = features.len() / batch.units().max(1);
                features[i * width..(i + 1) * width].iter().for_each(|x| digest.update(x.to_le_bytes()));
            }
            Inputs::Tokens(tokens) => {
                let sequence = &tokens.sequences[i];
                for at in 0..sequence.len {
                    let token = sequence.start + at;
                    let masked = sequence.masked.get(at).is_some_and(|masked| *masked);
                    let words =
                        [tokens.ids[token], tokens.types[token], tokens.positions[token], masked.into()];
                    words.iter().for_each(|word| digest.update(word.to_le_bytes()));
                }
            }
            Inputs::Rows(rows) => rows.each_byte(i, |bytes| digest.update(bytes)),
        }
        batch.targets.each_byte(i, |bytes| digest.update(bytes));
        digest.finalize().into()
    };
    let mut all = Vec::with_capacity(batches.iter().map(Batch::units).sum());
    batches.iter().for_each(|batch| all.extend((0..batch.units()).map(|i| of(batch, i))));
    all
}

/// A number for every example: the first eight bytes (little-endian) of SHA-256 over its content and how many of the
/// same content come before it (u32). So equal examples have numbers of their own, the same ones in any order.
pub fn keys<'a>(contents: impl Iterator<Item = &'a Content>) -> Vec<u64> {
    let mut seen: HashMap<&Content, u32> = HashMap::new();
    let key = |content: &'a Content| {
        let before = seen.entry(content).or_default();
        let digest = Sha256::new().chain_update(content).chain_update(before.to_le_bytes()).finalize();
        *before += 1;
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    contents.map(key).collect()
}

/// What bounds a batch: rows of features, or tokens.
fn size(batch: &Batch) -> usize {
    match &batch.inputs {
        Inputs::Features(_) => batch.units(),
        // A token comes with its whole example.
        Inputs::Rows(rows) => rows.examples,
        Inputs::Tokens(tokens) => tokens.ids.len(),
    }
}

/// The units of each example that has one, in the order of the batches.
pub fn units_by_example(batches: &[&Batch]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut first = 0;
    for batch in batches {
        for unit in 0..batch.units() {
            match found.last_mut() {
                Some(last) if unit > 0 && batch.is_one_example(unit - 1, unit) => last.end += 1,
                _ => found.push(first + unit..first + unit + 1),
            }
        }
        first += batch.units();
    }
    found
}

/// The units of the example with this place in its group; none where it has none.
pub fn units_of(batches: &[&Batch], row: usize) -> Range<usize> {
    let mut first = 0;
    for batch in batches {
        let own = match &batch.inputs {
            Inputs::Rows(rows) => rows.units_of(row),
            _ => {
                row.saturating_sub(first).min(batch.units())
                    ..(row + 1).saturating_sub(first).min(batch.units())
            }
        };
        if !own.is_empty() {
            return first + own.start..first + own.end;
        }
        first += batch.units();
    }
    0..0
}

/// Some of the units, in batches no larger than the largest of those that they come from.
pub fn pick(batches: &[&Batch], units: &[usize]) -> Vec<Batch> {
    let most = batches.iter().map(|batch| size(batch)).max().unwrap_or(0);
    let mut ends = Vec::new();
    batches.iter().for_each(|batch| ends.push(ends.last().unwrap_or(&0) + batch.units()));
    // Units of one example that follow each other come with it together.
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for unit in units {
        let place = ends.partition_point(|end| end <= unit);
        let at = unit + batches[place].units() - ends[place];
        match runs.last_mut() {
            Some((last, run))
                if *last == place && run.end == at && batches[place].is_one_example(run.start, at) =>
            {
                run.end += 1;
            }
            _ => runs.push((place, at..at + 1)),
        }
    }
    let one = |(place, run): (usize, Range<usize>)| batches[place].slice(run);
    let mut found = Vec::new();
    let mut together = Vec::new();
    let mut taken = 0;
    for single in runs.into_iter().map(one) {
        let strange = together.first().is_some_and(|first: &Batch| !first.joins(&single));
        if !together.is_empty() && (strange || taken + size(&single) > most) {
            found.push(std::mem::take(&mut together));
            taken = 0;
        }
        taken += size(&single);
        together.push(single);
    }
    found.push(together);
    found.retain(|batch| !batch.is_empty());
    found.iter().map(|batch| join(&batch.iter().collect::<Vec<_>>())).collect()
}

/// One batch of all examples.
pub fn join(batches: &[&Batch]) -> Batch {
    let mut targets = Targets::default();
    batches.iter().for_each(|batch| targets.append(&batch.targets));
    let mut features = Vec::new();
    let mut tokens = Tokens::default();
    let mut rows: Option<Rows> = None;
    for batch in batches {
        match &batch.inputs {
            Inputs::Features(more) => features.extend(more),
            Inputs::Tokens(more) => tokens.append(more),
            Inputs::Rows(more) => match rows.as_mut() {
                Some(rows) => rows.append(more),
                None => rows = Some(more.clone()),
            },
        }
    }
    let inputs = match rows {
        Some(rows) => Inputs::Rows(rows),
        None if features.is_empty() => Inputs::Tokens(tokens),
        None => Inputs::Features(features),
    };
    Batch { inputs, targets }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{TokenTable, cut_features};
    use super::*;
    use std::collections::BTreeSet;

    fn rows(rows: &[[f64; 2]], labels: &[usize]) -> Vec<Batch> {
        cut_features(&rows.concat(), 2, labels)
    }

    fn keys_of(batches: &[Batch]) -> Vec<u64> {
        keys(contents(batches).iter())
    }

    #[test]
    fn keys_belong_to_examples_and_not_to_places() {
        let [a, b] = [[1.0, 2.0], [2.0, 1.0]];
        let found = keys_of(&rows(&[a, b, a, a], &[0, 0, 0, 1]));
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 4, "an equal example has a key of its own");
        let moved = keys_of(&rows(&[a, a, b, a], &[1, 0, 0, 0]));
        assert_eq!(moved, [found[3], found[0], found[1], found[2]]);
    }

    #[test]
    fn padding_is_no_content_and_masked_tokens_are() {
        let table = |width: usize, ids: &[u32], mask: &[u32]| {
            let positions = (0..ids.len()).map(|i| (i % width) as u32).collect();
            let ids = ids.to_vec();
            let mask = mask.to_vec();
            TokenTable { width, types: vec![0; ids.len()], ids, mask, positions }.cut(&[1], 100)
        };
        let narrow = keys_of(&table(2, &[5, 6], &[1, 1]));
        assert_eq!(narrow, keys_of(&table(4, &[5, 6, 9, 9], &[1, 1, 0, 0])));
        assert_ne!(narrow, keys_of(&table(2, &[5, 6], &[0, 1])));
        assert_ne!(narrow, keys_of(&table(3, &[5, 9, 6], &[1, 0, 1])), "the position is read");
    }

    #[test]
    fn some_examples_come_in_batches_no_larger_than_before() {
        let table = TokenTable {
            width: 2,
            ids: (1..13).collect(),
            mask: [1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1].to_vec(),
            types: vec![0; 12],
            positions: [0, 1].repeat(6),
        };
        let all = table.cut(&[0, 1, 2, 3, 4, 5], 4);
        let all: Vec<&Batch> = all.iter().collect();
        let found = pick(&all, &[5, 0, 1, 3]);
        assert_eq!(
            found.iter().map(|batch| batch.targets.classes().to_vec()).collect::<Vec<_>>(),
            [vec![5, 0], vec![1, 3]]
        );
        let Inputs::Tokens(tokens) = &found[1].inputs else { panic!("tokens") };
        assert_eq!(tokens.ids, [3, 7, 8]);
        assert!(found.iter().all(|batch| size(batch) <= 4));
    }
}
