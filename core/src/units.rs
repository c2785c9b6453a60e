//! Units that carry their meaning in their type, and the way people write them.
//!
//! | type | holds | written |
//! |---|---|---|
//! | [`Time`] | an instant: nanoseconds since the start of the run | |
//! | [`Span`] | a length of time in nanoseconds | `15s`, `1m30s`, `250ms` |
//! | [`Femtos`] | a short length of time in femtoseconds, for what happens inside a replica | `60us`, `88ps` |
//! | [`FineTime`] | an instant to the femtosecond | |
//! | [`Civil`] | a civil instant: nanoseconds since 1970-01-01 UTC | `2023-11-16T18:15:00Z` |
//! | [`Quantity`] | a Kubernetes quantity | `500m`, `80Gi`, `1.5` |
//! | [`Bytes`] | a number of bytes | `80Gi`, `24GB` |
//! | [`Bandwidth`] | bytes per second | `250MB/s` |
//! | [`Rate`] | events per second | `8/s`, `480/m` |
//! | [`Share`] | 0 to 1 | `0.9` |

mod civil;
pub mod exact;
mod fine;
mod number_of;
mod plain;
mod quantity;
mod time;

pub use civil::Civil;
pub use fine::{Femtos, FineTime};
pub use number_of::number_of;
pub use plain::{Bandwidth, Bytes, Rate, Share};
pub use quantity::Quantity;
pub use time::{Span, Time};

/// Why a text is not a value of the unit asked for. Its `Display` is a phrase that follows "…: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no text at all.
    #[error("is empty")]
    Empty,
    /// The number of this text cannot be read.
    #[error("has no number that can be read")]
    Number(String),
    /// There is no such instant.
    #[error("is no instant that there is, such as 2024-01-31T09:30:00Z")]
    Instant,
    /// The number has no unit, or one that is not known.
    #[error("needs a unit, one of {expected}")]
    Unit {
        /// The units that are known, as a phrase.
        expected: &'static str,
    },
    /// The value is outside the range of the type.
    #[error("is out of range: {0}")]
    Range(&'static str),
}
