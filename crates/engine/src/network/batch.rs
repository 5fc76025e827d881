//! Probe examples in the form in which networks read them.
//!
//! Owns: cutting a probe group into batches, and how much they take. May not touch: parameters, the tensors of a probe
//! (`probe` reads them).

use super::rows::Rows;
use super::targets::Targets;
use std::ops::Range;

/// Most rows of features in one batch.
pub const BATCH_ROWS: usize = 256;

/// Most places that a GPU is given at once: enough to fill it, few enough that the graph of a base-sized encoder in f32
/// takes about ten GiB.
pub const PLACES: usize = 1 << 12;

/// Examples that go through the network together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What the network reads.
    pub inputs: Inputs,
    /// What the outputs of its units are held against.
    pub targets: Targets,
}

impl Batch {
    /// How many units of the loss it has: examples, or tokens with a label.
    pub fn units(&self) -> usize {
        self.targets.len()
    }

    /// Rows by the longest of them: what it takes as a rectangle.
    pub fn places(&self) -> usize {
        self.units() * self.longest()
    }

    /// Tokens of the longest row; 1 for features.
    pub fn longest(&self) -> usize {
        match &self.inputs {
            Inputs::Features(_) | Inputs::Rows(_) => 1,
            Inputs::Tokens(tokens) => tokens.sequences.iter().map(|sequence| sequence.len).max().unwrap_or(1),
        }
    }

    /// Bytes that it holds on the heap.
    pub fn bytes(&self) -> usize {
        let inputs = match &self.inputs {
            Inputs::Features(features) => features.capacity() * size_of::<f64>(),
            Inputs::Tokens(tokens) => tokens.bytes(),
            Inputs::Rows(rows) => rows.bytes(),
        };
        inputs + self.targets.bytes()
    }

    /// Whether the examples of another one can be laid behind its own.
    pub fn joins(&self, other: &Self) -> bool {
        match (&self.inputs, &other.inputs) {
            (Inputs::Rows(own), Inputs::Rows(more)) => own.joins(more),
            _ => true,
        }
    }

    /// Whether two of its units belong to the same example.
    pub fn is_one_example(&self, one: usize, other: usize) -> bool {
        match &self.inputs {
            Inputs::Rows(rows) => rows.example(one) == rows.example(other),
            _ => one == other,
        }
    }

    /// A few of its units.
    pub fn slice(&self, examples: Range<usize>) -> Self {
        let inputs = match &self.inputs {
            Inputs::Features(features) => {
                let width = features.len() / self.units().max(1);
                Inputs::Features(features[examples.start * width..examples.end * width].to_vec())
            }
            Inputs::Tokens(tokens) => Inputs::Tokens(tokens.slice(examples.clone())),
            Inputs::Rows(rows) => Inputs::Rows(rows.slice(examples.clone())),
        };
        Self { inputs, targets: self.targets.slice(examples) }
    }
}

/// What a network reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Features, [examples, features], row-major.
    Features(Vec<f64>),
    /// Token sequences without their padding.
    Tokens(Tokens),
    /// Tensors as a graph reads them.
    Rows(Rows),
}

/// Sequences laid end to end.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tokens {
    /// Token ids of all sequences, [tokens].
    pub ids: Vec<u32>,
    /// Token types of all sequences, [tokens].
    pub types: Vec<u32>,
    /// [tokens], the row of the position table.
    pub positions: Vec<u32>,
    /// One for each example.
    pub sequences: Vec<Sequence>,
}

impl Tokens {
    fn bytes(&self) -> usize {
        let words = self.ids.capacity() + self.types.capacity() + self.positions.capacity();
        let masked: usize = self.sequences.iter().map(|sequence| sequence.masked.capacity()).sum();
        words * size_of::<u32>() + self.sequences.capacity() * size_of::<Sequence>() + masked
    }

    /// Without room for more.
    fn shrunk(mut self) -> Self {
        self.ids.shrink_to_fit();
        self.types.shrink_to_fit();
        self.positions.shrink_to_fit();
        self.sequences.shrink_to_fit();
        self
    }

