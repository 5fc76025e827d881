//! Tensors of a probe as a graph reads them: for each of its inputs one block of elements an example.
//!
//! Owns: cutting and joining them by examples. May not touch: shapes of anything but inputs, labels.

use crate::device::real::Real;
use clino_graph::Data;
use std::ops::Range;

/// What a graph reads of some examples, and which of its scores are looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// In the order of the graph's inputs.
    pub columns: Vec<Column>,
    /// How many examples there are.
    pub examples: usize,
    /// The place of the first of them among those of their group, if they were cut from one.
    pub first: usize,
    /// Units of an example, one after the other: 1, or as many as it has tokens.
    pub positions: usize,
    /// Of each unit of the loss, in order: its place among those of all examples. A unit is an example or a token with a
    /// label.
    pub units: Vec<usize>,
    /// Bytes of a pass over them, in f32 and f64, each without and with what a backward needs; those of the batch that
    /// they were cut from or joined from, if that is more.
    pub pass_bytes: [[u64; 2]; 2],
}

/// What one input reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its elements, row-major; floats in f64.
    pub data: Data<f64>,
    /// Its axes, without that of the batch.
    pub shape: Vec<usize>,
    /// Whether it is the same for all examples.
    pub shared: bool,
}

impl Column {
    /// Elements of one example.
    fn row(&self) -> usize {
        self.shape.iter().product()
    }

    fn part(&self, examples: &Range<usize>) -> Range<usize> {
        match self.shared {
            true => 0..self.row(),
            false => examples.start * self.row()..examples.end * self.row(),
        }
    }
}

fn cut(data: &Data<f64>, elements: Range<usize>) -> Data<f64> {
    match data {
        Data::Work(x) => Data::Work(x[elements].to_vec()),
        Data::I64(x) => Data::I64(x[elements].to_vec()),
        Data::Bool(x) => Data::Bool(x[elements].to_vec()),
    }
}

impl Rows {
    /// A few of the examples, without units.
    pub fn cut(&self, examples: Range<usize>) -> Self {
        let column =
            |column: &Column| Column { data: cut(&column.data, column.part(&examples)), ..column.clone() };
        let columns = self.columns.iter().map(column).collect();
        let first = self.first + examples.start;
        Self { columns, examples: examples.len(), first, units: Vec::new(), ..*self }
    }

    /// A few of the units, with the examples to which they belong.
    pub fn slice(&self, units: Range<usize>) -> Self {
        let units = &self.units[units];
        let first = units.iter().min().map_or(0, |unit| unit / self.positions);
        let behind = units.iter().max().map_or(first, |unit| unit / self.positions + 1);
        let units = units.iter().map(|unit| unit - first * self.positions).collect();
        Self { units, ..self.cut(first..behind) }
    }

    /// The example of a unit, among those of the batch.
    pub fn example(&self, unit: usize) -> usize {
        self.units[unit] / self.positions
    }

    /// The units of the example with this place in its group.
    pub fn units_of(&self, row: usize) -> Range<usize> {
        let Some(example) = row.checked_sub(self.first).filter(|example| *example < self.examples) else {
            return 0..0;
        };
        let before = |example: usize| self.units.partition_point(|unit| unit / self.positions < example);
        before(example)..before(example + 1)
    }

    /// Whether others can be laid behind these: their examples have the same shapes.
    pub fn joins(&self, other: &Self) -> bool {
        let shapes = |rows: &Self| rows.columns.iter().map(|column| column.shape.clone()).collect::<Vec<_>>();
        self.positions == other.positions && shapes(self) == shapes(other)
    }

    /// Lays others behind these that [join](Self::joins) them.
    pub fn append(&mut self, other: &Self) {
        for (own, more) in self.columns.iter_mut().zip(&other.columns).filter(|(own, _)| !own.shared) {
            match (&mut own.data, &more.data) {
                (Data::Work(own), Data::Work(more)) => own.extend(more),
                (Data::I64(own), Data::I64(more)) => own.extend(more),
                (Data::Bool(own), Data::Bool(more)) => own.extend(more),
                _ => {}
            }
        }
        let behind = self.examples * self.positions;
        self.units.extend(other.units.iter().map(|unit| behind + unit));
        self.examples += other.examples;
        for (own, more) in self.pass_bytes.iter_mut().flatten().zip(other.pass_bytes.iter().flatten()) {
            *own = (*own).max(*more);
        }
    }

