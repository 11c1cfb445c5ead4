//! A bounded record of what happened, over the supervisor's own resets. The runtime pulls it and forwards each entry once.

use crate::retained::{CAPACITY, Entry, Retained};
use link::JournalEvent;

/// The record, on memory that survives a reset.
#[derive(Debug)]
pub struct Journal<'a> {
    retained: &'a mut Retained,
    next: u32,
    run: u32,
}

impl<'a> Journal<'a> {
    /// Finds its place behind what an earlier run left.
    pub fn open(retained: &'a mut Retained) -> Journal<'a> {
        let last = retained.entries().max_by_key(|entry| entry.sequence);
        let (next, run) =
            last.map_or((0, 1), |last| (last.sequence.wrapping_add(1), last.run.wrapping_add(1)));
        Journal { retained, next, run }
    }

    pub fn note(&mut self, at_ms: u64, event: JournalEvent) {
        self.retained.keep(Entry { sequence: self.next, run: self.run, at_ms, event });
        self.next = self.next.wrapping_add(1);
    }

    /// The oldest entry whose sequence is at least `from`.
    pub fn first_from(&self, from: u32) -> Option<Entry> {
        let oldest = self.next.saturating_sub(CAPACITY as u32);
        (from.max(oldest)..self.next).find_map(|sequence| self.retained.entry(sequence))
    }

    /// The sequence the next entry will have.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Which run of the supervisor this is, from 1.
    pub fn run(&self) -> u32 {
        self.run
    }

    /// What else survives a reset.
    pub fn retained(&mut self) -> &mut Retained {
        self.retained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room_and_the_gap_shows() {
        let mut retained = Retained::empty();
        let mut journal = Journal::open(&mut retained);
        for at_ms in 0..70 {
            journal.note(at_ms, JournalEvent::Reset);
        }
        let first = journal.first_from(0).unwrap();
        assert_eq!((first.sequence, first.at_ms), (6, 6));
        assert_eq!(journal.first_from(69).map(|e| e.sequence), Some(69));
        assert_eq!(journal.first_from(70), None);
        assert_eq!(journal.next(), 70);
    }

    #[test]
    fn the_next_run_goes_on_where_the_last_one_stopped() {
        let mut retained = Retained::empty();
        let mut journal = Journal::open(&mut retained);
        assert_eq!(journal.run(), 1);
        journal.note(5, JournalEvent::PoweredOn);
        journal.note(6, JournalEvent::Healthy);
        let mut journal = Journal::open(&mut retained);
        assert_eq!((journal.run(), journal.next()), (2, 2));
        journal.note(1, JournalEvent::Reset);
        let entries: std::vec::Vec<_> = (0..3).filter_map(|n| journal.first_from(n)).collect();
        assert_eq!(
            entries.iter().map(|e| (e.run, e.at_ms)).collect::<std::vec::Vec<_>>(),
            [(1, 5), (1, 6), (2, 1)]
        );
    }
}