    /// A few of the sequences.
    fn slice(&self, sequences: Range<usize>) -> Self {
        let sequences = &self.sequences[sequences];
        let first = sequences.first().map_or(0, |sequence| sequence.start);
        let tokens = first..sequences.last().map_or(first, |sequence| sequence.start + sequence.len);
        let moved = |sequence: &Sequence| Sequence { start: sequence.start - first, ..sequence.clone() };
        Self {
            ids: self.ids[tokens.clone()].to_vec(),
            types: self.types[tokens.clone()].to_vec(),
            positions: self.positions[tokens].to_vec(),
            sequences: sequences.iter().map(moved).collect(),
        }
    }

    /// Lays the sequences of `other` behind these.
    pub fn append(&mut self, other: &Self) {
        let first = self.ids.len();
        self.ids.extend(&other.ids);
        self.types.extend(&other.types);
        self.positions.extend(&other.positions);
        let moved = |sequence: &Sequence| Sequence { start: first + sequence.start, ..sequence.clone() };
        self.sequences.extend(other.sequences.iter().map(moved));
    }
}

/// One example in [`Tokens`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Index of the first token of the example.
    pub start: usize,
    /// Number of tokens of the example.
    pub len: usize,
    /// Which of its tokens are masked; empty when none is. Masked tokens are left out of the batch unless the first
    /// token of the row is masked: its position is read by the classifier, so such a row is kept as it is.
    pub masked: Vec<bool>,
}

/// What of batches the buffers of a network grow with; of several, the greatest of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Rows of logits.
    pub examples: usize,
    /// Tokens of all examples; of features, one each.
    pub tokens: usize,
    /// Σ of the squares of the examples' lengths in tokens.
    pub pairs: usize,
    /// Tokens of the longest example.
    pub longest: usize,
    /// Of a graph: bytes of a pass, in f32 and f64, each without and with what a backward needs.
    pub pass_bytes: [[u64; 2]; 2],
}

impl Extent {
    /// Of one batch.
    pub fn of(batch: &Batch) -> Self {
        let examples = batch.units();
        match &batch.inputs {
            Inputs::Features(_) => {
                Self { examples, tokens: examples, pairs: examples, longest: 1, ..Self::default() }
            }
            Inputs::Rows(rows) => {
                Self { examples, tokens: examples, pass_bytes: rows.pass_bytes, ..Self::default() }
            }
            Inputs::Tokens(tokens) => {
                let pairs = tokens.sequences.iter().map(|sequence| sequence.len * sequence.len).sum();
                let tokens = tokens.ids.len();
                Self { examples, tokens, pairs, longest: batch.longest(), ..Self::default() }
            }
        }
    }

    /// Of what either takes.
    pub fn union(self, other: Self) -> Self {
        Self {
            examples: self.examples.max(other.examples),
            tokens: self.tokens.max(other.tokens),
            pairs: self.pairs.max(other.pairs),
            longest: self.longest.max(other.longest),
            pass_bytes: [0, 1]
                .map(|size| [0, 1].map(|keep| self.pass_bytes[size][keep].max(other.pass_bytes[size][keep]))),
        }
    }
}

/// Cuts rows of features into batches.
pub fn cut_features(features: &[f64], width: usize, labels: &[usize]) -> Vec<Batch> {
    let rows = features.chunks(width * BATCH_ROWS).zip(labels.chunks(BATCH_ROWS));
    let batch = |(rows, labels): (&[f64], &[usize])| Batch {
        inputs: Inputs::Features(rows.to_vec()),
        targets: Targets::Classes(labels.to_vec()),
    };
    rows.map(batch).collect()
}

/// A batch that gets no more examples: a run keeps it, so it keeps no room for them.
fn whole(tokens: Tokens, mut labels: Vec<usize>) -> Batch {
    labels.shrink_to_fit();
    Batch { inputs: Inputs::Tokens(tokens.shrunk()), targets: Targets::Classes(labels) }
}

/// Token tables [examples, `width`] of one group.
pub struct TokenTable {
    /// Tokens in each row, including padding.
    pub width: usize,
    /// Token ids, row by row.
    pub ids: Vec<u32>,
    /// 1 where a token counts.
    pub mask: Vec<u32>,
    /// Token types, row by row.
    pub types: Vec<u32>,
    /// Rows of the position table.
    pub positions: Vec<u32>,
}

