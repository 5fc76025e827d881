//! Which outputs of a graph a loss reads, and which of their numbers belong to a unit.
//!
//! Owns: the places of a unit's numbers. May not touch: losses, labels.

use clino_domain::Fault;
use clino_domain::graph::{LossKind, LossSpec};
use clino_graph::GraphModel;

/// How the numbers of an example make units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitShape {
    /// A row of scores, one for each class; classes are the last axis of the output, or the one behind the examples.
    Scores {
        /// Whether they are the one behind the examples.
        classes_first: bool,
    },
    /// All numbers of an example.
    Whole,
    /// Each number.
    Single,
}

/// How the numbers of an example lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitAxes {
    /// Units of an example.
    pub positions: usize,
    /// Numbers of a unit.
    pub width: usize,
    /// Whether the numbers of a unit lie `positions` apart, and not side by side.
    apart: bool,
}

impl UnitShape {
    /// Of an output of this shape, whose first axis are the examples.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for scores of fewer than two classes.
    pub fn axes(self, shape: &[usize]) -> Result<UnitAxes, Fault> {
        let each = shape.iter().skip(1).product();
        let Self::Scores { classes_first } = self else {
            let [positions, width] = if self == Self::Whole { [1, each] } else { [each, 1] };
            return Ok(UnitAxes { positions, width, apart: false });
        };
        let axis = if classes_first { 1 } else { shape.len().saturating_sub(1) };
        let classes = shape.get(axis).copied().filter(|classes| shape.len() >= 2 && *classes >= 2);
        let Some(width) = classes else {
            let description = format!(
                "found an output of shape {shape:?}, expected [examples, classes] or [examples, tokens, classes] with at \
                least 2 classes: for one number an example export with a loss such as mse or bce"
            );
            return Err(Fault::invalid("model.loss.output", description));
        };
        let positions = shape.iter().enumerate().skip(1).filter(|(at, _)| *at != axis).map(|(_, size)| *size);
        Ok(UnitAxes { positions: positions.product(), width, apart: classes_first })
    }
}

impl UnitAxes {
    /// Where the numbers of a unit lie; the units of all examples are counted through.
    pub fn places(self, unit: usize) -> impl Iterator<Item = usize> {
        let Self { positions, width, apart } = self;
        let example = unit / positions * positions * width;
        let position = unit % positions;
        let [first, step] = if apart { [position, positions] } else { [position * width, 1] };
        (0..width).map(move |number| example + first + number * step)
    }
}

/// Places of the outputs that a loss reads, among all outputs of the graph.
#[derive(Debug, Clone)]
pub struct Heads {
    /// What the loss is of.
    pub main: usize,
    /// How it makes units.
    pub shape: UnitShape,
    /// Weights of the units, of the shape of the main output.
    pub weights: Option<usize>,
    /// Scalars that are added.
    pub auxiliary: Vec<usize>,
}

impl Heads {
    /// Finds them by name.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the field of an output that the graph does not have, or of weights that
    /// depend on parameters.
    pub fn of(loss: &LossSpec, model: &GraphModel) -> Result<Self, Fault> {
        let outputs = &model.graph().parts().outputs;
        let find = |field: &str, name: &str| {
            let found = outputs.iter().position(|output| output.name == name);
            found.ok_or_else(|| {
                let known: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
                let description =
                    format!("found {name:?}, expected an output of the graph: {}", known.join(", "));
                Fault::invalid(format!("model.loss.{field}"), description)
            })
        };
        let shape = match &loss.kind {
            LossKind::CrossEntropy(entropy) => UnitShape::Scores { classes_first: entropy.classes_first },
            LossKind::Given { .. } => UnitShape::Single,
            LossKind::SquaredError | LossKind::Huber { .. } | LossKind::BinaryCrossEntropy { .. } => {
                UnitShape::Whole
            }
        };
        let weights = match &loss.kind {
            LossKind::Given { weights: Some(name) } => Some(find("given.weights", name)?),
            _ => None,
        };
        if weights.is_some_and(|weights| !is_data(model, weights)) {
            let description = "found an output that depends on tensors of the model, expected weights that labels and \
                               inputs tell: put what is trained into the losses";
            return Err(Fault::invalid("model.loss.given.weights", description));
        }
        let auxiliary = loss.auxiliary.iter().enumerate();
        let auxiliary = auxiliary.map(|(i, one)| find(&format!("auxiliary[{i}].output"), &one.output));
        let auxiliary = auxiliary.collect::<Result<_, Fault>>()?;
        Ok(Self { main: find("output", &loss.output)?, shape, weights, auxiliary })
    }

    /// Numbers that stand behind those of the main output in the row of a unit.
    pub fn behind(&self) -> usize {
        usize::from(self.weights.is_some()) + self.auxiliary.len()
    }

    /// Whether other outputs fit the main one: weights have its shape, what is added is one number.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the output at fault.
    pub fn check(&self, shapes: &[&[usize]]) -> Result<(), Fault> {
        let main = shapes[self.main];
        if let Some(weights) = self.weights.map(|weights| shapes[weights]).filter(|shape| *shape != main) {
            let description = format!("found shape {weights:?}, expected {main:?}, a weight for each loss");
            return Err(Fault::invalid("model.loss.given.weights", description));
        }
        let several = |output: &usize| shapes[*output].iter().product::<usize>() != 1;
        match self.auxiliary.iter().position(several) {
            None => Ok(()),
            Some(i) => {
                let found = shapes[self.auxiliary[i]];
                let description = format!("found shape {found:?}, expected one number");
                Err(Fault::invalid(format!("model.loss.auxiliary[{i}].output"), description))
            }
        }
    }
}

/// Whether an output is made of inputs and constants alone.
fn is_data(model: &GraphModel, output: usize) -> bool {
    let parts = model.graph().parts();
    let mut data = vec![false; parts.tensors.len()];
    data.resize(data.len() + parts.inputs.len() + parts.constants.len(), true);
    for node in &parts.nodes {
        let known = node.operands.iter().flatten().all(|operand| data[*operand]);
        data.resize(data.len() + node.results, known);
    }
    data[parts.outputs[output].value]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_unit_lie_side_by_side_or_apart() {
        let places = |first: bool, shape: &[usize], unit| {
            let axes = UnitShape::Scores { classes_first: first }.axes(shape).expect("scores");
            axes.places(unit).collect::<Vec<_>>()
        };
        assert_eq!(places(false, &[2, 3], 1), [3, 4, 5]);
        assert_eq!(places(false, &[2, 2, 3], 3), [9, 10, 11]);
        assert_eq!(places(true, &[2, 3, 2], 3), [7, 9, 11]);
        let whole = UnitShape::Whole.axes(&[2, 2, 2]).expect("numbers");
        assert_eq!((whole.positions, whole.places(1).collect::<Vec<_>>()), (1, vec![4, 5, 6, 7]));
        let single = UnitShape::Single.axes(&[2, 2]).expect("losses");
        assert_eq!((single.positions, single.places(3).collect::<Vec<_>>()), (2, vec![3]));
        assert!(UnitShape::Scores { classes_first: false }.axes(&[4, 1]).is_err());
    }
}
