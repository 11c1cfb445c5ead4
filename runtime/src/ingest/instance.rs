//! One instance, by whichever way it came: checked, made durable, or refused with a status.

use super::classes::{self, Use};
use super::header::{self, HeaderError};
use super::prescan::{self, Limits};
use super::spool::{Outcome, Spool, SpoolError};
use super::{Arrival, Origin};
use crate::dimse::Status;
use crate::error::Move;
use thiserror::Error;

/// Largest data set: the largest pixel data, and as much again of header as an Enhanced MR of 2000 frames has.
pub const MAX_DATA_SET_BYTES: usize = prescan::MAX_PIXEL_BYTES + (32 << 20);
const MIB: usize = 1 << 20;

/// Why an instance is not stored. The text holds no patient data: it goes into the response and the log.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("SOP class not supported")]
    ClassNotSupported,
    #[error("SOP class is not the one of the presentation context")]
    OtherContext,
    #[error("SOP class or instance of command and data set differ")]
    Mismatch,
    #[error("the instance belongs to another study than the request")]
    OtherStudy,
    #[error("the message has no data set")]
    NoDataSet,
    #[error("data set larger than {} MiB", .0 / MIB)]
    TooLarge(usize),
    #[error("no memory for another message now")]
    NoMemory,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Refused {
    /// The status of PS3.4 table B.2-1.
    pub fn status(&self) -> Status {
        match self {
            Refused::ClassNotSupported => Status::ClassNotSupported,
            Refused::OtherContext | Refused::Mismatch | Refused::OtherStudy => {
                Status::DataSetDoesNotMatch
            }
            Refused::NoDataSet | Refused::Header(_) => Status::CannotUnderstand,
            Refused::TooLarge(_) | Refused::NoMemory | Refused::Spool(_) => Status::OutOfResources,
        }
    }

    pub fn whose_move(&self) -> Move {
        match self {
            Refused::Spool(error) => error.whose_move(),
            Refused::NoMemory => Move::Site,
            _ => Move::Peer,
        }
    }

    /// For the Error Comment of the response: a path of ours is not the peer's business.
    pub fn comment(&self) -> String {
        match self {
            Refused::Spool(SpoolError::Full { .. }) => {
                "the disk of the receiver is full".to_owned()
            }
            Refused::Spool(_) => "the receiver cannot write to its disk".to_owned(),
            other => other.to_string(),
        }
    }
}

/// What became of an accepted instance.
#[derive(Debug)]
pub enum Landed {
    Image(Box<Arrival>),
    Ignored,
}

/// What was said of an instance beside its data set, and the data set. Patient data: [`std::fmt::Debug`] leaves it out.
#[derive(Clone, Copy)]
pub struct Instance<'a> {
    pub sop_class: &'a str,
    pub sop_instance: &'a str,
    pub transfer_syntax: &'a str,
    /// The study it must belong to, where the sender named one.
    pub study: Option<&'a str>,
    pub data_set: &'a [u8],
}

impl std::fmt::Debug for Instance<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance({} bytes)", self.data_set.len())
    }
}

impl Instance<'_> {
    /// What becomes of its class.
    pub fn usage(&self) -> Result<Use, Refused> {
        classes::usage(self.sop_class).ok_or(Refused::ClassNotSupported)
    }

    /// Checks it against its data set and makes it durable. Blocks on the disk.
    pub fn land(&self, usage: Use, spool: &Spool, origin: Origin) -> Result<Landed, Refused> {
        let limits = match usage {
            Use::Image => Limits::IMAGE,
            Use::Ignored => Limits::IGNORED,
        };
        let header = header::read(self.data_set, self.transfer_syntax, limits)?;
        if header.sop_class != self.sop_class || header.sop_instance != self.sop_instance {
            return Err(Refused::Mismatch);
        }
        if self.study.is_some_and(|study| study != header.study) {
            return Err(Refused::OtherStudy);
        }
        let stored = spool.store(&header, self.data_set)?;
        if stored.outcome == Outcome::Conflict {
            tracing::warn!(job = %stored.job, "an instance came again with other bytes; kept beside");
        }
        let (job, path, outcome) = (stored.job, stored.path, stored.outcome);
        let origin = Some(origin);
        Ok(match usage {
            Use::Image => Landed::Image(Box::new(Arrival { origin, job, path, header, outcome })),
            Use::Ignored => Landed::Ignored,
        })
    }
}
