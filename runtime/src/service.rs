//! The service: where all parts meet. Follow one series by reading [`Service::start`] downwards.

mod intake;

use crate::audit::{Action, Actor, Audit, Ending};
use crate::config::Config;
use crate::dashboard::Access;
use crate::error::Move;
use crate::health::{Hand, Health, Part};
use crate::identity::JobId;
use crate::ingest::Event;
use crate::ingest::assemble::{self, Assembler, Coming, Decision, Reason};
use crate::jobs::ahead::Ahead;
use crate::jobs::board::Board;
use crate::jobs::companions::Companions;
use crate::jobs::levels::Levels;
use crate::jobs::produce::Workshop;
use crate::jobs::{self, Bench, Job, Purpose, Work, engines, generation};
use crate::messages::{Completion, FailureCode, Happening, JobState, Version};
use crate::mrd::server::Server;
use crate::outbox::Outbox;
use crate::page::Page;
use crate::progress::Progress;
use crate::publish::deliveries::Deliveries;
use crate::publish::mqtt::{self, Endpoint, LiveMessage, Publisher};
use crate::publish::store::Destination;
use crate::retention::Retention;
use crate::seal::DeviceKey;
use crate::telemetry::{Sources, Telemetry};
use crate::tls::Tls;
use crate::{dashboard, secret, supervise, watchdog};
use anyhow::Result;
use intake::{Intake, Listeners};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
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
/// How often the end looks whether the threads are through.
const END_PAUSE: Duration = Duration::from_millis(20);
/// Name of the site's key in the data folder.
const KEY_FILE: &str = "site.key";

/// A running service.
#[derive(Debug)]
pub struct Service {
    pub dicom: SocketAddr,
    pub dashboard: Option<SocketAddr>,
    pub endpoint: Endpoint,
    pub board: Arc<Board>,
    pub live: broadcast::Sender<LiveMessage>,
    witness: Witness,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// Assembler, worker, one for each destination: they write to the disk, which no task should wait for.
    threads: Vec<thread::JoinHandle<()>>,
}

impl Service {
    /// Starts everything. An error names the part that cannot start and whose move it is; nothing is left running that
    /// matters, because the process ends.
    pub async fn start(config: Config) -> Result<Service> {
        let key = site_key(&config.data)?;
        let tls = config.tls.as_ref().map(Tls::open).transpose()?;
        let intake = Intake::open(&config, &key, tls.as_ref())?;
        let outbox = Arc::new(Outbox::open(&config.data.join("outbox.redb"))?);
        let audit = Arc::new(Audit::open(&config.data)?);
        let mut listeners = Listeners::open(&config).await?;
        let access = config.dashboard.access()?;
        let page_listener = listen_for_page(&config).await?;
        let (dicom, page) = (listeners.dicom.local_addr()?, page_listener.as_ref());
        let dashboard = page.map(TcpListener::local_addr).transpose()?;

        let endpoint = Endpoint::open(&config.mqtt.broker, tls.as_ref())?;
        // The page listens from the beginning: the device's birth comes once.
        let (live, heard) = broadcast::channel(LIVE);
        let mut tasks = vec![mqtt::subscribe(&config.mqtt, endpoint.clone(), live.clone())];
        let publisher = Publisher::start(&config.mqtt, endpoint.clone(), outbox.clone());
        let publisher = Arc::new(publisher);
        let board = Arc::new(Board::new(publisher.clone()));

        let results = config.data.join("results");
        let (stop, stopped) = watch::channel(false);
        let (queue, waiting) = std::sync::mpsc::sync_channel(jobs::MAX_WAITING);
        let health = Health::new();
        let bench = bench(&config, &board, &outbox, &key, &health)?;
        let mut threads = vec![jobs::start(bench, waiting, stopped.clone())?];
        let progress = Progress::new(&config, &health, &publisher);
        threads.extend(supervision(&config, &progress, &publisher, &stopped)?);
        let deliveries =
            Deliveries { outbox: outbox.clone(), board: board.clone(), results: results.clone() };
        threads.extend(deliver(&config, &deliveries, tls.as_ref(), &health, &stopped)?);

        tasks.extend(serve_mrd(&config, listeners.mrd.take(), queue.clone(), key, &stopped));
        let (events, incoming) = mpsc::channel(ARRIVALS);
        let assembler = Assembly {
            assembler: Assembler::new(config.complete),
            board: board.clone(),
            outbox: outbox.clone(),
            queue,
            results,
            hand: health.hand(Part::Assemble),
        };
        threads.push(assembler.start(incoming, stopped.clone())?);
        let telemetry = Telemetry::new(Sources {
            audit: audit.clone(),
            board: board.clone(),
            outbox: outbox.clone(),
            publisher: publisher.clone(),
            progress: progress.clone(),
            counts: intake.counts.clone(),
            tls: tls.clone(),
            mcu: config.mcu.is_some(),
            limits: config.retention.limits(),
            data: config.data.clone(),
        });
        let retention = retention(&config, &intake, &board, outbox, events.clone());
        threads.push(retention.start(stopped.clone())?);
        let hand = health.hand(Part::Ingest);
        tasks.extend(intake.start(listeners, config.dicom, events, hand, stopped.clone()));
        tasks.extend(tls.map(|tls| tokio::spawn(tls.watch())));
        // Before anything else can happen.
        let witness = Witness::started(publisher, audit);
        threads.push(telemetry.start(stopped.clone())?);
        threads.extend(watchdog::start(progress, board.clone(), stopped.clone())?);
        let page = Page::new(board.clone(), telemetry);
        let page = page_listener.map(|listener| serve_page(listener, access, page, heard, stopped));
        tasks.extend(page);
        tracing::info!(%dicom, ?dashboard, broker = ?endpoint, "ready");
        Ok(Service { dicom, dashboard, endpoint, board, live, witness, stop, tasks, threads })
    }

