//! The sessions of the page: `tower-sessions`' memory, which forgets nothing by itself, with an end and a bound.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tower_sessions::cookie::time;
use tower_sessions::session::Id;
use tower_sessions::{MemoryStore, Session, SessionStore, session};

/// A session ends so long after its login, whatever it does: a shift.
pub(super) const SHIFT: time::Duration = time::Duration::hours(8);
/// Sessions at once; a login more ends the oldest. A site has a room of screens.
const MOST: usize = 256;
/// How often a stream of messages asks whether its session is still there.
const ASK: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    pub(super) store: MemoryStore,
    /// In the order of their logins, which is that of their ends.
    open: Arc<Mutex<VecDeque<(Id, time::OffsetDateTime)>>>,
}

impl Sessions {
    /// Keeps a session that has just logged in, and forgets those that are over.
    pub(super) async fn keep(&self, session: &Session) -> Result<(), session::Error> {
        session.save().await?;
        let Some(id) = session.id() else { return Ok(()) };
        let now = time::OffsetDateTime::now_utc();
        for over in self.turn(id, now) {
            self.store.delete(&over).await?;
        }
        Ok(())
    }

    /// Adds one; those that are over, or too many.
    fn turn(&self, id: Id, now: time::OffsetDateTime) -> Vec<Id> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back((id, now + SHIFT));
        let mut over = Vec::new();
        while let Some(&(id, end)) = open.front()
            && (end <= now || open.len() > MOST)
        {
            over.push(id);
            open.pop_front();
        }
        over
    }
}

/// What a stream of messages was asked for with.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) sessions: Sessions,
    pub(super) id: Id,
}

impl Pass {
    /// Ends when the session has ended: by its age, or because somebody logged out.
    pub(super) async fn over(&self) {
        while let Ok(Some(_)) = self.sessions.store.load(&self.id).await {
            tokio::time::sleep(ASK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_sessions::session::Record;

    #[test]
    fn sessions_that_are_over_or_too_many_are_forgotten() {
        let sessions = Sessions::default();
        let start = time::OffsetDateTime::UNIX_EPOCH;
        let ids: Vec<Id> = (0..MOST as i128 + 1).map(Id).collect();
        for &id in &ids[..MOST] {
            assert_eq!(sessions.turn(id, start), []);
        }
        assert_eq!(sessions.turn(ids[MOST], start), [ids[0]], "the oldest");
        let late = start + SHIFT;
        assert_eq!(sessions.turn(ids[0], late), ids[1..], "all but the new one");
    }

    #[tokio::test]
    async fn a_pass_ends_with_its_session() {
        let sessions = Sessions::default();
        let expiry_date = time::OffsetDateTime::now_utc() + SHIFT;
        let mut record = Record { id: Id(7), data: Default::default(), expiry_date };
        sessions.store.create(&mut record).await.unwrap();
        let pass = Pass { sessions: sessions.clone(), id: record.id };
        let moment = Duration::from_millis(50);
        assert!(tokio::time::timeout(moment, pass.over()).await.is_err(), "it lasts");
        record.expiry_date = time::OffsetDateTime::now_utc();
        sessions.store.save(&record).await.unwrap();
        pass.over().await;
    }
}
