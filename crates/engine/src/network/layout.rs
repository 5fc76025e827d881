//! Where each parameter of a model lies in one flat arena, and how the tensors of a manifest map to it.
//!
//! Owns: canonical names, ranks, offsets, which tensors are tied. May not touch: values.

pub use super::misfit::MOST as MOST_LISTED;
use super::misfit::Misfit;
pub use super::naming::Habits;
use super::naming::{Naming, plain};
use crate::device::slot::{Slot, Tie};
use clino_domain::text::quoted;
use clino_domain::{Dtype, Fault, FaultKind, Manifest, TensorSpec, Violation};
use std::collections::HashMap;
use std::ops::Range;

/// Where a tensor of this shape ends that starts at `start`; `None` beyond what a machine can hold.
fn checked_end(start: usize, shape: &[u64]) -> Option<usize> {
    let len = shape.iter().try_fold(1u64, |product, axis| product.checked_mul(*axis))?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= isize::MAX as usize / 16).then_some(end)
}

/// All tensors of a model that a snapshot brings: its parameters, and what is read beside them.
#[derive(Debug, Clone)]
pub struct ParameterLayout {
    /// The parameters in the order of the names' bytes, then the fixed tensors.
    specs: Vec<TensorSpec>,
    slots: Vec<Slot>,
    /// Places among the specs.
    index: HashMap<String, usize>,
    total: usize,
    habits: Habits,
    /// Elements of each fixed tensor among those of all of them.
    fixed: Vec<Range<usize>>,
}

impl ParameterLayout {
    /// The same with tensors that are read and never perturbed, such as frozen parameters and statistics of batch norms, in
    /// the order in which the network wants them.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] when their sizes overflow.
    pub fn with_fixed(mut self, tensors: Vec<(String, Vec<u64>)>) -> Result<Self, Fault> {
        for (name, shape) in tensors {
            let start = self.fixed_total();
            let end = checked_end(start, &shape).ok_or_else(|| self.too_large(&name, &shape))?;
            self.fixed.push(start..end);
            self.name(&name, self.specs.len());
            self.specs.push(TensorSpec { name, dtype: Dtype::F32, shape });
        }
        Ok(self)
    }

    /// Its own name, and what remains of it when wrappers are left out as they are of the names in snapshots.
    fn name(&mut self, name: &str, place: usize) {
        self.index.insert(name.into(), place);
        self.index.entry(plain(name)).or_insert(place);
    }

    fn too_large(&self, name: &str, shape: &[u64]) -> Fault {
        Fault::invalid(self.habits.source, format!("the size of {name} {shape:?} overflows"))
    }

    /// Elements of each tensor that is read and never perturbed, among those of all of them.
    pub fn fixed(&self) -> &[Range<usize>] {
        &self.fixed
    }

    /// Elements of all of these.
    pub fn fixed_total(&self) -> usize {
        self.fixed.last().map_or(0, |elements| elements.end)
    }

    /// Lays the named shapes out one after the other, in the order in which the network wants them; `habits` are other
    /// ways to write its names.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] when the sizes overflow.
    pub fn new(in_arena_order: Vec<(String, Vec<usize>)>, habits: Habits) -> Result<Self, Fault> {
        let mut offset = 0usize;
        let mut placed = Vec::with_capacity(in_arena_order.len());
        for (name, shape) in in_arena_order {
            let len = shape.iter().try_fold(1usize, |product, axis| product.checked_mul(*axis));
            let end =
                len.and_then(|len| offset.checked_add(len)).filter(|end| *end <= isize::MAX as usize / 16);
            let (Some(len), Some(end)) = (len, end) else {
                let description = format!("the size of {name} {shape:?} overflows");
                return Err(Fault::invalid(habits.source, description));
            };
            placed.push((name, shape, offset, len));
            offset = end;
        }
        placed.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        let mut layout = Self {
            specs: Vec::new(),
            slots: Vec::new(),
            index: HashMap::new(),
            total: offset,
            habits,
            fixed: Vec::new(),
        };
        for (rank, (name, shape, offset, len)) in placed.into_iter().enumerate() {
            layout.name(&name, rank);
            let rows = if shape.len() > 1 { shape[0] } else { 0 };
            let shape = shape.iter().map(|axis| *axis as u64).collect();
            layout.specs.push(TensorSpec { name: name.clone(), dtype: Dtype::F32, shape });
            layout.slots.push(Slot { name, offset, len, rank: rank as u32, rows });
        }
        Ok(layout)
    }

