//! Who looks at the page: login, session, role. Without users it is whoever sits at this machine.
//!
//! Sessions are `tower-sessions`' (random ids, kept in memory: a restart ends them), login and logout `axum-login`'s (a new
//! id at login, an end to the session where the password changes). Prometheus shows a token in place of a session. The cookie is sent by no other site's page
//! (`SameSite=Strict`), and what changes something asks for our own header too.

use super::sessions::{Pass, SHIFT, Sessions};
use super::token::Token;
use crate::users::{Role, User, Users};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// A header that no other site's page can send without asking us first, which we do not answer (Fetch, section 3.2).
const OWN_HEADER: &str = "x-sagitta";
/// Wrong passwords in a row until a name has to wait, and how long: 5 guesses a minute are 7000 a day.
const GUESSES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(60);
/// Passwords checked at once: each takes a core for a while, and 19 MiB (the default of Argon2id in crate `argon2`).
const CHECKS: usize = 1;

/// Who may do what on the page.
#[derive(Debug, Clone)]
pub enum Access {
    /// Nobody is named: the page listens on this machine only, and whoever is there may do everything.
    ThisMachine,
    /// Those of the site's file; Prometheus by its token, where there is one.
    Users { users: Arc<Users>, metrics: Option<Token> },
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.hash()
    }
}

/// The users, and how often each was guessed at.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    users: Arc<Users>,
    checks: Arc<Semaphore>,
    /// Names of users; all others share the empty one, so that guessing cannot fill the memory.
    wrong: Arc<Mutex<HashMap<String, (u32, Instant)>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

/// Too many wrong passwords for this name.
#[derive(Debug, thiserror::Error)]
#[error("too many wrong passwords")]
pub(super) struct Throttled;

impl Gate {
    fn key(&self, name: &str) -> String {
        self.users.find(name).map_or_else(String::new, |user| user.name.clone())
    }

    /// Takes one of the guesses that a name has; an error where there is none left.
    fn guess(&self, name: &str) -> Result<(), Throttled> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = wrong.entry(self.key(name)).or_insert((0, Instant::now()));
        if last.elapsed() >= PAUSE {
            *count = 0;
        }
        if *count >= GUESSES {
            return Err(Throttled);
        }
        (*count, *last) = (*count + 1, Instant::now());
        Ok(())
    }

    fn forgive(&self, name: &str) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key(name));
    }
}

impl AuthnBackend for Gate {
    type User = User;
    type Credentials = Credentials;
    type Error = Throttled;

    async fn authenticate(&self, given: Credentials) -> Result<Option<User>, Throttled> {
        let Credentials { name, password } = given;
        self.guess(&name)?;
        let _check = self.checks.acquire().await.expect("the semaphore is never closed");
        let users = self.users.clone();
        let known = tokio::task::spawn_blocking(move || {
            let user = users.find(&name).cloned();
            // A name that is not there takes as long as a wrong password, so that names cannot be tried.
            let checked = user.as_ref().or_else(|| users.any())?;
            let right = checked.has_password(&password);
            user.filter(|_| right)
        });
        let known = known.await.unwrap_or_default();
        if let Some(user) = &known {
            self.forgive(&user.name);
        }
        Ok(known)
    }

    async fn get_user(&self, name: &String) -> Result<Option<User>, Throttled> {
        Ok(self.users.find(name).cloned())
    }
}

/// Adds login, sessions and the check of roles to the page's `router`. `local`: on this machine only.
pub(super) fn guarded(router: Router, access: Access, local: bool) -> Router {
    let Access::Users { users, metrics } = access else {
        let whoever =
            || async { Json(serde_json::json!({ "name": null, "role": Role::Engineer })) };
        return router.route("/api/me", get(whoever)).layer(middleware::from_fn(own_header));
    };
    let gate = Gate { users, checks: Arc::new(Semaphore::new(CHECKS)), wrong: Arc::default() };
    let sessions = Sessions::default();
    let manager = SessionManagerLayer::new(sessions.store.clone())
        .with_name("sagitta")
        .with_http_only(true)
        .with_same_site(SameSite::Strict)
        // Elsewhere the page is behind a proxy that has TLS: without it, no browser sends the cookie.
        .with_secure(!local)
        // Only what changes a session counts as activity: its login.
        .with_expiry(Expiry::OnInactivity(SHIFT));
    let guard = Guard { sessions: sessions.clone(), metrics };
    router
        .route("/api/me", get(me))
        .route("/api/logout", post(logout))
        .layer(middleware::from_fn_with_state(guard, allowed))
        .route("/api/login", post(login).with_state(sessions))
        .layer(AuthManagerLayerBuilder::new(gate, manager).build())
        .layer(middleware::from_fn(own_header))
}

/// What changes something comes from our own page.
pub(crate) async fn own_header(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match reads || request.headers().contains_key(OWN_HEADER) {
        true => next.run(request).await,
        false => StatusCode::FORBIDDEN.into_response(),
    }
}

/// What the check of roles knows.
#[derive(Debug, Clone)]
struct Guard {
    sessions: Sessions,
    metrics: Option<Token>,
}

/// The page itself is everybody's; what it asks for needs a viewer, what it changes an engineer.
async fn allowed(
    State(guard): State<Guard>,
    session: AuthSession<Gate>,
    raw: Session,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let guarded = path.starts_with("/api/") || path == "/events" || path == "/metrics";
    let scraped = path == "/metrics" && guard.metrics.is_some_and(|t| t.is_shown(&request));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let needed = if reads || path == "/api/logout" { Role::Viewer } else { Role::Engineer };
    match session.user.map(|user| user.role) {
        _ if !guarded || scraped => next.run(request).await,
        None => StatusCode::UNAUTHORIZED.into_response(),
        Some(role) if role < needed => StatusCode::FORBIDDEN.into_response(),
        Some(_) => {
            if let Some(id) = raw.id() {
                request.extensions_mut().insert(Pass { sessions: guard.sessions, id });
            }
            next.run(request).await
        }
    }
}

async fn login(
    State(sessions): State<Sessions>,
    mut session: AuthSession<Gate>,
    raw: Session,
    Json(given): Json<Credentials>,
) -> Response {
    match session.authenticate(given).await {
        Ok(Some(user))
            if session.login(&user).await.is_ok() && sessions.keep(&raw).await.is_ok() =>
        {
            tracing::info!(role = ?user.role, "somebody logged in to the page");
            Json(serde_json::json!({ "name": user.name, "role": user.role })).into_response()
        }
        Ok(Some(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Ok(None) => StatusCode::UNAUTHORIZED.into_response(),
        Err(_) => {
            tracing::warn!("a login to the page waits: too many wrong passwords");
            StatusCode::TOO_MANY_REQUESTS.into_response()
        }
    }
}

async fn logout(mut session: AuthSession<Gate>) -> StatusCode {
    match session.logout().await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn me(session: AuthSession<Gate>) -> Response {
    match session.user {
        Some(user) => {
            Json(serde_json::json!({ "name": user.name, "role": user.role })).into_response()
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}
