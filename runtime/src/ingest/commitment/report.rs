//! What a peer is told of its question (PS3.4 J.3.3), and the associations on which we tell those that do not wait for it.

use super::{Claim, Commitments, INSTANCE, Question};
use crate::dimse::data_set::Writer;
use crate::dimse::{self, MAX_COMMAND_BYTES, Request, Response};
use crate::ingest::spool::Spool;
use crate::messages::Timestamp;
use crate::wire::WireError;
use crate::wire::requestor::{Association, Proposal, RequestError, Route};
use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::Pdu;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::task::JoinHandle;

/// Event types of PS3.4 J.3.3.1: all is committed, or not all.
const COMPLETE: u16 = 1;
const FAILURES: u16 = 2;
/// Failure reasons of PS3.4 J.3.3.1.4.
const NO_SUCH_INSTANCE: u16 = 0x0112;
const CLASS_CONFLICT: u16 = 0x0119;
/// Pause after the first failed try; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// A console that comes back has its report within this.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// An N-EVENT-REPORT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    event: u16,
    data_set: Vec<u8>,
    committed: usize,
    failed: usize,
}

impl Report {
    pub(super) fn of(question: &Question, spool: &Spool) -> io::Result<Report> {
        let wanted = question.instances.iter().map(|reference| reference.instance.as_str());
        let held = spool.classes_of(wanted)?;
        let (mut committed, mut failed) = (Vec::new(), Vec::new());
        for reference in &question.instances {
            let mut item = Writer::default();
            item.uid(tags::REFERENCED_SOP_CLASS_UID, &reference.class);
            item.uid(tags::REFERENCED_SOP_INSTANCE_UID, &reference.instance);
            let reason = match held.get(reference.instance.as_str()) {
                Some(class) if *class == reference.class => None,
                Some(_) => Some(CLASS_CONFLICT),
                None => Some(NO_SUCH_INSTANCE),
            };
            match reason {
                None => committed.push(item),
                Some(reason) => {
                    item.number(tags::FAILURE_REASON, reason);
                    failed.push(item);
                }
            }
        }
        let event = if failed.is_empty() { COMPLETE } else { FAILURES };
        let counts = (committed.len(), failed.len());
        let mut data_set = Writer::default();
        data_set.uid(tags::TRANSACTION_UID, &question.transaction);
        if !failed.is_empty() {
            data_set.sequence(tags::FAILED_SOP_SEQUENCE, failed.into_iter());
        }
        if !committed.is_empty() {
            data_set.sequence(tags::REFERENCED_SOP_SEQUENCE, committed.into_iter());
        }
        let data_set = data_set.into_bytes();
        Ok(Report { event, data_set, committed: counts.0, failed: counts.1 })
    }

    /// The request that carries it.
    pub fn request(&self, message_id: u16) -> Request {
        Request {
            field: dimse::N_EVENT_REPORT,
            message_id,
            sop_class: Some(uids::STORAGE_COMMITMENT_PUSH_MODEL.to_owned()),
            sop_instance: Some(INSTANCE.to_owned()),
            type_id: Some(self.event),
            has_data_set: true,
        }
    }

    pub fn data_set(&self) -> &[u8] {
        &self.data_set
    }

    /// For the log, when the peer has confirmed it.
    pub fn told(&self, peer: &str) {
        let Report { committed, failed, .. } = self;
        tracing::info!(?peer, committed, failed, "storage commitment reported");
    }
}

/// Why a report was not confirmed.
#[derive(Debug, Error)]
enum Untold {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the peer does not accept storage commitment reports")]
    NotAccepted,
    #[error("the peer does not keep to the protocol")]
    Protocol,
    #[error("the peer answers with status {0:04X}H")]
    Status(u16),
    #[error("the spool cannot be read: {0}")]
    Disk(#[from] io::Error),
}

impl Commitments {
    /// Starts one task for each peer that wants its reports on associations of ours.
    pub fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let routes = self.routes.iter();
        routes
            .map(|(peer, route)| tokio::spawn(Arc::clone(self).tell(peer.clone(), route.clone())))
            .collect()
    }

    async fn tell(self: Arc<Self>, peer: String, route: Route) {
        let mut pause = MIN_PAUSE;
        loop {
            let claim = self.claimed(&peer, true).await;
            match deliver(&route, claim).await {
                Ok(report) => {
                    report.told(&peer);
                    pause = MIN_PAUSE;
                }
                Err(error) => {
                    tracing::warn!(
                        ?peer,
                        "storage commitment not reported: {error}; the site's move"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                    let commitments = Arc::clone(&self);
                    let dropped =
                        tokio::task::spawn_blocking(move || commitments.drop_old(Timestamp::now()));
                    // A disk that cannot delete is told of when the next question comes.
                    let _ = dropped.await;
                }
            }
        }
    }
}

/// Settles on a thread that may block.
async fn settle(claim: Claim) -> io::Result<()> {
    tokio::task::spawn_blocking(move || claim.settle()).await.map_err(io::Error::other)?
}

/// Tells a peer over an association of ours, in the provider's role (PS3.7 D.3.3.4).
async fn deliver(route: &Route, claim: Claim) -> Result<Report, Untold> {
    let proposal = Proposal {
        class: uids::STORAGE_COMMITMENT_PUSH_MODEL,
        transfer_syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN,
        as_provider: true,
    };
    let looked = tokio::task::spawn_blocking(move || claim.report().map(|report| (claim, report)));
    let (claim, report) = looked.await.map_err(io::Error::other)??;
    let mut association = Association::request(route, &[proposal]).await?;
    let told = tell(&mut association, &report).await;
    match told {
        // Confirmed is confirmed, however the association ends.
        Ok(()) => drop(association.release().await),
        Err(error) => {
            association.abort().await;
            return Err(error);
        }
    }
    settle(claim).await?;
    Ok(report)
}

async fn tell(association: &mut Association, report: &Report) -> Result<(), Untold> {
    let context = association
        .context(uids::STORAGE_COMMITMENT_PUSH_MODEL, uids::IMPLICIT_VR_LITTLE_ENDIAN)
        .ok_or(Untold::NotAccepted)?;
    let request = report.request(1);
    association.send(context, &request.write(), Some(report.data_set())).await?;
    let mut command = Vec::new();
    loop {
        let Pdu::PData { data } = association.receive().await? else {
            return Err(Untold::Protocol);
        };
        let last = data.last().is_some_and(|value| value.is_last);
        command.extend(data.into_iter().flat_map(|value| value.data));
        if command.len() > MAX_COMMAND_BYTES {
            return Err(Untold::Protocol);
        }
        if last {
            break;
        }
    }
    let response = Response::read(&command).map_err(|_| Untold::Protocol)?;
    match response.status {
        _ if (response.field, response.message_id) != (request.field, request.message_id) => {
            Err(Untold::Protocol)
        }
        0x0000 => Ok(()),
        status => Err(Untold::Status(status)),
    }
}
