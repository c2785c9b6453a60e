//! The queue of future events.

use serde::{Deserialize, Serialize};

use super::Key;

/// Children of a node of the heap.
const FAN: usize = 4;

/// A handle on an event that is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    slot: u32,
    generation: u32,
}

/// A queue of events in their total order: a 4-ary heap in which every event knows its place, so that it can be taken
/// out or moved in O(log n).
///
/// ```
/// use scaletwin_core::units::Time;
/// use scaletwin_sim::engine::{EventQueue, Key, Phase};
/// let mut queue = EventQueue::default();
/// let key = |at| Key::new(Time::from_nanos(at), 0, Phase::Fail, at);
/// let ticket = queue.push(key(5), "later");
/// queue.push(key(3), "sooner");
/// assert_eq!(queue.cancel(ticket), Some("later"));
/// assert_eq!(queue.pop().map(|(_, event)| event), Some("sooner"));
/// assert_eq!(queue.cancel(ticket), None);
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventQueue<E> {
    /// (key, slot), a heap.
    heap: Vec<(Key, u32)>,
    /// Whether the event at the top was taken: the next one that is added goes there, which is cheaper than to fill the
    /// place from the end first. What was taken mostly plans its next event within the same instant.
    vacant: bool,
    slots: Vec<Slot<E>>,
    empty: Vec<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Slot<E> {
    place: u32,
    generation: u32,
    event: Option<E>,
}

impl<E> Default for EventQueue<E> {
    fn default() -> EventQueue<E> {
        EventQueue { heap: Vec::new(), vacant: false, slots: Vec::new(), empty: Vec::new() }
    }
}

impl<E: Copy> EventQueue<E> {
    /// How many events are to come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len() - usize::from(self.vacant)
    }

    /// Whether none is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of the next event.
    #[inline]
    #[must_use]
    pub fn next_key(&self) -> Option<Key> {
        match self.heap.as_slice() {
            [_, below @ ..] if self.vacant => match below {
                [a, b, c, d, ..] => Some(a.0.min(b.0).min(c.0.min(d.0))),
                few => few.iter().map(|(key, _)| *key).min(),
            },
            heap => heap.first().map(|(key, _)| *key),
        }
    }

    /// Fills the place at the top, if it is vacant.
    #[inline]
    fn fill_top(&mut self) {
        if self.vacant {
            self.vacant = false;
            self.remove_at(0);
        }
    }

    /// Adds an event.
    pub fn push(&mut self, key: Key, event: E) -> Ticket {
        let slot = match self.empty.pop() {
            Some(slot) => {
                self.slots[slot as usize].event = Some(event);
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 events at once");
                self.slots.push(Slot { place: 0, generation: 0, event: Some(event) });
                slot
            }
        };
        if self.vacant {
            self.vacant = false;
            self.heap[0] = (key, slot);
            self.down(0);
        } else {
            self.heap.push((key, slot));
            self.up(self.heap.len() - 1);
        }
        Ticket { slot, generation: self.slots[slot as usize].generation }
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Key, E)> {
        self.fill_top();
        let (key, slot) = *self.heap.first()?;
        self.vacant = true;
        Some((key, self.release(slot)))
    }

    /// Takes an event out, if it is still to come.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<E> {
        self.fill_top();
        let place = self.place_of(ticket)?;
        self.remove_at(place);
        Some(self.release(ticket.slot))
    }

    /// Moves an event to another place in the order. Whether it is still to come.
    pub fn reschedule(&mut self, ticket: Ticket, key: Key) -> bool {
        self.fill_top();
        let Some(place) = self.place_of(ticket) else { return false };
        let earlier = key < self.heap[place].0;
        self.heap[place].0 = key;
        if earlier {
            self.up(place);
        } else {
            self.down(place);
        }
        true
    }

    /// All events with their keys, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, E)> {
        self.heap
            .iter()
            .skip(usize::from(self.vacant))
            .filter_map(|(key, slot)| self.slots[*slot as usize].event.map(|event| (*key, event)))
    }

    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        let slot = self.slots.get(ticket.slot as usize)?;
        (slot.generation == ticket.generation && slot.event.is_some()).then_some(slot.place as usize)
    }

    fn release(&mut self, slot: u32) -> E {
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.empty.push(slot);
        entry.event.take().expect("an event in the heap has its slot")
    }

    fn remove_at(&mut self, place: usize) {
        let last = self.heap.pop().expect("there is an event to remove");
        if place < self.heap.len() {
            let earlier = last.0 < self.heap[place].0;
            self.heap[place] = last;
            if earlier {
                self.up(place);
            } else {
                self.down(place);
            }
        }
    }

    #[inline]
    fn put(&mut self, place: usize, entry: (Key, u32)) {
        self.heap[place] = entry;
        self.slots[entry.1 as usize].place = u32::try_from(place).expect("fewer than 2^32 events at once");
    }

    fn up(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / FAN;
            if self.heap[parent].0 <= entry.0 {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn down(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * FAN + 1;
            let least = match self.heap.get(first..) {
                Some([a, b, c, d, ..]) => {
                    let (left, right) = (usize::from(b.0 < a.0), 2 + usize::from(d.0 < c.0));
                    if self.heap[first + right].0 < self.heap[first + left].0 { right } else { left }
                }
                Some(children) => match children.iter().enumerate().min_by_key(|(_, child)| child.0) {
                    Some((least, _)) => least,
                    None => break,
                },
                None => break,
            };
            let child = self.heap[first + least];
            if child.0 >= entry.0 {
                break;
            }
            self.put(place, child);
            place = first + least;
        }
        self.put(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Phase;
    use proptest::prelude::*;
    use scaletwin_core::units::Time;

    #[derive(Debug, Clone)]
    enum Op {
        Push(u64),
        Pop,
        Cancel(prop::sample::Index),
        Move(prop::sample::Index, u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => (0u64..50).prop_map(Op::Push),
            2 => Just(Op::Pop),
            1 => any::<prop::sample::Index>().prop_map(Op::Cancel),
            1 => (any::<prop::sample::Index>(), 0u64..50).prop_map(|(who, at)| Op::Move(who, at)),
        ];
        prop::collection::vec(op, 1..200)
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_list(ops in ops()) {
            let mut queue = EventQueue::default();
            let mut list: Vec<(Key, u64)> = Vec::new();
            let mut tickets: Vec<(Ticket, u64)> = Vec::new();
            for (number, op) in (0u64..).zip(ops) {
                let key = |at| Key::new(Time::from_nanos(at), 0, Phase::Step, number);
                match op {
                    Op::Push(at) => {
                        tickets.push((queue.push(key(at), number), number));
                        list.push((key(at), number));
                    }
                    Op::Pop => {
                        list.sort();
                        let first = (!list.is_empty()).then(|| list.remove(0));
                        prop_assert_eq!(queue.pop(), first);
                    }
                    Op::Cancel(who) if !tickets.is_empty() => {
                        let (ticket, event) = tickets[who.index(tickets.len())];
                        let there = list.iter().any(|(_, other)| *other == event);
                        list.retain(|(_, other)| *other != event);
                        prop_assert_eq!(queue.cancel(ticket), there.then_some(event));
                    }
                    Op::Move(who, at) if !tickets.is_empty() => {
                        let (ticket, event) = tickets[who.index(tickets.len())];
                        let found = list.iter_mut().find(|(_, other)| *other == event);
                        prop_assert_eq!(queue.reschedule(ticket, key(at)), found.is_some());
                        if let Some(entry) = found {
                            entry.0 = key(at);
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len(), list.len());
                prop_assert_eq!(queue.next_key(), list.iter().map(|(key, _)| *key).min());
            }
        }
    }
}
