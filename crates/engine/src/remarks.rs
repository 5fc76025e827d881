//! What of a run's probe may differ from what its author expects, although it can be measured.
//!
//! Owns: these sentences. May not touch: what is refused (`validate` and the networks see to that).

use crate::network::Network;
use crate::network::batch::{Batch, Inputs, Tokens};
use crate::plan::PreparedGroup;
use clino_domain::text::{listed, quoted, suggestion};
use clino_domain::{ProbeGroup, RunSpec};
use std::collections::BTreeMap;

/// Most sentences of a run.
const MOST: usize = 16;
/// Most names in a sentence.
const MOST_NAMES: usize = 8;

/// A sentence for each column that the model does not read, and one on padding that it does read.
pub(super) fn remarks(spec: &RunSpec, network: &dyn Network, groups: &[PreparedGroup]) -> Vec<String> {
    let mut remarks = unread(&spec.groups, &network.columns());
    remarks.extend(network.padding().and_then(|padding| padding_read(groups, padding)));
    remarks
}

fn unread(groups: &[ProbeGroup], columns: &[&str]) -> Vec<String> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for group in groups {
        for tensor in group.tensors.iter().filter(|tensor| !columns.contains(&tensor.spec.name.as_str())) {
            found.entry(&tensor.spec.name).or_default().push(&group.name);
        }
    }
    let sentence = |(column, groups): (&&str, &Vec<&str>)| {
        let groups = named(groups);
        let read = columns.join(", ");
        let near = suggestion(column, columns.iter().copied());
        format!("column {}{near} of {groups} is left out: this model reads {read}", quoted(column))
    };
    let more = found.len().saturating_sub(MOST);
    let more = (more > 0).then(|| format!("{more} more columns are left out"));
    found.iter().take(MOST).map(sentence).chain(more).collect()
}

fn named(groups: &[&str]) -> String {
    format!("group {}", listed(groups.iter().map(|name| quoted(name)), MOST_NAMES))
}

/// Padding that is read as text: the mask does not hide it, or the row begins with it.
fn padding_read(groups: &[PreparedGroup], padding: u32) -> Option<String> {
    let rows = |batch: &Batch| match &batch.inputs {
        Inputs::Tokens(tokens) => (0..tokens.sequences.len()).filter(|i| reads(tokens, *i, padding)).count(),
        Inputs::Features(_) | Inputs::Rows(_) => 0,
    };
    let count = |group: &PreparedGroup| group.batches.iter().map(rows).sum::<usize>();
    let found: Vec<(&str, usize)> = groups.iter().map(|group| (&*group.name, count(group))).collect();
    let of: Vec<&str> = found.iter().filter(|(_, rows)| *rows > 0).map(|(name, _)| *name).collect();
    let rows: usize = found.iter().map(|(_, rows)| rows).sum();
    (rows > 0).then(|| {
        format!(
            "{rows} rows of {} read padding (id {padding}) as text, because attention_mask is 1 there or they begin \
            with it: pad on the right and set the mask to 0 there. Gradients here include the padding's embedding, \
            which PyTorch keeps at zero",
            named(&of)
        )
    })
}

fn reads(tokens: &Tokens, sequence: usize, padding: u32) -> bool {
    let sequence = &tokens.sequences[sequence];
    let ids = &tokens.ids[sequence.start..sequence.start + sequence.len];
    // The first token is read whatever its mask: the classifier begins there.
    let hidden = |at: usize| at > 0 && sequence.masked.get(at) == Some(&true);
    ids.iter().enumerate().any(|(at, id)| *id == padding && !hidden(at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::network;
    use clino_domain::{Dtype, Tensor, TensorSpec};
    use std::sync::Arc;

    fn tensor(name: &str, shape: &[u64], values: &[u8]) -> Tensor {
        let spec = TensorSpec { name: name.into(), dtype: Dtype::U8, shape: shape.to_vec() };
        Tensor::new(spec, values.to_vec().into()).unwrap()
    }

    fn group(name: &str, tensors: Vec<Tensor>) -> ProbeGroup {
        ProbeGroup { name: name.into(), tensors: Arc::new(tensors) }
    }

    #[test]
    fn columns_that_are_not_read_are_named_once_with_their_groups() {
        let more = [tensor("idx", &[1], &[0]), tensor("token_type_id", &[1], &[0])];
        let groups = [group("en", more.to_vec()), group("de", more[..1].to_vec())];
        let columns = ["input_ids", "attention_mask", "token_type_ids", "labels"];
        assert_eq!(
            unread(&groups, &columns),
            [
                "column \"idx\" of group \"en\", \"de\" is left out: this model reads input_ids, attention_mask, \
                 token_type_ids, labels",
                "column \"token_type_id\" (did you mean token_type_ids?) of group \"en\" is left out: this model reads \
                 input_ids, attention_mask, token_type_ids, labels",
            ]
        );
        let many: Vec<_> = (0..40).map(|i| tensor(&format!("c{i:02}"), &[1], &[0])).collect();
        let said = unread(&[group("en", many)], &columns);
        assert_eq!((said.len(), said[MOST].as_str()), (MOST + 1, "24 more columns are left out"));
    }

    #[test]
    fn padding_that_is_read_is_counted() {
        const CONFIG: &str = r#"{"model_type":"bert","vocab_size":9,"hidden_size":4,"num_hidden_layers":1,
            "num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":5}"#;
        let network = network::build(CONFIG).unwrap().0;
        let said = |ids: &[u8; 6], mask: &[u8; 6]| {
            let tensors = vec![
                tensor("input_ids", &[2, 3], ids),
                tensor("attention_mask", &[2, 3], mask),
                tensor("labels", &[2], &[0, 1]),
            ];
            let batches = network.batches(&group("en", tensors)).unwrap();
            padding_read(&[PreparedGroup::new("en".into(), batches)], 0)
        };
        let rows = |rows: usize| {
            Some(format!(
                "{rows} rows of group \"en\" read padding (id 0) as text, because attention_mask is 1 there or they \
                begin with it: pad on the right and set the mask to 0 there. Gradients here include the padding's \
                embedding, which PyTorch keeps at zero"
            ))
        };
        assert_eq!(said(&[5, 6, 0, 7, 0, 0], &[1, 1, 0, 1, 0, 0]), None);
        assert_eq!(said(&[5, 6, 0, 7, 0, 0], &[1; 6]), rows(2));
        assert_eq!(said(&[0, 6, 5, 7, 0, 0], &[0, 1, 1, 1, 0, 0]), rows(1));
    }
}
