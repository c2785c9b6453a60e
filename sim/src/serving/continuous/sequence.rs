//! A request inside the scheduler, and the slab that holds them.

use serde::{Deserialize, Serialize};

use super::blocks::BlockId;
use super::content::Content;

/// A request as it comes to the scheduler.
#[derive(Debug, Clone)]
pub struct Arriving {
    /// The caller's number for it.
    pub request: u32,
    /// Tokens of the prompt, 1 to `max_model_len` − 1.
    pub prompt_tokens: u32,
    /// After how many tokens its answer ends by itself, at least 1.
    pub output_tokens: u32,
    /// The most tokens it asks for, at least 1. Equal to `output_tokens`: it is cut there.
    pub max_tokens: u32,
    /// Lower is more urgent.
    pub priority: i32,
    /// When it arrived, in any unit that orders: breaks ties of priority.
    pub arrived: u64,
    /// Breaks ties of arrival.
    pub number: u64,
    /// Its tokens.
    pub content: Content,
}

/// Where a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// In the waiting queue for the first time.
    Waiting,
    /// In the running list.
    Running,
    /// In the waiting queue again, its blocks gone.
    Preempted,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// Its answer was complete.
    Stop,
    /// It was cut by its own bound or by the longest sequence.
    Length,
}

/// A request inside the scheduler.
///
/// While it is in the [group](super::group) of steady decodes, `computed` and `length` follow from the group's clock
/// and are not kept here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sequence {
    /// The caller's number for it.
    pub request: u32,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// The token of its answer that ends it.
    pub last_output: u32,
    /// How it ends then.
    pub finish: Finish,
    /// Prompt and the most tokens it asks for: async scheduling looks no further.
    pub horizon: u32,
    /// Lower is more urgent.
    pub priority: i32,
    /// Orders arrivals.
    pub arrived: u64,
    /// Orders arrivals of one instant.
    pub number: u64,
    /// Its place in the order of admissions; later is larger.
    pub ticket: u64,
    /// Where it is.
    pub status: Status,
    /// Tokens known: the prompt and what has come back of the answer.
    pub length: u32,
    /// Tokens whose keys and values are computed, or will be by a step in flight.
    pub computed: u32,
    /// Tokens sampled by steps in flight (async scheduling).
    pub placeholders: u32,
    /// Tokens in flight from before a preemption (async scheduling).
    pub stale: u32,
    /// Whether its last step left a part of the prompt to do.
    pub is_prefill_chunk: bool,
    /// Whether it is in the group of steady decodes.
    pub steady: bool,
    /// `computed` less the group's clock, while steady.
    pub offset: i64,
    /// The group's clock at its first steady step.
    pub steady_since: u64,
    /// Blocks held, while not steady; kept up only where not every block has an identity.
    pub held: u32,
    /// Its leading blocks in order, as far as they have identities.
    pub table: Vec<BlockId>,
    /// How many of its leading blocks are known to be full; kept up while not steady, or where every block has an identity.
    pub registered: u32,
    /// How many of its leading blocks another request could have too.
    pub shared: u32,
    /// The hashes of its leading blocks, as far as they were needed.
    pub hashes: Vec<u64>,
    /// Its tokens.
    pub content: Content,
    /// When its last token came back, in the caller's unit, if one did; kept up while it is not steady.
    pub last_token: Option<u128>,
}

impl Sequence {
    /// The sequence of an arriving request, under the longest sequence allowed.
    #[must_use]
    pub fn new(arriving: Arriving, max_model_len: u32) -> Sequence {
        let Arriving {
            request,
            prompt_tokens,
            output_tokens,
            max_tokens,
            priority,
            arrived,
            number,
            content,
        } = arriving;
        let cut = max_tokens.min(max_model_len - prompt_tokens);
        let stops = output_tokens < cut || (output_tokens == cut && output_tokens != max_tokens);
        Sequence {
            request,
            prompt: prompt_tokens,
            last_output: output_tokens.min(cut),
            finish: if stops { Finish::Stop } else { Finish::Length },
            horizon: prompt_tokens.saturating_add(max_tokens),
            priority,
            arrived,
            number,
            ticket: 0,
            status: Status::Waiting,
            length: prompt_tokens,
            computed: 0,
            placeholders: 0,
            stale: 0,
            is_prefill_chunk: false,
            steady: false,
            offset: 0,
            steady_since: 0,
            held: 0,
            table: Vec::new(),
            registered: 0,
            shared: u32::MAX,
            hashes: Vec::new(),
            content,
            last_token: None,
        }
    }

    /// The value of `computed` in the step that computes the last token which the answer needs.
    #[must_use]
    pub fn last_useful(&self) -> u32 {
        self.prompt + self.last_output - 2
    }

    /// Whether async scheduling gives it a token more than its answer needs, as it cannot know the end before.
    #[must_use]
    pub fn overruns(&self, max_model_len: u32) -> bool {
        self.prompt + self.last_output < self.horizon.min(max_model_len)
    }
}

/// A key of a sequence that no later sequence has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// Sequences by key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sequences {
    slots: Vec<(u32, Option<Sequence>)>,
    empty: Vec<u32>,
}

impl Sequences {
    /// Keeps a sequence.
    pub fn insert(&mut self, sequence: Sequence) -> Key {
        if let Some(index) = self.empty.pop() {
            let (generation, slot) = &mut self.slots[index as usize];
            *slot = Some(sequence);
            return Key { index, generation: *generation };
        }
        let index = u32::try_from(self.slots.len()).expect("sequences are numbered by u32");
        self.slots.push((0, Some(sequence)));
        Key { index, generation: 0 }
    }

    /// Lets a sequence go.
    pub fn remove(&mut self, key: Key) -> Option<Sequence> {
        let (generation, slot) = self.slots.get_mut(key.index as usize)?;
        if *generation != key.generation {
            return None;
        }
        let sequence = slot.take()?;
        *generation = generation.wrapping_add(1);
        self.empty.push(key.index);
        Some(sequence)
    }

    /// Lets a sequence go that is there.
    pub fn free(&mut self, key: Key) {
        let (generation, slot) = &mut self.slots[key.index as usize];
        debug_assert!(*generation == key.generation && slot.is_some(), "a sequence that is there");
        *slot = None;
        *generation = generation.wrapping_add(1);
        self.empty.push(key.index);
    }

    /// The sequence of `key`, if it is still there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Sequence> {
        let (generation, slot) = self.slots.get(key.index as usize)?;
        if *generation == key.generation { slot.as_ref() } else { None }
    }

    /// The same, to change.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Sequence> {
        let (generation, slot) = self.slots.get_mut(key.index as usize)?;
        if *generation == key.generation { slot.as_mut() } else { None }
    }
}

impl std::ops::Index<Key> for Sequences {
    type Output = Sequence;
    fn index(&self, key: Key) -> &Sequence {
        self.get(key).expect("a key of a sequence that is there")
    }
}

impl std::ops::IndexMut<Key> for Sequences {
    fn index_mut(&mut self, key: Key) -> &mut Sequence {
        self.get_mut(key).expect("a key of a sequence that is there")
    }
}
