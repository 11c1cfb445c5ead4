//! Takes a new image over the link and writes it into the slot that does not run. The boot stage judges and tries it
//! (`boot`); what can be said without the signature is said at once.

use crate::slots::{Record, Slots, Trial};
use crate::state::Limits;
use crate::supervisor::{Event, Supervisor};
use embedded_storage::nor_flash::NorFlash;
use link::image::{HEADER, Header, SLOT_BYTES};
use link::{
    CHUNK, Chunk, FromSupervisor, ImageRefusal, ImageRequest, ImageStatus, Slot, ToSupervisor,
    Verdict,
};

/// From the answer to [`ImageRequest::Finish`] to the new start, in milliseconds: the answer takes three on the wire.
const ANSWERED_MS: u64 = 100;

/// The receiving end of an update.
#[derive(Debug)]
pub struct Updater<F> {
    slots: Slots<F>,
    board: u32,
    running: Slot,
    receiving: Option<Receiving>,
    /// When to start anew: a new image is complete, or this one was not confirmed in time.
    reset_at_ms: Option<u64>,
}

/// An image on its way.
#[derive(Debug, Clone, Copy)]
struct Receiving {
    version: u32,
    length: u32,
    /// Bytes that are kept.
    next: u32,
}

impl<F: NorFlash> Updater<F> {
    /// For the image in slot `running` of `board`, which has just started.
    pub fn new(slots: Slots<F>, board: u32, running: Slot, limits: &Limits) -> Updater<F> {
        let mut updater = Updater { slots, board, running, receiving: None, reset_at_ms: None };
        updater.reset_at_ms = updater.is_on_trial().then_some(limits.trial_ms);
        updater
    }

    /// Whether the supervisor must start anew: the board leaves the cause `Software` and resets itself.
    pub fn is_reset_due(&self, now_ms: u64) -> bool {
        self.reset_at_ms.is_some_and(|at_ms| now_ms >= at_ms)
    }

    /// As [`Supervisor::handle`], with the requests that are about the image.
    pub fn handle(
        &mut self,
        supervisor: &mut Supervisor<'_>,
        now_ms: u32,
        event: Event,
    ) -> Option<FromSupervisor> {
        match event {
            Event::Message(ToSupervisor::Image(request)) if supervisor.hears_of_images() => {
                Some(self.answer(supervisor.now_ms(), request))
            }
            event => supervisor.handle(now_ms, event),
        }
    }

    fn answer(&mut self, now_ms: u64, request: ImageRequest) -> FromSupervisor {
        let next = |next: Result<u32, ImageRefusal>| {
            next.map(|offset| FromSupervisor::ImageNext { offset })
        };
        let answer = match request {
            ImageRequest::Status => Ok(()),
            ImageRequest::Begin { version, length } => {
                return next(self.begin(version, length)).unwrap_or_else(refused);
            }
            ImageRequest::Chunk { offset, bytes } => {
                return next(self.take(offset, &bytes)).unwrap_or_else(refused);
            }
            ImageRequest::Finish => self.finish(now_ms),
            ImageRequest::Confirm => self.confirm(),
        };
        match answer {
            Ok(()) => FromSupervisor::Image(self.status()),
            Err(why) => refused(why),
        }
    }

    /// Said again, it goes on where it was.
    fn begin(&mut self, version: u32, length: u32) -> Result<u32, ImageRefusal> {
        if self.reset_at_ms.is_some() {
            return Err(ImageRefusal::OnTrial);
        }
        if version < self.record().oldest {
            return Err(ImageRefusal::TooOld);
        }
        if !(HEADER as u32 + 1..=SLOT_BYTES).contains(&length) {
            return Err(ImageRefusal::Length);
        }
        match self.receiving {
            Some(r) if (r.version, r.length) == (version, length) => Ok(r.next),
            _ => {
                self.receiving = Some(Receiving { version, length, next: 0 });
                Ok(0)
            }
        }
    }

    /// Takes what is next; anything else is told what is.
    fn take(&mut self, offset: u32, bytes: &Chunk) -> Result<u32, ImageRefusal> {
        let mut receiving = self.receiving.ok_or(ImageRefusal::NotBegun)?;
        if offset != receiving.next {
            return Ok(receiving.next);
        }
        let bytes = bytes.as_bytes();
        let left = (receiving.length - receiving.next) as usize;
        if bytes.len() != left.min(CHUNK) {
            return Err(ImageRefusal::Length);
        }
        if let Err(why) = self.slots.write(self.running.other(), offset, bytes) {
            // Half of it may be there: only another beginning erases it.
            self.receiving = None;
            return Err(why);
        }
        receiving.next += bytes.len() as u32;
        self.receiving = Some(receiving);
        Ok(receiving.next)
    }

    fn finish(&mut self, now_ms: u64) -> Result<(), ImageRefusal> {
        let record = self.record();
        if record.trial == Trial::Due {
            return Ok(());
        }
        let receiving = self.receiving.ok_or(ImageRefusal::NotBegun)?;
        if receiving.next < receiving.length {
            return Err(ImageRefusal::Incomplete);
        }
        self.receiving = None;
        let header = self.slots.plausible(self.running.other(), self.board, record.oldest)?;
        if (header.version, header.total()) != (receiving.version, receiving.length) {
            return Err(ImageRefusal::NotImage);
        }
        self.slots.keep(Record { trial: Trial::Due, last: Verdict::Open, ..record })?;
        self.reset_at_ms = Some(now_ms + ANSWERED_MS);
        Ok(())
    }

    /// Of an image that is not on trial, nothing is to be confirmed.
    fn confirm(&mut self) -> Result<(), ImageRefusal> {
        if !self.is_on_trial() {
            return Ok(());
        }
        let oldest = self.record().oldest.max(self.header().map_or(0, |header| header.oldest));
        self.slots.keep(Record {
            active: self.running,
            trial: Trial::None,
            oldest,
            last: Verdict::Confirmed,
        })?;
        self.reset_at_ms = None;
        Ok(())
    }

    fn is_on_trial(&mut self) -> bool {
        let record = self.record();
        record.trial == Trial::Tried && record.active != self.running
    }

    /// The boot stage has left one; without it, this image is all there is.
    fn record(&mut self) -> Record {
        let none =
            Record { active: self.running, trial: Trial::None, oldest: 0, last: Verdict::Open };
        self.slots.record().unwrap_or(none)
    }

    fn header(&mut self) -> Option<Header> {
        self.slots.header(self.running)
    }

    fn status(&mut self) -> ImageStatus {
        let record = self.record();
        ImageStatus {
            board: self.board,
            running: self.running,
            version: self.header().map_or(0, |header| header.version),
            on_trial: self.is_on_trial(),
            oldest: record.oldest,
            last: record.last,
        }
    }
}

fn refused(why: ImageRefusal) -> FromSupervisor {
    FromSupervisor::ImageRefused { why }
}
