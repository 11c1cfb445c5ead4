//! Storage Commitment, Push Model, as provider (PS3.4 annex J): a peer asks whether we have its instances (N-ACTION), and is
//! told (N-EVENT-REPORT) of each whether the spool holds it.
//!
//! The question is durable before it is answered with success, and stays until the peer has confirmed the report: over
//! restarts, and for [`KEPT`]. A peer with `report_to` in the allow list gets its reports there, on associations of ours; any
//! other on its own associations, the one of the question or a later one.

mod report;

use super::normalized::Declined;
use super::spool::Spool;
use crate::dimse::data_set::{self, Node};
use crate::durable;
use crate::identity::derived_uid;
use crate::ingest::header::is_uid;
use crate::messages::Timestamp;
use crate::wire::requestor::Route;
use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

pub use report::Report;

/// The one instance of the class (PS3.4 J.3.5).
pub const INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// Request Storage Commitment (PS3.4 J.3.2).
pub const ACTION: u16 = 1;
/// Most instances in a question: the largest series we remember.
const MAX_INSTANCES: usize = 20_000;
/// Most questions that wait: a week of a busy scanner whose reports nobody takes.
const MAX_WAITING: usize = 3_000;
/// So long a report waits for who wants it: a modality that was away for a week asks again.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A question that was answered with "you will be told".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    peer: String,
    transaction: String,
    asked_ms: u64,
    instances: Vec<Reference>,
}

impl Question {
    fn is_old(&self, now: Timestamp) -> bool {
        now.millis().saturating_sub(self.asked_ms) > KEPT.as_millis() as u64
    }
}

/// An instance as a peer names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reference {
    class: String,
    instance: String,
}

/// All questions without a confirmed report.
#[derive(Debug)]
pub struct Commitments {
    folder: PathBuf,
    spool: Arc<Spool>,
    /// Where the reports of a peer go, by its title.
    routes: HashMap<String, Route>,
    waiting: Mutex<BTreeMap<PathBuf, Waiting>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Waiting {
    question: Arc<Question>,
    /// Somebody is telling the peer.
    claimed: bool,
    /// How often somebody did.
    tries: u32,
}

impl Waiting {
    fn new(question: Question) -> Waiting {
        Waiting { question: Arc::new(question), claimed: false, tries: 0 }
    }
}

impl Commitments {
    /// Reads what waits in `folder`, which need not be there yet.
    pub fn open(
        folder: &Path,
        spool: Arc<Spool>,
        routes: HashMap<String, Route>,
    ) -> io::Result<Commitments> {
        let mut waiting = BTreeMap::new();
        for path in durable::files(folder, "json")? {
            match serde_json::from_slice::<Question>(&fs::read(&path)?) {
                Ok(question) => {
                    waiting.insert(path, Waiting::new(question));
                }
                Err(_) => {
                    tracing::warn!(file = %path.display(), "no storage commitment; left alone")
                }
            }
        }
        let (changed, _) = watch::channel(());
        let waiting = Mutex::new(waiting);
        Ok(Commitments { folder: folder.to_owned(), spool, routes, waiting, changed })
    }

    /// Takes a question, durably. Blocks on the disk.
    pub fn ask(&self, peer: &str, data_set: &[u8]) -> Result<(), Declined> {
        let question = read(peer, data_set)?;
        let name = derived_uid(&[&question.peer, &question.transaction]);
        let path = self.folder.join(format!("{name}.json"));
        self.drop_old(Timestamp::now())?;
        if self.waiting().len() >= MAX_WAITING {
            return Err(Declined::Full("too many storage commitments wait for their reports"));
        }
        let bytes = serde_json::to_vec(&question).map_err(io::Error::from)?;
        durable::write(&path, &bytes)?;
        self.waiting().insert(path, Waiting::new(question));
        self.changed.send_replace(());
        Ok(())
    }

    /// Gives up what nobody took the report of in time.
    fn drop_old(&self, now: Timestamp) -> io::Result<()> {
        let old = |w: &Waiting| !w.claimed && w.question.is_old(now);
        let waiting = self.waiting();
        let paths: Vec<PathBuf> =
            waiting.iter().filter(|(_, w)| old(w)).map(|(path, _)| path.clone()).collect();
        drop(waiting);
        for path in paths {
            let days = KEPT.as_secs() / 86_400;
            tracing::warn!(days, "a storage commitment nobody took the report of is dropped");
            self.remove(&path)?;
        }
        Ok(())
    }

    /// A report for `peer` that nobody else is sending: over `ours`, an association of ours, or the peer's own.
    fn claim(self: &Arc<Self>, peer: &str, ours: bool) -> Option<Claim> {
        if self.routes.contains_key(peer) != ours {
            return None;
        }
        let mut waiting = self.waiting();
        let free = waiting.iter_mut().filter(|(_, w)| !w.claimed && w.question.peer == peer);
        // In turn: one that its peer never confirms does not hold up the others.
        let (path, next) = free.min_by_key(|(_, w)| w.tries)?;
        (next.claimed, next.tries) = (true, next.tries + 1);
        let (path, question) = (path.clone(), next.question.clone());
        Some(Claim { commitments: Arc::clone(self), path, question })
    }

    /// Waits for a report that is to go over an association of `peer`. May be dropped at any time.
    pub async fn next(self: &Arc<Self>, peer: &str) -> Claim {
        self.claimed(peer, false).await
    }

    async fn claimed(self: &Arc<Self>, peer: &str, ours: bool) -> Claim {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(claim) = self.claim(peer, ours) {
                return claim;
            }
            // The sender is ours: it outlives the wait.
            let _ = changed.changed().await;
        }
    }