    /// Takes no more, lets the job at work end, says so to the broker.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let since = Instant::now();
        while !self.threads.iter().all(thread::JoinHandle::is_finished) {
            if since.elapsed() >= LAST_JOB {
                tracing::warn!(
                    "the job at work is cut off; its series runs again at the next start"
                );
                break;
            }
            tokio::time::sleep(END_PAUSE).await;
        }
        for task in self.tasks {
            task.abort();
            // Aborted: it has nothing to say.
            let _ = task.await;
        }
        self.witness.stopping();
        self.witness.publisher.shutdown().await;
    }
}

/// Who hears of starts and stops: the broker and the audit log.
#[derive(Debug)]
struct Witness {
    publisher: Arc<Publisher>,
    audit: Arc<Audit>,
}

impl Witness {
    fn started(publisher: Arc<Publisher>, audit: Arc<Audit>) -> Witness {
        let software = Version::software();
        audit.note(Actor::Service, Action::Start { software }, Ending::Done);
        tell(&publisher, Happening::Started { software });
        Witness { publisher, audit }
    }

    fn stopping(&self) {
        self.audit.note(Actor::Service, Action::Stop, Ending::Done);
        tell(&self.publisher, Happening::Stopping);
    }
}

/// Publishes an event of the service; work goes on where it cannot be stored.
fn tell(publisher: &Publisher, happening: Happening) {
    if let Err(error) = publisher.event(happening) {
        tracing::error!("an event was not told: {error}; {}", error.whose().advice());
    }
}

/// Where the page is served, if it is.
async fn listen_for_page(config: &Config) -> Result<Option<TcpListener>> {
    Ok(match config.dashboard.bind {
        Some(address) => Some(dashboard::bind(address).await?),
        None => None,
    })
}

/// What the worker needs.
fn bench(
    config: &Config,
    board: &Arc<Board>,
    outbox: &Arc<Outbox>,
    key: &[u8],
    health: &Arc<Health>,
) -> Result<Bench> {
    let device_key = DeviceKey::keep(&config.data)?;
    let workshop = workshop(config)?;
    let (_, engine) = workshop.tags()?;
    board.works_on(engine, workshop.passed());
    Ok(Bench {
        workshop,
        board: board.clone(),
        outbox: outbox.clone(),
        destinations: config.destinations.clone(),
        results: config.data.join("results"),
        levels: Levels::new(config.data.join("levels"), key.to_vec()),
        companions: Companions::new(config.data.join("companions"), key.to_vec()),
        selection: config.selection.clone(),
        key: Arc::new(device_key),
        hand: Arc::new(health.hand(Part::Jobs)),
    })
}

/// The threads that bring results to their destinations, one for each.
fn deliver(
    config: &Config,
    deliveries: &Deliveries,
    tls: Option<&Tls>,
    health: &Arc<Health>,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<thread::JoinHandle<()>>> {
    let start = |destination: &Destination| {
        let hand = health.hand(Part::Deliveries);
        let route = destination.route(tls).map_err(anyhow::Error::msg)?;
        Ok(deliveries.start(destination.name.clone(), route, hand, stop.clone())?)
    };
    config.destinations.iter().map(start).collect()
}

/// What deletes what is old.
fn retention(
    config: &Config,
    intake: &Intake,
    board: &Arc<Board>,
    outbox: Arc<Outbox>,
    events: mpsc::Sender<Event>,
) -> Retention {
    Retention {
        settings: config.retention,
        spool: intake.spool.clone(),
        board: board.clone(),
        outbox,
        events,
        data: config.data.clone(),
        found: intake.found.iter().map(|arrival| arrival.job.clone()).collect(),
    }
}

/// The task that takes series by MRD and answers them, where the configuration wants it.
fn serve_mrd(
    config: &Config,
    listener: Option<TcpListener>,
    queue: SyncSender<Work>,
    key: Vec<u8>,
    stop: &watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let server = Server::new(config.mrd.clone(), queue, key);
    Some(tokio::spawn(server.serve(listener?, stop.clone())))
}

/// The task that serves the page.
fn serve_page(
    listener: TcpListener,
    access: Access,
    page: Page,
    heard: broadcast::Receiver<LiveMessage>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let served = dashboard::serve(listener, access, Arc::new(page), heard, stop);
    tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!("the page ended: {error}");
        }
    })
}

