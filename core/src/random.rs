//! Random draws that no other component can shift, with the same bits on every machine.
//!
//! Each draw is keyed by (seed, component, entity): the service time of request 17 of a stream depends on the run's
//! seed, the name `service-time/…` and the number 17, and on nothing else. Adding a component, another policy or
//! another order of events leaves every other component's luck as it was, so policies are compared on common random
//! numbers.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)
//! started at a hash of the key. Transforms use only `+ - × ÷ √` and the `libm` crate. [`Law`]s implement
//! `rand_distr::Distribution` and are tested against those of `rand_distr`.

mod law;
mod normal;

pub use law::{Distributed, GAMMA_CV, Law, LawError, Magnitude};
pub use normal::normal_quantile;

use std::convert::Infallible;

use rand_core::TryRng;
use serde::{Deserialize, Serialize};

/// The odd constant of SplitMix64: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The seed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The luck of one component, by its name.
    #[must_use]
    pub fn component(self, name: &str) -> Component {
        // FNV-1a over the name; the mixers after it do the spreading.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Component(mix(mix(self.0.wrapping_add(GOLDEN)) ^ hash))
    }
}

/// The luck of one component of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Component(u64);

impl Component {
    /// The draws of one entity of the component, by its number.
    #[must_use]
    #[inline]
    pub fn entity(self, number: u64) -> Draws {
        Draws { state: mix(self.0 ^ mix(number.wrapping_add(GOLDEN))) }
    }
}

/// A stream of draws. Its state is plain data: a stream written and read back goes on where it was.
///
/// ```
/// use scaletwin_core::random::Seed;
/// let service = Seed(42).component("service-time/llm");
/// let mut request = service.entity(17);
/// let first = request.uniform();
/// assert!(0.0 < first && first < 1.0);
/// assert_eq!(service.entity(17).uniform(), first); // whatever was drawn elsewhere
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A float strictly between 0 and 1, a multiple of 2^-53.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        to_uniform(self.bits())
    }

    /// A whole number below `bound`, each as likely up to 2^-64 × `bound`.
    ///
    /// # Panics
    /// When `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of a product of two u64")
    }
}

/// 52 bits as a float strictly between 0 and 1.
#[inline]
fn to_uniform(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0)
}

/// The finaliser of SplitMix64.
#[inline]
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draws_are_pinned() {
        let mut draws = Seed(42).component("service-time").entity(7);
        assert_eq!([draws.bits(), draws.bits(), draws.bits()], PINNED);
    }

    /// Changing these changes every record.
    const PINNED: [u64; 3] = [14_279_075_468_738_721_053, 4_992_823_640_703_035_324, 167_914_264_602_529_201];

    #[test]
    fn splitmix_gives_its_published_numbers() {
        // The first outputs for state 1234567, from the reference implementation by Sebastiano Vigna.
        let mut draws = Draws { state: 1_234_567 };
        let want = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([draws.bits(), draws.bits(), draws.bits()], want);
    }

    #[test]
    fn uniforms_stay_inside() {
        assert!(to_uniform(0) > 0.0);
        assert!(to_uniform(u64::MAX) < 1.0);
        let mut draws = Seed(1).component("a").entity(0);
        let mean = (0..100_000).map(|_| draws.uniform()).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 5.0 / (12.0f64 * 1e5).sqrt(), "{mean}");
    }

    #[test]
    fn entities_and_components_are_unrelated() {
        let correlation = |pairs: &[(f64, f64)]| {
            let n = pairs.len() as f64;
            pairs.iter().map(|(a, b)| (a - 0.5) * (b - 0.5) * 12.0).sum::<f64>() / n.sqrt()
        };
        let one = Seed(1).component("a");
        let pairs: Vec<_> =
            (0..50_000).map(|i| (one.entity(i).uniform(), one.entity(i + 1).uniform())).collect();
        assert!(correlation(&pairs).abs() < 4.5);
        let other = Seed(1).component("b");
        let pairs: Vec<_> =
            (0..50_000).map(|i| (one.entity(i).uniform(), other.entity(i).uniform())).collect();
        assert!(correlation(&pairs).abs() < 4.5);
        let next = Seed(2).component("a");
        let pairs: Vec<_> =
            (0..50_000).map(|i| (one.entity(i).uniform(), next.entity(i).uniform())).collect();
        assert!(correlation(&pairs).abs() < 4.5);
    }

    #[test]
    fn whole_numbers_below_a_bound_are_even() {
        let mut draws = Seed(3).component("below").entity(0);
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[usize::try_from(draws.below(7)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }
}
