//! What every operator says and does.
//!
//! Owns: the trait of operators and what they see of values around them. May not touch: any particular operator.

use crate::real::Real;
use crate::shape::{Shape, numel};
use crate::value::{Data, Known, View};
use crate::wrong::{Result, attribute, operand};
use clino_domain::graph::{Size, ValueType};
use std::ops::Range;

/// Type and shape of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// Of its elements.
    pub kind: ValueType,
    /// Sizes of its axes.
    pub shape: Shape,
}

impl Typed {
    /// A value of numbers in the precision of the run.
    pub fn work(shape: impl Into<Shape>) -> Self {
        Self { kind: ValueType::Work, shape: shape.into() }
    }
}

/// What an operator sees of its operands before anything is computed.
pub struct Infer<'a> {
    /// Types and shapes of the operands.
    pub operands: Vec<Option<&'a Typed>>,
    /// What is known of all values so far.
    pub known: &'a [Option<Known>],
}

impl<'a> Infer<'a> {
    /// Type and shape of an operand.
    pub fn typed(&self, i: usize) -> Result<&'a Typed> {
        match self.operands.get(i).copied().flatten() {
            Some(typed) => Ok(typed),
            None => operand(i, "found none, expected a value"),
        }
    }

    /// Whether an operand is there.
    pub fn has(&self, i: usize) -> bool {
        self.operands.get(i).copied().flatten().is_some()
    }

    /// Shape of an operand of any type.
    pub fn shape(&self, i: usize) -> Result<&'a [usize]> {
        Ok(&self.typed(i)?.shape)
    }

    /// Shape of an operand of one type.
    pub fn of(&self, i: usize, kind: ValueType) -> Result<&'a [usize]> {
        let typed = self.typed(i)?;
        match typed.kind == kind {
            true => Ok(&typed.shape),
            false => {
                let found = typed.kind.name();
                let expected = kind.name();
                operand(i, format!("found {found}, expected {expected}: cast it before"))
            }
        }
    }

    /// Shape of an operand of WORK.
    pub fn work(&self, i: usize) -> Result<&'a [usize]> {
        self.of(i, ValueType::Work)
    }

    /// An axis of operand 0.
    pub fn axis(&self, name: &'static str, axis: usize) -> Result<usize> {
        let rank = self.shape(0)?.len();
        match axis < rank {
            true => Ok(axis),
            false => {
                attribute(name, format!("found {axis}, expected less than {rank}, the axes of the operand"))
            }
        }
    }

    /// A size that may be negative.
    pub fn size(&self, name: &'static str, size: Size) -> Result<i64> {
        match resolve(size, self.known) {
            Some(size) => Ok(size),
            None => attribute(
                name,
                "found a size from a value that depends on elements or is no scalar I64, expected one that depends on \
                 sizes alone: a result whose shape depends on elements is not supported",
            ),
        }
    }

    /// A size from 0.
    pub fn count(&self, name: &'static str, size: Size) -> Result<usize> {
        let found = self.size(name, size)?;
        match usize::try_from(found) {
            Ok(size) => Ok(size),
            Err(_) => attribute(name, format!("found {found}, expected a size from 0")),
        }
    }
}

fn resolve(size: Size, known: &[Option<Known>]) -> Option<i64> {
    match size {
        Size::Fixed(size) => Some(size),
        Size::Value(value) => match known.get(value).copied().flatten() {
            Some(Known::I64(size)) => Some(size),
            _ => None,
        },
    }
}

/// An operand while values are computed.
#[derive(Clone, Copy)]
pub struct Operand<'a, T> {
    /// Sizes of its axes.
    pub shape: &'a [usize],
    /// Its elements; absent where a reverse rule has not said that it reads them.
    pub data: Option<View<'a, T>>,
}

/// What an operator sees of values while it computes.
pub struct Context<'a, T> {
    /// What it reads.
    pub operands: Vec<Option<Operand<'a, T>>>,
    /// Its results; in a forward without elements.
    pub results: Vec<Operand<'a, T>>,
    /// In a backward: derivatives along its results, where there are any.
    pub d: Vec<Option<&'a [T]>>,
    /// What is known of all values.
    pub known: &'a [Option<Known>],
    /// Threads that it may use; no bit depends on it.
    pub threads: usize,
}

