//! A bounded record of what happened; the oldest entry makes room. The runtime pulls it and forwards each entry once.

use heapless::Deque;
use link::JournalEvent;

/// Entries kept: a reset storm leaves about ten an hour, so a night fits.
pub const CAPACITY: usize = 64;

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Counts up by one an entry since the supervisor started: a gap tells how many were lost.
    pub sequence: u32,
    /// Supervisor uptime in milliseconds; the runtime correlates it to wall time.
    pub at_ms: u32,
    pub event: JournalEvent,
}

/// Entries in order of sequence.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Deque<Entry, CAPACITY>,
    next: u32,
}

impl Journal {
    pub fn note(&mut self, at_ms: u32, event: JournalEvent) {
        if self.entries.is_full() {
            self.entries.pop_front();
        }
        let entry = Entry { sequence: self.next, at_ms, event };
        self.entries.push_back(entry).expect("an entry was removed when the journal was full");
        self.next = self.next.wrapping_add(1);
    }

    /// The oldest entry whose sequence is at least `from`.
    pub fn first_from(&self, from: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.sequence >= from)
    }

    /// The sequence the next entry will have.
    pub fn next(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room_and_the_gap_shows() {
        let mut journal = Journal::default();
        for at_ms in 0..70 {
            journal.note(at_ms, JournalEvent::Reset);
        }
        let first = journal.first_from(0).unwrap();
        assert_eq!((first.sequence, first.at_ms), (6, 6));
        assert_eq!(journal.first_from(69).map(|e| e.sequence), Some(69));
        assert_eq!(journal.first_from(70), None);
        assert_eq!(journal.next(), 70);
    }
}
