//! What is said of a snapshot whose names are not those of the model.
//!
//! Owns: the sentence and its advice. May not touch: which names fit.

use super::naming::Habits;
use clino_domain::text::{listed, quoted};
use clino_domain::{TensorSpec, Violation};

/// Most names of tensors in a list.
pub const MOST: usize = 6;
/// Segments of names that tell what a snapshot is of, and what to do with it.
const KINDS: [(&str, &str); 7] = [
    (
        "lora_",
        "these are LoRA adapters: send the model with them merged, in PEFT copy.deepcopy(model).merge_and_unload()",
    ),
    ("base_layer", "a PEFT model: send it merged, copy.deepcopy(model).merge_and_unload()"),
    (
        "qa_outputs",
        "a question-answering head, which clino does not measure: docs/models.md lists the tasks it measures",
    ),
    ("absmax", "a quantized model: send its weights in F32, F16 or BF16"),
    ("SCB", "a quantized model: send its weights in F32, F16 or BF16"),
    ("_flat_param", "parameters flattened by FSDP: gather a full state_dict first"),
    ("exp_avg", "the state of an optimizer: send the model's state_dict()"),
];

/// Names that do not fit a layout.
pub struct Misfit<'a> {
    /// Floats that the model does not have.
    pub strange: Vec<&'a str>,
    /// Parameters that are not there.
    pub missing: Vec<&'a TensorSpec>,
    /// Prefixes of which each would do.
    pub rivals: &'a [String],
    /// The naming habits of the layout.
    pub habits: &'a Habits,
}