    /// The parameters, in the order of the names' bytes.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Elements of the arena.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes of its names, shapes and places.
    pub fn bytes(&self) -> u64 {
        let index = size_of::<(String, usize)>() + 1;
        let each = size_of::<TensorSpec>() + size_of::<Slot>() + 2 * index + 2 * size_of::<u64>();
        self.specs.iter().map(|spec| (each + 3 * spec.name.len()) as u64).sum()
    }

    /// First element of a parameter that the network itself named.
    ///
    /// # Panics
    /// When it did not.
    pub fn offset(&self, name: &str) -> usize {
        self.slots[self.index[name]].offset
    }

    fn fit(&self, index: usize, place: usize, tensor: &TensorSpec) -> Option<Violation> {
        let wrong = |field: &str, description: String| {
            Some(Violation { field: format!("tensors[{place}].{field}"), description })
        };
        let expected = &self.specs[index].shape;
        let name = quoted(&tensor.name);
        if !tensor.dtype.is_float() {
            return wrong("dtype", format!("found {} for {name}, expected a float", tensor.dtype.name()));
        }
        if &tensor.shape != expected {
            return wrong("shape", format!("found {:?} for {name}, expected {expected:?}", tensor.shape));
        }
        None
    }
}

/// The parameters of a layout as one manifest has them.
#[derive(Debug)]
pub struct Untied {
    /// Those that have a tensor of their own, in the order of the names' bytes.
    pub slots: Vec<Slot>,
    /// Index of each slot in the layout.
    pub indices: Vec<usize>,
    /// Parameters that share the tensor of another parameter.
    pub ties: Vec<Tie>,
}

impl ParameterLayout {
    /// Tells the parameters that have a tensor of their own from those that share one. The owner of a shared tensor is
    /// the parameter of its name, or else the first one by name.
    pub fn untie(&self, places: &[usize], manifest: &Manifest) -> Untied {
        let tensors = manifest.tensors();
        let naming = self.naming(manifest);
        let mut owners: HashMap<usize, usize> = HashMap::new();
        for (index, place) in places.iter().enumerate().take(self.slots.len()) {
            let named = naming.canonical(&tensors[*place].name) == self.slots[index].name;
            let owner = owners.entry(*place).or_insert(index);
            if named {
                *owner = index;
            }
        }
        let mut untied = Untied { slots: Vec::new(), indices: Vec::new(), ties: Vec::new() };
        for (index, (slot, place)) in self.slots.iter().zip(places).enumerate() {
            if owners[place] == index {
                untied.slots.push(Slot { rank: untied.slots.len() as u32, ..slot.clone() });
                untied.indices.push(index);
            } else {
                let original = self.slots[owners[place]].offset;
                untied.ties.push(Tie { mirror: slot.offset, original, len: slot.len });
            }
        }
        untied
    }
}

impl ParameterLayout {
    fn naming(&self, manifest: &Manifest) -> Naming {
        let tensors = manifest.tensors().iter().map(|tensor| tensor.name.as_str());
        let aliases = manifest.aliases().iter().map(|alias| alias.name.as_str());
        Naming::of(&tensors.chain(aliases).collect::<Vec<_>>(), &self.index, &self.habits)
    }

    /// Whether a name that is no parameter's belongs to what such a model may have and does not read.
    fn unread(&self, canonical: &str) -> bool {
        self.habits.unread.iter().any(|beginning| canonical.starts_with(beginning))
    }

