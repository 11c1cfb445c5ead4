//! Jobs: complete series, one after the other, through decode, segmentation and outputs.
//!
//! One thread works them off, because one network fills the machine; the queue is bounded. A panic is our bug and ends
//! one job, not the service.

pub mod board;
pub mod clock;
pub mod produce;

use crate::decode;
use crate::error::Move;
use crate::identity::JobId;
use crate::messages::{Completion, FailureCode, JobResult, JobState};
use crate::objects::Made;
use crate::outbox::Outbox;
use crate::publish::store::Destination;
use board::{Board, Produced, Shown};
use clock::StageClock;
use produce::{ProduceError, Product, Request, Source, Workshop};
use serde::{Deserialize, Serialize};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Complete series that may wait: half an hour of a busy scanner. Beyond, the receiver answers "out of resources" by way of
/// a full queue, and the console sends again.
pub const MAX_WAITING: usize = 64;
/// Section `jobs` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Threads of the engine; all cores when absent.
    pub threads: Option<usize>,
}

/// What is to be done with a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is complete: segment it.
    Run(Completion),
    /// It was given up although nothing is known to be missing: find out why, and say so.
    Explain { have: u32 },
}

/// A series to work on.
#[derive(Debug)]
pub struct Job {
    pub id: JobId,
    pub generation: u32,
    /// Its instances in the spool, any order.
    pub files: Vec<PathBuf>,
    pub purpose: Purpose,
    /// From the last instance to the decision that it is complete.
    pub waited: Duration,
}

/// What a worker needs.
pub struct Bench {
    pub workshop: Workshop,
    pub board: Arc<Board>,
    pub outbox: Arc<Outbox>,
    pub destinations: Vec<Destination>,
    /// Folder of all results.
    pub results: PathBuf,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bench({})", self.results.display())
    }
}

/// Starts the worker. It ends when the queue's senders are gone.
pub fn start(
    mut bench: Bench,
    queue: Receiver<Job>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("jobs".to_owned()).stack_size(decode::dicom::STACK_BYTES).spawn(move || {
        while let Ok(job) = queue.recv() {
            let worked = std::panic::catch_unwind(AssertUnwindSafe(|| bench.work(&job)));
            if worked.is_err() {
                tracing::error!(job = %job.id, "the job panicked: a fault of Sagitta, please report it");
                bench.board.change(&job.id, failed(FailureCode::Internal, Move::Sagitta));
            }
        }
    })
}

fn failed(code: FailureCode, whose: Move) -> JobState {
    JobState::Failed { code, whose }
}

impl Bench {
    fn work(&mut self, job: &Job) {
        let worked = match job.purpose {
            Purpose::Run(completion) => self.produce(job, completion),
            Purpose::Explain { have } => decode(job).map(|_| {
                tracing::warn!(job = %job.id, have, "incomplete: more was meant to come; the sender's move");
                JobState::Incomplete { have, expect: None }
            }),
        };
        let state = match worked {
            Ok(JobState::Done) => return self.board.finished(&job.id),
            // Told before the deliveries began.
            Ok(JobState::Sending) => return,
            Ok(state) => state,
            Err(ProduceError::Refused(refusal)) => {
                let advice = Move::Peer.advice();
                tracing::info!(job = %job.id, code = ?refusal.code, "refused: {refusal}; {advice}");
                return self.board.refused(&job.id, refusal);
            }
            Err(error) => {
                let whose = error.whose_move();
                tracing::error!(job = %job.id, "failed: {error}; {}", whose.advice());
                failed(error.code(), whose)
            }
        };
        self.board.change(&job.id, state);
    }

    /// Makes the outputs and hands them to the deliveries. Returns the state the job is in then.
    fn produce(&mut self, job: &Job, completion: Completion) -> Result<JobState, ProduceError> {
        let mut clock = StageClock::new(job.waited);
        let folder = self.folder(job);
        let board = self.board.clone();
        let mut begin = |stage| board.begin(&job.id, stage);
        clock.begin(crate::messages::JobStage::Volume, &mut begin);
        let source = decode(job)?;
        let request = Request {
            name: job.id.to_string(),
            folder: folder.clone(),
            made: made(&folder)?,
            generation: job.generation,
        };
        let product = self.workshop.produce(&source, &request, &mut clock, &mut begin)?;
        clock.end();
        self.show(job, completion, &product, &clock)?;
        self.hand_over(job, &product)
    }

    /// Puts the result where the page and the last acknowledgement find it.
    fn show(
        &self,
        job: &Job,
        completion: Completion,
        product: &Product,
        clock: &StageClock,
    ) -> Result<(), ProduceError> {
        let (model, engine) = self.workshop.tags()?;
        let (id, segmentation) = (job.id.clone(), &product.segmentation);
        let mut result = JobResult::new(id, job.generation, segmentation, model, engine);
        result.stages_ms = clock.timings().clone();
        result.outputs = product.report.outputs.kinds();
        let mut report = product.report.clone();
        report.series.complete = Some(completion);
        let folder = self.folder(job);
        let (scene, overview) = (product.scene.clone(), Arc::new(product.overview.clone()));
        let shown = Shown { scene, overview };
        self.board.produced(&job.id, shown, Produced { result, report, folder });
        Ok(())
    }

    fn folder(&self, job: &Job) -> PathBuf {
        self.results.join(job.id.as_str()).join(job.generation.to_string())
    }

    /// Records what every destination has to get. Without destinations the job is done.
    fn hand_over(&self, job: &Job, product: &Product) -> Result<JobState, ProduceError> {
        let wanted = |to: &Destination| -> Vec<PathBuf> {
            let objects = product.objects.iter().filter(|(kind, _)| to.wants(*kind));
            objects.map(|(_, path)| relative(&self.results, path)).collect()
        };
        let names = self.destinations.iter().map(|to| (to.name.as_str(), wanted(to)));
        let deliveries: Vec<_> = names.filter(|(_, files)| !files.is_empty()).collect();
        if deliveries.is_empty() {
            return Ok(JobState::Done);
        }
        // In this order: a delivery that is quicker than this thread must not be overtaken by "sending".
        self.board.change(&job.id, JobState::Sending);
        self.outbox.record_deliveries(&job.id, &deliveries)?;
        self.board.wake();
        Ok(JobState::Sending)
    }
}

fn decode(job: &Job) -> Result<Source, ProduceError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| ProduceError::Read { path: path.clone(), source })
    };
    let files: Vec<Vec<u8>> = job.files.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Source::Dicom(Box::new(decode::dicom::decode(&files)?)))
}

fn relative(folder: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(folder).unwrap_or(path).to_owned()
}

/// The date of the job's objects: now at its first run, the stored one ever after, so that a repetition gives the same
/// bytes.
fn made(folder: &Path) -> Result<Made, ProduceError> {
    let path = folder.join("made.json");
    if let Some(made) = std::fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok()) {
        return Ok(made);
    }
    let now = crate::messages::Timestamp::now().to_string();
    let digits: String = now.chars().filter(char::is_ascii_digit).collect();
    let made = Made { date: digits[..8].to_owned(), time: digits[8..14].to_owned() };
    let bytes = serde_json::to_vec(&made).expect("two strings");
    produce::write(&path, &bytes)?;
    Ok(made)
}
