//! The messages of one open association, until it ends: requests of the peer are answered in their order; between them it is
//! told of its storage commitments.

use super::association::Broken;
use super::commitment::{Claim, Report};
use super::instance::Landed;
use super::message::{Inbox, Incoming, Message};
use super::negotiate::Contexts;
use super::normalized::{self, Done};
use super::receiver::Receiver;
use super::{AssociationId, Event, Origin};
use crate::dimse::{self, Request, Response, Status};
use crate::wire::{MAX_PDU_BYTES, Received, Values, Wire, WireError};
use dicom_dictionary_std::uids;
use dicom_ul::pdu::Pdu;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

/// Silence inside a message: no scanner pauses within an image for so long; the memory of the message is wanted back.
pub(super) const MESSAGE_IDLE: Duration = Duration::from_secs(30);
/// Silence between messages: consoles keep an association open over the pauses of a protocol.
const ASSOCIATION_IDLE: Duration = Duration::from_secs(300);

/// After the association was accepted, before its first report: some peers (pynetdicom) abort when a request meets them while
/// they still take in the acceptance.
const SETTLING: Duration = Duration::from_millis(500);

/// One association.
pub(super) struct Conversation<'a> {
    receiver: &'a Receiver,
    wire: &'a mut Wire,
    id: AssociationId,
    calling_ae: Arc<str>,
    inbox: Inbox,
    /// The context in which the peer takes reports, as long as it takes them.
    reports: Option<u8>,
    /// A report it has not answered yet, and the number of its message.
    told: Option<(u16, Claim, Report)>,
    message_id: u16,
    /// From when on the peer may be told something.
    settled: Instant,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(
        receiver: &'a Receiver,
        wire: &'a mut Wire,
        id: AssociationId,
        calling_ae: &str,
        contexts: Contexts,
    ) -> Conversation<'a> {
        let takes_reports = |class: &str| class == uids::STORAGE_COMMITMENT_PUSH_MODEL;
        let reports = contexts.iter().find(|(_, context)| takes_reports(&context.abstract_syntax));
        let reports = reports.map(|(&id, _)| id);
        let inbox = Inbox::new(contexts, Arc::clone(&receiver.memory));
        let (told, message_id, settled) = (None, 0, Instant::now() + SETTLING);
        let calling_ae = calling_ae.into();
        Conversation { receiver, wire, id, calling_ae, inbox, reports, told, message_id, settled }
    }

    /// Messages until the peer releases the association.
    pub(super) async fn run(mut self) -> Result<(), Broken> {
        loop {
            let idle = self.inbox.is_empty();
            let patience = if idle { ASSOCIATION_IDLE } else { MESSAGE_IDLE };
            let free = idle && self.told.is_none();
            let reports = self.reports.filter(|_| free);
            let (calling_ae, commitments) = (&*self.calling_ae, &self.receiver.commitments);
            let settled = self.settled;
            let due = async {
                match (reports, commitments) {
                    (Some(context), Some(commitments)) => {
                        sleep_until(settled).await;
                        (context, commitments.next(calling_ae).await)
                    }
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                readable = timeout(patience, self.wire.readable()) => {
                    readable.map_err(|_| WireError::Silent(patience))??;
                    match self.wire.receive_values(MAX_PDU_BYTES, patience).await? {
                        Received::Data(values) => self.take(values).await?,
                        Received::Other(Pdu::ReleaseRQ) => {
                            return Ok(self.wire.send(&Pdu::ReleaseRP).await?);
                        }
                        Received::Other(Pdu::AbortRQ { .. }) => {
                            return Err(WireError::Aborted.into());
                        }
                        Received::Other(_) => return Err(WireError::UnexpectedPdu.into()),
                    }
                }
                (context, claim) = due => self.tell(context, claim).await?,
            }
        }
    }

    async fn take(&mut self, mut values: Values) -> Result<(), Broken> {
        while let Some(value) = self.wire.value(&mut values, MESSAGE_IDLE).await? {
            let place = self.inbox.place(&value)?;
            self.wire.append(value.bytes, place, MESSAGE_IDLE).await?;
            match self.inbox.take(&value)? {
                None => {}
                Some(Incoming::Response(response)) => self.confirmed(&response).await,
                Some(Incoming::Request(message)) => {
                    let context = message.context_id;
                    if let Some(response) = self.answer(*message).await {
                        self.wire.send_message(context, &response, None).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The response to a whole message; `None` for what has none.
    async fn answer(&self, message: Message) -> Option<Vec<u8>> {
        let request = message.request.clone();
        match request.field {
            dimse::C_ECHO => Some(request.response(Status::Success, None)),
            dimse::C_CANCEL => None,
            dimse::C_STORE => Some(self.store(&request, message).await),
            dimse::N_CREATE | dimse::N_SET | dimse::N_ACTION => {
                Some(self.carry_out(&request, message).await)
            }
            _ => Some(request.response(Status::UnrecognizedOperation, None)),
        }
    }

    async fn store(&self, request: &Request, message: Message) -> Vec<u8> {
        let (spool, id) = (Arc::clone(&self.receiver.spool), self.id);
        let origin = Origin { association: id, sender: self.calling_ae.clone() };
        // fsync blocks: not on a worker that other associations wait for.
        let landed = spawn_blocking(move || message.land(&spool, origin)).await;
        self.receiver.counts.count(matches!(landed, Ok(Ok(_))));
        match landed {
            Ok(Ok(Landed::Image(arrival))) => {
                tracing::debug!(association = id.0, job = %arrival.job, "instance stored");
                self.receiver.tell(Event::Arrived(arrival)).await;
                request.response(Status::Success, None)
            }
            Ok(Ok(Landed::Ignored)) => request.response(Status::Success, None),
            Ok(Err(refusal)) => {
                tracing::warn!(
                    association = id.0,
                    status = format_args!("{:#06x}", refusal.status().code()),
                    error = %refusal,
                    advice = refusal.whose_move().advice(),
                    "instance refused"
                );
                request.response(refusal.status(), Some(&refusal.comment()))
            }
            Err(panicked) => {
                tracing::error!(association = id.0, error = %panicked, "storing an instance failed");
                request.response(Status::OutOfResources, Some("internal error"))
            }
        }
    }

    async fn carry_out(&self, request: &Request, message: Message) -> Vec<u8> {
        let steps = Arc::clone(&self.receiver.steps);
        let commitments = self.receiver.commitments.clone();
        let (peer, id) = (self.calling_ae.clone(), self.id);
        let done = spawn_blocking(move || {
            normalized::carry_out(&steps, commitments.as_deref(), &peer, message)
        });
        match done.await {
            Ok(Ok(done)) => {
                let response = normalized::success(request, &done);
                if let Done::Changed { step, .. } = done {
                    tracing::debug!(association = id.0, state = ?step.state, "procedure step");
                    let performed = step.performed(&self.receiver.spool);
                    if !performed.is_empty() {
                        self.receiver.tell(Event::Performed(performed)).await;
                    }
                }
                response
            }
            Ok(Err(declined)) => {
                tracing::warn!(
                    association = id.0,
                    status = format_args!("{:#06x}", declined.status().code()),
                    error = %declined,
                    advice = declined.whose_move().advice(),
                    "request declined"
                );
                request.response(declined.status(), Some(&declined.comment()))
            }
            Err(panicked) => {
                tracing::error!(association = id.0, error = %panicked, "a request failed");
                request.response(Status::ProcessingFailure, Some("internal error"))
            }
        }
    }

    /// Sends a report; its confirmation comes among the requests.
    async fn tell(&mut self, context: u8, claim: Claim) -> Result<(), Broken> {
        let looked = spawn_blocking(move || claim.report().map(|report| (claim, report))).await;
        match looked.map_err(io::Error::other).and_then(|looked| looked) {
            Ok((claim, report)) => {
                self.message_id = self.message_id.wrapping_add(1);
                let request = report.request(self.message_id).write();
                self.wire.send_message(context, &request, Some(report.data_set())).await?;
                self.told = Some((self.message_id, claim, report));
            }
            Err(error) => {
                tracing::error!(
                    "a storage commitment cannot be looked up: {error}; the site's move"
                );
                self.reports = None;
            }
        }
        Ok(())
    }

    /// The peer's answer to a report. One it does not confirm waits for another association.
    async fn confirmed(&mut self, response: &Response) {
        let Some((message_id, claim, report)) = self.told.take() else { return };
        let ours = (response.field, response.message_id) == (dimse::N_EVENT_REPORT, message_id);
        if !ours || response.status != Status::Success.code() {
            let status = format!("{:04X}", response.status);
            tracing::warn!(association = self.id.0, %status, "a storage commitment report is not confirmed");
            self.reports = None;
            return;
        }
        let settled = spawn_blocking(move || claim.settle()).await;
        match settled.map_err(io::Error::other).and_then(|settled| settled) {
            Ok(()) => report.told(&self.calling_ae),
            Err(error) => {
                tracing::error!("a storage commitment cannot be taken off the list: {error}");
                self.reports = None;
            }
        }
    }
}