const GONE: &str = "found no elements, expected some: a defect of clino, please report it";

impl<'a, T: Real> Context<'a, T> {
    /// Whether an operand is there.
    pub fn has(&self, i: usize) -> bool {
        self.operands.get(i).is_some_and(|operand| operand.is_some())
    }

    /// Shape of an operand.
    pub fn shape(&self, i: usize) -> Result<&'a [usize]> {
        match self.operands.get(i).copied().flatten() {
            Some(operand) => Ok(operand.shape),
            None => operand(i, GONE),
        }
    }

    /// Elements of an operand of any type.
    pub fn view(&self, i: usize) -> Result<View<'a, T>> {
        match self.operands.get(i).copied().flatten().and_then(|operand| operand.data) {
            Some(view) => Ok(view),
            None => operand(i, GONE),
        }
    }

    /// Elements of an operand of WORK.
    pub fn work(&self, i: usize) -> Result<&'a [T]> {
        match self.view(i)? {
            View::Work(x) => Ok(x),
            _ => operand(i, GONE),
        }
    }

    /// Elements of an operand of integers.
    pub fn i64(&self, i: usize) -> Result<&'a [i64]> {
        match self.view(i)? {
            View::I64(x) => Ok(x),
            _ => operand(i, GONE),
        }
    }

    /// Shape of a result.
    pub fn out(&self, i: usize) -> Result<&'a [usize]> {
        match self.results.get(i) {
            Some(result) => Ok(result.shape),
            None => attribute("", GONE),
        }
    }

    /// Elements of a result of WORK, in a backward.
    pub fn result(&self, i: usize) -> Result<&'a [T]> {
        match self.results.get(i).and_then(|result| result.data) {
            Some(View::Work(x)) => Ok(x),
            _ => attribute("", GONE),
        }
    }

    /// In a backward: the derivative along the only result that has one.
    pub fn d(&self) -> Result<&'a [T]> {
        match self.d.first().copied().flatten() {
            Some(d) => Ok(d),
            None => attribute("", GONE),
        }
    }

    /// A size, as it was worked out with the shapes.
    pub fn size(&self, size: Size) -> Result<i64> {
        match resolve(size, self.known) {
            Some(size) => Ok(size),
            None => attribute("", GONE),
        }
    }
}

/// Where the derivative along a value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It is not wanted.
    Nowhere,
    /// Into memory of its own.
    Own,
    /// Into the gradient.
    Gradient(Range<usize>),
}

/// Where an operator adds the derivatives along its operands.
pub struct Gradients<'a, T> {
    /// Those of values that have memory of their own.
    pub own: &'a mut [Option<Vec<T>>],
    /// That of all parameters.
    pub gradient: &'a mut [T],
    /// By value, where it goes.
    pub places: &'a [Place],
    /// By value, how many elements it has.
    pub sizes: &'a [Typed],
    /// The values that are the operator's operands.
    pub operands: &'a [Option<usize>],
}

impl<T: Real> Gradients<'_, T> {
    fn value(&self, i: usize) -> Option<usize> {
        let value = self.operands.get(i).copied().flatten()?;
        (self.places[value] != Place::Nowhere).then_some(value)
    }

    /// Whether the derivative along an operand is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.value(i).is_some()
    }

    fn zeros(&self, value: usize) -> Vec<T> {
        vec![T::ZERO; numel(&self.sizes[value].shape)]
    }

    /// What the derivative along an operand is to be added to, where it is wanted.
    pub fn target(&mut self, i: usize) -> Option<&mut [T]> {
        let value = self.value(i)?;
        if let Place::Gradient(range) = &self.places[value] {
            return Some(&mut self.gradient[range.clone()]);
        }
        if self.own[value].is_none() {
            self.own[value] = Some(self.zeros(value));
        }
        self.own[value].as_deref_mut()
    }

    /// The same taken out, to be given back.
    pub fn take(&mut self, i: usize) -> Option<Vec<T>> {
        let value = self.value(i)?;
        Some(self.own[value].take().unwrap_or_else(|| self.zeros(value)))
    }

    /// Adds a derivative along an operand, or keeps it where there is none yet.
    pub fn give(&mut self, i: usize, d: Vec<T>) {
        let Some(value) = self.value(i) else { return };
        match &self.places[value] {
            Place::Gradient(range) => crate::parallel::add(1, &mut self.gradient[range.clone()], &d),
            _ => match &mut self.own[value] {
                Some(own) => crate::parallel::add(1, own, &d),
                none => *none = Some(d),
            },
        }
    }
}

