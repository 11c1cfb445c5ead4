//! One DIMSE message: put together from presentation data values, then checked and made durable.

use super::Origin;
use super::gathered::Gathered;
use super::instance::{Instance, Landed, MAX_DATA_SET_BYTES, Refused};
use super::negotiate::{Context, Contexts};
use super::spool::Spool;
use crate::dimse::{self, Command, CommandError, MAX_COMMAND_BYTES, Request, Response};
use crate::wire::ValueHead;
use dicom_ul::pdu::PDataValueType;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::Semaphore;

/// Largest data set of another service than C-STORE: 20 000 references of 150 bytes.
const MAX_NORMALIZED_BYTES: usize = 4 << 20;

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

/// A whole message. The data set is patient data: [`std::fmt::Debug`] leaves it out.
pub struct Message {
    pub context_id: u8,
    pub request: Request,
    context: Context,
    data_set: Gathered,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("request", &self.request)
            .field("data_set", &self.data_set)
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
        let ours = self.request.sop_class.as_deref() == Some(self.class());
        let (data_set, _memory) = self.data_set.whole()?;
        match self.request.has_data_set {
            _ if !ours => Err(Refused::OtherContext),
            false => Err(Refused::NoDataSet),
            true => Ok(data_set),
        }
    }

    /// Checks an instance and makes it durable. Blocks on the disk.
    pub fn land(self, spool: &Spool, origin: Origin) -> Result<Landed, Refused> {
        let (data_set, _memory) = self.data_set.whole()?;
        let class = self.request.sop_class.as_deref().unwrap_or_default();
        let instance = Instance {
            sop_class: class,
            sop_instance: self.request.sop_instance.as_deref().unwrap_or_default(),
            transfer_syntax: &self.context.transfer_syntax,
            study: None,
            data_set: &data_set,
        };
        let usage = instance.usage()?;
        if class != self.context.abstract_syntax {
            return Err(Refused::OtherContext);
        }
        if !self.request.has_data_set {
            return Err(Refused::NoDataSet);
        }
        instance.land(usage, spool, origin)
    }

    fn room(&mut self, bytes: usize, memory: &Arc<Semaphore>) -> Option<&mut Vec<u8>> {
        let largest = match self.request.field {
            dimse::C_STORE => MAX_DATA_SET_BYTES,
            // The data set of an operation we do not know is let pass.
            field if !is_known(field) => return None,
            _ => MAX_NORMALIZED_BYTES,
        };
        self.data_set.room(bytes, largest, memory)
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

impl Pending {
    fn context_id(&self) -> u8 {
        match self {
            Pending::Request(message) => message.context_id,
            Pending::Response(context_id, _) => *context_id,
        }
    }
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

    /// Where the bytes of the next value belong: at the end of this. `None` where nobody wants them.
    pub fn place(&mut self, value: &ValueHead) -> Result<Option<&mut Vec<u8>>, MessageError> {
        match (&value.kind, &mut self.pending) {
            (PDataValueType::Command, Some(_)) => Err(MessageError::Interrupted),
            (PDataValueType::Command, None) => {
                match self.command.len() + value.bytes > MAX_COMMAND_BYTES {
                    true => Err(MessageError::CommandTooLarge),
                    false => Ok(Some(&mut self.command)),
                }
            }
            (PDataValueType::Data, None) => Err(MessageError::NoCommand),
            (PDataValueType::Data, Some(pending)) if pending.context_id() != value.context => {
                Err(MessageError::UnknownContext)
            }
            (PDataValueType::Data, Some(Pending::Response(..))) => Ok(None),
            (PDataValueType::Data, Some(Pending::Request(message))) => {
                Ok(message.room(value.bytes, &self.memory))
            }
        }
    }

    /// The value has come to its [place](Inbox::place); the message when it was its last.
    pub fn take(&mut self, value: &ValueHead) -> Result<Option<Incoming>, MessageError> {
        match value.kind {
            _ if !value.is_last => Ok(None),
            PDataValueType::Command => self.take_command(value.context),
            PDataValueType::Data => Ok(self.whole()),
        }
    }

    fn take_command(&mut self, context_id: u8) -> Result<Option<Incoming>, MessageError> {
        let command = Command::read(&std::mem::take(&mut self.command))?;
        let context = self.contexts.get(&context_id).ok_or(MessageError::UnknownContext)?.clone();
        let (has_data_set, pending) = match command {
            Command::Response(response) => {
                (response.has_data_set, Pending::Response(context_id, response))
            }
            Command::Request(request) => {
                let has_data_set = request.has_data_set;
                let data_set = Gathered::default();
                let message = Message { context_id, context, data_set, request };
                (has_data_set, Pending::Request(Box::new(message)))
            }
        };
        self.pending = Some(pending);
        Ok(if has_data_set { None } else { self.whole() })
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
    use crate::dimse::Status;

    const MIB: usize = 1 << 20;

    fn inbox(memory_mib: usize) -> Inbox {
        let context = Context {
            abstract_syntax: "1.2.840.10008.5.1.4.1.1.4".to_owned(),
            transfer_syntax: "1.2.840.10008.1.2.1".to_owned(),
        };
        Inbox::new([(1, context)].into(), Arc::new(Semaphore::new(memory_mib)))
    }

    type Value = (ValueHead, Vec<u8>);

    fn value(kind: PDataValueType, is_last: bool, data: Vec<u8>) -> Value {
        (ValueHead { context: 1, kind, is_last, bytes: data.len() }, data)
    }

    fn take(inbox: &mut Inbox, (head, data): Value) -> Result<Option<Incoming>, MessageError> {
        if let Some(place) = inbox.place(&head)? {
            place.extend(data);
        }
        inbox.take(&head)
    }

    /// A C-STORE-RQ with message id 1.
    fn command() -> Value {
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
        assert!(take(&mut inbox, command()).unwrap().is_none() && !inbox.is_empty());
        for _ in 0..3 {
            let part = value(PDataValueType::Data, false, vec![0; MIB]);
            assert!(take(&mut inbox, part).unwrap().is_none());
        }
        assert_eq!(inbox.memory.available_permits(), 2);
        let last = take(&mut inbox, value(PDataValueType::Data, true, vec![0; 2])).unwrap();
        let Some(Incoming::Request(message)) = last else { panic!("{last:?}") };
        assert!(inbox.is_empty());
        let refused = message.data_set.whole().err().unwrap();
        assert!(matches!(refused, Refused::NoMemory));
        assert_eq!(refused.status(), Status::OutOfResources);
    }

    #[test]
    fn values_out_of_order_end_the_association() {
        let data = || value(PDataValueType::Data, true, vec![0; 2]);
        assert!(matches!(take(&mut inbox(1), data()), Err(MessageError::NoCommand)));
        let mut busy = inbox(1);
        take(&mut busy, command()).unwrap();
        assert!(matches!(take(&mut busy, command()), Err(MessageError::Interrupted)));
        let (head, bytes) = data();
        let other = (ValueHead { context: 3, ..head }, bytes);
        assert!(matches!(take(&mut busy, other), Err(MessageError::UnknownContext)));
        let large = value(PDataValueType::Command, false, vec![0; MAX_COMMAND_BYTES + 1]);
        assert!(matches!(take(&mut inbox(1), large), Err(MessageError::CommandTooLarge)));
    }
}
