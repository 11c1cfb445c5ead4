//! The set-up as a page: on first boot only, for who is at the box or on its cable, and knows the code that the console shows.
//! It ends with the first configuration, or with too many wrong codes.

use super::{Answers, SetupError, is_near, is_wanted, set_up};
use crate::dashboard::{only_this_machine, own_header, with_policy};
use crate::doctor::{self, Finding};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Wrong codes before the page ends: one in a billion finds a code of [`CODE`] characters with so many.
const GUESSES: u32 = 5;
/// Characters of a code.
const CODE: usize = 8;
/// Those of a code: none that is taken for another.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789+";

/// The files of the page; the look is the dashboard's.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("../../dashboard/setup.html")),
    ("/setup.js", "text/javascript", include_str!("../../dashboard/setup.js")),
    ("/style.css", "text/css", include_str!("../../dashboard/style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("../../dashboard/icon.svg")),
];

/// Why there is no page, or why it ended without a configuration.
#[derive(Debug, Error)]
pub enum PageError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(
        "the page of the set-up listens on this machine or on a link-local address, not on {0}"
    )]
    Far(SocketAddr),
    #[error("the page cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("there were {GUESSES} wrong codes: start it again")]
    Guessed,
    #[error("the page ended: {0}")]
    Serve(#[from] std::io::Error),
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Done,
    Guessed,
}

/// The page before it serves: its address and the code that somebody has to read to it.
#[derive(Debug)]
pub struct SetupPage {
    listener: TcpListener,
    pub address: SocketAddr,
    pub code: String,
    place: PathBuf,
}

struct Shared {
    place: PathBuf,
    code: String,
    wrong: Mutex<u32>,
    stage: watch::Sender<Stage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    code: String,
    answers: Answers,
}

#[derive(Serialize)]
struct Failure {
    error: String,
}

impl SetupPage {
    /// Listens on `address` for the first configuration at `place`.
    pub async fn open(address: SocketAddr, place: &Path) -> Result<SetupPage, PageError> {
        if !is_near(address) {
            return Err(PageError::Far(address));
        }
        if !is_wanted(place) {
            return Err(SetupError::Configured(place.to_owned()).into());
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| PageError::Listen { address, source })?;
        let (address, code) = (listener.local_addr()?, new_code()?);
        Ok(SetupPage { listener, address, code, place: place.to_owned() })
    }

    /// Serves until there is a configuration.
    pub async fn serve(self) -> Result<(), PageError> {
        let local = self.address.ip().is_loopback();
        let (stage, mut changed) = watch::channel(Stage::Open);
        let shared = Shared { place: self.place, code: self.code, wrong: Mutex::new(0), stage };
        let mut router = Router::new().route("/api/setup", post(answered));
        for (path, kind, text) in FILES {
            router = router.route(path, get(async move || ([(CONTENT_TYPE, kind)], text)));
        }
        let router = router
            .with_state(Arc::new(shared))
            .layer(middleware::from_fn(own_header))
            .layer(middleware::map_response(with_policy))
            .layer(middleware::from_fn_with_state(local, only_this_machine));
        let mut ended = changed.clone();
        let over = async move { drop(ended.wait_for(|stage| *stage != Stage::Open).await) };
        axum::serve(self.listener, router).with_graceful_shutdown(over).await?;
        match *changed.borrow_and_update() {
            Stage::Guessed => Err(PageError::Guessed),
            Stage::Open | Stage::Done => Ok(()),
        }
    }
}

async fn answered(State(shared): State<Arc<Shared>>, Json(asked): Json<Asked>) -> Response {
    if !shared.is_known(&asked.code) {
        return failed(StatusCode::UNAUTHORIZED, "This is not the code of the console.".to_owned());
    }
    let worked = tokio::task::spawn_blocking(move || {
        let config = set_up(&asked.answers, &shared.place)?;
        let findings = doctor::examine(Some(&config));
        shared.stage.send_replace(Stage::Done);
        Ok::<Vec<Finding>, SetupError>(findings)
    });
    match worked.await {
        Ok(Ok(findings)) => Json(findings).into_response(),
        Ok(Err(error)) => failed(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        Err(_) => failed(StatusCode::INTERNAL_SERVER_ERROR, "A fault of Sagitta.".to_owned()),
    }
}

fn failed(status: StatusCode, error: String) -> Response {
    (status, Json(Failure { error })).into_response()
}

impl Shared {
    fn is_known(&self, code: &str) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if *wrong < GUESSES && code.trim() == self.code {
            return true;
        }
        *wrong += 1;
        if *wrong >= GUESSES {
            self.stage.send_replace(Stage::Guessed);
        }
        false
    }
}

fn new_code() -> std::io::Result<String> {
    let mut bytes = [0; CODE];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).iter().collect())
}
