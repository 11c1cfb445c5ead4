//! Which image starts. Nothing runs that the vendor did not sign for this board, this slot and a version that may still run.
//!
//! A new image is tried once: before its start the record says that it was tried, and only its own confirmation makes it the
//! active one. Whatever ends its run before that, the next start goes back.

use crate::slots::{Record, Slots, Trial};
use crate::vendor::VendorKey;
use embedded_storage::nor_flash::NorFlash;
use link::image::Header;
use link::{ImageRefusal, Slot, Verdict};

/// What starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub slot: Slot,
    pub header: Header,
    pub on_trial: bool,
}

/// Neither slot holds an image that may run: somebody must program one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoImage {
    /// Why not the one in slot A, and the one in slot B.
    pub why: [ImageRefusal; 2],
}

/// Decides, and notes in the record what the next start must know.
pub fn choose<F: NorFlash>(
    slots: &mut Slots<F>,
    board: u32,
    key: &VendorKey,
) -> Result<Start, NoImage> {
    let Some(before) = slots.record() else { return first(slots, board, key) };
    let mut record = before;
    let candidate = record.active.other();
    record.last = match record.trial {
        Trial::None => record.last,
        Trial::Tried => Verdict::NotConfirmed,
        Trial::Due => match try_once(slots, board, key, record) {
            Ok(header) => return Ok(Start { slot: candidate, header, on_trial: true }),
            Err(why) => Verdict::Refused(why),
        },
    };
    record.trial = Trial::None;
    let start = confirmed(slots, board, key, &mut record)?;
    if record != before {
        // A record that cannot be written changes nothing: the next start decides the same.
        let _ = slots.keep(record);
    }
    Ok(start)
}

/// The candidate, noted as tried.
fn try_once<F: NorFlash>(
    slots: &mut Slots<F>,
    board: u32,
    key: &VendorKey,
    record: Record,
) -> Result<Header, ImageRefusal> {
    let header = slots.verified(record.active.other(), board, record.oldest, key)?;
    slots.keep(Record { trial: Trial::Tried, ..record })?;
    Ok(header)
}

/// The active image, or the other one where it is damaged.
fn confirmed<F: NorFlash>(
    slots: &mut Slots<F>,
    board: u32,
    key: &VendorKey,
    record: &mut Record,
) -> Result<Start, NoImage> {
    let slot = record.active;
    let active = match slots.verified(slot, board, record.oldest, key) {
        Ok(header) => return Ok(Start { slot, header, on_trial: false }),
        Err(why) => why,
    };
    match slots.verified(slot.other(), board, record.oldest, key) {
        Ok(header) => {
            (record.active, record.last) = (slot.other(), Verdict::Rescued);
            Ok(Start { slot: record.active, header, on_trial: false })
        }
        Err(other) if slot == Slot::A => Err(NoImage { why: [active, other] }),
        Err(other) => Err(NoImage { why: [other, active] }),
    }
}

/// The first start of a flash: the newest image that is whole.
fn first<F: NorFlash>(slots: &mut Slots<F>, board: u32, key: &VendorKey) -> Result<Start, NoImage> {
    let [a, b] = [Slot::A, Slot::B].map(|slot| slots.verified(slot, board, 0, key));
    let (slot, header) = match (a, b) {
        (Ok(a), Ok(b)) if b.version > a.version => (Slot::B, b),
        (Ok(a), _) => (Slot::A, a),
        (Err(_), Ok(b)) => (Slot::B, b),
        (Err(a), Err(b)) => return Err(NoImage { why: [a, b] }),
    };
    let last = Verdict::Open;
    // As above.
    let _ = slots.keep(Record { active: slot, trial: Trial::None, oldest: header.oldest, last });
    Ok(Start { slot, header, on_trial: false })
}
