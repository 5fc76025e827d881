//! What is read off the outputs of units, which are examples or tokens.
//!
//! Owns: statistics of scores, in f64. May not touch: where scores come from.

use crate::criterion::{Criterion, Target};
use crate::scores::{ScoreStatistics, log_sum_exp};

/// What is known of every unit of a group at w0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// In the order of the units.
    pub units: Vec<UnitStatistics>,
    /// Their scores, where a measure of the run asks for them.
    pub scores: Option<Scores>,
}

/// What is read off the outputs of one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitStatistics {
    /// Its loss.
    pub loss: f64,
    /// Its weight in the mean.
    pub weight: f64,
    /// What is read off scores of classes; `None` where the outputs are none.
    pub scores: Option<ScoreStatistics>,
}

/// Scores of every unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// Logits, [units, classes], row-major.
    pub logits: Vec<f64>,
    /// Class of each unit, [units].
    pub labels: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
}

/// What is compared with a trainer's model: the loss of a few examples, and how large its gradient is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckedRows {
    /// Of each example.
    pub rows: Vec<CheckedRow>,
    /// l2 norm of the gradient of their mean loss by tensor, under the names of the snapshot; empty where none was computed.
    pub norms: Vec<(String, f64)>,
}

/// One example, whose units are all of its tokens with a label.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CheckedRow {
    /// Sum of losses times weights.
    total: f64,
    weight: f64,
    /// Greatest magnitude of its outputs, and of its losses where these are no scores.
    pub size: f64,
}

impl CheckedRow {
    /// Takes a unit in.
    pub fn add(&mut self, criterion: &dyn Criterion, outputs: &[f64], target: Target<'_>) {
        let weight = criterion.weight(outputs, target);
        let loss = criterion.own_loss(outputs, target);
        self.total += weight * loss;
        self.weight += weight;
        self.size = outputs.iter().fold(self.size, |size, z| size.max(z.abs()));
        if target.class().is_none() {
            self.size = self.size.max(loss.abs());
        }
    }

    /// Its mean loss, without what is added for a whole batch; NaN without a unit that counts.
    pub fn loss(&self) -> f64 {
        self.total / self.weight
    }
}

impl UnitStatistics {
    /// Of a unit's outputs.
    pub fn of(criterion: &dyn Criterion, outputs: &[f64], target: Target<'_>) -> Self {
        Self {
            loss: criterion.loss(outputs, target),
            weight: criterion.weight(outputs, target),
            scores: criterion.statistics(outputs, target),
        }
    }
}

impl Outputs {
    /// Room for so many units; with their scores, if they are asked for.
    pub fn with_room(units: usize, scores: bool) -> Self {
        Self { units: Vec::with_capacity(units), scores: scores.then(Scores::default) }
    }

    /// Of these logits, [units, classes].
    #[cfg(test)]
    pub fn of_scores(logits: Vec<f64>, labels: Vec<usize>, classes: usize) -> Self {
        let mut outputs = Self::with_room(labels.len(), true);
        for (row, label) in logits.chunks_exact(classes).zip(labels) {
            outputs.push(&crate::criterion::CrossEntropy::default(), row, Target::Class(label));
        }
        outputs
    }

    /// Takes a unit in.
    pub fn push(&mut self, criterion: &dyn Criterion, outputs: &[f64], target: Target<'_>) {
        self.units.push(UnitStatistics::of(criterion, outputs, target));
        if let (Some(scores), Some(class)) = (&mut self.scores, target.class()) {
            if scores.logits.is_empty() {
                scores.logits.reserve_exact(self.units.capacity() * outputs.len());
                scores.labels.reserve_exact(self.units.capacity());
            }
            scores.logits.extend_from_slice(outputs);
            scores.labels.push(class);
            scores.classes = outputs.len();
        }
    }

    /// Mean loss.
    pub fn loss(&self) -> f64 {
        let sum: f64 = self.units.iter().map(|unit| unit.weight * unit.loss).sum();
        sum / self.units.iter().map(|unit| unit.weight).sum::<f64>()
    }

    /// What is read off the scores of every unit; nothing where the outputs are no scores.
    pub fn classified(&self) -> impl Iterator<Item = ScoreStatistics> + '_ {
        self.units.iter().filter_map(|unit| unit.scores)
    }

    /// Share of the units whose greatest score is that of their label; NaN where the outputs are no scores.
    pub fn accuracy(&self) -> f64 {
        let right = self.units.iter().filter(|unit| unit.scores.is_some_and(|scores| scores.right)).count();
        match self.units.iter().all(|unit| unit.scores.is_some()) {
            true => right as f64 / self.units.len() as f64,
            false => f64::NAN,
        }
    }

    /// Lays the units of another group behind these.
    pub fn append(&mut self, other: &Self) {
        self.units.extend_from_slice(&other.units);
        if let (Some(own), Some(more)) = (&mut self.scores, &other.scores) {
            if own.logits.is_empty() {
                own.logits.reserve_exact(self.units.capacity() * more.classes);
                own.labels.reserve_exact(self.units.capacity());
                own.classes = more.classes;
            }
            own.logits.extend_from_slice(&more.logits);
            own.labels.extend_from_slice(&more.labels);
        }
    }
}

impl Scores {
    /// Probabilities of each unit's classes.
    pub fn probabilities(&self) -> impl Iterator<Item = Vec<f64>> + '_ {
        self.logits.chunks_exact(self.classes).map(|row| {
            let total = log_sum_exp(row);
            row.iter().map(|z| libm::exp(z - total)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_takes_as_many_bytes_as_the_changelog_says() {
        assert_eq!(size_of::<UnitStatistics>(), 48);
    }

    #[test]
    fn a_mean_goes_by_weights() {
        let unit = |loss, weight| UnitStatistics { loss, weight, scores: None };
        let outputs = Outputs { units: vec![unit(1.0, 0.5), unit(4.0, 1.5)], scores: None };
        assert_eq!(outputs.loss(), 3.25);
        assert!(outputs.accuracy().is_nan());
    }
}
