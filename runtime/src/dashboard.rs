//! The page for people: jobs, overlay and live messages, at <http://127.0.0.1:8080> unless configured.
//!
//! Reads only, but that an alarm was seen; nothing on it holds patient data (pictures have no text, jobs are [`JobId`]s). The files of the page lie
//! in `runtime/dashboard` and are part of the binary. Where jobs and pictures come from is left to [`OverlaySource`].

mod device;
mod fleet;
mod history;
mod live;
mod login;
mod pictures;
mod sessions;
mod token;

use crate::identity::JobId;
use crate::messages::{AlarmCode, AlarmMessage, HealthReport, JobResult, JobStatus};
use crate::publish::mqtt::LiveMessage;
use crate::render::View;
use crate::users::{Users, UsersError};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use fleet::Fleet;
use history::History;
use live::Live;
pub use login::Access;
pub(crate) use login::own_header;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;
pub use token::{Token, TokenError};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast, watch};

/// Where the page is served unless configured: this machine only, which needs no login.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Pictures drawn at once: one per core of the smallest device, the rest waits.
const MAX_DRAWING: usize = 2;
/// Section `dashboard` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the page listens; no page when absent.
    pub bind: Option<SocketAddr>,
    /// The file of those who may log in, which `sagitta user add` writes; without it whoever is at this machine may do
    /// everything, and the page listens nowhere else.
    #[serde(default)]
    pub users: Option<PathBuf>,
    /// The file of the token that lets Prometheus read `/metrics` where the page has users.
    #[serde(default)]
    pub metrics_token: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { bind: Some(DEFAULT_LISTEN), users: None, metrics_token: None }
    }
}

/// Our own files only; no inline code or style, no frames.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The files of the page: path, type, text.
const FILES: [(&str, &str, &str); 20] = [
    ("/", "text/html; charset=utf-8", include_str!("../dashboard/index.html")),
    ("/health", "text/html; charset=utf-8", include_str!("../dashboard/health.html")),
    ("/wall", "text/html; charset=utf-8", include_str!("../dashboard/wall.html")),
    ("/icon.svg", "image/svg+xml", include_str!("../dashboard/icon.svg")),
    ("/style.css", "text/css", include_str!("../dashboard/style.css")),
    ("/app.js", "text/javascript", include_str!("../dashboard/app.js")),
    ("/events.js", "text/javascript", include_str!("../dashboard/events.js")),
    ("/health.js", "text/javascript", include_str!("../dashboard/health.js")),
    ("/wall.js", "text/javascript", include_str!("../dashboard/wall.js")),
    ("/plot.js", "text/javascript", include_str!("../dashboard/plot.js")),
    ("/jobs.js", "text/javascript", include_str!("../dashboard/jobs.js")),
    ("/viewer.js", "text/javascript", include_str!("../dashboard/viewer.js")),
    ("/slices.js", "text/javascript", include_str!("../dashboard/slices.js")),
    ("/paint.js", "text/javascript", include_str!("../dashboard/paint.js")),
    ("/outline.js", "text/javascript", include_str!("../dashboard/outline.js")),
    ("/inspect.js", "text/javascript", include_str!("../dashboard/inspect.js")),
    ("/login.js", "text/javascript", include_str!("../dashboard/login.js")),
    ("/waterfall.js", "text/javascript", include_str!("../dashboard/waterfall.js")),
    ("/device.js", "text/javascript", include_str!("../dashboard/device.js")),
    ("/messages.js", "text/javascript", include_str!("../dashboard/messages.js")),
];

/// A job as the page shows it: the message types, so that what cannot be published cannot be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobView {
    #[serde(flatten)]
    pub status: JobStatus,
    /// Slices that can be asked for; 0 before there is a volume.
    pub slices: usize,
    pub result: Option<JobResult>,
}

/// Where jobs and their pictures come from. Called on threads that may block.
pub trait OverlaySource: Send + Sync {
    /// How the topics of this device begin, `sagitta/v1/{site}/{device}/`.
    fn topics(&self) -> String;

    /// The jobs the device remembers, newest first.
    fn jobs(&self) -> Vec<JobView>;

    /// What can be looked at of a job, without its voxels. `None` where there is nothing.
    fn view(&self, job: &JobId) -> Option<View>;

    /// The voxels of slice `k`, as [`Scene::voxels`](crate::render::Scene::voxels) gives them.
    fn voxels(&self, job: &JobId, k: usize) -> Option<Vec<u8>>;

    /// How the device is; `None` before the first look.
    fn health(&self) -> Option<HealthReport>;

    /// The alarms, those that matter most first.
    fn alarms(&self) -> Vec<AlarmMessage>;

    /// Somebody has seen an alarm. Returns whether there was one to see.
    fn acknowledge(&self, code: AlarmCode) -> bool;

