//! Tells the broker what stage a job is in, beside its work: the overlay does not wait for the disk that keeps the message.

use crate::messages::JobStatus;
use crate::publish::mqtt::Publisher;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Publishes statuses in their order, on a thread of its own. A kill may lose the last of them: the series runs again, and tells
/// its stages again.
#[derive(Debug)]
pub(super) struct Herald {
    publisher: Arc<Publisher>,
    queue: Sender<JobStatus>,
    waiting: Arc<Waiting>,
}

/// How many statuses wait.
#[derive(Debug, Default)]
struct Waiting {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Waiting {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Herald {
    pub(super) fn start(publisher: Arc<Publisher>) -> Herald {
        let ((queue, statuses), waiting) = (channel(), Arc::<Waiting>::default());
        let (teller, told) = (publisher.clone(), waiting.clone());
        std::thread::spawn(move || tell_all(&teller, &statuses, &told));
        Herald { publisher, queue, waiting }
    }

    /// Tells it soon.
    pub(super) fn announce(&self, status: JobStatus) {
        *self.waiting.count() += 1;
        // The thread lives as long as the queue.
        let _ = self.queue.send(status);
    }

    /// Tells it, durably, after all that was announced.
    pub(super) fn tell(&self, status: &JobStatus) {
        self.catch_up();
        tell(&self.publisher, status);
    }

    /// Waits until all that was announced is told.
    pub(super) fn catch_up(&self) {
        let waited = self.waiting.fewer.wait_while(self.waiting.count(), |count| *count > 0);
        drop(waited);
    }
}

fn tell_all(publisher: &Publisher, statuses: &Receiver<JobStatus>, waiting: &Waiting) {
    for status in statuses {
        tell(publisher, &status);
        *waiting.count() -= 1;
        waiting.fewer.notify_all();
    }
}

fn tell(publisher: &Publisher, status: &JobStatus) {
    if let Err(error) = publisher.status(status) {
        let advice = error.whose().advice();
        tracing::error!(job = %status.job, "a status is lost: {error}; {advice}");
    }
}
