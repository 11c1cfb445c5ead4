//! `sagitta demo`: a whole examination on this machine. A scanner (our own SCU) sends a series to the service, the service
//! sends its results to a console (a second receiver), and a subscriber prints what the broker hands it.

mod simulator;

use super::{Outcome, input, log, refused, runtime, table};
use crate::config::Config;
use crate::decode::selection;
use crate::ingest::mpps::Steps;
use crate::ingest::receiver::{Receiver, Services};
use crate::ingest::spool::Spool;
use crate::ingest::{association, stow};
use crate::jobs::board::Record;
use crate::messages::{JobState, Name};
use crate::objects::OutputKind;
use crate::publish::mqtt::{self, BrokerSettings, LiveMessage};
use crate::publish::store::{self, Destination, Patience, StoredObject};
use crate::report::Report;
use crate::seal::DeviceKey;
use crate::service::Service;
use crate::{dashboard, jobs, mrd, retention, supervise};
use anyhow::{Context, Result, bail};
use clap::Args;
use simulator::Simulator;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

/// Arguments of `sagitta demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder for everything the demo writes.
    #[arg(long, default_value = "sagitta-demo")]
    out: PathBuf,
    /// End after the series instead of serving the page.
    #[arg(long)]
    once: bool,
    /// Print the report as JSON, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
    /// A DICOM folder or a NIfTI file instead of the procedural patient.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Where the page is served, for a machine on which 8080 is taken.
    #[arg(long, value_name = "ADDRESS", default_value_t = dashboard::DEFAULT_LISTEN)]
    page: SocketAddr,
    /// With the simulator of the supervisor MCU (program `firmware`, beside this one).
    #[arg(long)]
    with_mcu: bool,
}

impl Arguments {
    /// What a refusal is about.
    fn subject(&self) -> &Path {
        self.input.as_deref().unwrap_or(Path::new("the procedural patient"))
    }
}

/// Any free port on this machine.
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Longest wait for a series to settle: incomplete ones are given up after 30 s, and a slow core needs a minute.
const PATIENCE: Duration = Duration::from_secs(300);
/// The last MQTT messages are on their way when the job is done; they come within this.
const LAST_MESSAGES: Duration = Duration::from_millis(500);

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    log("warn", None);
    let runtime = runtime()?;
    let outcome = runtime.block_on(play(arguments));
    runtime.shutdown_background();
    outcome
}

async fn play(arguments: &Arguments) -> Result<Outcome> {
    let say = Say { quiet: arguments.json, width: table::terminal_width() };
    let objects = match input::scanner_objects(arguments.input.as_deref()) {
        Ok(objects) => objects,
        Err(error) => return refused(arguments.subject(), arguments.json, error),
    };
    let folder = Folder::make(&arguments.out)?;
    let console = start_console(&folder.console).await?;
    let page = (!arguments.once).then_some(arguments.page);
    let simulator = match arguments.with_mcu {
        true => Some(Simulator::start(&folder.out)?),
        false => None,
    };
    let mcu = simulator.as_ref().map(|simulator| simulator.port.clone());
    let config = Config {
        mcu: mcu.map(|port| supervise::Settings { port }),
        ..config(&folder, console, page)?
    };
    let service = Service::start(config).await?;
    let messages = tokio::spawn(print_messages(service.live.subscribe(), say));
    say.line(&format!("sending {} objects to {}", objects.len(), service.dicom));
    let to_service = to("sagitta", service.dicom, &[]).route(None).map_err(anyhow::Error::msg)?;
    store::send("sagitta", &to_service, &objects, Patience::Last).await?;

    let record = settled(&service, &objects, say).await?;
    tokio::time::sleep(LAST_MESSAGES).await;
    let outcome = conclude(arguments, &folder, &record, say)?;
    if !arguments.once {
        let page = arguments.page;
        say.line(&format!("the overlay and the messages: http://{page}  (Ctrl-C ends)"));
        super::run::end()?.await;
    }
    messages.abort();
    service.shutdown().await;
    Ok(outcome)
}