    /// The overview picture.
    fn overview_png(&self, job: &JobId) -> Option<Vec<u8>>;
}

/// Why there is no page. The site's move.
#[derive(Debug, Error)]
pub enum DashboardError {
    #[error(
        "the page cannot listen on {listen}: the port is in use; stop the other program or give the page another port"
    )]
    PortInUse { listen: SocketAddr },
    #[error("the page cannot listen on {listen}: {source}")]
    Listen { listen: SocketAddr, source: std::io::Error },
    #[error(
        "the page listens on this machine only as long as nobody is named who may log in: `sagitta user add`, then [dashboard] users"
    )]
    Nobody,
    #[error(transparent)]
    Users(#[from] UsersError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the page stopped: {0}")]
    Serve(#[from] std::io::Error),
}

impl Settings {
    /// Who may use the page. Elsewhere than on this machine somebody must be named.
    pub fn access(&self) -> Result<Access, DashboardError> {
        let users = self.users.as_deref().map(Users::read).transpose()?.unwrap_or_default();
        let metrics = self.metrics_token.as_deref().map(Token::read).transpose()?;
        match (users.is_empty(), self.bind.is_none_or(|bind| bind.ip().is_loopback())) {
            (false, _) => Ok(Access::Users { users: Arc::new(users), metrics }),
            (true, true) => Ok(Access::ThisMachine),
            (true, false) => Err(DashboardError::Nobody),
        }
    }
}

/// Takes the page's port; port 0 takes a free one.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, DashboardError> {
    TcpListener::bind(listen).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => DashboardError::PortInUse { listen },
        _ => DashboardError::Listen { listen, source },
    })
}

/// Serves the page until `stop` turns true. `live`: the messages our own subscriber receives.
pub async fn serve(
    listener: TcpListener,
    access: Access,
    source: Arc<dyn OverlaySource>,
    live: broadcast::Receiver<LiveMessage>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), DashboardError> {
    let local = listener.local_addr()?.ip().is_loopback();
    let (fleet, history) = (Fleet::default(), History::default());
    let live = Live::start(live, source.topics(), fleet.clone(), stop.clone());
    let drawing = Arc::new(Semaphore::new(MAX_DRAWING));
    let page = Page { source, drawing, live, fleet, history };
    let keeper = tokio::spawn(history::keep(page.clone(), stop.clone()));
    let mut router = Router::new()
        .route("/api/jobs", get(jobs))
        .route("/api/jobs/{job}/view", get(pictures::view))
        .route("/api/jobs/{job}/slices/{k}", get(pictures::slice))
        .route("/api/jobs/{job}/overview.png", get(pictures::overview))
        .route("/api/health", get(device::health))
        .route("/api/history", get(history::history))
        .route("/api/fleet", get(fleet::fleet))
        .route("/api/alarms", get(device::alarms))
        .route("/api/alarms/{code}/acknowledge", post(device::acknowledge))
        .route("/metrics", get(device::metrics))
        .route("/events", get(live::events));
    for (path, kind, text) in FILES {
        router = router.route(path, get(async move || ([(CONTENT_TYPE, kind)], text)));
    }
    let router = login::guarded(router.with_state(page), access, local)
        .layer(middleware::map_response(with_policy))
        .layer(middleware::from_fn_with_state(local, only_this_machine));
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
    // It ends by itself, but where serving failed.
    keeper.abort();
    Ok(served?)
}

#[derive(Clone)]
struct Page {
    source: Arc<dyn OverlaySource>,
    drawing: Arc<Semaphore>,
    live: Live,
    fleet: Fleet,
    history: History,
}

impl axum::extract::FromRef<Page> for Live {
    fn from_ref(page: &Page) -> Live {
        page.live.clone()
    }
}

/// A page on loopback answers to names of loopback only: another site's name that resolves to 127.0.0.1 (DNS rebinding)
/// must not read it.
pub(crate) async fn only_this_machine(
    State(local): State<bool>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match local && !matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        true => StatusCode::MISDIRECTED_REQUEST.into_response(),
        false => next.run(request).await,
    }
}

pub(crate) async fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Anatomy stays out of disk caches; a slice is fetched once per visit by the page itself.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn jobs(State(page): State<Page>) -> Response {
    match page.ask(|source| Some(source.jobs())).await {
        Ok(jobs) => axum::Json(jobs).into_response(),
        Err(status) => status.into_response(),
    }
}

impl Page {
    /// Asks the source on a thread that may block; not found where it has nothing.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn OverlaySource) -> Option<T> + Send + 'static,
    ) -> Result<T, StatusCode> {
        let permit = self.drawing.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let source = self.source.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            question(source.as_ref())
        });
        match answer.await {
            Ok(found) => found.ok_or(StatusCode::NOT_FOUND),
            Err(_) => {
                tracing::error!("drawing for the page panicked: a fault of Sagitta");
                Err(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}
