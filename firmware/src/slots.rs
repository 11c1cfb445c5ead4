//! Two slots for images and the record of which one runs, on flash whose power may go at any moment.
//!
//! ```text
//! record, record    one sector each; the one with the higher number counts
//! slot A, slot B    `link::image::SLOT_BYTES` each
//! ```
//!
//! A record is written whole into the sector that does not count, so a cut leaves the old one or the new one, never none.

use crate::flash::{ERASED, SECTOR, WORD};
use crate::retained::{CHECKSUM, open, seal};
use crate::vendor::{Digest, VendorKey};
use embedded_storage::nor_flash::NorFlash;
use link::image::{HEADER, Header, SLOT_BYTES};
use link::{ImageRefusal, Slot, Verdict};

/// Bytes of all of it.
pub const FLASH_BYTES: u32 = SLOTS + 2 * SLOT_BYTES;
/// Where the slots begin.
const SLOTS: u32 = 2 * SECTOR as u32;
/// Bytes of a record: number (4), oldest version (4), active slot, trial, verdict (2), spare (8), checksum (4).
const RECORD: usize = 24;
/// Bytes of the longest verdict.
const VERDICT: usize = 2;
/// Bytes of a program read at a time for its digest: a block of SHA-512.
const BLOCK: usize = 128;

/// Which image runs, and what is to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The confirmed image.
    pub active: Slot,
    /// How far the image in the other slot has come.
    pub trial: Trial,
    /// No version below this one may run: it only rises.
    pub oldest: u32,
    pub last: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    None,
    /// The next start is its trial.
    Due,
    /// It was started, and nobody has confirmed it yet.
    Tried,
}

/// Where a slot begins in this flash.
pub const fn offset(slot: Slot) -> u32 {
    match slot {
        Slot::A => SLOTS,
        Slot::B => SLOTS + SLOT_BYTES,
    }
}

/// The slots of a flash of at least [`FLASH_BYTES`].
#[derive(Debug)]
pub struct Slots<F>(F);

impl<F: NorFlash> Slots<F> {
    pub fn new(flash: F) -> Slots<F> {
        Slots(flash)
    }

    /// The record that counts; `None` on flash that never had one.
    pub fn record(&mut self) -> Option<Record> {
        self.latest().map(|(_, record)| record)
    }

    /// The record that counts and its number; records are numbered from 1, odd ones in the second sector.
    fn latest(&mut self) -> Option<(u32, Record)> {
        let records = [0, SECTOR as u32].map(|at| {
            let mut bytes = [0; RECORD];
            self.0.read(at, &mut bytes).ok()?;
            read_record(&bytes)
        });
        records.into_iter().flatten().max_by_key(|(number, _)| *number)
    }

    /// Keeps `record` in place of the one that counts.
    pub fn keep(&mut self, record: Record) -> Result<(), ImageRefusal> {
        let number = self.latest().map_or(1, |(number, _)| number.wrapping_add(1));
        let at = if number.is_multiple_of(2) { 0 } else { SECTOR as u32 };
        let bytes = record_bytes(number, record);
        self.0.erase(at, at + SECTOR as u32).map_err(|_| ImageRefusal::Flash)?;
        self.0.write(at, &bytes).map_err(|_| ImageRefusal::Flash)?;
        let kept = self.latest() == Some((number, record));
        kept.then_some(()).ok_or(ImageRefusal::Flash)
    }

    /// The header in `slot`, and its signature; nothing says yet that it holds.
    fn header_and_signature(&mut self, slot: Slot) -> Option<(Header, [u8; 64])> {
        let mut bytes = [0; HEADER];
        self.0.read(offset(slot), &mut bytes).ok()?;
        Header::parse(&bytes)
    }

    pub fn header(&mut self, slot: Slot) -> Option<Header> {
        self.header_and_signature(slot).map(|(header, _)| header)
    }

    /// What can be said of the image in `slot` without its signature and digest.
    pub fn plausible(
        &mut self,
        slot: Slot,
        board: u32,
        oldest: u32,
    ) -> Result<Header, ImageRefusal> {
        let header = self.header(slot).ok_or(ImageRefusal::NotImage)?;
        if header.board != board {
            Err(ImageRefusal::OtherBoard)
        } else if header.slot != slot {
            Err(ImageRefusal::OtherSlot)
        } else if header.version < oldest {
            Err(ImageRefusal::TooOld)
        } else {
            Ok(header)
        }
    }