    /// Floating-point tensors of a manifest that are left out, in the order of the manifest.
    pub fn left_out<'a>(&self, manifest: &'a Manifest) -> Vec<&'a str> {
        let naming = self.naming(manifest);
        let floats = manifest.tensors().iter().filter(|tensor| tensor.dtype.is_float());
        let left_out = |name: &&str| {
            let canonical = naming.canonical(name);
            self.unread(&canonical) && !self.index.contains_key(&canonical)
        };
        floats.map(|tensor| &*tensor.name).filter(left_out).collect()
    }

    /// See [`clino_domain::Layout::arrange`].
    ///
    /// # Errors
    /// [`FaultKind::Precondition`] with a violation for each misshapen tensor, and one for all names that do not fit.
    pub fn places(&self, manifest: &Manifest) -> Result<Vec<usize>, Fault> {
        Ok(self.placed(manifest, |_| false)?.into_iter().flatten().collect())
    }

    /// See [`clino_domain::Layout::arrange_initialization`].
    ///
    /// # Errors
    /// Those of [`Self::places`] for all parameters but those of the head.
    pub fn places_but_head(&self, manifest: &Manifest) -> Result<Vec<Option<usize>>, Fault> {
        let is_fixed = |name: &str| self.index.get(name).is_some_and(|index| *index >= self.slots.len());
        let mut places = self.placed(manifest, |name| self.habits.is_head(name) || is_fixed(name))?;
        places.truncate(self.slots.len());
        Ok(places)
    }

    /// Where each tensor is; those of which `may_lack` is true may be missing or of another shape.
    fn placed(
        &self,
        manifest: &Manifest,
        may_lack: impl Fn(&str) -> bool,
    ) -> Result<Vec<Option<usize>>, Fault> {
        let tensors = manifest.tensors();
        let naming = self.naming(manifest);
        let mut violations = Vec::new();
        let mut places: Vec<Option<usize>> = vec![None; self.specs.len()];
        let mut known = vec![false; tensors.len()];
        let mut put = |name: &str, place: usize, field: String| {
            let canonical = naming.canonical(name);
            let Some(index) = self.index.get(&canonical) else { return self.unread(&canonical) };
            if may_lack(&canonical) && self.fit(*index, place, &tensors[place]).is_some() {
                return true;
            }
            if places[*index].replace(place).is_some() {
                violations.push(Violation { field, description: format!("found {} twice", quoted(name)) });
            } else {
                violations.extend(self.fit(*index, place, &tensors[place]));
            }
            true
        };
        for (place, tensor) in tensors.iter().enumerate() {
            // Integers are buffers, and so is what holds nothing.
            let buffer = !tensor.dtype.is_float() || tensor.numel() == Some(0);
            known[place] = put(&tensor.name, place, format!("tensors[{place}].name")) || buffer;
        }
        let by_name: HashMap<&str, usize> =
            tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
        for (i, alias) in manifest.aliases().iter().enumerate() {
            let place = by_name[alias.target.as_str()];
            known[place] |= put(&alias.name, place, format!("aliases[{i}].name"));
        }
        let strange =
            tensors.iter().zip(&known).filter(|(_, known)| !**known).map(|(tensor, _)| &*tensor.name);
        let missing =
            self.specs.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(spec, _)| spec);
        let misfit = Misfit {
            strange: strange.collect(),
            missing: missing.filter(|spec| !may_lack(&spec.name)).collect(),
            rivals: &naming.rivals,
            habits: &self.habits,
        };
        match (misfit.violation(), violations.is_empty()) {
            (None, true) => Ok(places),
            (misfit, _) => Err(self.together(misfit.into_iter().chain(violations).collect())),
        }
    }

    /// Names and shapes of the parameters, in the order of the names' bytes.
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs[..self.slots.len()]
    }
}

/// Most violations that a message tells.
const MOST_TOLD: usize = 4;

