//! Which tokens a request has.
//!
//! A token's identity is a pair (group, position). A prompt is a list of runs of such tokens, the output is one more
//! group. Two blocks hash alike if and only if all tokens from the start to the block's end are alike (up to a
//! collision of 64 bits), so a prompt that repeats an earlier prompt and its answer finds both in the cache.

use serde::{Deserialize, Serialize};

/// `length` tokens of a group, from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The group.
    pub group: u64,
    /// The position of the first token in its group.
    pub offset: u32,
    /// How many tokens, at least 1.
    pub length: u32,
}

/// The tokens of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The prompt, adjoining runs of one group joined. The first run stands by itself, because most have no other.
    first: Run,
    rest: Box<[Run]>,
    /// The group of the output.
    output_group: u64,
}

/// The hash that stands before the first block.
const ROOT: u64 = 0x5ca1_e707_1200_0001;

/// Marks groups that belong to one request alone.
const OWN: u64 = 1 << 63;

impl Content {
    /// A prompt of these runs; its answer gets the tokens of `output_group`.
    ///
    /// # Panics
    /// When there is no run with tokens.
    #[must_use]
    pub fn new(runs: &[Run], output_group: u64) -> Content {
        let mut prompt: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs.iter().filter(|run| run.length > 0) {
            match prompt.last_mut() {
                Some(last) if last.group == run.group && last.offset + last.length == run.offset => {
                    last.length += run.length;
                }
                _ => prompt.push(*run),
            }
        }
        let first = prompt.remove(0);
        Content { first, rest: prompt.into(), output_group }
    }

    /// A prompt of `tokens` that shares nothing with any other. `number` is below 2^62 and no other request's.
    #[must_use]
    pub fn unique(number: u64, tokens: u32) -> Content {
        let group = OWN | number << 1;
        Content {
            first: Run { group, offset: 0, length: tokens },
            rest: Box::default(),
            output_group: group | 1,
        }
    }

    /// A prompt of `tokens` that begins with `prefix` and goes on with tokens of its own; the answer is of the group
    /// `answer`, or of its own. Groups are those of stream `stream`.
    #[must_use]
    pub fn with_prefix(
        prefix: &[Run],
        tokens: u32,
        number: u64,
        stream: u64,
        answer: Option<u64>,
    ) -> Content {
        let own = Content::unique(number, tokens);
        let shared: u32 = prefix.iter().map(|run| run.length).sum();
        let group = |group: u64| mix(mix(!stream) ^ group) & !OWN;
        let named = prefix.iter().map(|run| Run { group: group(run.group), ..*run });
        let rest = Run { length: tokens.saturating_sub(shared), ..own.first };
        Content::new(&named.chain([rest]).collect::<Vec<_>>(), answer.map_or(own.output_group, group))
    }

    /// The group of the output.
    #[must_use]
    pub fn output_group(&self) -> u64 {
        self.output_group
    }

    /// How many leading tokens another request could have too, 0 for a [unique](Content::unique) prompt.
    #[must_use]
    pub fn shared_tokens(&self) -> u32 {
        let shared = |group: u64| group & OWN == 0;
        let prompt = self.prompt().take_while(|run| shared(run.group));
        let tokens = prompt.fold(0u32, |sum, run| sum.saturating_add(run.length));
        if self.prompt().all(|run| shared(run.group)) && shared(self.output_group) {
            u32::MAX
        } else {
            tokens
        }
    }

    /// The runs of the prompt.
    pub fn prompt(&self) -> impl Iterator<Item = &Run> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The hash of the block of `size` tokens that begins at token `start`, after a block of hash `before` (`None` for
    /// the first). Output tokens follow the prompt.
    #[must_use]
    pub fn block_hash(&self, before: Option<u64>, start: u32, size: u32) -> u64 {
        let mut hash = before.unwrap_or(ROOT);
        let mut piece: Option<Run> = None;
        let mut begins = 0u32;
        let end = start + size;
        let output = Run { group: self.output_group, offset: 0, length: u32::MAX };
        for run in self.prompt().chain(std::iter::once(&output)) {
            let ends = begins.saturating_add(run.length);
            let (from, to) = (start.max(begins), end.min(ends));
            if from < to {
                let part = Run { group: run.group, offset: run.offset + (from - begins), length: to - from };
                piece = Some(match piece {
                    Some(last) if last.group == part.group && last.offset + last.length == part.offset => {
                        Run { length: last.length + part.length, ..last }
                    }
                    Some(last) => {
                        hash = absorb(hash, last);
                        part
                    }
                    None => part,
                });
            }
            if ends >= end {
                break;
            }
            begins = ends;
        }
        piece.map_or(hash, |last| absorb(hash, last))
    }
}

/// Mixes a run into a hash.
fn absorb(hash: u64, run: Run) -> u64 {
    let place = (u64::from(run.offset) << 32) | u64::from(run.length);
    mix(mix(hash ^ run.group.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ place)
}

/// The finaliser of MurmurHash3: different numbers stay different.
#[must_use]
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    z = (z ^ (z >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    z ^ (z >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hashes(content: &Content, tokens: u32, size: u32) -> Vec<u64> {
        let mut before = None;
        (0..tokens / size)
            .map(|block| {
                let hash = content.block_hash(before, block * size, size);
                before = Some(hash);
                hash
            })
            .collect()
    }

    /// The pairs of the first `tokens` tokens.
    fn tokens(content: &Content, tokens: u32) -> Vec<(u64, u32)> {
        let runs = content.prompt().flat_map(|run| (0..run.length).map(|at| (run.group, run.offset + at)));
        runs.chain((0..).map(|at| (content.output_group(), at))).take(tokens as usize).collect()
    }

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        prop::collection::vec(
            (0u64..3, 0u32..3, 1u32..9).prop_map(|(group, offset, length)| Run {
                group,
                offset: offset * 4,
                length,
            }),
            1..5,
        )
    }

    proptest! {
        #[test]
        fn blocks_hash_alike_exactly_when_their_tokens_are_alike(a in runs(), b in runs(), size in 1u32..6) {
            let (one, other) = (Content::new(&a, 7), Content::new(&b, 8));
            let (x, y) = (hashes(&one, 24, size), hashes(&other, 24, size));
            for (at, (x, y)) in x.iter().zip(&y).enumerate() {
                let upto = (u32::try_from(at).unwrap() + 1) * size;
                prop_assert_eq!(x == y, tokens(&one, upto) == tokens(&other, upto));
            }
        }
    }

    #[test]
    fn an_answer_that_is_sent_back_hashes_as_when_it_was_written() {
        let first = Content::new(&[Run { group: 1, offset: 0, length: 20 }], 2);
        let back = [Run { group: 1, offset: 0, length: 20 }, Run { group: 2, offset: 0, length: 30 }];
        let second = Content::new(&back, 3);
        assert_eq!(hashes(&first, 50, 16), hashes(&second, 50, 16));
    }
}
