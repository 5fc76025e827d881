//! Small graphs of one operator each, with all of its attributes.
#![allow(dead_code)]

mod elementwise;
mod layout;
mod products;
mod reductions;
mod spatial;

use crate::common::{Builder, Chance};
use clino_domain::graph::Operator;

/// A graph and where its parameters may be.
pub struct Case {
    pub name: String,
    pub builder: Builder,
    /// Parameters lie between these, away from 0.
    pub range: [f64; 2],
    /// Whether parameters are of both signs.
    pub signed: bool,
    /// Whether the derivative is 0 everywhere, as it should be.
    pub flat: bool,
    /// Whether a gradient is stopped on purpose, so that the rule is not the derivative.
    pub stops: bool,
}

impl Case {
    /// Parameter `i`: apart from others, so that no two change places within a step of the differences.
    pub fn point(&self, i: usize, chance: &mut Chance) -> f64 {
        let [least, most] = self.range;
        // The golden ratio spreads numbers evenly, and so apart.
        let share = (i as f64 * 0.618_033_988_749_894_9 + 0.137).fract();
        let sign = if self.signed && chance.bits() & 1 == 1 { -1.0 } else { 1.0 };
        sign * (least + (most - least) * share)
    }

    pub fn within(mut self, least: f64, most: f64) -> Self {
        self.range = [least, most];
        self.signed = false;
        self
    }

    pub fn stops(mut self) -> Self {
        self.stops = true;
        self
    }

    pub fn flat(mut self) -> Self {
        self.flat = true;
        self
    }
}

/// A case of the graph that `build` makes.
pub fn case(name: impl Into<String>, build: impl FnOnce(&mut Builder)) -> Case {
    let mut builder = Builder::default();
    build(&mut builder);
    if builder.parts.outputs.is_empty() {
        let last = builder.values() - 1;
        builder.output(last);
    }
    Case { name: name.into(), builder, range: [0.2, 1.7], signed: true, flat: false, stops: false }
}

/// One operator on parameters of these shapes.
pub fn of(name: impl Into<String>, operator: impl Into<Op>, shapes: &[&[usize]]) -> Case {
    let operator = operator.into();
    case(name, |b| {
        let operands: Vec<usize> = shapes.iter().map(|shape| b.param(shape)).collect();
        b.node(operator.0, &operands);
    })
}

/// An operator, for short.
pub struct Op(pub Operator);

impl From<Operator> for Op {
    fn from(operator: Operator) -> Self {
        Self(operator)
    }
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = elementwise::cases();
    cases.extend(layout::cases());
    cases.extend(spatial::cases());
    cases.extend(products::cases());
    cases.extend(reductions::cases());
    cases
}