/// The nets on the engine that the configuration asks for; the log says which one it became.
fn workshop(config: &Config) -> Result<Workshop> {
    let settings = engines::settings(&config.jobs, Some(&config.data));
    let mut workshop = Workshop::open(config.jobs.threads, &settings, Some(engines::logged()))?;
    if config.jobs.lesions {
        workshop = workshop.with_lesions()?;
    }
    let engine = workshop.engine();
    tracing::info!(engine = %engine.name, "engine: {}", engine.reason);
    Ok(workshop)
}

/// The thread that speaks to the supervisor MCU, where the configuration names one.
fn supervision(
    config: &Config,
    progress: &Arc<Progress>,
    publisher: &Arc<Publisher>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<thread::JoinHandle<()>>> {
    let Some(settings) = config.mcu.clone() else { return Ok(None) };
    let (progress, publisher) = (progress.clone(), publisher.clone());
    Ok(Some(supervise::start(settings, progress, publisher, stop.clone())?))
}

/// Runs the service until `shutdown` ends.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let service = Service::start(config).await?;
    shutdown.await;
    tracing::info!("shutting down");
    service.shutdown().await;
    Ok(())
}

/// The site's key for job ids.
fn site_key(data: &Path) -> Result<Vec<u8>> {
    Ok(secret::keep(data, KEY_FILE, "a new one would rename every job")?.to_vec())
}

/// The assembler and what its decisions lead to.
struct Assembly {
    assembler: Assembler,
    board: Arc<Board>,
    outbox: Arc<Outbox>,
    queue: SyncSender<Work>,
    results: PathBuf,
    hand: Hand,
}

impl Assembly {
    /// Starts the thread; it ends when `stop` turns true. Needs a tokio runtime.
    fn start(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let runtime = Handle::current();
        thread::Builder::new().name("assemble".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(&mut events) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        })
    }

    async fn run(&mut self, events: &mut mpsc::Receiver<Event>) {
        let start = Instant::now();
        loop {
            let due = self.assembler.next_deadline();
            let pause = due.map_or(IDLE, |due| due.saturating_sub(start.elapsed()));
            self.hand.rests();
            let event = tokio::time::timeout(pause, events.recv()).await;
            self.hand.moves();
            let event = match event {
                Ok(None) => return,
                Ok(event) => event,
                Err(_elapsed) => None,
            };
            if let Some(event) = &event {
                if let Event::Arrived(arrival) = event {
                    self.board.arrived(&arrival.job, arrival.origin.is_none());
                }
                self.assembler.on_event(start.elapsed(), event);
            }
            for decision in self.assembler.poll(start.elapsed()) {
                self.decide(decision);
            }
            if let Some(coming) =
                event.and_then(|event| self.assembler.ahead(start.elapsed(), &event))
            {
                self.look_ahead(coming);
            }
        }
    }

    /// Hands a series that is still coming to the worker, for the time in which it has nothing else to do.
    fn look_ahead(&self, Coming { job: id, paths: files, whole }: Coming) {
        // A full queue has better work.
        let _ = self.queue.try_send(Work::Ahead(Ahead { id, files, whole }));
    }

    fn decide(&self, decision: Decision) {
        let job = &decision.job;
        let Some(completion) = completion(decision.reason) else { return self.give_up(decision) };
        // The assembler counts from its own start; the disk knows what was made before.
        let generation = match generation::of(&self.results, job, decision.have) {
            Ok(generation) => generation,
            Err(error) => {
                tracing::error!(%job, "cannot write to {}: {error}; the site's move", self.results.display());
                let (code, whose) = (FailureCode::Storage, Move::Site);
                return self.board.change(job, JobState::Failed { code, whose });
            }
        };
        if generation.finished && self.is_told(job, generation.number) {
            tracing::info!(%job, "its result is there already");
            return self.board.found_done(job);
        }
        let (instances, generation_number) = (decision.have, generation.number);
        tracing::info!(%job, instances, generation = generation_number, reason = ?decision.reason, certainty = ?decision.reason.certainty(), "complete");
        self.board.completed(job, generation_number, completion);
        self.enqueue(decision, Purpose::Run { completion, generation });
    }

    /// Whether nobody waits for the end of a result whose report is there. An outbox that cannot be read does not tell: then
    /// the series runs again, which harms nobody.
    fn is_told(&self, job: &JobId, generation: u32) -> bool {
        match self.outbox.is_untold(job, generation) {
            Ok(untold) => !untold,
            Err(error) => {
                tracing::error!(%job, "the outbox cannot be read: {error}");
                false
            }
        }
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

    /// Hands a series to the worker. Waits where the queue is full: so do then the answers of the receiver.
    fn enqueue(&self, decision: Decision, purpose: Purpose) {
        let Decision { job: id, paths: files, .. } = decision;
        let waited = self.board.waited(&id);
        // A full queue is the worker's progress, not ours.
        self.hand.rests();
        // The worker is gone: the service is stopping, and the instances in the spool run at the next start.
        let _ = self.queue.send(Work::Series(Job { id, files, purpose, waited }));
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
