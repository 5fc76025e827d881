//! Numbers and named numbers as JSON that come back bit for bit.
//!
//! Owns: how numbers that JSON does not have are written. May not touch: what the numbers mean.

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// A number; those that are not finite are texts: `"inf"`, `"-inf"`, `"nan"`, or `"nan:"` and sixteen hexadecimal digits
/// for a NaN with other bits than the usual one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exact(pub f64);

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            x if x.is_finite() => serializer.serialize_f64(x),
            f64::INFINITY => serializer.serialize_str("inf"),
            f64::NEG_INFINITY => serializer.serialize_str("-inf"),
            x if x.to_bits() == f64::NAN.to_bits() => serializer.serialize_str("nan"),
            x => serializer.serialize_str(&format!("nan:{:016x}", x.to_bits())),
        }
    }
}

struct ExactVisitor;

impl Visitor<'_> for ExactVisitor {
    type Value = Exact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"inf\", \"-inf\" or \"nan\"")
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<Exact, E> {
        Ok(Exact(x))
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<Exact, E> {
        Ok(Exact(x as f64))
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<Exact, E> {
        Ok(Exact(x as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Exact, E> {
        let bits = || u64::from_str_radix(text.strip_prefix("nan:")?, 16).ok();
        match text {
            "inf" => Ok(Exact(f64::INFINITY)),
            "-inf" => Ok(Exact(f64::NEG_INFINITY)),
            "nan" => Ok(Exact(f64::NAN)),
            _ => bits().map(|bits| Exact(f64::from_bits(bits))).ok_or_else(|| E::custom("no number")),
        }
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExactVisitor)
    }
}

pub(super) fn exact(numbers: &[f64]) -> Vec<Exact> {
    numbers.iter().copied().map(Exact).collect()
}

pub(super) fn plain(numbers: Vec<Exact>) -> Vec<f64> {
    numbers.into_iter().map(|Exact(number)| number).collect()
}

/// An object whose keys keep their order, and may come twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pairs<T>(pub Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pairs<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Pairs<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

struct PairsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
    type Value = Pairs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}
