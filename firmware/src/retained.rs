//! What survives a reset of the supervisor: bytes in RAM that its start does not clear, or in backup memory.
//!
//! Each part carries its own checksum, so that a reset in the middle of a write loses that part only, and whatever stands
//! in fresh RAM is nothing. Knows no section and no address: the board places it.

use link::{JournalEvent, checksum};

/// Entries kept: a reset storm leaves about ten an hour, so a night fits.
pub const CAPACITY: usize = 64;
/// Bytes of an entry: sequence (4), run (4), uptime (8), event (4), checksum (4), all little-endian.
const SLOT: usize = 24;
/// Bytes of an event: the longest has two.
const EVENT: usize = 4;
/// Bytes of what is known of the computer: powered, attempts, two spare, checksum.
const STANDING: usize = 8;
pub(crate) const CHECKSUM: usize = 4;

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Counts up by one an entry: a gap tells how many were lost. 32 bits outlast the device at one a second.
    pub sequence: u32,
    /// Which run of the supervisor, from 1.
    pub run: u32,
    /// Uptime of that run in milliseconds; the runtime correlates it to wall time.
    pub at_ms: u64,
    pub event: JournalEvent,
}

/// How the computer stood when the supervisor was reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub powered: bool,
    /// Resets since the computer last proved itself.
    pub attempts: u8,
}

/// The bytes. Any content is valid; what no checksum vouches for counts as absent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub struct Retained {
    slots: [[u8; SLOT]; CAPACITY],
    standing: [u8; STANDING],
}

impl Default for Retained {
    fn default() -> Self {
        Retained::empty()
    }
}

impl Retained {
    pub const fn empty() -> Retained {
        Retained { slots: [[0; SLOT]; CAPACITY], standing: [0; STANDING] }
    }

    /// The entry of `sequence`, if it is still there and whole.
    pub fn entry(&self, sequence: u32) -> Option<Entry> {
        read_entry(&self.slots[slot_of(sequence)]).filter(|entry| entry.sequence == sequence)
    }

    /// Every whole entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.slots.iter().filter_map(read_entry)
    }

    /// Keeps an entry; the one `CAPACITY` before it makes room.
    pub fn keep(&mut self, entry: Entry) {
        let slot = &mut self.slots[slot_of(entry.sequence)];
        let mut bytes = [0; SLOT];
        bytes[..4].copy_from_slice(&entry.sequence.to_le_bytes());
        bytes[4..8].copy_from_slice(&entry.run.to_le_bytes());
        bytes[8..16].copy_from_slice(&entry.at_ms.to_le_bytes());
        postcard::to_slice(&entry.event, &mut bytes[16..16 + EVENT])
            .expect("no event is longer than two bytes");
        seal(&mut bytes);
        *slot = bytes;
    }

    pub fn standing(&self) -> Option<Standing> {
        let body = open(&self.standing)?;
        Some(Standing { powered: body[0] == 1, attempts: body[1] })
    }

    pub fn keep_standing(&mut self, standing: Standing) {
        let mut bytes = [0; STANDING];
        bytes[0] = u8::from(standing.powered);
        bytes[1] = standing.attempts;
        seal(&mut bytes);
        self.standing = bytes;
    }
}

fn slot_of(sequence: u32) -> usize {
    sequence as usize % CAPACITY
}

fn read_entry(slot: &[u8; SLOT]) -> Option<Entry> {
    let body = open(slot)?;
    let (sequence, body) = body.split_first_chunk()?;
    let (run, body) = body.split_first_chunk()?;
    let (at_ms, event) = body.split_first_chunk()?;
    Some(Entry {
        sequence: u32::from_le_bytes(*sequence),
        run: u32::from_le_bytes(*run),
        at_ms: u64::from_le_bytes(*at_ms),
        event: postcard::take_from_bytes(event).ok()?.0,
    })
}

/// Writes the checksum behind the body. It is inverted, because zeros must not vouch for zeros.
pub(crate) fn seal(bytes: &mut [u8]) {
    let (body, sum) = bytes.split_at_mut(bytes.len() - CHECKSUM);
    sum.copy_from_slice(&(!checksum(body)).to_le_bytes());
}

/// The body, where its checksum holds.
pub(crate) fn open(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_at(bytes.len() - CHECKSUM);
    ((!checksum(body)).to_le_bytes() == sum).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use link::{Rail, ResetCause};

    const ENTRY: Entry = Entry {
        sequence: 70,
        run: 3,
        at_ms: 1 << 40,
        event: JournalEvent::Started { cause: ResetCause::Watchdog },
    };

    #[test]
    fn entries_and_standing_come_back() {
        let mut retained = Retained::empty();
        let event = JournalEvent::RailFailed { rail: Rail::Module };
        let other = Entry { sequence: 71, event, ..ENTRY };
        retained.keep(ENTRY);
        retained.keep(other);
        assert_eq!((retained.entry(70), retained.entry(71)), (Some(ENTRY), Some(other)));
        assert_eq!(retained.entry(6), None, "the same slot, another entry");
        let standing = Standing { powered: true, attempts: 2 };
        retained.keep_standing(standing);
        assert_eq!(retained.standing(), Some(standing));
    }

    #[test]
    fn fresh_memory_holds_nothing() {
        for byte in [0, 0xff, 0xaa] {
            let retained = Retained { slots: [[byte; SLOT]; CAPACITY], standing: [byte; STANDING] };
            assert_eq!(retained.entries().count(), 0, "{byte:#x}");
            assert_eq!(retained.standing(), None, "{byte:#x}");
        }
    }

    #[test]
    fn a_torn_write_loses_one_entry() {
        for torn in 0..SLOT {
            let mut retained = Retained::empty();
            retained.keep(ENTRY);
            retained.keep(Entry { sequence: 71, ..ENTRY });
            let whole = retained.slots[slot_of(71)];
            // The slot held entry 7 before, and the write stopped after `torn` bytes.
            retained.keep(Entry { sequence: 7, run: 1, at_ms: 12, event: JournalEvent::Reset });
            retained.slots[slot_of(71)][..torn].copy_from_slice(&whole[..torn]);
            assert_eq!(retained.entry(70), Some(ENTRY));
            assert_eq!(retained.entry(71), None, "after {torn} bytes");
        }
    }
}