/// What a reverse rule may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The operand with this place.
    Operand(usize),
    /// The result with this place.
    Result(usize),
}

/// What is asked about memory and work.
pub struct Cost<'a> {
    /// Types and shapes of the operands.
    pub operands: Vec<Option<&'a Typed>>,
    /// Types and shapes of the results.
    pub results: &'a [Typed],
    /// Which operands want derivatives, in a backward; `None` in a forward.
    pub wants: Option<Vec<bool>>,
    /// Which operands have derivatives that are made apart where a rule takes them out: those of parameters, which lie in
    /// the gradient, and those of values that are an operand before, too. Empty in a forward.
    pub apart: Vec<bool>,
    /// Bytes of an element of WORK.
    pub size: usize,
    /// Threads that may be used.
    pub threads: usize,
}

impl Cost<'_> {
    /// Elements of an operand whose derivative is made apart and then added to what there is.
    pub fn made_apart(&self, i: usize) -> usize {
        let apart = self.apart.get(i).copied().unwrap_or(false);
        if self.wants(i) && apart { self.numel(i) } else { 0 }
    }

    /// Shape of an operand; empty where there is none.
    pub fn shape(&self, i: usize) -> &[usize] {
        self.operands.get(i).copied().flatten().map_or(&[], |typed| &typed.shape)
    }

    /// Number of elements of an operand.
    pub fn numel(&self, i: usize) -> usize {
        self.operands.get(i).copied().flatten().map_or(0, |typed| numel(&typed.shape))
    }

    /// Number of elements of a result.
    pub fn out(&self, i: usize) -> usize {
        self.results.get(i).map_or(0, |typed| numel(&typed.shape))
    }

    /// Whether an operand wants a derivative.
    pub fn wants(&self, i: usize) -> bool {
        self.wants.as_ref().is_some_and(|wants| wants.get(i).copied().unwrap_or(false))
    }

    /// Whether it is a backward.
    pub fn back(&self) -> bool {
        self.wants.is_some()
    }
}

/// What every operator says and does. One file each, and one line in [`crate::operators`].
pub trait Operation {
    /// Types and shapes of the results. Checks everything but elements.
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>>;

    /// The one result, where it is a scalar and all operands are known.
    fn scalar(&self, _operands: &[Known]) -> Option<Known> {
        None
    }

    /// Whether result 0 has the elements of operand 0 as they lie.
    fn alias(&self, _cx: &Cost<'_>) -> bool {
        false
    }

    /// Additions and multiplications, about.
    fn work(&self, cx: &Cost<'_>) -> f64 {
        let operands = (0..cx.operands.len()).map(|i| cx.numel(i) as f64).sum::<f64>();
        operands + (0..cx.results.len()).map(|i| cx.out(i) as f64).sum::<f64>()
    }

    /// Whether derivatives go through to an operand of WORK.
    fn passes(&self, _operand: usize) -> bool {
        true
    }

    /// Whether the reverse rule reads the elements of an operand or a result, where some operands want derivatives.
    fn reads(&self, _what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        false
    }

    /// Bytes beside results and derivatives while it computes, at most.
    fn scratch(&self, _cx: &Cost<'_>) -> usize {
        0
    }

    /// The results.
    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>>;

    /// Adds the derivatives along the operands.
    fn backward<T: Real>(&self, _cx: &Context<'_, T>, _grads: &mut Gradients<'_, T>) -> Result<()> {
        Ok(())
    }
}
