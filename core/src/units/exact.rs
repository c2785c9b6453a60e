//! Floats in JSON to the last bit, with NaN and infinities, for `#[serde(with = "exact")]`.
//!
//! A finite float is a JSON number (its shortest text that reads back), `NaN`, `Infinity` and `-Infinity` are
//! strings, and a NaN with other bits than the usual ones keeps them: `NaN:7ff8000000000001`.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes `value`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(*value)
    } else if value.is_infinite() {
        serializer.serialize_str(if *value > 0.0 { "Infinity" } else { "-Infinity" })
    } else if value.to_bits() == f64::NAN.to_bits() {
        serializer.serialize_str("NaN")
    } else {
        serializer.serialize_str(&format!("NaN:{:016x}", value.to_bits()))
    }
}

/// Reads what [`serialize`] wrote.
///
/// # Errors
/// When the value is neither a number nor one of the strings.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(ExactFloat)
}

/// A float that serialises exactly, for collections: `Vec<Exact>`, `BTreeMap<String, Exact>`.
///
/// ```
/// use scaletwin_core::units::exact::Exact;
/// let text = serde_json::to_string(&[Exact(f64::NAN), Exact(0.1)]).unwrap();
/// assert_eq!(text, r#"["NaN",0.1]"#);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Exact(pub f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exact, D::Error> {
        deserialize(deserializer).map(Exact)
    }
}

struct ExactFloat;

impl Visitor<'_> for ExactFloat {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        match text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => text
                .strip_prefix("NaN:")
                .and_then(|bits| u64::from_str_radix(bits, 16).ok())
                .map(f64::from_bits)
                .filter(|value| value.is_nan())
                .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_bit_survives(bits: u64) {
            let text = serde_json::to_string(&Exact(f64::from_bits(bits))).unwrap();
            let back: Exact = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back.0.to_bits(), bits, "{}", text);
        }
    }

    #[test]
    fn odd_floats_survive() {
        for bits in [
            0,
            1 << 63,
            1,
            f64::NAN.to_bits(),
            (-f64::NAN).to_bits(),
            f64::INFINITY.to_bits(),
            0x7ff0_0000_0000_0001,
        ] {
            let text = serde_json::to_string(&Exact(f64::from_bits(bits))).unwrap();
            let back: Exact = serde_json::from_str(&text).unwrap();
            assert_eq!(back.0.to_bits(), bits, "{text}");
        }
    }
}
