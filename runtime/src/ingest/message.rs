//! One DIMSE message: put together from presentation data values, then checked and made durable.

use super::classes::{self, Use};
use super::header::{self, HeaderError};
use super::negotiate::{Context, Contexts};
use super::prescan::Limits;
use super::spool::{Outcome, Spool, SpoolError};
use super::{Arrival, AssociationId};
use crate::dimse::{self, Command, CommandError, MAX_COMMAND_BYTES, Request, Response, Status};
use crate::error::Move;
use dicom_ul::pdu::{PDataValue, PDataValueType};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest data set: the largest pixel data, and as much again of header as an Enhanced MR of 2000 frames has.
pub const MAX_DATA_SET_BYTES: usize = super::prescan::MAX_PIXEL_BYTES + (32 << 20);
/// Largest data set of another service than C-STORE: 20 000 references of 150 bytes.
const MAX_NORMALIZED_BYTES: usize = 4 << 20;
const MIB: usize = 1 << 20;

/// A message that cannot even be answered; the association ends. The sender's move.
#[derive(Debug, Error)]
pub enum MessageError {
    #[error("the command set is larger than {MAX_COMMAND_BYTES} bytes")]
    CommandTooLarge,
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("a data set without a command")]
    NoCommand,
    #[error("a command inside a message")]
    Interrupted,
    #[error("a presentation context that was not accepted")]
    UnknownContext,
}

/// Why an instance is not stored. The text holds no patient data: it goes into the response and the log.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("SOP class not supported")]
    ClassNotSupported,
    #[error("SOP class is not the one of the presentation context")]
    OtherContext,
    #[error("SOP class or instance of command and data set differ")]
    Mismatch,
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
            Refused::OtherContext | Refused::Mismatch => Status::DataSetDoesNotMatch,
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

/// A whole message. The data set is patient data: [`std::fmt::Debug`] leaves it out.
pub struct Message {
    pub context_id: u8,
    pub request: Request,
    context: Context,
    data_set: Vec<u8>,
    /// Set while the data set still came in: it was discarded.
    refused: Option<Refused>,
    /// The share of the receiver's memory this message holds.
    memory: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("request", &self.request)
            .field("bytes", &self.data_set.len())
            .finish_non_exhaustive()
    }
}

impl Message {
    /// The class of the presentation context.
    pub fn class(&self) -> &str {
        &self.context.abstract_syntax
    }

    /// The data set of a request that is no C-STORE.
    pub fn into_data_set(self) -> Result<Vec<u8>, Refused> {
        match self.refused {
            Some(refused) => Err(refused),
            None if self.request.sop_class.as_deref() != Some(self.class()) => {
                Err(Refused::OtherContext)
            }
            None if !self.request.has_data_set => Err(Refused::NoDataSet),
            None => Ok(self.data_set),
        }
    }

    /// Checks an instance and makes it durable. Blocks on the disk.
    pub fn land(self, spool: &Spool, association: AssociationId) -> Result<Landed, Refused> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let class = self.request.sop_class.as_deref().unwrap_or_default();
        let usage = classes::usage(class).ok_or(Refused::ClassNotSupported)?;
        if class != self.context.abstract_syntax {
            return Err(Refused::OtherContext);
        }
        if !self.request.has_data_set {
            return Err(Refused::NoDataSet);
        }
        let limits = match usage {
            Use::Image => Limits::IMAGE,
            Use::Ignored => Limits::IGNORED,
        };
        let header = header::read(&self.data_set, &self.context.transfer_syntax, limits)?;
        let named = self.request.sop_instance.as_deref() == Some(header.sop_instance.as_str());
        if header.sop_class != class || !named {
            return Err(Refused::Mismatch);
        }
        let stored = spool.store(&header, &self.data_set)?;
        if stored.outcome == Outcome::Conflict {
            tracing::warn!(job = %stored.job, "an instance came again with other bytes; kept beside");
        }
        let (job, path, outcome) = (stored.job, stored.path, stored.outcome);
        let association = Some(association);
        Ok(match usage {
            Use::Image => {
                Landed::Image(Box::new(Arrival { association, job, path, header, outcome }))
            }
            Use::Ignored => Landed::Ignored,
        })
    }

    /// Adds a part of the data set, or gives the data set up when it grows beyond a limit.
    fn append(&mut self, part: &[u8], memory: &Arc<Semaphore>) {
        if self.refused.is_some() {
            return;
        }
        let length = self.data_set.len() + part.len();
        let held = self.memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = length.div_ceil(MIB);
        let largest = match self.request.field {
            dimse::C_STORE => MAX_DATA_SET_BYTES,
            _ => MAX_NORMALIZED_BYTES,
        };
        if length > largest {
            self.give_up(Refused::TooLarge(largest));
            return;
        }
        if wanted > held {
            match Arc::clone(memory).try_acquire_many_owned((wanted - held) as u32) {
                Err(_) => return self.give_up(Refused::NoMemory),
                Ok(more) => match &mut self.memory {
                    Some(memory) => memory.merge(more),
                    empty => *empty = Some(more),
                },
            }
        }
        self.data_set.extend_from_slice(part);
    }

    fn give_up(&mut self, refused: Refused) {
        self.refused = Some(refused);
        self.data_set = Vec::new();
        self.memory = None;
    }
}

/// What came whole: a request, or the response to one of ours.
#[derive(Debug)]
pub enum Incoming {
    Request(Box<Message>),
    Response(Response),
}

/// What a data set belongs to that is coming.
#[derive(Debug)]
enum Pending {
    Request(Box<Message>),
    /// Nothing is in it for us.
    Response(u8, Response),
}

