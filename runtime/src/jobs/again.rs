//! Series that are numbered again: they had a result without levels before another series of their study named them. A revised
//! generation, once, when nothing else waits.

use super::source::Source;
use super::{Bench, Job, Purpose, Work, generation};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// Those that are to be run. Their generations are begun on the disk: what a kill leaves here runs at the next start.
#[derive(Debug, Default)]
pub struct Again(VecDeque<Job>);

impl Again {
    /// What waits in the queue, else one of these, else what comes within `pause`.
    pub(super) fn or_next(
        &mut self,
        queue: &Receiver<Work>,
        pause: Duration,
    ) -> Result<Work, RecvTimeoutError> {
        match queue.try_recv() {
            Ok(work) => Ok(work),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => match self.0.pop_front() {
                Some(job) => Ok(Work::Series(job)),
                None => queue.recv_timeout(pause),
            },
        }
    }
}

impl Bench {
    /// Sees to the series of the study of `source` whose levels are known by now. What cannot be seen to keeps its result as
    /// it is.
    pub(super) fn number_again(&mut self, source: &Source) {
        let named = self.levels.now_named(source).unwrap_or_else(|error| {
            tracing::error!("series without levels cannot be read: {error}; the site's move");
            Vec::new()
        });
        for open in named {
            // What was deleted by its age has its result no more, either.
            if !open.files.iter().all(|path| Path::exists(path)) {
                continue;
            }
            match generation::again(&self.results, &open.job, open.files.len()) {
                Ok(Some(generation)) => {
                    tracing::info!(job = %open.job, generation = generation.number, "its levels became known: it is numbered again");
                    let (id, files) = (open.job, open.files);
                    let purpose = Purpose::Run { completion: open.completion, generation };
                    self.again.0.push_back(Job { id, files, purpose, waited: Duration::ZERO });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(job = %open.job, "it cannot be numbered again: {error}; the site's move");
                }
            }
        }
    }
}
