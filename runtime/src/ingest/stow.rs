//! DICOMweb STOW-RS (PS3.18 section 10.5): instances by HTTP, for routers that speak no DIMSE. DICOM files only, as they
//! are; metadata with bulk data apart is not taken.
//!
//! A request is what an association is by DIMSE: it takes a place, must come from a listed peer, its end is a release, and an
//! instance is durable before the answer names it as stored.

use super::classes::TRANSFER_SYNTAXES;
use super::conversation::MESSAGE_IDLE;
use super::gathered::Gathered;
use super::instance::{Instance, Landed, MAX_DATA_SET_BYTES, Refused};
use super::multipart::{MultipartError, Parts, Piece};
use super::negotiate::Rejection;
use super::peers::Caller;
use super::receiver::{ARTIM, Receiver, stopped};
use super::spool::Spool;
use super::{AssociationId, Event, Origin};
use crate::dimse::Status;
use crate::error::Move;
use crate::part10::{File, FileError};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use futures_util::StreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mime::Mime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Largest file: the largest data set, and its meta information.
const MAX_FILE_BYTES: usize = MAX_DATA_SET_BYTES + (64 << 10);
/// Referenced Transfer Syntax Not Supported (PS3.18 table I.2-2).
const TRANSFER_SYNTAX_NOT_SUPPORTED: u16 = 0xC122;
/// Seconds after which who met no free place may try again: a series takes less.
const RETRY_S: &str = "2";

/// The table `[dicomweb]` of the configuration. Who may send, and TLS, are those of `[dicom]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where instances are taken by HTTP; nowhere when absent.
    pub bind: Option<SocketAddr>,
}

/// Takes requests until `shutdown` becomes true (or its sender is gone).
pub async fn serve(
    listener: TcpListener,
    receiver: Arc<Receiver>,
    shutdown: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/studies", post(store))
        .route("/studies/{study}", post(store))
        .with_state(Arc::clone(&receiver));
    let handle = |socket, address| {
        converse(Arc::clone(&receiver), router.clone(), socket, address, shutdown.clone())
    };
    Arc::clone(&receiver).each(listener, shutdown.clone(), handle).await;
}

/// One connection: requests until the peer or the service has enough.
async fn converse(
    receiver: Arc<Receiver>,
    router: Router,
    socket: TcpStream,
    address: IpAddr,
    mut shutdown: watch::Receiver<bool>,
) {
    let Some((stream, certificate)) = receiver.secure(socket, address).await else { return };
    let service = router.layer(Extension(Caller { address, certificate }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ARTIM)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(peer = %address, %error, "a connection ended in disorder");
            }
        }
        _ = stopped(&mut shutdown) => {}
    }
}

async fn store(
    State(receiver): State<Arc<Receiver>>,
    Extension(caller): Extension<Caller>,
    study: Option<Path<String>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let place = match receiver.enter(&caller, None) {
        Ok(place) => place,
        Err(rejection) => return turned_away(&caller, rejection),
    };
    let parts = match parts(&headers) {
        Ok(parts) => parts,
        Err(unreadable) => return unreadable.into_response(),
    };
    let id = receiver.begin();
    let sender = caller.address.to_string().into();
    let request = Request { receiver, id, sender, study: study.map(|Path(study)| study) };
    // In a task of its own: it ends in order also where the peer goes away meanwhile.
    let done = tokio::spawn(async move {
        let response = request.carry_out(body, parts).await;
        drop(place);
        response
    });
    done.await.unwrap_or_else(|error| {
        tracing::error!(association = id.0, %error, "storing instances failed");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

fn turned_away(caller: &Caller, rejection: Rejection) -> Response {
    let (peer, advice) = (caller.address, rejection.whose_move().advice());
    tracing::warn!(%peer, "request rejected: {rejection}; {advice}");
    let text = format!("{rejection}\n");
    match rejection {
        Rejection::Full(_) | Rejection::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_S)], text).into_response()
        }
        _ => (StatusCode::FORBIDDEN, text).into_response(),
    }
}

