//! Small graphs and what is done with them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use clino_domain::graph::{
    Axis, Graph, GraphConstant, GraphInput, GraphOutput, GraphParts, GraphTensor, Node, Operator, SizeSymbol,
    TensorKind,
};
use clino_domain::{Checkpoint, Dtype, Fault};
use clino_graph::{
    BatchTensors, Data, Evaluator, EvaluatorInput, GraphModel, Limits, Parameters, Prepared, Real, View,
};
use std::sync::Arc;

/// What nobody ends.
pub struct Unstopped;

impl Checkpoint for Unstopped {
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Numbers by chance, the same each time.
pub struct Chance(pub u64);

impl Chance {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n.max(1)
    }

    /// Between -1 and 1.
    pub fn number(&mut self) -> f64 {
        self.bits() as f64 / (1u64 << 30) as f64 - 1.0
    }
}

/// A graph in the making.
#[derive(Default, Clone)]
pub struct Builder {
    pub parts: GraphParts,
    pub inputs: Vec<(Vec<usize>, Data<f64>)>,
}

impl Builder {
    pub fn param(&mut self, shape: &[usize]) -> usize {
        self.tensor(TensorKind::Param, shape)
    }

    pub fn tensor(&mut self, kind: TensorKind, shape: &[usize]) -> usize {
        assert!(
            self.parts.inputs.is_empty() && self.parts.constants.is_empty() && self.parts.nodes.is_empty()
        );
        let i = self.parts.tensors.len();
        self.parts.tensors.push(GraphTensor {
            name: format!("t{i}"),
            kind,
            shape: shape.iter().map(|size| *size as u64).collect(),
            dtype: Dtype::F64,
            alias_of: None,
        });
        i
    }

    pub fn input(&mut self, shape: &[usize], data: Data<f64>) -> usize {
        assert!(self.parts.constants.is_empty() && self.parts.nodes.is_empty());
        let i = self.parts.inputs.len();
        let dtype = match data {
            Data::Work(_) => Dtype::F64,
            Data::I64(_) => Dtype::I64,
            Data::Bool(_) => Dtype::Bool,
        };
        let axes =
            shape.iter().enumerate().map(|(j, _)| Axis::Symbol(self.parts.symbols.len() + j)).collect();
        let symbol = |j: usize| SizeSymbol { name: format!("s{i}_{j}"), least: 0, most: None };
        self.parts.symbols.extend((0..shape.len()).map(symbol));
        self.parts.inputs.push(GraphInput { name: format!("x{i}"), dtype, shape: axes, shared: false });
        self.inputs.push((shape.to_vec(), data));
        self.parts.tensors.len() + i
    }

    pub fn constant(&mut self, dtype: Dtype, shape: &[u64], data: Vec<u8>) -> usize {
        assert!(self.parts.nodes.is_empty());
        self.parts.constants.push(GraphConstant { dtype, shape: shape.to_vec(), data: data.into() });
        self.parts.tensors.len() + self.parts.inputs.len() + self.parts.constants.len() - 1
    }

    pub fn values(&self) -> usize {
        let sources = self.parts.tensors.len() + self.parts.inputs.len() + self.parts.constants.len();
        sources + self.parts.nodes.iter().map(|node| node.results).sum::<usize>()
    }

    pub fn node(&mut self, operator: Operator, operands: &[usize]) -> usize {
        self.node_of(operator, operands.iter().map(|value| Some(*value)).collect(), 1)
    }

    pub fn node_of(&mut self, operator: Operator, operands: Vec<Option<usize>>, results: usize) -> usize {
        let first = self.values();
        let origin = format!("layer {}", self.parts.nodes.len());
        self.parts.nodes.push(Node { operands, results, origin, operator });
        first
    }

    pub fn output(&mut self, value: usize) {
        let name = format!("y{}", self.parts.outputs.len());
        self.parts.outputs.push(GraphOutput { name, value });
    }

    pub fn shapes(&self) -> Vec<Vec<usize>> {
        self.inputs.iter().map(|(shape, _)| shape.clone()).collect()
    }

    pub fn model(&self) -> Result<Arc<GraphModel>, Fault> {
        Ok(Arc::new(GraphModel::new(Graph::new(self.parts.clone())?)?))
    }
}

/// A model, a prepared batch and a worker.
pub struct Run<T> {
    pub model: Arc<GraphModel>,
    pub prepared: Prepared<T>,
    pub evaluator: Evaluator<T>,
    pub params: Vec<T>,
}

impl<T: Real> Run<T> {
    pub fn new(builder: &Builder, params: &[f64], threads: usize) -> Result<Self, Fault> {
        let model = builder.model()?;
        let plan = Arc::new(model.shapes(&builder.shapes(), &Limits::default())?);
        let inputs = builder.inputs.iter().map(|(_, data)| data.narrowed()).collect();
        let buffer = |tensor: &usize| {
            let shape = &model.graph().parts().tensors[*tensor].shape;
            Data::Work((0..shape.iter().product::<u64>()).map(|i| T::of(0.5 + 0.25 * i as f64)).collect())
        };
        let buffers = Arc::new(model.buffers().iter().map(buffer).collect());
        let prepared = Prepared::new(&model, &plan, BatchTensors { buffers, inputs }, threads, &Unstopped)?;
        let params = params.iter().map(|x| T::of(*x)).collect();
        let evaluator = Evaluator::new(model.clone(), plan, threads);
        Ok(Self { model, prepared, evaluator, params })
    }

    pub fn parameters(&self) -> Parameters<'_, T> {
        Parameters::split(&self.params, self.model.trained())
    }

    /// A forward whose outputs stay where they are.
    pub fn pass(&mut self, keep: bool) -> Result<(), Fault> {
        let params = Parameters::split(&self.params, self.model.trained());
        let input = EvaluatorInput { prepared: &self.prepared, params, stop: &Unstopped };
        self.evaluator.forward(input, keep)
    }

    pub fn forward(&mut self, keep: bool) -> Result<Vec<Vec<f64>>, Fault> {
        self.pass(keep)?;
        let outputs = self.evaluator.outputs(&self.prepared, self.parameters());
        let wide = |data: View<'_, T>| data.to_work().iter().map(|x| x.wide()).collect();
        Ok(outputs.iter().map(|output| wide(output.data)).collect())
    }

    pub fn backward(&mut self, d: &[Option<Vec<f64>>]) -> Result<Vec<T>, Fault> {
        self.reverse(d.iter().map(|d| d.as_ref().map(|d| d.iter().map(|x| T::of(*x)).collect())).collect())
    }

    pub fn reverse(&mut self, d: Vec<Option<Vec<T>>>) -> Result<Vec<T>, Fault> {
        let mut gradient = vec![T::ZERO; self.model.trained()];
        let params = Parameters::split(&self.params, self.model.trained());
        let input = EvaluatorInput { prepared: &self.prepared, params, stop: &Unstopped };
        self.evaluator.backward(input, d, &mut gradient)?;
        Ok(gradient)
    }
}

/// Derivatives along outputs of WORK, by chance; none along others.
pub fn cotangents<T: Real>(run: &Run<T>, chance: &mut Chance) -> Vec<Option<Vec<f64>>> {
    let outputs = run.evaluator.outputs(&run.prepared, run.parameters());
    let of = |data: View<'_, T>, chance: &mut Chance| match data {
        View::Work(x) => Some(x.iter().map(|_| chance.number()).collect()),
        _ => None,
    };
    outputs.iter().map(|output| of(output.data, chance)).collect()
}
