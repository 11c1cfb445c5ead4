//! The service: where all parts meet. Follow one series by reading [`Service::start`] downwards.

mod intake;

use crate::audit::{Action, Actor, Audit, Ending};
use crate::commands::{self, Clerk, Commands, Desk, Operators, Rerun, Unproven};
use crate::config::Config;
use crate::dashboard::Access;
use crate::error::Move;
use crate::health::{Hand, Health, Part};
use crate::identity::JobId;
use crate::ingest::assemble::{self, Assembler, Coming, Decision, Reason};
use crate::ingest::{Admission, Event};
use crate::jobs::ahead::Ahead;
use crate::jobs::board::Board;
use crate::jobs::companions::Companions;
use crate::jobs::levels::Levels;
use crate::jobs::produce::Workshop;
use crate::jobs::shadow::Shadow;
use crate::jobs::verdict::{Verdict, Verdicts};
use crate::jobs::{self, Again, Bench, Job, Purpose, Work, active, engines, generation};
use crate::messages::{Completion, FailureCode, Happening, JobState, OrderFault, Version};
use crate::mrd::server::Server;
use crate::outbox::Outbox;
use crate::page::Page;
use crate::progress::Progress;
use crate::publish::advance::Door;
use crate::publish::deliveries::{Deliveries, Recipient};
use crate::publish::mqtt::{self, Endpoint, LiveMessage, Publisher};
use crate::publish::store::Destination;
use crate::registry::Registry;
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
pub(crate) const KEY_FILE: &str = "site.key";

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
        tasks.extend(mqtt::neighbours(&config.mqtt, endpoint.clone(), live.clone()));
        let publisher = Publisher::start(&config.mqtt, endpoint.clone(), outbox.clone());
        let publisher = Arc::new(publisher);
        let board = Arc::new(Board::new(publisher.clone()));

        let results = config.data.join("results");
        let (stop, stopped) = watch::channel(false);
        let (queue, waiting) = std::sync::mpsc::sync_channel(jobs::MAX_WAITING);
        let health = Health::new();
        let doors = doors(&config);
        let bench = bench(&config, &doors, &board, &outbox, &key, &health)?;
        let verdicts = bench.verdicts.clone();
        let mut threads = vec![jobs::start(bench, waiting, stopped.clone())?];
        let progress = Progress::new(&config, &health, &publisher);
        threads.extend(supervision(&config, &progress, &publisher, &stopped)?);
        let deliveries = Deliveries::new(&outbox, &board, &results);
        threads.extend(deliver(&doors, &deliveries, tls.as_ref(), &health, &stopped)?);

        let (admission, mrd) = (intake.admission.clone(), listeners.mrd.take());
        tasks.extend(serve_mrd(&config, mrd, &admission, queue.clone(), key, &stopped));
        let (unproven, (reruns, again)) = (Arc::default(), mpsc::channel(commands::WAITING));
        let destinations = config.destinations.clone();
        let desk = Desk { deliveries, destinations, admission, queue: queue.clone(), reruns };
        let clerk = Clerk::new(&outbox, &publisher, &audit);
        let (task, thread) = obey(&config, &endpoint, clerk, desk, &unproven, &stopped)?;
        tasks.extend(task);
        threads.extend(thread);
        let (events, incoming) = mpsc::channel(ARRIVALS);
        let assembler = Assembly {
            assembler: Assembler::new(config.complete),
            board: board.clone(),
            outbox: outbox.clone(),
            queue,
            results,
            verdicts,
            hand: health.hand(Part::Assemble),
        };
        threads.push(assembler.start(incoming, again, stopped.clone())?);
        let telemetry = Telemetry::new(Sources {
            audit: audit.clone(),
            board: board.clone(),
            outbox: outbox.clone(),
            publisher: publisher.clone(),
            progress: progress.clone(),
            counts: intake.counts.clone(),
            admission: intake.admission.clone(),
            unproven,
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
    doors: &[(Destination, Door)],
    board: &Arc<Board>,
    outbox: &Arc<Outbox>,
    key: &[u8],
    health: &Arc<Health>,
) -> Result<Bench> {
    let device_key = DeviceKey::keep(&config.data)?;
    let workshop = workshop(config)?;
    let shadow = shadow(config, workshop.threads());
    let (_, engine) = workshop.tags()?;
    board.works_on(engine, workshop.passed());
    let results = config.data.join("results");
    let verdicts = verdicts(config, &workshop, results.clone())?;
    Ok(Bench {
        workshop,
        board: board.clone(),
        outbox: outbox.clone(),
        destinations: doors.to_vec(),
        results,
        verdicts,
        levels: Levels::new(config.data.join("levels"), key.to_vec()),
        companions: Companions::new(config.data.join("companions"), key.to_vec()),
        selection: config.selection.clone(),
        again: Again::default(),
        key: Arc::new(device_key),
        shadow,
        hand: Arc::new(health.hand(Part::Jobs)),
    })
}

/// What was said before of series of which nothing is made, by this software, its nets and the site's table.
fn verdicts(config: &Config, workshop: &Workshop, results: PathBuf) -> Result<Verdicts> {
    let (weights, table) = (workshop.weights(), serde_json::to_string(&config.selection)?);
    let judges = [
        ("software", env!("CARGO_PKG_VERSION")),
        ("weights", weights.as_str()),
        ("selection", table.as_str()),
    ];
    Ok(Verdicts::new(results, &judges))
}

/// The destinations, each with where it waits for what is sent in advance.
fn doors(config: &Config) -> Vec<(Destination, Door)> {
    config.destinations.iter().map(|to| (to.clone(), Door::default())).collect()
}

/// The threads that bring results to their destinations, one for each.
fn deliver(
    doors: &[(Destination, Door)],
    deliveries: &Deliveries,
    tls: Option<&Tls>,
    health: &Arc<Health>,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<thread::JoinHandle<()>>> {
    let start = |(number, (destination, door)): (u32, &(Destination, Door))| {
        let hand = health.hand(Part::Deliveries);
        let route = destination.route(tls).map_err(anyhow::Error::msg)?;
        let to = Recipient { number, name: destination.name.clone(), route, door: door.clone() };
        Ok(deliveries.start(to, hand, stop.clone())?)
    };
    (1..).zip(doors).map(start).collect()
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
    admission: &Arc<Admission>,
    queue: SyncSender<Work>,
    key: Vec<u8>,
    stop: &watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let server = Server::new(config.mrd.clone(), admission.clone(), queue, key);
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
    let registry = Registry::of(&config.data);
    let threads = config.jobs.threads;
    let mut workshop = active::open(&registry, threads, &settings, Some(engines::logged()))?;
    if config.jobs.lesions {
        workshop = workshop.with_lesions()?;
    }
    let engine = workshop.engine();
    tracing::info!(engine = %engine.name, "engine: {}", engine.reason);
    Ok(workshop)
}

/// What hears commands and what obeys them, where the configuration names operators.
fn obey(
    config: &Config,
    endpoint: &Endpoint,
    clerk: Clerk,
    desk: Desk,
    unproven: &Arc<Unproven>,
    stop: &watch::Receiver<bool>,
) -> Result<(Option<JoinHandle<()>>, Option<thread::JoinHandle<()>>)> {
    if config.operators.is_empty() {
        return Ok((None, None));
    }
    let (orders, tokens) = mpsc::channel(commands::WAITING);
    let commands = Commands {
        operators: Operators::open(&config.operators)?,
        device: config.mqtt.device_path(),
        clerk: Arc::new(clerk),
        desk,
        unproven: unproven.clone(),
    };
    let thread = commands.start(tokens, stop.clone())?;
    let task = mqtt::commands(&config.mqtt, endpoint.clone(), orders, unproven.clone());
    Ok((Some(task), Some(thread)))
}

/// The candidate beside the active model, where there is one; one that cannot run is no reason not to start.
fn shadow(config: &Config, threads: usize) -> Option<Shadow> {
    let settings = engines::settings(&config.jobs, Some(&config.data));
    Shadow::open(&config.data, &settings, threads).unwrap_or_else(|reason| {
        tracing::warn!("the candidate model does not run: {reason}; the site's move");
        None
    })
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
    verdicts: Verdicts,
    hand: Hand,
}

impl Assembly {
    /// Starts the thread; it ends when `stop` turns true. Needs a tokio runtime.
    fn start(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut reruns: mpsc::Receiver<Rerun>,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let runtime = Handle::current();
        thread::Builder::new().name("assemble".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(&mut events, &mut reruns) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        })
    }

    async fn run(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        reruns: &mut mpsc::Receiver<Rerun>,
    ) {
        let start = Instant::now();
        loop {
            let due = self.assembler.next_deadline();
            let pause = due.map_or(IDLE, |due| due.saturating_sub(start.elapsed()));
            self.hand.rests();
            let event = tokio::select! {
                event = tokio::time::timeout(pause, events.recv()) => event,
                Some(Rerun { job, ticket }) = reruns.recv() => {
                    self.hand.moves();
                    ticket.close(self.run_again(&job));
                    continue;
                }
            };
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

    /// Makes the result of a series again, that has one or failed.
    fn run_again(&self, job: &JobId) -> Result<(), OrderFault> {
        let line = self.board.line(job).ok_or(OrderFault::NoSuchJob)?;
        let decision = self.assembler.again(job).filter(|_| line.is_settled());
        let decision = decision.ok_or(OrderFault::JobOpen)?;
        let completion = completion(decision.reason).ok_or(OrderFault::JobIncomplete)?;
        let not_stored = |error: String| {
            tracing::error!(%job, "cannot be made again: {error}; {}", Move::Site.advice());
            OrderFault::Storage
        };
        let generation = generation::of(&self.results, job, decision.have)
            .and_then(generation::reopen)
            .map_err(|error| not_stored(error.to_string()))?;
        self.outbox.forget_cancelled(job).map_err(|error| not_stored(error.to_string()))?;
        self.board.completed(job, generation.number, completion);
        self.enqueue(decision, Purpose::Run { completion, generation });
        Ok(())
    }

    fn decide(&self, decision: Decision) {
        let job = &decision.job;
        if let Some(verdict) = self.verdicts.of(&decision) {
            tracing::info!(%job, "it was judged before");
            return self.board.found(job, verdict.state());
        }
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
            return self.board.found(job, JobState::Done);
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
                let verdict = Verdict::Incomplete { have, expect: Some(expect) };
                self.board.change(job, verdict.state());
                self.verdicts.keep(job, decision.have, verdict);
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
