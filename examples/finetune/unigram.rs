//! The nano model's tokenizer: each word is cut into the pieces of the vocabulary whose scores have the greatest sum (the Unigram
//! model of Kudo, "Subword Regularization", 2018, section 3.2).
//!
//! Owns: which pieces a word has. May not touch: how a text becomes words, what frames it.

use serde::Deserialize;
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

/// Stands before every word.
const SPACE: char = '\u{2581}';
/// A character without a piece scores so much less than the worst piece.
const PENALTY: f64 = 10.0;

#[derive(Deserialize)]
struct File {
    model: UnigramModel,
}

#[derive(Deserialize)]
struct UnigramModel {
    unk_id: u32,
    vocab: Vec<(String, f64)>,
}

/// Pieces with their ids and scores.
pub struct Unigram {
    pieces: HashMap<String, (u32, f64)>,
    /// Bytes of the longest piece.
    longest: usize,
    unknown: u32,
    unknown_score: f64,
}

/// The best way to the end of a prefix of a word.
#[derive(Clone, Copy)]
struct BestWay {
    score: f64,
    /// Where its last piece begins.
    start: usize,
    piece: u32,
}

impl Unigram {
    /// Reads the `tokenizer.json` of the `tokenizers` library.
    pub fn open(file: &Path) -> Result<Self, Box<dyn Error>> {
        let File { model } = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let least = model.vocab.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        let longest = model.vocab.iter().map(|(piece, _)| piece.len()).max().unwrap_or(0);
        let pieces = model.vocab.into_iter().zip(0..).map(|((piece, score), id)| (piece, (id, score)));
        let unknown_score = least - PENALTY;
        Ok(Self { pieces: pieces.collect(), longest, unknown: model.unk_id, unknown_score })
    }

    /// Ids of the pieces of words that stand between single spaces.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        text.split([' ', SPACE]).filter(|word| !word.is_empty()).flat_map(|word| self.word(word)).collect()
    }

    fn word(&self, word: &str) -> Vec<u32> {
        let word = format!("{SPACE}{word}");
        let mut ways: Vec<Option<BestWay>> = vec![None; word.len() + 1];
        for (start, c) in word.char_indices() {
            let before =
                if start == 0 { 0.0 } else { ways[start].map_or(f64::NEG_INFINITY, |way| way.score) };
            let alone = start + c.len_utf8();
            let mut better = |end: usize, score: f64, piece: u32| {
                if ways[end].is_none_or(|way| before + score > way.score) {
                    ways[end] = Some(BestWay { score: before + score, start, piece });
                }
            };
            let ends =
                (alone..=word.len().min(start + self.longest)).filter(|end| word.is_char_boundary(*end));
            for end in ends {
                if let Some((piece, score)) = self.pieces.get(&word[start..end]) {
                    better(end, *score, *piece);
                }
            }
            if !self.pieces.contains_key(&word[start..alone]) {
                better(alone, self.unknown_score, self.unknown);
            }
        }
        let mut ids = Vec::new();
        let mut end = word.len();
        while let Some(way) = ways[end].filter(|_| end > 0) {
            ids.push(way.piece);
            end = way.start;
        }
        ids.reverse();
        // Unknown characters beside each other are one unknown piece.
        ids.dedup_by(|a, b| *a == self.unknown && *b == self.unknown);
        ids
    }
}
