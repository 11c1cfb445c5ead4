//! The services that are no C-STORE: MPPS (N-CREATE, N-SET) and Storage Commitment (N-ACTION). Checks a request, hands it to
//! its service, and says with which status it is answered.

use super::commitment::{self, Commitments};
use super::mpps::{Step, Steps};
use crate::dimse::{self, Request, Status};
use crate::error::Move;
use crate::ingest::instance::Refused;
use crate::ingest::message::Message;
use crate::ingest::prescan::ScanError;
use dicom_dictionary_std::uids;
use std::io;
use thiserror::Error;

/// Why a request was not carried out. The text holds no patient data: it goes into the response and the log.
#[derive(Debug, Error)]
pub enum Declined {
    #[error(transparent)]
    Message(#[from] Refused),
    #[error("the data set cannot be understood: {0}")]
    Scan(#[from] ScanError),
    #[error("no {0}")]
    Missing(&'static str),
    #[error("not a valid {0}")]
    Invalid(&'static str),
    #[error("no such instance")]
    NoSuchInstance,
    #[error("an instance of this UID is there already")]
    Duplicate,
    #[error("the procedure step has ended and may no longer be changed")]
    Ended,
    #[error("no such action")]
    NoSuchAction,
    #[error("the class has no such operation")]
    NoSuchOperation,
    #[error("{0}")]
    Full(&'static str),
    #[error("cannot write to the disk: {0}")]
    Disk(#[from] io::Error),
}

impl Declined {
    /// The status of PS3.7 annex C, and for an ended step of PS3.4 F.7.2.2.2.
    pub fn status(&self) -> Status {
        match self {
            Declined::Message(refused) => match refused.status() {
                Status::OutOfResources => Status::ResourceLimitation,
                Status::DataSetDoesNotMatch => Status::ClassNotSupported,
                _ => Status::ProcessingFailure,
            },
            Declined::Scan(_) => Status::ProcessingFailure,
            Declined::Missing(_) => Status::MissingAttribute,
            Declined::Invalid(_) => Status::InvalidValue,
            Declined::NoSuchInstance => Status::NoSuchInstance,
            Declined::Duplicate => Status::DuplicateInstance,
            Declined::Ended => Status::StepEnded,
            Declined::NoSuchAction => Status::NoSuchAction,
            Declined::NoSuchOperation => Status::UnrecognizedOperation,
            Declined::Full(_) | Declined::Disk(_) => Status::ResourceLimitation,
        }
    }

    pub fn whose_move(&self) -> Move {
        match self {
            Declined::Message(refused) => refused.whose_move(),
            Declined::Full(_) | Declined::Disk(_) => Move::Site,
            _ => Move::Peer,
        }
    }

    /// For the Error Comment: a fault of our disk is not the peer's business.
    pub fn comment(&self) -> String {
        match self {
            Declined::Disk(_) => "the receiver cannot write to its disk".to_owned(),
            other => other.to_string(),
        }
    }
}

/// What a request that was carried out leads to.
#[derive(Debug)]
pub enum Done {
    /// A report will follow.
    Asked,
    /// The procedure step of this UID was created or changed.
    Changed { instance: String, step: Step },
}

/// Carries a request out, durably. Blocks on the disk.
pub fn carry_out(
    steps: &Steps,
    commitments: Option<&Commitments>,
    peer: &str,
    message: Message,
) -> Result<Done, Declined> {
    let request = message.request.clone();
    let class = message.class().to_owned();
    let data_set = message.into_data_set()?;
    let named = request.sop_instance.as_deref();
    match (class.as_str(), request.field, commitments) {
        (uids::STORAGE_COMMITMENT_PUSH_MODEL, dimse::N_ACTION, Some(commitments)) => {
            if named != Some(commitment::INSTANCE) {
                return Err(Declined::NoSuchInstance);
            }
            if request.type_id != Some(commitment::ACTION) {
                return Err(Declined::NoSuchAction);
            }
            commitments.ask(peer, &data_set)?;
            Ok(Done::Asked)
        }
        (uids::MODALITY_PERFORMED_PROCEDURE_STEP, dimse::N_CREATE, _) => {
            let (instance, step) = steps.create(named, &data_set)?;
            Ok(Done::Changed { instance, step })
        }
        (uids::MODALITY_PERFORMED_PROCEDURE_STEP, dimse::N_SET, _) => {
            let instance = named.ok_or(Declined::NoSuchInstance)?.to_owned();
            let step = steps.set(&instance, &data_set)?;
            Ok(Done::Changed { instance, step })
        }
        _ => Err(Declined::NoSuchOperation),
    }
}

/// The response of a request that was carried out: the instance that a creation without a name made is named.
pub fn success(request: &Request, done: &Done) -> Vec<u8> {
    match done {
        Done::Changed { instance, .. } => {
            let named = Request { sop_instance: Some(instance.clone()), ..request.clone() };
            named.response(Status::Success, None)
        }
        Done::Asked => request.response(Status::Success, None),
    }
}