/// A content type we do not take, or one that is wrong. The sender's move.
#[derive(Debug, Error)]
enum Unreadable {
    #[error("only multipart/related; type=\"application/dicom\" is taken")]
    Kind,
    #[error(transparent)]
    Boundary(#[from] MultipartError),
}

impl IntoResponse for Unreadable {
    fn into_response(self) -> Response {
        let status = match self {
            Unreadable::Kind => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Unreadable::Boundary(_) => StatusCode::BAD_REQUEST,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// A reader of the body, by its content type.
fn parts(headers: &HeaderMap) -> Result<Parts, Unreadable> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.parse::<Mime>().ok());
    let related = kind.filter(|kind| kind.essence_str() == "multipart/related");
    let of_files = related.filter(|kind| {
        kind.get_param("type").is_none_or(|inner| inner.as_str() == "application/dicom")
    });
    let kind = of_files.ok_or(Unreadable::Kind)?;
    let boundary = kind.get_param(mime::BOUNDARY).map_or("", |boundary| boundary.as_str());
    Ok(Parts::new(boundary)?)
}

/// Why a body cannot be read to its end. The sender's move.
#[derive(Debug, Error)]
enum Broken {
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    #[error("the connection broke: {0}")]
    Connection(#[from] axum::Error),
    #[error("nothing came for {} s", MESSAGE_IDLE.as_secs())]
    Silent,
}

struct Request {
    receiver: Arc<Receiver>,
    id: AssociationId,
    /// The address of the peer.
    sender: Arc<str>,
    /// The study that all instances must belong to.
    study: Option<String>,
}

impl Request {
    async fn carry_out(self, body: Body, parts: Parts) -> Response {
        let mut answer = Answer::default();
        match self.read(body, parts, &mut answer).await {
            Ok(()) => {
                self.receiver.tell(Event::Released(self.id)).await;
                answer.into_response()
            }
            Err(error) => {
                let advice = Move::Peer.advice();
                tracing::warn!(association = self.id.0, %error, advice, "request cut off");
                self.receiver.tell(Event::Aborted(self.id)).await;
                (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
            }
        }
    }

    async fn read(&self, body: Body, mut parts: Parts, answer: &mut Answer) -> Result<(), Broken> {
        let mut body = body.into_data_stream();
        let mut file = Gathered::default();
        while let Some(bytes) =
            timeout(MESSAGE_IDLE, body.next()).await.map_err(|_| Broken::Silent)?
        {
            for piece in parts.take(&bytes?)? {
                match piece {
                    Piece::Begin => file = Gathered::default(),
                    Piece::Bytes(bytes) => {
                        file.append(&bytes, MAX_FILE_BYTES, &self.receiver.memory);
                    }
                    Piece::End => self.land(std::mem::take(&mut file), answer).await,
                }
            }
        }
        Ok(parts.finish()?)
    }

    async fn land(&self, file: Gathered, answer: &mut Answer) {
        let (spool, id, study) = (Arc::clone(&self.receiver.spool), self.id, self.study.clone());
        let origin = Origin { association: id, sender: self.sender.clone() };
        // fsync blocks: not on a worker that other connections wait for.
        let landed = spawn_blocking(move || land(file, study.as_deref(), &spool, origin)).await;
        self.receiver.counts.count(matches!(landed, Ok(Ok(_))));
        match landed {
            Ok(Ok((name, landed))) => {
                if let Landed::Image(arrival) = landed {
                    tracing::debug!(association = id.0, job = %arrival.job, "instance stored");
                    self.receiver.tell(Event::Arrived(arrival)).await;
                }
                answer.stored.push(name);
            }
            Ok(Err((name, failure))) => {
                tracing::warn!(
                    association = id.0,
                    reason = format_args!("{:#06x}", failure.reason()),
                    error = %failure,
                    advice = failure.whose_move().advice(),
                    "instance refused"
                );
                answer.failed.push((name, failure.reason()));
            }
            Err(panicked) => {
                tracing::error!(association = id.0, error = %panicked, "storing an instance failed");
                answer.failed.push((None, Status::ProcessingFailure.code()));
            }
        }
    }
}

/// Why a part is not stored.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("transfer syntax not supported")]
    TransferSyntax,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Failure {
    /// The Failure Reason (0008,1197) of the answer.
    fn reason(&self) -> u16 {
        match self {
            Failure::File(_) => Status::CannotUnderstand.code(),
            Failure::TransferSyntax => TRANSFER_SYNTAX_NOT_SUPPORTED,
            Failure::Refused(refused) => refused.status().code(),
        }
    }

    fn whose_move(&self) -> Move {
        match self {
            Failure::Refused(refused) => refused.whose_move(),
            _ => Move::Peer,
        }
    }
}

/// SOP class and instance, as a file names them. Patient data: for the answer to who sent it.
type Name = [String; 2];

/// A part of a request: durable, or refused, where it is a DICOM file with its name. Blocks on the disk.
fn land(
    file: Gathered,
    study: Option<&str>,
    spool: &Spool,
    origin: Origin,
) -> Result<(Name, Landed), (Option<Name>, Failure)> {
    let unnamed = |failure: Failure| (None, failure);
    let (bytes, _memory) = file.whole().map_err(|refused| unnamed(refused.into()))?;
    let file = File::read(&bytes).map_err(|error| unnamed(error.into()))?;
    let name = || Ok([file.sop_class()?, file.sop_instance()?]);
    let name: Name = name().map_err(|error: FileError| unnamed(error.into()))?;
    match land_file(&file, &name, study, spool, origin) {
        Ok(landed) => Ok((name, landed)),
        Err(failure) => Err((Some(name), failure)),
    }
}

fn land_file(
    file: &File<'_>,
    [sop_class, sop_instance]: &Name,
    study: Option<&str>,
    spool: &Spool,
    origin: Origin,
) -> Result<Landed, Failure> {
    let transfer_syntax = file.transfer_syntax()?;
    if !TRANSFER_SYNTAXES.contains(&transfer_syntax.as_str()) {
        return Err(Failure::TransferSyntax);
    }
    let instance = Instance {
        sop_class,
        sop_instance,
        transfer_syntax: &transfer_syntax,
        study,
        data_set: file.data_set,
    };
    Ok(instance.land(instance.usage()?, spool, origin)?)
}

/// What is answered (PS3.18 section 10.5.3, table I.1-1).
#[derive(Debug, Default)]
struct Answer {
    stored: Vec<Name>,
    failed: Vec<(Option<Name>, u16)>,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let full = Status::OutOfResources.code();
        let status = match (self.stored.len(), self.failed.len()) {
            (0, 0) => StatusCode::BAD_REQUEST,
            (_, 0) => StatusCode::OK,
            (0, _) if self.failed.iter().all(|&(_, reason)| reason == full) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (0, _) => StatusCode::CONFLICT,
            _ => StatusCode::ACCEPTED,
        };
        let body = self.module().to_string();
        (status, [(CONTENT_TYPE, "application/dicom+json")], body).into_response()
    }
}

impl Answer {
    /// The Store Instances Response Module, as DICOM JSON.
    fn module(&self) -> Value {
        let item = |name: Option<&Name>, reason: Option<u16>| {
            let mut item = json!({});
            if let Some([class, instance]) = name {
                item["00081150"] = json!({"vr": "UI", "Value": [class]});
                item["00081155"] = json!({"vr": "UI", "Value": [instance]});
            }
            if let Some(reason) = reason {
                item["00081197"] = json!({"vr": "US", "Value": [reason]});
            }
            item
        };
        let stored = self.stored.iter().map(|name| item(Some(name), None));
        let (named, others): (Vec<_>, Vec<_>) =
            self.failed.iter().partition(|(name, _)| name.is_some());
        let failed = |list: Vec<&(Option<Name>, u16)>| -> Vec<Value> {
            list.into_iter().map(|(name, reason)| item(name.as_ref(), Some(*reason))).collect()
        };
        let mut module = json!({});
        // Failed SOP, Referenced SOP, Other Failures Sequence.
        for (tag, items) in [
            ("00081198", failed(named)),
            ("00081199", stored.collect()),
            ("0008119A", failed(others)),
        ] {
            if !items.is_empty() {
                module[tag] = json!({"vr": "SQ", "Value": items});
            }
        }
        module
    }
}
