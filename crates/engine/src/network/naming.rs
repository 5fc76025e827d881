//! What the tensors of a manifest are called, in the words of a layout: wrappers, prefixes, older and counted names.
//!
//! Owns: which name stands for which parameter. May not touch: shapes, values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Wrappers that trainers put around a model or its parts; they show up as segments of names.
const WRAPPERS: [&str; 6] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_forward_module",
    "_checkpoint_wrapped_module",
    "_flax_wrapped_module",
];
/// Segments of a prefix, at most.
const DEEPEST: usize = 8;

/// How a layout's names may be written beside its own way.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// The field of a request that the model came in.
    pub source: &'static str,
    /// Whose names they are, for messages.
    pub class: &'static str,
    /// Beginnings of names that such a model may have and does not read.
    pub unread: &'static [&'static str],
    /// Beginnings of the names of the head, which a pretrained body lacks.
    pub head: &'static [&'static str],
    /// What the names of the body begin with, and do not where it was saved by itself; empty: nothing.
    pub body: &'static str,
    /// Of fully connected layers: how many there are. Their numbers may be any that rise.
    pub layers: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self { source: "config_json", class: "", unread: &[], head: &[], body: "", layers: 0 }
    }
}

impl Habits {
    /// Whether a parameter belongs to the head.
    pub fn is_head(&self, name: &str) -> bool {
        self.head.iter().any(|beginning| name.starts_with(beginning))
    }
}

/// The names of one manifest.
#[derive(Debug, Default)]
pub struct Naming {
    /// What all names of the model begin with.
    prefix: String,
    /// Numbers of the fully connected layers by what stands before `.weight` and `.bias`.
    layers: HashMap<String, usize>,
    /// What is to be put before all names: that of a body that was saved by itself.
    body: &'static str,
    /// Prefixes of which each would do.
    pub rivals: Vec<String>,
}

impl Naming {
    /// How `names` are to be read, so that most of `known` are among them.
    pub fn of(names: &[&str], known: &HashMap<String, usize>, habits: &Habits) -> Self {
        let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
        let mut fits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for name in &plain {
            for (prefix, rest) in cuts(name).filter(|(_, rest)| known.contains_key(*rest)) {
                fits.entry(prefix).or_default().insert(rest);
            }
        }
        let most = fits.values().map(BTreeSet::len).max().unwrap_or(0);
        let of_body = plain.iter().filter(|name| known.contains_key(&format!("{}{name}", habits.body)));
        if !habits.body.is_empty() && of_body.count() > most {
            return Self { body: habits.body, ..Self::default() };
        }
        if most < known.len()
            && let Some(layers) = counted(&plain, habits.layers)
        {
            return Self { layers, ..Self::default() };
        }
        let mut best: Vec<&str> =
            fits.iter().filter(|(_, found)| found.len() == most).map(|(prefix, _)| *prefix).collect();
        if best.contains(&"") || best.is_empty() {
            return Self::default();
        }
        if best.len() > 1 {
            best.truncate(4);
            return Self { rivals: best.into_iter().map(str::to_owned).collect(), ..Self::default() };
        }
        Self { prefix: format!("{}.", best[0]), ..Self::default() }
    }

    /// The name in the layout's words.
    pub fn canonical(&self, name: &str) -> String {
        let name = plain(name);
        if let Some((stem, part)) = name.rsplit_once('.')
            && let Some(layer) = self.layers.get(stem)
        {
            return format!("layers.{layer}.{part}");
        }
        if !self.body.is_empty() {
            return format!("{}{name}", self.body);
        }
        name.strip_prefix(&self.prefix).map(str::to_owned).unwrap_or(name)
    }
}

/// The name without wrappers, and with the older names of LayerNorm's parameters renewed.
pub fn plain(name: &str) -> String {
    let kept: Vec<&str> = name.split('.').filter(|segment| !WRAPPERS.contains(segment)).collect();
    let name = kept.join(".");
    for (old, new) in [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")] {
        if let Some(stem) = name.strip_suffix(old) {
            return format!("{stem}{new}");
        }
    }
    name
}

/// Every way to cut a name into a prefix and the rest, the shortest prefix first.
fn cuts(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let dots = name.match_indices('.').map(|(at, _)| (&name[..at], &name[at + 1..]));
    std::iter::once(("", name)).chain(dots.take(DEEPEST))
}