impl Misfit<'_> {
    /// What does not fit and what to do; `None` when all names do.
    pub fn violation(&self) -> Option<Violation> {
        let strange = listed(self.strange.iter().map(|name| quoted(name)), MOST);
        let missing = listed(self.missing.iter().map(|spec| format!("{} {:?}", spec.name, spec.shape)), MOST);
        let found = match (self.strange.is_empty(), self.missing.is_empty()) {
            (true, true) => return None,
            (false, true) => format!("found {strange}, which the model does not have"),
            (true, false) => format!("found no {missing}"),
            (false, false) => format!("found {strange}, which the model does not have, and no {missing}"),
        };
        // The advice comes first: names may be many, and long texts are cut on their way to a client.
        Some(Violation { field: "tensors".into(), description: format!("{}; {found}", self.advice()) })
    }

    fn advice(&self) -> String {
        if let [first, second, ..] = self.rivals {
            let first = quoted(first);
            let second = quoted(second);
            return format!(
                "the names under {first} and those under {second} both fit: send only one of the two"
            );
        }
        let told = KINDS.iter().find(|(sign, _)| self.strange.iter().any(|name| name.contains(sign)));
        if let Some((_, advice)) = told {
            return (*advice).into();
        }
        if self.labels_tokens() {
            return "a token-classification head (…ForTokenClassification, one label per token), which clino does not \
                   measure: docs/models.md lists the tasks it measures"
                .into();
        }
        if self.lacks_head() {
            return "this is a pretrained body without a classification head: create the classifier first \
                   (AutoModelForSequenceClassification.from_pretrained) and send that"
                .into();
        }
        match self.habits.class {
            "" => "expected the names in docs/models.md".into(),
            class if self.strange.len() > self.missing.len() => format!(
                "the snapshot has parameters that {class} does not have: if the model has layers of another kind, it \
                cannot be measured; docs/models.md lists what can"
            ),
            class if self.strange.len() < self.missing.len() => format!(
                "the snapshot lacks parameters of {class}: send all of them; a model without them cannot be \
                measured, docs/models.md lists what can"
            ),
            class => format!(
                "expected the names of {class}: rename the tensors as you send them, or see docs/models.md"
            ),
        }
    }

    /// Whether a part of the head is there, and what is between it and the body is not.
    fn labels_tokens(&self) -> bool {
        let is_classifier = |name: &str| name.split('.').any(|segment| segment == "classifier");
        let has_all = !self.missing.iter().any(|spec| is_classifier(&spec.name));
        let has_another = self.strange.iter().any(|name| is_classifier(name));
        self.lacks_head() && (has_all || has_another)
    }

    fn lacks_head(&self) -> bool {
        !self.missing.is_empty() && self.missing.iter().all(|spec| self.habits.is_head(&spec.name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::network::build;
    use clino_domain::{Dtype, Manifest, TensorSpec};

    const BERT: &str = r#"{"model_type":"bert","vocab_size":9,"hidden_size":4,"num_hidden_layers":1,
        "num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":5}"#;
    const MLP: &str = r#"{"model_type":"mlp","sizes":[2,4,3]}"#;

    /// What is said of the model's own tensors after `change`.
    fn said(config: &str, change: impl Fn(Vec<TensorSpec>) -> Vec<TensorSpec>) -> String {
        let network = build(config).unwrap().0;
        let manifest = Manifest::new(change(network.layout().specs().to_vec()), Vec::new()).unwrap();
        network.layout().places(&manifest).map(|_| "fits".into()).unwrap_or_else(|fault| fault.message)
    }

    fn float(name: &str) -> TensorSpec {
        TensorSpec { name: name.into(), dtype: Dtype::F32, shape: vec![1] }
    }

    fn renamed(specs: Vec<TensorSpec>, name: impl Fn(&str) -> String) -> Vec<TensorSpec> {
        specs.into_iter().map(|spec| TensorSpec { name: name(&spec.name), ..spec }).collect()
    }

    fn with(more: &'static [&'static str]) -> impl Fn(Vec<TensorSpec>) -> Vec<TensorSpec> {
        move |specs| specs.into_iter().chain(more.iter().map(|name| float(name))).collect()
    }

    fn without(beginning: &'static str) -> impl Fn(Vec<TensorSpec>) -> Vec<TensorSpec> {
        move |specs| specs.into_iter().filter(|spec| !spec.name.starts_with(beginning)).collect()
    }

    #[test]
    fn what_frameworks_put_around_a_model_fits() {
        for prefix in ["module.", "net.", "model.", "_forward_module.module.", "student.encoder."] {
            let around = |specs| renamed(specs, |name| format!("{prefix}{name}"));
            assert_eq!((said(BERT, around), said(MLP, around)), ("fits".into(), "fits".into()), "{prefix}");
        }
        let sequential = |specs| renamed(specs, |name| name.replace("layers.1", "2").replace("layers.", ""));
        assert_eq!(said(MLP, sequential), "fits");
    }

    #[test]
    fn what_else_a_checkpoint_of_the_class_holds_is_left_out() {
        let more = &["cls.predictions.bias", "cls.seq_relationship.weight", "bert.embeddings.position_ids"];
        assert_eq!(said(BERT, with(more)), "fits");
        let network = build(BERT).unwrap().0;
        let manifest = Manifest::new(with(more)(network.layout().specs().to_vec()), Vec::new()).unwrap();
        assert_eq!(network.layout().left_out(&manifest), more);
        assert_eq!(
            clino_domain::Layout::remarks(&**network.layout(), &manifest),
            ["left out because this model does not read them: \"cls.predictions.bias\", \
             \"cls.seq_relationship.weight\", \"bert.embeddings.position_ids\""]
        );
    }

    #[test]
    fn a_snapshot_of_something_else_says_what_to_do() {
        assert_eq!(
            said(MLP, with(&["layers.0.lora_A.default.weight"])),
            "tensors: these are LoRA adapters: send the model with them merged, in PEFT \
             copy.deepcopy(model).merge_and_unload(); found \"layers.0.lora_A.default.weight\", which the model does not \
             have"
        );
        assert_eq!(
            said(BERT, without("classifier.")),
            "tensors: this is a pretrained body without a classification head: create the classifier first \
            (AutoModelForSequenceClassification.from_pretrained) and send that; found no classifier.bias [2], \
            classifier.weight [2, 4]"
        );
        let question = |specs| renamed(specs, |name| name.replace("classifier", "qa_outputs"));
        assert_eq!(
            said(BERT, question),
            "tensors: a question-answering head, which clino does not measure: docs/models.md lists the tasks it \
            measures; found \"qa_outputs.bias\", \"qa_outputs.weight\", which the model does not have, and no \
            classifier.bias [2], classifier.weight [2, 4]"
        );
        let twice = |specs: Vec<TensorSpec>| {
            let under = |prefix: &str| renamed(specs.clone(), |name| format!("{prefix}.{name}"));
            [under("student"), under("teacher")].concat()
        };
        let message = said(MLP, twice);
        let advice = "tensors: the names under \"student\" and those under \"teacher\" both fit: send only one of \
                     the two; found";
        assert!(message.starts_with(advice), "{message}");
    }

    #[test]
    fn the_head_of_a_token_classifier_is_no_missing_head() {
        let tokens = "tensors: a token-classification head (…ForTokenClassification, one label per token)";
        let bert = said(BERT, without("bert.pooler."));
        assert!(bert.starts_with(tokens), "{bert}");
        let xlm = BERT.replace(r#""model_type":"bert""#, r#""model_type":"xlm-roberta""#);
        let roberta = said(&xlm, |specs| {
            with(&["classifier.weight", "classifier.bias"])(without("classifier.")(specs))
        });
        assert!(roberta.starts_with(tokens), "{roberta}");
        for (config, head) in [(BERT, "bert.pooler."), (&*xlm, "classifier.")] {
            let bare = said(config, |specs| without("classifier.")(without(head)(specs)));
            assert!(bare.starts_with("tensors: this is a pretrained body"), "{bare}");
        }
    }

    #[test]
    fn names_that_do_not_fit_are_listed_with_those_that_would() {
        let other = |specs| renamed(specs, |name| name.replace("layers.", "fc"));
        assert_eq!(
            said(MLP, other),
            "tensors: expected the names of an mlp (layers.0.weight, layers.0.bias, …) or nn.Sequential (0.weight, \
            0.bias, 2.weight, …): rename the tensors as you send them, or see docs/models.md; \
            found \"fc0.bias\", \"fc0.weight\", \"fc1.bias\", \"fc1.weight\", which the model does not have, and no \
            layers.0.bias [4], layers.0.weight [4, 2], layers.1.bias [3], layers.1.weight [3, 4]"
        );
        let message = said(BERT, |specs| renamed(specs, |name| name.replace("bert.", "distilbert.")));
        assert!(message.contains("\"distilbert.embeddings.LayerNorm.bias\", "), "{message}");
        assert!(message.contains(" and 17 more, which the model does not have, and no "), "{message}");
        let advice = "tensors: expected the names of BertForSequenceClassification of Hugging Face: rename the \
                     tensors as you send them, or see docs/models.md; found";
        assert!(message.starts_with(advice), "{message}");
    }
}
