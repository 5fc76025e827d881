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
pub(super) struct JsonNumber(pub f64);

impl PartialEq for JsonNumber {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Serialize for JsonNumber {
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

struct JsonNumberVisitor;

impl Visitor<'_> for JsonNumberVisitor {
    type Value = JsonNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"inf\", \"-inf\" or \"nan\"")
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<JsonNumber, E> {
        Ok(JsonNumber(x))
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<JsonNumber, E> {
        Ok(JsonNumber(x as f64))
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<JsonNumber, E> {
        Ok(JsonNumber(x as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<JsonNumber, E> {
        let bits = || u64::from_str_radix(text.strip_prefix("nan:")?, 16).ok();
        match text {
            "inf" => Ok(JsonNumber(f64::INFINITY)),
            "-inf" => Ok(JsonNumber(f64::NEG_INFINITY)),
            "nan" => Ok(JsonNumber(f64::NAN)),
            _ => bits().map(|bits| JsonNumber(f64::from_bits(bits))).ok_or_else(|| E::custom("no number")),
        }
    }
}

impl<'de> Deserialize<'de> for JsonNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonNumberVisitor)
    }
}

pub(super) fn json_numbers(numbers: &[f64]) -> Vec<JsonNumber> {
    numbers.iter().copied().map(JsonNumber).collect()
}

pub(super) fn plain(numbers: Vec<JsonNumber>) -> Vec<f64> {
    numbers.into_iter().map(|JsonNumber(number)| number).collect()
}

/// An object whose keys keep their order, and may come twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OrderedObject<T>(pub Vec<(String, T)>);

impl<T> Default for OrderedObject<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> OrderedObject<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for OrderedObject<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

struct OrderedObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrderedObjectVisitor<T> {
    type Value = OrderedObject<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderedObject<T>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(OrderedObject(pairs))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrderedObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedObjectVisitor(PhantomData))
    }
}