/// The layers of an `nn.Sequential` (`0.weight`, `net.2.bias`) by rising numbers, if there are as many as expected.
fn counted(names: &[String], expected: usize) -> Option<HashMap<String, usize>> {
    let mut numbers: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for name in names {
        let Some((stem, part)) = name.rsplit_once('.') else { continue };
        let (prefix, number) = stem.rsplit_once('.').unwrap_or(("", stem));
        if let (true, Ok(number)) = (matches!(part, "weight" | "bias"), number.parse()) {
            numbers.entry(prefix).or_default().insert(number);
        }
    }
    let mut fitting = numbers.into_iter().filter(|(_, numbers)| numbers.len() == expected);
    let (Some((prefix, numbers)), None) = (fitting.next(), fitting.next()) else { return None };
    let stem =
        |number: usize| if prefix.is_empty() { number.to_string() } else { format!("{prefix}.{number}") };
    Some(numbers.into_iter().enumerate().map(|(layer, number)| (stem(number), layer)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> HashMap<String, usize> {
        names.iter().enumerate().map(|(i, name)| ((*name).to_owned(), i)).collect()
    }

    fn canonical(names: &[&str], known_names: &[&str], layers: usize) -> Vec<String> {
        let habits = Habits { layers, ..Habits::default() };
        let naming = Naming::of(names, &known(known_names), &habits);
        names.iter().map(|name| naming.canonical(name)).collect()
    }

    const BODY: [&str; 2] = ["bert.embeddings.LayerNorm.weight", "classifier.weight"];

    #[test]
    fn wrappers_old_names_and_common_prefixes_are_taken_off() {
        for prefix in
            ["", "module.", "net.", "model.", "_orig_mod.module.", "_forward_module.model.", "a.b.c.model."]
        {
            let names = [
                format!("{prefix}bert._checkpoint_wrapped_module.embeddings.LayerNorm.gamma"),
                format!("{prefix}classifier.weight"),
            ];
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(canonical(&names, &BODY, 0), BODY, "{prefix}");
        }
    }

    #[test]
    fn a_prefix_is_taken_off_only_where_one_alone_fits_best() {
        let two = ["student.a", "student.b", "teacher.a", "teacher.b"];
        let naming = Naming::of(&two, &known(&["a", "b"]), &Habits::default());
        assert_eq!(
            (naming.canonical("student.a"), naming.rivals),
            ("student.a".into(), vec!["student".into(), "teacher".into()])
        );
        assert_eq!(canonical(&["a", "ema.a", "b", "ema.b"], &["a", "b"], 0), ["a", "ema.a", "b", "ema.b"]);
        assert_eq!(canonical(&["net.a", "net.b", "head.a"], &["a", "b"], 0), ["a", "b", "head.a"]);
        assert_eq!(canonical(&["x", "y.z"], &["a"], 0), ["x", "y.z"]);
    }

    #[test]
    fn a_body_that_was_saved_by_itself_gets_the_name_it_has_in_the_model() {
        let habits = Habits { body: "bert.", ..Habits::default() };
        let naming = |names: &[&str]| Naming::of(names, &known(&BODY), &habits);
        assert_eq!(naming(&["embeddings.LayerNorm.gamma"]).canonical("embeddings.LayerNorm.gamma"), BODY[0]);
        assert_eq!(naming(&BODY).canonical(BODY[1]), BODY[1]);
    }

    #[test]
    fn layers_of_a_sequence_are_counted() {
        let known = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"];
        for names in [
            ["0.weight", "0.bias", "2.weight", "2.bias"],
            ["net.0.weight", "net.0.bias", "net.3.weight", "net.3.bias"],
            ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"],
            [
                "module.model.layers.0.weight",
                "model.layers.0.bias",
                "model.layers.1.weight",
                "model.layers.1.bias",
            ],
            ["9.weight", "9.bias", "10.weight", "10.bias"],
            ["net.1.weight", "net.1.bias", "net._orig_mod.4.weight", "net.4.bias"],
        ] {
            assert_eq!(canonical(&names, &known, 2), known, "{names:?}");
        }
        let three = ["0.weight", "1.weight", "3.weight"];
        assert_eq!(canonical(&three, &known, 2), three);
        assert_eq!(canonical(&["steps", "0.weight", "2.weight"], &known, 2)[2], "layers.1.weight");
    }

    #[test]
    fn a_hostile_name_is_not_cut_for_ever() {
        let deep = "a.".repeat(250) + "b";
        let names: Vec<&str> = std::iter::repeat_n(deep.as_str(), 100).collect();
        assert_eq!(canonical(&names, &["b"], 0)[0], deep);
    }
}