/// Prints to a person, or not at all.
#[derive(Debug, Clone, Copy)]
struct Say {
    quiet: bool,
    /// Columns of the terminal; messages are longer.
    width: Option<usize>,
}

impl Say {
    fn line(self, text: &str) {
        if !self.quiet {
            println!("{text}");
        }
    }
}

/// The folders of a demo; what an earlier one left there is removed, it was ours.
#[derive(Debug)]
struct Folder {
    out: PathBuf,
    service: PathBuf,
    console: PathBuf,
}

impl Folder {
    fn make(out: &Path) -> Result<Folder> {
        // The report names outputs so that they are found from any folder.
        let out = std::path::absolute(out)?;
        let folder = Folder { service: out.join("service"), console: out.join("console"), out };
        for path in [&folder.service, &folder.console] {
            if path.exists() {
                std::fs::remove_dir_all(path)
                    .with_context(|| format!("cannot empty {}", path.display()))?;
            }
            std::fs::create_dir_all(path)
                .with_context(|| format!("cannot write to {}", folder.out.display()))?;
        }
        remove_earlier(&folder.out)
            .with_context(|| format!("cannot empty {}", folder.out.display()))?;
        Ok(folder)
    }
}

/// Removes what an earlier demo left in `out`, by its report: a job has another name each time, and scripts look for one
/// mask. Only what lies in `out` itself, whatever the report says.
fn remove_earlier(out: &Path) -> std::io::Result<()> {
    let path = out.join(crate::report::FILE_NAME);
    let Ok(report) = std::fs::read(&path) else { return Ok(()) };
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap_or_default();
    let outputs = report["outputs"].as_object().into_iter().flatten();
    for name in outputs.filter_map(|(_, path)| Path::new(path.as_str()?).file_name()) {
        let output = out.join(name);
        if output.is_dir() {
            std::fs::remove_dir_all(output)?;
        } else if output.exists() {
            std::fs::remove_file(output)?;
        }
    }
    std::fs::remove_file(path)
}

fn config(folder: &Folder, console: SocketAddr, page: Option<SocketAddr>) -> Result<Config> {
    let broker = BrokerSettings::Embedded { listen: free_port()? };
    let name = |text: &str| Name::new(text).expect("a valid name");
    // The label map's class is refused by our own receiver, too.
    let mut kinds = OutputKind::ALL.to_vec();
    kinds.retain(|&kind| kind != OutputKind::Labelmap);
    Ok(Config {
        data: folder.service.clone(),
        mqtt: mqtt::Settings { site: name("demo"), device: name("sagitta"), broker },
        dicom: association::Settings { bind: FREE, ..association::Settings::default() },
        dicomweb: stow::Settings::default(),
        mrd: mrd::Settings::default(),
        selection: selection::Settings::default(),
        complete: crate::ingest::assemble::Settings::default(),
        tls: None,
        // A demo shows its results however full the disk is.
        retention: retention::Settings {
            high_water_percent: 100,
            refuse_percent: 100,
            ..retention::Settings::default()
        },
        dashboard: dashboard::Settings { bind: page, ..Default::default() },
        jobs: jobs::Settings::default(),
        mcu: None,
        destinations: vec![to("console", console, &kinds)],
        operators: Vec::new(),
    })
}

/// A port nobody holds right now; the embedded broker cannot choose one itself.
fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind(FREE)?.local_addr()?)
}

fn to(name: &str, address: SocketAddr, kinds: &[OutputKind]) -> Destination {
    Destination {
        name: name.to_owned(),
        address: address.to_string(),
        called_ae: "ANY-SCP".to_owned(),
        calling_ae: "SAGITTA".to_owned(),
        tls: false,
        tls_name: None,
        profile: kinds.to_vec(),
    }
}

