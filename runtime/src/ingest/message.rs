//! One DIMSE message: put together from presentation data values, then checked and made durable.

use super::Origin;
use super::gathered::Gathered;
use super::instance::{Instance, Landed, MAX_DATA_SET_BYTES, Refused};
use super::negotiate::{Context, Contexts};
use super::spool::Spool;
use crate::dimse::{self, Command, CommandError, MAX_COMMAND_BYTES, Request, Response};
use dicom_ul::pdu::{PDataValue, PDataValueType};
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

    fn append(&mut self, part: &[u8], memory: &Arc<Semaphore>) {
        let largest = match self.request.field {
            dimse::C_STORE => MAX_DATA_SET_BYTES,
            _ => MAX_NORMALIZED_BYTES,
        };
        self.data_set.append(part, largest, memory);
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
                let data_set = Gathered::default();
                let message = Message { context_id, context, data_set, request };
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
    use crate::dimse::Status;

    const MIB: usize = 1 << 20;

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
        assert!(inbox.is_empty());
        let refused = message.data_set.whole().err().unwrap();
        assert!(matches!(refused, Refused::NoMemory));
        assert_eq!(refused.status(), Status::OutOfResources);
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