/// Puts messages together from the data values of one association.
#[derive(Debug)]
pub struct Inbox {
    contexts: Contexts,
    memory: Arc<Semaphore>,
    /// The part of a command set that has come.
    command: Vec<u8>,
    /// A command whose data set is coming.
    pending: Option<Pending>,
}

impl Inbox {
    /// `memory`: one permit for each MiB that all associations together may hold.
    pub fn new(contexts: Contexts, memory: Arc<Semaphore>) -> Inbox {
        Inbox { contexts, memory, command: Vec::new(), pending: None }
    }

    /// Whether the association is between two messages.
    pub fn is_empty(&self) -> bool {
        self.command.is_empty() && self.pending.is_none()
    }

    /// Takes one value; the message when it was its last.
    pub fn take(&mut self, value: PDataValue) -> Result<Option<Incoming>, MessageError> {
        match value.value_type {
            PDataValueType::Command => self.take_command(value),
            PDataValueType::Data => self.take_data(&value),
        }
    }

    fn take_command(&mut self, value: PDataValue) -> Result<Option<Incoming>, MessageError> {
        if self.pending.is_some() {
            return Err(MessageError::Interrupted);
        }
        if self.command.len() + value.data.len() > MAX_COMMAND_BYTES {
            return Err(MessageError::CommandTooLarge);
        }
        self.command.extend_from_slice(&value.data);
        if !value.is_last {
            return Ok(None);
        }
        let command = Command::read(&std::mem::take(&mut self.command))?;
        let context_id = value.presentation_context_id;
        let context = self.contexts.get(&context_id).ok_or(MessageError::UnknownContext)?.clone();
        let (has_data_set, pending) = match command {
            Command::Response(response) => {
                (response.has_data_set, Pending::Response(context_id, response))
            }
            Command::Request(request) => {
                let has_data_set = request.has_data_set;
                let (data_set, refused, memory) = (Vec::new(), None, None);
                let message = Message { context_id, context, data_set, refused, memory, request };
                (has_data_set, Pending::Request(Box::new(message)))
            }
        };
        self.pending = Some(pending);
        Ok(if has_data_set { None } else { self.whole() })
    }

    fn take_data(&mut self, value: &PDataValue) -> Result<Option<Incoming>, MessageError> {
        let context_id = match self.pending.as_mut().ok_or(MessageError::NoCommand)? {
            Pending::Response(context_id, _) => *context_id,
            Pending::Request(message) => {
                // The data set of an operation we do not know is let pass.
                if is_known(message.request.field) {
                    message.append(&value.data, &self.memory);
                }
                message.context_id
            }
        };
        if value.presentation_context_id != context_id {
            return Err(MessageError::UnknownContext);
        }
        Ok(if value.is_last { self.whole() } else { None })
    }

    fn whole(&mut self) -> Option<Incoming> {
        self.pending.take().map(|pending| match pending {
            Pending::Request(message) => Incoming::Request(message),
            Pending::Response(_, response) => Incoming::Response(response),
        })
    }
}

/// Whether the operation is one whose data set we read.
fn is_known(field: u16) -> bool {
    matches!(field, dimse::C_STORE | dimse::N_CREATE | dimse::N_SET | dimse::N_ACTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(memory_mib: usize) -> Inbox {
        let context = Context {
            abstract_syntax: "1.2.840.10008.5.1.4.1.1.4".to_owned(),
            transfer_syntax: "1.2.840.10008.1.2.1".to_owned(),
        };
        Inbox::new([(1, context)].into(), Arc::new(Semaphore::new(memory_mib)))
    }

    fn value(value_type: PDataValueType, is_last: bool, data: Vec<u8>) -> PDataValue {
        PDataValue { presentation_context_id: 1, value_type, is_last, data }
    }

    /// A C-STORE-RQ with message id 1.
    fn command() -> PDataValue {
        let mut bytes = Vec::new();
        for (element, number) in [(0x0100u16, dimse::C_STORE), (0x0110, 1), (0x0800, 0)] {
            bytes.extend([0, 0]);
            bytes.extend(element.to_le_bytes());
            bytes.extend(2u32.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        value(PDataValueType::Command, true, bytes)
    }

    #[test]
    fn a_message_beyond_the_memory_is_refused_and_gives_it_back() {
        let mut inbox = inbox(2);
        assert!(inbox.take(command()).unwrap().is_none() && !inbox.is_empty());
        for _ in 0..3 {
            assert!(
                inbox.take(value(PDataValueType::Data, false, vec![0; MIB])).unwrap().is_none()
            );
        }
        assert_eq!(inbox.memory.available_permits(), 2);
        let last = inbox.take(value(PDataValueType::Data, true, vec![0; 2])).unwrap();
        let Some(Incoming::Request(message)) = last else { panic!("{last:?}") };
        assert!(matches!(message.refused, Some(Refused::NoMemory)) && inbox.is_empty());
        assert_eq!(message.refused.map(|r| r.status()), Some(Status::OutOfResources));
    }

    #[test]
    fn values_out_of_order_end_the_association() {
        let data = || value(PDataValueType::Data, true, vec![0; 2]);
        assert!(matches!(inbox(1).take(data()), Err(MessageError::NoCommand)));
        let mut busy = inbox(1);
        busy.take(command()).unwrap();
        assert!(matches!(busy.take(command()), Err(MessageError::Interrupted)));
        let other = PDataValue { presentation_context_id: 3, ..data() };
        assert!(matches!(busy.take(other), Err(MessageError::UnknownContext)));
        let large = value(PDataValueType::Command, false, vec![0; MAX_COMMAND_BYTES + 1]);
        assert!(matches!(inbox(1).take(large), Err(MessageError::CommandTooLarge)));
    }
}