/// The console: a receiver that stores what it gets.
async fn start_console(folder: &Path) -> Result<SocketAddr> {
    let (spool, _) = Spool::open(&folder.join("spool"), b"console")?;
    let (steps, _) = Steps::open(&folder.join("steps"), b"console")?;
    let listener = TcpListener::bind(FREE).await?;
    let address = listener.local_addr()?;
    let (events, mut arrived) = mpsc::channel(64);
    tokio::spawn(async move { while arrived.recv().await.is_some() {} });
    let services = Services {
        admission: Arc::default(),
        settings: association::Settings::default(),
        tls: None,
        spool: Arc::new(spool),
        steps,
        commitments: None,
        counts: Arc::default(),
        events,
    };
    tokio::spawn(async move {
        // The sender lives as long as the console: it never stops before the demo ends.
        let (_stop, stopped) = watch::channel(false);
        association::serve(listener, Receiver::new(services), stopped).await;
    });
    Ok(address)
}

/// Follows the series until nothing more will happen to it.
async fn settled(service: &Service, objects: &[StoredObject], say: Say) -> Result<Record> {
    let mut changes = service.board.changes();
    let mut last: Option<JobState> = None;
    let follow = async {
        loop {
            if let Some(record) = service.board.lines().into_iter().next() {
                if last != Some(record.state) {
                    say.line(&format!("  {}", state_text(&record)));
                    last = Some(record.state);
                }
                if record.is_settled() {
                    return record;
                }
            }
            // The board outlives this loop.
            let _ = changes.changed().await;
        }
    };
    match tokio::time::timeout(PATIENCE, follow).await {
        Ok(record) => Ok(record),
        Err(_) => bail!(
            "{} objects were sent and no series settled within {} s",
            objects.len(),
            PATIENCE.as_secs()
        ),
    }
}

fn state_text(record: &Record) -> String {
    match record.state {
        JobState::Receiving => "receiving".to_owned(),
        JobState::Complete { reason } => {
            format!("complete: {} instances ({})", record.instances, reason.name())
        }
        JobState::Running { stage } => format!("running: {}", stage.name()),
        JobState::Sending => "sending to the console".to_owned(),
        JobState::Done => "done".to_owned(),
        JobState::Refused { code } => format!("refused: {code:?}"),
        JobState::Failed { code, whose } => format!("failed: {code:?}; {}", whose.advice()),
        JobState::Incomplete { have, expect } => match expect {
            Some(expect) => format!("incomplete: {have} of {expect} instances"),
            None => format!("incomplete: {have} instances and a gap"),
        },
    }
}

async fn print_messages(mut live: broadcast::Receiver<LiveMessage>, say: Say) {
    loop {
        match live.recv().await {
            Ok(message) => {
                say.line(&table::fitted(
                    &format!("    mqtt {}  {}", message.topic, message.payload),
                    say.width,
                ));
            }
            Err(RecvError::Lagged(count)) => {
                say.line(&format!("    mqtt {count} messages not shown"))
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Copies the outputs to where the user asked for them, and prints the summary.
fn conclude(arguments: &Arguments, folder: &Folder, record: &Record, say: Say) -> Result<Outcome> {
    if let Some(refusal) = &record.refusal {
        return refused(arguments.subject(), arguments.json, refusal.clone().into());
    }
    let Some(report) = record.report.clone().filter(|_| record.state == JobState::Done) else {
        bail!("the series ended as {}", state_text(record));
    };
    let report = gather(report, &folder.out)?;
    let key = DeviceKey::read(&folder.service)?;
    report.write(&folder.out, Some(&key))?;
    if arguments.json {
        println!("{}", report.text(Some(&key)));
    }
    say.line("");
    say.line(&table::of(&report));
    Ok(Outcome::Done)
}

/// Copies every output of `report` into `out`; the copy names the new places.
fn gather(mut report: Report, out: &Path) -> Result<Report> {
    for path in report.outputs.paths_mut() {
        let name = path.file_name().context("an output without a name")?;
        let target = out.join(name);
        copy(path, &target).with_context(|| format!("cannot write {}", target.display()))?;
        *path = target;
    }
    Ok(report)
}

/// Copies a file, or the files of a folder: then nothing else is in the copy, which an earlier demo may have filled.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        return std::fs::copy(from, to).map(|_| ());
    }
    if to.is_dir() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
