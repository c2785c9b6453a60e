//! The total order of events.

use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

/// What events of one instant do, in the order in which they do it: what ends at an instant is seen by what begins at
/// it, and the controller sees the instant settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Phase {
    /// Work ends: steps, services, answers, starts.
    Complete = 0,
    /// Things break and times run out.
    Fail = 1,
    /// Requests arrive.
    Arrive = 2,
    /// Pods get nodes.
    Place = 3,
    /// Engines begin their next steps.
    Step = 4,
    /// Metrics are read.
    Scrape = 5,
    /// Controllers decide.
    Control = 6,
    /// Their decisions take effect.
    Actuate = 7,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Phase; 8] = [
        Phase::Complete,
        Phase::Fail,
        Phase::Arrive,
        Phase::Place,
        Phase::Step,
        Phase::Scrape,
        Phase::Control,
        Phase::Actuate,
    ];
}

/// The place of an event in the order: instant, round, phase, insertion.
///
/// An event for the present instant whose phase has passed goes to the next round of that instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(u128);

/// Bits of the number of insertion.
const INSERTION: u32 = 44;
/// Bits of the phase.
const PHASE: u32 = 4;

impl Key {
    /// The place of the event inserted as number `insertion`.
    #[must_use]
    pub fn new(at: Time, round: u16, phase: Phase, insertion: u64) -> Key {
        debug_assert!(insertion < 1 << INSERTION, "fewer than 2^44 events");
        Key(u128::from(at.as_nanos()) << 64
            | u128::from(round) << (INSERTION + PHASE)
            | u128::from(phase as u8) << INSERTION
            | u128::from(insertion))
    }

    /// The instant.
    #[must_use]
    pub const fn at(self) -> Time {
        Time::from_nanos((self.0 >> 64) as u64)
    }

    /// The round within the instant.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "16 bits")]
    pub const fn round(self) -> u16 {
        (self.0 >> (INSERTION + PHASE)) as u16
    }

    /// The phase.
    #[must_use]
    pub const fn phase(self) -> Phase {
        Phase::ALL[((self.0 >> INSERTION) & ((1 << PHASE) - 1)) as usize]
    }

    /// Instant, round and phase as one number that orders.
    #[must_use]
    pub const fn moment(self) -> u128 {
        self.0 >> INSERTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instant_counts_before_round_before_phase_before_insertion() {
        let key = |at, round, phase, insertion| Key::new(Time::from_nanos(at), round, phase, insertion);
        let sorted = [
            key(1, 9, Phase::Actuate, 99),
            key(2, 0, Phase::Complete, 98),
            key(2, 0, Phase::Fail, 5),
            key(2, 0, Phase::Fail, 6),
            key(2, 1, Phase::Complete, 1),
            key(u64::MAX, u16::MAX, Phase::Actuate, (1 << 44) - 1),
        ];
        assert!(sorted.is_sorted());
        assert_eq!((sorted[4].at(), sorted[4].round()), (Time::from_nanos(2), 1));
    }
}