    /// Takes a question off the list. Blocks on the disk.
    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => durable::sync_folder(&self.folder)?,
        }
        self.waiting().remove(path);
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to tell a peer; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    commitments: Arc<Commitments>,
    path: PathBuf,
    question: Arc<Question>,
}

impl Claim {
    /// What the spool says now. Blocks on the disk.
    pub fn report(&self) -> io::Result<Report> {
        Report::of(&self.question, &self.commitments.spool)
    }

    /// The peer has confirmed the report. Blocks on the disk.
    pub fn settle(&self) -> io::Result<()> {
        self.commitments.remove(&self.path)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(waiting) = self.commitments.waiting().get_mut(&self.path) {
            waiting.claimed = false;
        }
    }
}

/// The data set of an N-ACTION (PS3.4 table J.3-1).
fn read(peer: &str, data_set: &[u8]) -> Result<Question, Declined> {
    let (mut transaction, mut instances) = (None, Vec::<Reference>::new());
    data_set::visit(data_set, &mut |path, node| match (path, node) {
        ([], Node::Value(tags::TRANSACTION_UID, value)) => {
            transaction = Some(data_set::text(value))
        }
        ([tags::REFERENCED_SOP_SEQUENCE], Node::Item) => instances.push(Reference::default()),
        ([tags::REFERENCED_SOP_SEQUENCE], Node::Value(tag, value)) => {
            let Some(last) = instances.last_mut() else { return };
            match tag {
                tags::REFERENCED_SOP_CLASS_UID => last.class = data_set::text(value),
                tags::REFERENCED_SOP_INSTANCE_UID => last.instance = data_set::text(value),
                _ => {}
            }
        }
        _ => {}
    })?;
    let transaction = transaction.ok_or(Declined::Missing("transaction UID"))?;
    if instances.is_empty() {
        return Err(Declined::Missing("referenced SOP sequence"));
    }
    if instances.len() > MAX_INSTANCES {
        return Err(Declined::Full("more instances than we commit to at once"));
    }
    let named = |i: &Reference| is_uid(&i.class) && is_uid(&i.instance);
    if !is_uid(&transaction) || !instances.iter().all(named) {
        return Err(Declined::Invalid("UID"));
    }
    let asked_ms = Timestamp::now().millis();
    Ok(Question { peer: peer.to_owned(), transaction, asked_ms, instances })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::Status;
    use crate::dimse::data_set::Writer;

    fn question(transaction: Option<&str>, instances: &[&str]) -> Vec<u8> {
        let item = |instance: &&str| {
            let mut item = Writer::default();
            item.uid(tags::REFERENCED_SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.4");
            item.uid(tags::REFERENCED_SOP_INSTANCE_UID, instance);
            item
        };
        let mut written = Writer::default();
        if let Some(transaction) = transaction {
            written.uid(tags::TRANSACTION_UID, transaction);
        }
        if !instances.is_empty() {
            written.sequence(tags::REFERENCED_SOP_SEQUENCE, instances.iter().map(item));
        }
        written.into_bytes()
    }

    fn open(root: &Path) -> Arc<Commitments> {
        let (spool, _) = Spool::open(&root.join("spool"), b"key").unwrap();
        let folder = root.join("commitments");
        Arc::new(Commitments::open(&folder, Arc::new(spool), HashMap::new()).unwrap())
    }

    #[test]
    fn a_question_that_cannot_be_one_has_its_status() {
        let status = |bytes: &[u8]| read("MR1", bytes).err().map(|declined| declined.status());
        assert_eq!(status(&question(Some("1.2"), &["1.3", "1.4"])), None);
        assert_eq!(status(&question(None, &["1.3"])), Some(Status::MissingAttribute));
        assert_eq!(status(&question(Some("1.2"), &[])), Some(Status::MissingAttribute));
        assert_eq!(status(&question(Some("../x"), &["1.3"])), Some(Status::InvalidValue));
        assert_eq!(status(&question(Some("1.2"), &["1.3", "x"])), Some(Status::InvalidValue));
        assert_eq!(status(b"a letter"), Some(Status::ProcessingFailure));
        let many = vec!["1.3"; MAX_INSTANCES + 1];
        assert_eq!(status(&question(Some("1.2"), &many)), Some(Status::ResourceLimitation));
    }

    #[test]
    fn a_question_is_told_by_one_at_a_time_in_turn_and_given_up_when_it_is_old() {
        let root = std::env::temp_dir().join(format!("sagitta-commit-{}", std::process::id()));
        let commitments = open(&root);
        for transaction in ["1.2.1", "1.2.2"] {
            commitments.ask("MR1", &question(Some(transaction), &["1.3"])).unwrap();
        }
        assert!(
            commitments.claim("MR2", false).is_none() && commitments.claim("MR1", true).is_none()
        );
        let first = commitments.claim("MR1", false).unwrap();
        let second = commitments.claim("MR1", false).unwrap();
        assert_ne!(first.question.transaction, second.question.transaction);
        assert!(commitments.claim("MR1", false).is_none(), "both are being told");
        let untold = first.question.transaction.clone();
        drop(first);
        second.settle().unwrap();
        drop(second);
        drop(commitments);

        let commitments = open(&root);
        let left = commitments.claim("MR1", false).unwrap();
        assert_eq!(left.question.transaction, untold, "a restart forgets none");
        let late = Timestamp::from_millis(left.question.asked_ms + KEPT.as_millis() as u64 + 1);
        commitments.drop_old(late).unwrap();
        assert_eq!(commitments.waiting().len(), 1, "it is being told");
        drop(left);
        commitments.drop_old(late).unwrap();
        drop(commitments);
        assert!(open(&root).waiting().is_empty());
        fs::remove_dir_all(root).unwrap();
    }
}