    /// The header of the image in `slot`, where the vendor vouches for every byte of it.
    pub fn verified(
        &mut self,
        slot: Slot,
        board: u32,
        oldest: u32,
        key: &VendorKey,
    ) -> Result<Header, ImageRefusal> {
        self.plausible(slot, board, oldest)?;
        let (header, signature) = self.header_and_signature(slot).ok_or(ImageRefusal::NotImage)?;
        if !key.signed(&header.signed(), &signature) {
            return Err(ImageRefusal::Signature);
        }
        match self.digest(offset(slot) + HEADER as u32, header.length) {
            Some(digest) if digest == header.digest => Ok(header),
            _ => Err(ImageRefusal::Damaged),
        }
    }

    fn digest(&mut self, from: u32, length: u32) -> Option<[u8; 64]> {
        let mut digest = Digest::default();
        let end = from + length;
        for at in (from..end).step_by(BLOCK) {
            let mut block = [0; BLOCK];
            let bytes = &mut block[..(end - at).min(BLOCK as u32) as usize];
            self.0.read(at, bytes).ok()?;
            digest.update(bytes);
        }
        Some(digest.finish())
    }

    /// Writes a part of an image into `slot`: whole words, but for its end. Sectors that begin in it are erased first, so parts
    /// must come in order.
    pub(crate) fn write(&mut self, slot: Slot, at: u32, bytes: &[u8]) -> Result<(), ImageRefusal> {
        let (begin, end) = (offset(slot) + at, offset(slot) + at + bytes.len() as u32);
        let sectors = begin.next_multiple_of(SECTOR as u32)..end;
        for sector in sectors.step_by(SECTOR) {
            self.0.erase(sector, sector + SECTOR as u32).map_err(|_| ImageRefusal::Flash)?;
        }
        let (words, rest) = bytes.as_chunks::<WORD>();
        self.0.write(begin, words.as_flattened()).map_err(|_| ImageRefusal::Flash)?;
        if rest.is_empty() {
            return Ok(());
        }
        let mut word = [ERASED; WORD];
        word[..rest.len()].copy_from_slice(rest);
        self.0.write(end - rest.len() as u32, &word).map_err(|_| ImageRefusal::Flash)
    }
}

fn record_bytes(number: u32, record: Record) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..8].copy_from_slice(&record.oldest.to_le_bytes());
    bytes[8] = u8::from(record.active == Slot::B);
    bytes[9] = match record.trial {
        Trial::None => 0,
        Trial::Due => 1,
        Trial::Tried => 2,
    };
    postcard::to_slice(&record.last, &mut bytes[10..10 + VERDICT])
        .expect("no verdict is longer than two bytes");
    seal(&mut bytes);
    bytes
}

fn read_record(bytes: &[u8; RECORD]) -> Option<(u32, Record)> {
    let body = open(bytes)?;
    debug_assert_eq!(body.len(), RECORD - CHECKSUM);
    let (number, body) = body.split_first_chunk()?;
    let (oldest, body) = body.split_first_chunk()?;
    let record = Record {
        active: if body[0] == 0 { Slot::A } else { Slot::B },
        trial: match body[1] {
            1 => Trial::Due,
            2 => Trial::Tried,
            _ => Trial::None,
        },
        oldest: u32::from_le_bytes(*oldest),
        last: postcard::take_from_bytes(&body[2..2 + VERDICT]).ok()?.0,
    };
    Some((u32::from_le_bytes(*number), record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Memory;

    #[test]
    fn records_take_turns_and_the_last_one_counts() {
        let mut bytes = [0xaa; 2 * SECTOR];
        let mut slots = Slots::new(Memory::new(&mut bytes));
        assert_eq!(slots.record(), None);
        for n in 0..5 {
            let last = Verdict::Refused(ImageRefusal::Flash);
            let record = Record { active: Slot::B, trial: Trial::Tried, oldest: n, last };
            slots.keep(record).unwrap();
            assert_eq!(slots.record(), Some(record));
        }
        assert!(read_record(bytes.first_chunk().unwrap()).is_some());
        assert!(read_record(bytes[SECTOR..].first_chunk().unwrap()).is_some());
    }
}