impl TokenTable {
    /// Takes padding out and cuts the examples into batches of about the same size and at most `most` tokens; a single
    /// longer example makes a batch of its own.
    pub fn cut(&self, labels: &[usize], most: usize) -> Vec<Batch> {
        let mut batches = Vec::new();
        let all: usize = (0..labels.len()).map(|row| self.columns(row).len()).sum();
        let fair = all.div_ceil(all.div_ceil(most).max(1));
        let mut tokens = Tokens::default();
        let mut kept = Vec::new();
        for (row, label) in labels.iter().enumerate() {
            let columns = self.columns(row);
            let grown = tokens.ids.len() + columns.len();
            // Whichever is nearer to the fair share, with or without this example.
            let enough = grown > most || (grown > fair && grown - fair > columns.len() / 2);
            if !kept.is_empty() && enough {
                batches.push(whole(std::mem::take(&mut tokens), std::mem::take(&mut kept)));
            }
            self.append(row, &columns, &mut tokens);
            kept.push(*label);
        }
        batches.push(whole(tokens, kept));
        batches.shrink_to_fit();
        batches
    }

    fn columns(&self, row: usize) -> Vec<usize> {
        let mask = &self.mask[row * self.width..][..self.width];
        (0..self.width).filter(|column| mask[0] == 0 || mask[*column] != 0).collect()
    }

    fn append(&self, row: usize, columns: &[usize], tokens: &mut Tokens) {
        let start = tokens.ids.len();
        let first = row * self.width;
        for column in columns {
            tokens.ids.push(self.ids[first + column]);
            tokens.types.push(self.types[first + column]);
            tokens.positions.push(self.positions[first + column]);
        }
        let masked = match self.mask[first] {
            0 => columns.iter().map(|column| self.mask[first + column] == 0).collect(),
            _ => Vec::new(),
        };
        tokens.sequences.push(Sequence { start, len: columns.len(), masked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_taken_out_and_a_masked_first_token_keeps_its_row() {
        let table = TokenTable {
            width: 3,
            ids: vec![5, 6, 0, 0, 8, 9],
            mask: vec![1, 1, 0, 0, 1, 0],
            types: vec![0; 6],
            positions: vec![0, 1, 2, 0, 1, 2],
        };
        let batches = table.cut(&[1, 0], 100);
        let Inputs::Tokens(tokens) = &batches[0].inputs else { panic!("tokens") };
        assert_eq!(tokens.ids, [5, 6, 0, 8, 9]);
        assert_eq!(tokens.sequences[0], Sequence { start: 0, len: 2, masked: vec![] });
        assert_eq!(tokens.sequences[1], Sequence { start: 2, len: 3, masked: vec![true, false, true] });
    }

    #[test]
    fn slices_follow_each_other() {
        let table = TokenTable {
            width: 2,
            ids: (1..9).collect(),
            mask: vec![1, 1, 1, 0, 1, 1, 1, 1],
            types: vec![0; 8],
            positions: vec![0, 1, 0, 1, 0, 1, 0, 1],
        };
        let batch = table.cut(&[0, 1, 2, 0], 100).remove(0);
        let mut joined = Tokens::default();
        for range in [0..1, 1..3, 3..4] {
            let part = batch.slice(range.clone());
            let Inputs::Tokens(tokens) = &part.inputs else { panic!("tokens") };
            assert_eq!((tokens.sequences[0].start, part.targets), (0, batch.targets.slice(range)));
            joined.append(tokens);
        }
        assert_eq!(Inputs::Tokens(joined), batch.inputs);
        let features = cut_features(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &[0, 1, 0]).remove(0);
        assert_eq!(features.slice(1..3).inputs, Inputs::Features(vec![3.0, 4.0, 5.0, 6.0]));
    }

    #[test]
    fn batches_are_bounded() {
        let rows = 50;
        let width = 100;
        let n = rows * width;
        let table =
            TokenTable { width, ids: vec![1; n], mask: vec![1; n], types: vec![0; n], positions: vec![0; n] };
        let batches = table.cut(&vec![0; rows], 1024);
        assert_eq!(batches.iter().map(Batch::units).collect::<Vec<_>>(), [10, 10, 10, 10, 10]);
    }
}