    /// Shapes of the inputs, with the axis of the batch.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        let shape = |column: &Column| match column.shared {
            true => column.shape.clone(),
            false => std::iter::once(self.examples).chain(column.shape.iter().copied()).collect(),
        };
        self.columns.iter().map(shape).collect()
    }

    /// The elements of the inputs, in the precision of a pass.
    pub fn narrowed<T: Real>(&self) -> Vec<Data<T>> {
        let narrow = |data: &Data<f64>| match data {
            Data::Work(x) => Data::Work(x.iter().map(|x| T::of(*x)).collect()),
            Data::I64(x) => Data::I64(x.clone()),
            Data::Bool(x) => Data::Bool(x.clone()),
        };
        self.columns.iter().map(|column| narrow(&column.data)).collect()
    }

    /// Bytes that they hold on the heap.
    pub fn bytes(&self) -> usize {
        let of = |column: &Column| {
            let elements = match &column.data {
                Data::Work(x) => x.capacity() * size_of::<f64>(),
                Data::I64(x) => x.capacity() * size_of::<i64>(),
                Data::Bool(x) => x.capacity(),
            };
            elements + size_of::<Column>() + column.shape.capacity() * size_of::<usize>()
        };
        self.columns.iter().map(of).sum::<usize>() + self.units.capacity() * size_of::<usize>()
    }

    /// Calls `with` for the bytes of what one unit reads: f64 and i64 little-endian, truth values as bytes; for a token then
    /// its place in the example (u64).
    pub fn each_byte(&self, unit: usize, mut with: impl FnMut(&[u8])) {
        let example = self.units[unit] / self.positions;
        for column in &self.columns {
            let part = column.part(&(example..example + 1));
            match &column.data {
                Data::Work(x) => x[part].iter().for_each(|x| with(&x.to_le_bytes())),
                Data::I64(x) => x[part].iter().for_each(|x| with(&x.to_le_bytes())),
                Data::Bool(x) => x[part].iter().for_each(|x| with(&[u8::from(*x)])),
            }
        }
        if self.positions > 1 {
            with(&((self.units[unit] % self.positions) as u64).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let column = |data, shape: &[usize], shared| Column { data, shape: shape.to_vec(), shared };
        let columns = vec![
            column(Data::I64((0..6).collect()), &[2], false),
            column(Data::Work(vec![0.5, 1.5, 2.5]), &[], false),
            column(Data::Bool(vec![true, false]), &[2], true),
        ];
        Rows {
            columns,
            examples: 3,
            positions: 1,
            units: vec![0, 1, 2],
            pass_bytes: [[1, 2], [3, 4]],
            first: 0,
        }
    }

    #[test]
    fn parts_joined_are_the_whole() {
        let whole = rows();
        let mut joined = whole.slice(0..1);
        assert_eq!(joined.shapes(), [vec![1, 2], vec![1], vec![2]]);
        joined.append(&whole.slice(1..3));
        assert_eq!(joined, whole);
        assert!(joined.joins(&whole.slice(2..3)));
    }

    #[test]
    fn tokens_take_their_examples_with_them() {
        let tokens = Rows { positions: 2, units: vec![1, 2, 3, 4], ..rows() };
        let part = tokens.slice(1..3);
        assert_eq!((part.examples, &part.units[..]), (1, &[0, 1][..]));
        let mut joined = tokens.slice(0..1);
        joined.append(&tokens.slice(3..4));
        assert_eq!((joined.examples, &joined.units[..]), (2, &[1, 2][..]));
        let bytes = |unit| {
            let mut all = Vec::new();
            tokens.each_byte(unit, |bytes| all.extend_from_slice(bytes));
            all
        };
        assert_ne!(bytes(1), bytes(2), "the place counts");
    }

    #[test]
    fn an_example_is_what_it_reads() {
        let bytes = |example| {
            let mut all = Vec::new();
            rows().each_byte(example, |bytes| all.extend_from_slice(bytes));
            all
        };
        assert_eq!(bytes(1).len(), 2 * 8 + 8 + 2);
        assert_ne!(bytes(0), bytes(1));
        let mut other = rows();
        other.columns[2].data = Data::Bool(vec![true, true]);
        let mut changed = Vec::new();
        other.each_byte(1, |bytes| changed.extend_from_slice(bytes));
        assert_ne!(changed, bytes(1), "what is shared is part of each");
    }
}
