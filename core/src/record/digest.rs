//! A running digest of a stream, as plain data that can be saved and go on.

use serde::{Deserialize, Serialize};

/// 128 bits that depend on every word absorbed and on their order. For finding differences, not for security.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    a: u64,
    b: u64,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest { a: 0x243f_6a88_85a3_08d3, b: 0x1319_8a2e_0370_7344 }
    }
}

impl Digest {
    /// The digest of a text, as hexadecimal digits.
    #[must_use]
    pub fn of(text: &str) -> String {
        let mut digest = Digest::default();
        digest.bytes(text.as_bytes());
        digest.hex()
    }

    /// Absorbs one word.
    #[inline]
    pub fn word(&mut self, word: u64) {
        self.a = (self.a ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
        self.b = (self.b.rotate_left(23) ^ self.a).wrapping_mul(0xa24b_aed4_963e_e407);
    }

    /// Absorbs bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }

    /// The digest as 32 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        format!("{:016x}{:016x}", self.a, self.b)
    }
}

/// A digest of things in no order: 128 bits that depend on all that were added, and on how often each was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BagDigest {
    a: u64,
    b: u64,
}

impl BagDigest {
    /// Adds a thing that two words tell from all others.
    #[inline]
    pub fn add(&mut self, words: [u64; 2]) {
        let mut digest = Digest::default();
        words.into_iter().for_each(|word| digest.word(word));
        self.a = self.a.wrapping_add(digest.a);
        self.b = self.b.wrapping_add(digest.b);
    }

    /// The digest as 32 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        Digest { a: self.a, b: self.b }.hex()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bag_has_no_order_and_shows_every_change(
            things in prop::collection::vec((0u64..50, 0u64..50), 2..20),
            at: prop::sample::Index,
            to in (0u64..50, 0u64..50),
        ) {
            let digest = |things: &[(u64, u64)]| {
                let mut digest = BagDigest::default();
                things.iter().for_each(|(one, other)| digest.add([*one, *other]));
                digest
            };
            let mut changed = things.clone();
            changed.rotate_left(at.index(things.len()));
            prop_assert_eq!(digest(&things), digest(&changed));
            let at = at.index(things.len());
            changed.clone_from(&things);
            changed[at] = to;
            prop_assert_eq!(digest(&things) == digest(&changed), things == changed);
            // Two that swap one of their words are not what they were.
            changed.clone_from(&things);
            (changed[0].1, changed[at].1) = (things[at].1, things[0].1);
            let (mut one, mut other) = (things.clone(), changed.clone());
            one.sort_unstable();
            other.sort_unstable();
            prop_assert_eq!(digest(&things) == digest(&changed), one == other);
        }

        #[test]
        fn a_changed_word_or_order_changes_the_digest(words in prop::collection::vec(any::<u64>(), 2..20), at: prop::sample::Index, to: u64) {
            let digest = |words: &[u64]| {
                let mut digest = Digest::default();
                words.iter().for_each(|word| digest.word(*word));
                digest
            };
            let at = at.index(words.len());
            let mut changed = words.clone();
            changed[at] = to;
            prop_assert_eq!(digest(&words) == digest(&changed), words == changed);
            changed.clone_from(&words);
            changed.swap(0, at);
            prop_assert_eq!(digest(&words) == digest(&changed), words == changed);
        }
    }
}
