//! The service: where all parts meet. Follow one series by reading [`Service::start`] downwards.

use crate::config::Config;
use crate::dashboard;
use crate::identity::JobId;
use crate::ingest::assemble::{self, Assembler, Decision, Reason};
use crate::ingest::spool::Spool;
use crate::ingest::{Event, association};
use crate::jobs::board::Board;
use crate::jobs::produce::Workshop;
use crate::jobs::{self, Bench, Job, Purpose};
use crate::messages::{Completion, JobState};
use crate::outbox::Outbox;
use crate::page::Page;
use crate::publish::deliveries::Deliveries;
use crate::publish::mqtt::{self, Endpoint, LiveMessage, Publisher};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

/// Instances between receiver and assembler: enough that the receiver never waits for a decision.
const ARRIVALS: usize = 1024;
/// Messages kept for a page that reads slowly; it then misses some, the broker does not.
const LIVE: usize = 256;
/// How long the end waits for the job at work.
const LAST_JOB: Duration = Duration::from_secs(20);
/// Nothing is due: the assembler sleeps until an event wakes it, or this long.
const IDLE: Duration = Duration::from_secs(3600);

/// A running service.
#[derive(Debug)]
pub struct Service {
    pub dicom: SocketAddr,
    pub dashboard: Option<SocketAddr>,
    pub endpoint: Endpoint,
    pub board: Arc<Board>,
    pub live: broadcast::Sender<LiveMessage>,
    publisher: Arc<Publisher>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    worker: std::thread::JoinHandle<()>,
}

impl Service {
    /// Starts everything. An error names the part that cannot start and whose move it is; nothing is left running that
    /// matters, because the process ends.
    pub async fn start(config: Config) -> Result<Service> {
        let key = site_key(&config.data)?;
        let (spool, found) = Spool::open(&config.data.join("spool"), &key)?;
        let outbox = Arc::new(Outbox::open(&config.data.join("outbox.redb"))?);
        let listener = bind(config.dicom.bind, "DICOM").await?;
        let page_listener = match config.dashboard.bind {
            Some(address) => Some(dashboard::bind(address).await?),
            None => None,
        };
        let (dicom, page) = (listener.local_addr()?, page_listener.as_ref());
        let dashboard = page.map(TcpListener::local_addr).transpose()?;

        let endpoint = Endpoint::open(&config.mqtt.broker)?;
        let (live, _) = broadcast::channel(LIVE);
        let mut tasks = vec![mqtt::subscribe(&config.mqtt, endpoint.clone(), live.clone())];
        let publisher = Publisher::start(&config.mqtt, endpoint.clone(), outbox.clone());
        let publisher = Arc::new(publisher);
        let board = Arc::new(Board::new(publisher.clone()));

        let results = config.data.join("results");
        let (queue, waiting) = std::sync::mpsc::sync_channel(jobs::MAX_WAITING);
        let bench = Bench {
            workshop: Workshop::open(config.jobs.threads)?,
            board: board.clone(),
            outbox: outbox.clone(),
            destinations: config.destinations.clone(),
            results: results.clone(),
        };
        let worker = jobs::start(bench, waiting)?;
        let deliveries = Deliveries { outbox, board: board.clone(), results: results.clone() };
        tasks.extend(config.destinations.iter().map(|to| deliveries.start(to.clone())));

        let (stop, stopped) = watch::channel(false);
        let (events, incoming) = mpsc::channel(ARRIVALS);
        let assembler = Assembly {
            assembler: Assembler::new(config.complete),
            board: board.clone(),
            queue,
            results,
        };
        tasks.push(tokio::spawn(assembler.run(incoming)));
        for arrival in found {
            events.send(Event::Arrived(Box::new(arrival))).await?;
        }
        let receiver =
            association::serve(listener, config.dicom, Arc::new(spool), events, stopped.clone());
        tasks.push(tokio::spawn(receiver));
        if let Some(listener) = page_listener {
            let page = Arc::new(Page::new(board.clone()));
            let served = dashboard::serve(listener, page, live.subscribe(), stopped);
            tasks.push(tokio::spawn(async move {
                if let Err(error) = served.await {
                    tracing::error!("the page ended: {error}");
                }
            }));
        }
        tracing::info!(%dicom, ?dashboard, broker = ?endpoint, "ready");
        Ok(Service { dicom, dashboard, endpoint, board, live, publisher, stop, tasks, worker })
    }

