//! Bytes, rates, bandwidths and shares.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Quantity, UnitError};

/// A number of bytes. Written as a Kubernetes quantity (`80Gi`, `24G`), also with a final `B` (`24GB`, `80GiB`).
///
/// ```
/// use scaletwin_core::units::Bytes;
/// assert_eq!("80Gi".parse::<Bytes>().unwrap(), Bytes(80 << 30));
/// assert_eq!("24GB".parse::<Bytes>().unwrap(), Bytes(24_000_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Bytes, UnitError> {
        let text = text.trim();
        let quantity: Quantity = text.strip_suffix('B').unwrap_or(text).parse()?;
        u64::try_from(quantity.value()).map(Bytes).map_err(|_| UnitError::Range("a size is not negative"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n != 0 && n % (1 << 30) == 0 => write!(f, "{}Gi", n >> 30),
            n if n != 0 && n % (1 << 20) == 0 => write!(f, "{}Mi", n >> 20),
            n => write!(f, "{n}"),
        }
    }
}

/// Events per second, finite and at least 0. Written with its unit: `8/s`, `480/m`, `5000/h`.
///
/// ```
/// use scaletwin_core::units::Rate;
/// assert_eq!("480/m".parse::<Rate>().unwrap(), Rate::per_second(8.0).unwrap());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(f64);

impl Rate {
    /// `rate` events per second.
    ///
    /// # Errors
    /// [`UnitError::Range`] when `rate` is negative, not a number or infinite.
    pub fn per_second(rate: f64) -> Result<Rate, UnitError> {
        if rate.is_finite() && rate >= 0.0 {
            Ok(Rate(rate))
        } else {
            Err(UnitError::Range("a rate is finite and at least 0"))
        }
    }

    /// Events per second.
    #[must_use]
    pub const fn as_per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Rate, UnitError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        let unit = UnitError::Unit { expected: "/s, /m, /h, /d (as in 8/s)" };
        let (number, unit) = text.split_once('/').ok_or(unit.clone()).map(|(n, u)| {
            let seconds = match u.trim() {
                "s" => Ok(1.0),
                "m" | "min" => Ok(60.0),
                "h" => Ok(3_600.0),
                "d" => Ok(86_400.0),
                _ => Err(unit),
            };
            (n.trim(), seconds)
        })?;
        let number: f64 = number.parse().map_err(|_| UnitError::Number(text.to_owned()))?;
        Rate::per_second(number / unit?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Bytes per second, finite and above 0. Written as a size per second: `250MB/s`, `2Gi/s`.
///
/// ```
/// use scaletwin_core::units::Bandwidth;
/// assert_eq!("250MB/s".parse::<Bandwidth>().unwrap().as_bytes_per_second(), 250e6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bandwidth(f64);

impl Bandwidth {
    /// `bytes` per second, at least 1.
    #[must_use]
    pub const fn bytes_per_second(bytes: u32) -> Bandwidth {
        Bandwidth(if bytes == 0 { 1.0 } else { bytes as f64 })
    }

    /// Bytes per second.
    #[must_use]
    pub const fn as_bytes_per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Bandwidth {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Bandwidth, UnitError> {
        let unit = UnitError::Unit { expected: "a size per second (as in 250MB/s)" };
        let size = text.trim().strip_suffix("/s").ok_or(unit)?;
        match size.parse::<Bytes>()? {
            Bytes(0) => Err(UnitError::Range("a bandwidth is above 0")),
            Bytes(bytes) => Ok(Bandwidth(bytes as f64)),
        }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// A share of a whole, 0 to 1.
///
/// ```
/// use scaletwin_core::units::Share;
/// assert!(Share::new(0.9).is_ok());
/// assert!(Share::new(90.0).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(f64);

impl Share {
    /// The share `value`.
    ///
    /// # Errors
    /// [`UnitError::Range`] when `value` is outside 0 to 1 or not a number.
    pub fn new(value: f64) -> Result<Share, UnitError> {
        if (0.0..=1.0).contains(&value) {
            Ok(Share(value))
        } else {
            Err(UnitError::Range("a share is 0 to 1"))
        }
    }

    /// The value, 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_without_sense_are_refused() {
        for text in ["", "8", "-1/s", "nan/s", "inf/s", "8/x", "/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn negative_sizes_are_refused() {
        assert!("-1Gi".parse::<Bytes>().is_err());
        assert!("B".parse::<Bytes>().is_err());
        assert!(["", "/s", "5GB", "-1GB/s", "0/s"].iter().all(|text| text.parse::<Bandwidth>().is_err()));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text: String) {
            let _ = (text.parse::<Rate>(), text.parse::<Bytes>(), text.parse::<Bandwidth>());
        }
    }
}
