//! Tokens: how they are written and hashed.
//!
//! Owns: their form. May not touch: where the random bytes come from, where a token is kept.
//!
//! A token has 256 random bits. Slow hashes with salts protect passwords, which can be guessed; nobody guesses 256 bits,
//! so that one SHA-256 hides a token as well and costs a call nothing.

use clino_domain::id::hex;
use sha2::{Digest, Sha256};
use std::fmt;

/// What a token begins with, so that people and scanners for secrets know one when they see it.
pub(super) const PREFIX: &str = "clino_";

/// A secret that says who asks. It does not show itself: [`Token::reveal`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Of 32 random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", hex(random)))
    }

    /// The token as text; keep it out of logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the tokens file holds of it.
    pub fn hash(&self) -> String {
        hex(hashed(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// SHA-256 of some bytes.
pub fn hashed(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// 32 bytes of 64 hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::new(&[0xab; 32]);
        assert_eq!(token.reveal(), format!("clino_{}", "ab".repeat(32)));
        assert!(!format!("{token:?}").contains("ab"));
        assert_eq!(unhex(&token.hash()), Some(hashed(token.reveal().as_bytes())));
    }

    #[test]
    fn only_64_digits_are_a_hash() {
        assert_eq!(unhex(&"0F".repeat(32)), Some([15; 32]));
        for wrong in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