impl ParameterLayout {
    /// A refusal whose message tells the first violations, since a trainer's log shows nothing else.
    fn together(&self, mut violations: Vec<Violation>) -> Fault {
        let shapes = violations.iter_mut().filter(|violation| violation.field.ends_with(".shape"));
        if let Some(last) = shapes.take(MOST_TOLD).last() {
            last.description += &format!(" from {}: send that of this model", self.habits.source);
        }
        let told = violations.iter().take(MOST_TOLD).map(|v| format!("{}: {}", v.field, v.description));
        let mut message = told.collect::<Vec<_>>().join("; ");
        if violations.len() > MOST_TOLD {
            message = format!("{message}; and {} more", violations.len() - MOST_TOLD);
        }
        violations.truncate(16);
        Fault { message, ..Fault::of(FaultKind::Precondition, violations) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clino_domain::Alias;

    fn layout() -> ParameterLayout {
        ParameterLayout::new(
            vec![("b.weight".into(), vec![2, 3]), ("a.bias".into(), vec![2])],
            Habits::default(),
        )
        .expect("small")
    }

    fn manifest(tensors: &[(&str, Dtype, &[u64])], aliases: &[(&str, &str)]) -> Manifest {
        let spec = |(name, dtype, shape): &(&str, Dtype, &[u64])| TensorSpec {
            name: (*name).into(),
            dtype: *dtype,
            shape: shape.to_vec(),
        };
        let alias = |(name, target): &(&str, &str)| Alias { name: (*name).into(), target: (*target).into() };
        Manifest::new(tensors.iter().map(spec).collect(), aliases.iter().map(alias).collect()).expect("sound")
    }

    #[test]
    fn ranks_follow_names_and_offsets_follow_the_network() {
        let layout = layout();
        assert_eq!(layout.slots()[0].name, "a.bias");
        assert_eq!((layout.slots()[0].offset, layout.slots()[1].offset, layout.total()), (6, 0, 8));
    }

    #[test]
    fn wrappers_are_understood() {
        let wrapped =
            manifest(&[("module.b.weight", Dtype::Bf16, &[2, 3]), ("a.bias", Dtype::F64, &[2])], &[]);
        assert_eq!(layout().places(&wrapped), Ok(vec![1, 0]));
    }

    #[test]
    fn every_misfit_is_named() {
        let bad = manifest(
            &[("b.weight", Dtype::F32, &[3, 2]), ("c", Dtype::F32, &[1]), ("ids", Dtype::I64, &[4])],
            &[],
        );
        let fault = layout().places(&bad).expect_err("misfit");
        let fields: Vec<_> = fault.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["tensors", "tensors[0].shape"]);
        assert_eq!(fault.kind, FaultKind::Precondition);
        assert_eq!(
            fault.message,
            "tensors: expected the names in docs/models.md; found \"c\", which the model does not have, and no \
            a.bias [2]; tensors[0].shape: found [3, 2] for \"b.weight\", expected [2, 3] from config_json: send that of \
            this model"
        );
    }

    #[test]
    fn what_holds_nothing_is_a_buffer() {
        let with = manifest(
            &[
                ("b.weight", Dtype::F32, &[2, 3]),
                ("cache", Dtype::F32, &[0, 8]),
                ("a.bias", Dtype::F64, &[2]),
            ],
            &[],
        );
        assert_eq!(layout().places(&with), Ok(vec![2, 0]));
        // A parameter of the model is none.
        let lacking = manifest(&[("b.weight", Dtype::F32, &[0, 3]), ("a.bias", Dtype::F64, &[2])], &[]);
        assert_eq!(layout().places(&lacking).expect_err("misfit").violations[0].field, "tensors[0].shape");
    }

    #[test]
    fn an_initialization_may_lack_the_head_or_have_another_one() {
        let habits = Habits { head: &["a."], ..Habits::default() };
        let layout = ParameterLayout { habits, ..layout() };
        for head in [None, Some(("a.bias", Dtype::F32, &[3u64] as &[u64]))] {
            let tensors: Vec<_> =
                [("b.weight", Dtype::F32, &[2u64, 3] as &[u64])].into_iter().chain(head).collect();
            let pretrained = manifest(&tensors, &[]);
            assert_eq!(layout.places_but_head(&pretrained), Ok(vec![None, Some(0)]));
            assert_eq!(layout.places(&pretrained).expect_err("no head").kind, FaultKind::Precondition);
        }
        let without_body = manifest(&[("a.bias", Dtype::F32, &[2])], &[]);
        assert_eq!(
            layout.places_but_head(&without_body).expect_err("no body").violations[0].field,
            "tensors"
        );
    }

    #[test]
    fn an_alias_stands_for_a_parameter() {
        let square =
            ParameterLayout::new(vec![("a".into(), vec![2, 2]), ("b".into(), vec![2, 2])], Habits::default())
                .expect("small");
        let tied = manifest(&[("a", Dtype::F32, &[2, 2])], &[("b", "a")]);
        assert_eq!(square.places(&tied), Ok(vec![0, 0]));
    }
}