    /// Takes no more, lets the job at work end, says so to the broker.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let since = Instant::now();
        while self.is_busy() && since.elapsed() < LAST_JOB {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        drop(self.board);
        drop(self.worker);
        if let Some(publisher) = Arc::into_inner(self.publisher) {
            publisher.shutdown().await;
        }
    }

    fn is_busy(&self) -> bool {
        self.board.lines().iter().any(|line| matches!(line.state, JobState::Running { .. }))
    }
}

/// Runs the service until `shutdown` ends.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let service = Service::start(config).await?;
    shutdown.await;
    tracing::info!("shutting down");
    service.shutdown().await;
    Ok(())
}

async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen for {what} on {address}: set another port, or end what holds this one"
        )
    })
}

/// The site's key for job ids: 32 random bytes, made at the first start, readable by the service alone.
fn site_key(data: &Path) -> Result<Vec<u8>> {
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    let path = data.join("site.key");
    let cannot = || {
        let folder = data.display();
        format!("cannot use the data folder {folder}: name another, or let the service write there")
    };
    if let Ok(key) = std::fs::read(&path) {
        anyhow::ensure!(key.len() == 32, "{} is not a site key of 32 bytes", path.display());
        return Ok(key);
    }
    std::fs::create_dir_all(data).with_context(cannot)?;
    let mut key = vec![0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&path).with_context(cannot)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(key)
}

/// The assembler and what its decisions lead to.
struct Assembly {
    assembler: Assembler,
    board: Arc<Board>,
    queue: SyncSender<Job>,
    results: std::path::PathBuf,
}

impl Assembly {
    async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let start = Instant::now();
        loop {
            let due = self.assembler.next_deadline();
            let pause = due.map_or(IDLE, |due| due.saturating_sub(start.elapsed()));
            match tokio::time::timeout(pause, events.recv()).await {
                Ok(None) => return,
                Ok(Some(event)) => {
                    if let Event::Arrived(arrival) = &event {
                        self.board.arrived(&arrival.job);
                    }
                    self.assembler.on_event(start.elapsed(), &event);
                }
                Err(_elapsed) => {}
            }
            for decision in self.assembler.poll(start.elapsed()) {
                self.decide(decision);
            }
        }
    }

    fn decide(&self, decision: Decision) {
        let job = &decision.job;
        let Some(completion) = completion(decision.reason) else { return self.give_up(decision) };
        if self.is_done(job, &decision) {
            tracing::info!(%job, "found in the spool, its result is there already");
            return self.board.change(job, JobState::Done);
        }
        tracing::info!(%job, instances = decision.have, reason = ?decision.reason, "complete");
        if decision.generation > 1 {
            self.board.reopened(job, decision.generation);
        }
        self.board.change(job, JobState::Complete { reason: completion });
        self.enqueue(decision, Purpose::Run(completion));
    }

    /// A series that stopped coming. Where the sender announced more, that is the reason; where not, a look at the images
    /// tells (three slices, several orientations, a gap).
    fn give_up(&self, decision: Decision) {
        let (job, have) = (&decision.job, decision.have as u32);
        match decision.expect.map(|n| n as u32).filter(|&expect| have < expect) {
            Some(expect) => {
                tracing::warn!(%job, have, expect, "incomplete: instances are missing; the sender's move");
                self.board.change(job, JobState::Incomplete { have, expect: Some(expect) });
            }
            None => self.enqueue(decision, Purpose::Explain { have }),
        }
    }

    fn enqueue(&self, decision: Decision, purpose: Purpose) {
        let job = &decision.job;
        let queued = self.queue.try_send(Job {
            id: job.clone(),
            generation: decision.generation,
            purpose,
            waited: self.board.waited(job),
            files: decision.paths.clone(),
        });
        if queued.is_err() {
            // The instances stay in the spool and run at the next start.
            tracing::error!(%job, "{} series wait already; this one runs at the next start", jobs::MAX_WAITING);
        }
    }

    /// Whether a series found in the spool at start was finished before.
    fn is_done(&self, job: &JobId, decision: &Decision) -> bool {
        let folder = self.results.join(job.as_str()).join(decision.generation.to_string());
        crate::report::finished_instances(&folder) == Some(decision.have)
    }
}

fn completion(reason: Reason) -> Option<Completion> {
    match reason {
        assemble::Reason::CountKnown => Some(Completion::CountKnown),
        assemble::Reason::AssociationRelease => Some(Completion::AssociationRelease),
        assemble::Reason::Silence => Some(Completion::Silence),
        assemble::Reason::Incomplete => None,
    }
}
