//! Live messages to browsers: Server-Sent Events (HTML Living Standard, section 9.2), beginning with the last ones.

use super::fleet::Fleet;
use super::sessions::Pass;
use crate::publish::mqtt::LiveMessage;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};

/// Messages a page gets when it opens: the life of the last few jobs.
const HISTORY: usize = 60;
/// Messages a slow browser may lag behind before it loses some (and is told how many).
const LAG: usize = 256;
/// Browsers at once.
const MAX_BROWSERS: usize = 16;

/// The messages seen and to come.
#[derive(Debug, Clone)]
pub(super) struct Live {
    history: Arc<Mutex<VecDeque<LiveMessage>>>,
    /// Sent to under the lock of `history`, so that a browser gets each message exactly once.
    news: broadcast::Sender<LiveMessage>,
    browsers: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Live {
    /// Begins to keep what `source` brings: messages under `own`, and for the `fleet` those of all devices. Needs a tokio
    /// runtime.
    pub(super) fn start(
        mut source: broadcast::Receiver<LiveMessage>,
        own: String,
        fleet: Fleet,
        stop: watch::Receiver<bool>,
    ) -> Live {
        let live = Live {
            history: Arc::default(),
            news: broadcast::Sender::new(LAG),
            browsers: Arc::new(Semaphore::new(MAX_BROWSERS)),
            stop,
        };
        let keeper = live.clone();
        tokio::spawn(async move {
            loop {
                match source.recv().await {
                    Ok(message) => {
                        fleet.hear(&message, Instant::now());
                        if message.topic.starts_with(&own) {
                            keeper.keep(message);
                        }
                    }
                    Err(RecvError::Lagged(count)) => tracing::warn!(count, "page messages dropped"),
                    Err(RecvError::Closed) => break,
                }
            }
        });
        live
    }

    fn keep(&self, message: LiveMessage) {
        let mut history = self.history();
        if message.topic.ends_with("/health") {
            // Only the last one is worth anything, and it comes every few seconds.
            history.retain(|kept| kept.topic != message.topic);
        }
        history.push_back(message.clone());
        if history.len() > HISTORY {
            // The device's state is news until another one comes, however many jobs ago it was said.
            let state = history.iter().rposition(|message| message.topic.ends_with("/state"));
            history.remove(usize::from(state == Some(0)));
        }
        // No browser listens: it finds the message in the history.
        let _ = self.news.send(message);
    }

    fn history(&self) -> MutexGuard<'_, VecDeque<LiveMessage>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was, and the receiver of what comes, without a gap between them.
    fn listen(&self) -> (VecDeque<LiveMessage>, broadcast::Receiver<LiveMessage>) {
        let history = self.history();
        (history.clone(), self.news.subscribe())
    }
}

/// One browser's stream.
struct Browser {
    history: VecDeque<LiveMessage>,
    news: broadcast::Receiver<LiveMessage>,
    stop: watch::Receiver<bool>,
    /// Of who logged in, where somebody has to.
    pass: Option<Pass>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn events(State(live): State<Live>, pass: Option<Extension<Pass>>) -> Response {
    let Ok(place) = live.browsers.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open").into_response();
    };
    let (history, news) = live.listen();
    let (stop, pass) = (live.stop.clone(), pass.map(|Extension(pass)| pass));
    let browser = Browser { history, news, stop, pass, _place: place };
    let events = stream::unfold(browser, async |mut browser| {
        let event = browser.next().await?;
        Some((Ok::<_, Infallible>(event), browser))
    });
    Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response()
}

impl Browser {
    /// The next event; `None` at the end of the service or of the session.
    async fn next(&mut self) -> Option<Event> {
        if let Some(message) = self.history.pop_front() {
            return Some(event(&message));
        }
        tokio::select! {
            news = self.news.recv() => match news {
                Ok(message) => Some(event(&message)),
                Err(RecvError::Lagged(count)) => {
                    Some(Event::default().event("dropped").data(count.to_string()))
                }
                Err(RecvError::Closed) => None,
            },
            _ = self.stop.wait_for(|stop| *stop) => None,
            () = over(self.pass.as_ref()) => None,
        }
    }
}

/// Ends when a session has; never where none is needed.
async fn over(pass: Option<&Pass>) {
    match pass {
        Some(pass) => pass.over().await,
        None => std::future::pending().await,
    }
}

fn event(message: &LiveMessage) -> Event {
    Event::default().data(serde_json::json!(message).to_string())
}
