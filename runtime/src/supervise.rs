//! The runtime's side of the supervisor MCU: heartbeats while the service makes progress, the fan, the journal, the link.
//!
//! One thread speaks and nobody waits for it. A heartbeat says that every [`Part`] of the service moved or rested, that the
//! executor ran a task since the last one, and that the outbox answered: a thread that hangs on the disk does not beat. What
//! a missing heartbeat causes is decided in crate `firmware`. The journal's entries and the state of the link become
//! messages, each entry once.

pub mod cooling;
pub mod image;
mod line;
mod port;
pub mod vendor;

use crate::health::Part;
use crate::messages::{LinkState, McuEntry, McuLink, Timestamp};
use crate::outbox::{JournalMark, OutboxError};
use crate::progress::Progress;
use crate::publish::mqtt::{Connection, Publisher};
pub use line::LineError;
use line::{Figures, Line};
use link::{Command, FromSupervisor, Sensors, ToSupervisor};
use port::Port;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Between two heartbeats: a tenth of the supervisor's limit.
const BEAT: Duration = Duration::from_secs(1);
/// Before a link that broke is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The state of the link is told at each change, and again after this: temperatures and counts move meanwhile.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Entries a beat: the whole journal within four, and no beat late for a journal that never ends.
const ENTRIES: usize = 16;
/// An orderly end asks for so long without a heartbeat: a restart by systemd takes seconds, a package less than two minutes.
const ABSENCE_S: u16 = 180;
/// Runs of the supervisor whose time we know: of more than a few, the journal holds nothing.
const RUNS: usize = 8;

/// Section `mcu` of the configuration; without it there is no supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The serial port, or the socket of a simulator.
    pub port: PathBuf,
}

/// Starts the thread; it ends when `stop` turns true. Needs a tokio runtime.
pub fn start(
    settings: Settings,
    progress: Arc<Progress>,
    publisher: Arc<Publisher>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let supervision = Supervision {
        port: settings.port,
        runtime: Handle::current(),
        progress,
        publisher,
        stop,
        figures: Figures::default(),
        sequence: 0,
        runs: Vec::new(),
        told: None,
        warned: None,
    };
    thread::Builder::new().name("supervise".to_owned()).spawn(move || supervision.run())
}

struct Supervision {
    port: PathBuf,
    runtime: Handle,
    progress: Arc<Progress>,
    publisher: Arc<Publisher>,
    stop: watch::Receiver<bool>,
    figures: Figures,
    /// Number of the next heartbeat.
    sequence: u32,
    /// Runs of the supervisor and the time, in Unix milliseconds, at which each began.
    runs: Vec<(u32, u64)>,
    told: Option<(McuLink, Instant)>,
    warned: Option<String>,
}

impl Supervision {
    fn run(mut self) {
        while !*self.stop.borrow() {
            // The borrow ends with the session: figures live on.
            let mut figures = std::mem::take(&mut self.figures);
            let ended = self.session(&mut figures);
            self.figures = figures;
            let Err(error) = ended else { return };
            self.warn(format!("no link to the supervisor: {error}"));
            let link = match error {
                LineError::Port(_) => LinkState::NoPort,
                LineError::Silent | LineError::Unknown => LinkState::Silent,
                LineError::OtherVersion(_) => LinkState::OtherVersion,
            };
            let state = self.link(link, &Known::default(), &self.figures);
            self.tell(state);
            self.pause(AGAIN);
        }
    }

    /// From opening the port until it breaks; `Ok` at an orderly end.
    fn session(&mut self, figures: &mut Figures) -> Result<(), LineError> {
        let mut line = Line::greet(Port::open(&self.port)?, figures)?;
        let version = line.peer;
        tracing::info!(major = version.major, minor = version.minor, "supervisor");
        self.warned = None;
        let mut from = self.first_entry(&mut line)?;
        while !*self.stop.borrow() {
            let began = Instant::now();
            let known = self.turn(&mut line)?;
            self.journal(&mut line, &mut from)?;
            let state = self.link(LinkState::Up, &known, line.figures());
            self.tell(state);
            self.pause(BEAT.saturating_sub(began.elapsed()));
        }
        // Somebody stops the service in order: its silence is no fault for a while.
        if version.minor >= 1 {
            line.tell(Command::BeginUpdate { seconds: ABSENCE_S })?;
        }
        Ok(())
    }

    /// One turn: beat, look, cool.
    fn turn(&mut self, line: &mut Line<'_>) -> Result<Known, LineError> {
        let stuck = self.progress.stuck();
        if let Some(part) = stuck {
            self.warn(format!("no heartbeat: {part:?} makes no progress"));
        } else {
            self.sequence = self.sequence.wrapping_add(1);
            let beat = ToSupervisor::Heartbeat { sequence: self.sequence };
            if line.ask(beat)? == FromSupervisor::Refused {
                return Err(LineError::Unknown);
            }
        }
        let module_c = cooling::hottest(Path::new(cooling::ZONES));
        // Refused before the first heartbeat: the fan is at its fastest then.
        line.tell(Command::FanDuty { percent: cooling::duty(module_c) })?;
        let status = line.ask(ToSupervisor::GetStatus)?;
        let sensors = match line.peer.minor {
            0 => None,
            _ => match line.ask(ToSupervisor::GetSensors)? {
                FromSupervisor::Sensors(sensors) => Some(sensors),
                _ => None,
            },
        };
        Ok(Known { status: Some(status), sensors, module_c, stuck })
    }

    /// Where the journal goes on: behind the entry that was published last, or at the beginning where the supervisor has
    /// another journal (its memory lost its supply).
    fn first_entry(&mut self, line: &mut Line<'_>) -> Result<u32, LineError> {
        if line.peer.minor == 0 {
            return Ok(0);
        }
        if let FromSupervisor::Clock { run, uptime_ms } = line.ask(ToSupervisor::GetClock)? {
            self.correlate(run, uptime_ms);
        }
        let last = self.publisher.last_mcu_entry().unwrap_or_else(|error| {
            tracing::error!(%error, "outbox");
            None
        });
        let Some(JournalMark { sequence, run, at_ms }) = last else { return Ok(0) };
        let same = match line.ask(ToSupervisor::GetEntry { from: sequence })? {
            FromSupervisor::Entry { sequence: s, run: r, at_ms: t, .. } => {
                // An entry that made room for others is behind the ones that are there.
                s > sequence && r >= run || (s, r, t) == (sequence, run, at_ms)
            }
            FromSupervisor::JournalEnd { next } => next == sequence.wrapping_add(1),
            _ => false,
        };
        Ok(if same { sequence.wrapping_add(1) } else { 0 })
    }

    /// The supervisor knows its uptime, we know the date.
    fn correlate(&mut self, run: u32, uptime_ms: u64) {
        let began = Timestamp::now().millis().saturating_sub(uptime_ms);
        self.runs.retain(|known| known.0 != run);
        if self.runs.len() == RUNS {
            self.runs.remove(0);
        }
        self.runs.push((run, began));
    }

    /// Publishes the entries that are new. A supervisor of 1.0 has a journal without runs, which cannot be told apart after
    /// its reset: it is not pulled.
    fn journal(&mut self, line: &mut Line<'_>, from: &mut u32) -> Result<(), LineError> {
        if line.peer.minor == 0 {
            return Ok(());
        }
        for _ in 0..ENTRIES {
            let question = ToSupervisor::GetEntry { from: *from };
            let FromSupervisor::Entry { sequence, run, at_ms, event } = line.ask(question)? else {
                break;
            };
            let began = self.runs.iter().find(|known| known.0 == run);
            let at = began.map(|(_, began)| Timestamp::from_millis(began.saturating_add(at_ms)));
            let entry =
                McuEntry { entry: sequence, run, uptime_ms: at_ms, at, event: event.into() };
            tracing::info!(entry = sequence, run, ?event, "supervisor's journal");
            if self.is_stored(self.publisher.mcu_entry(&entry)) {
                *from = sequence.wrapping_add(1);
            } else {
                break;
            }
        }
        Ok(())
    }

    fn link(&self, link: LinkState, known: &Known, figures: &Figures) -> McuLink {
        let (power, fan_percent, resets, bad_frames_there) = match known.status {
            Some(FromSupervisor::Status { state, resets, bad_frames, fan_percent, .. }) => {
                (Some(state.into()), Some(fan_percent), Some(resets), Some(bad_frames))
            }
            _ => (None, None, None, None),
        };
        let sensors = known.sensors.unwrap_or_default();
        McuLink {
            link,
            stuck: known.stuck,
            power,
            fan_percent,
            fan_rpm: sensors.fan_rpm,
            board_c: sensors.board_deci_c.map(|tenths| f64::from(tenths) / 10.0),
            module_c: known.module_c,
            supply_mv: sensors.input_mv,
            door_open: known.sensors.map(|sensors| sensors.door_open),
            resets,
            bad_frames_there,
            bad_frames_here: figures.bad_frames,
            unanswered: figures.unanswered,
            round_trip_p50_ms: figures.round_trip_ms(50),
            round_trip_p99_ms: figures.round_trip_ms(99),
        }
    }

    /// Publishes the state of the link when it changed or is old. Figures alone wait for a broker that is there: a long
    /// absence would fill the outbox with them.
    fn tell(&mut self, state: McuLink) {
        let online = matches!(*self.publisher.connection().borrow(), Connection::Online(_));
        let due = self.told.as_ref().is_none_or(|(told, when)| {
            changed(told, &state) || online && when.elapsed() >= TELL_AGAIN
        });
        if due && self.is_stored(self.publisher.mcu_link(&state)) {
            self.told = Some((state, Instant::now()));
        }
    }

    fn is_stored(&self, pushed: Result<u64, OutboxError>) -> bool {
        if let Err(error) = &pushed {
            tracing::error!(%error, "outbox");
        }
        pushed.is_ok()
    }

    /// A line in the log, once until something else is to be said.
    fn warn(&mut self, text: String) {
        if self.warned.as_deref() != Some(&text) {
            tracing::warn!("{text}");
            self.warned = Some(text);
        }
    }

    /// Waits, but not for the end of the service.
    fn pause(&mut self, time: Duration) {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            // Either is a reason to go on.
            let _ = tokio::time::timeout(time, stop.wait_for(|stop| *stop)).await;
        });
    }
}

/// What a turn learnt.
#[derive(Debug, Default)]
struct Known {
    status: Option<FromSupervisor>,
    sensors: Option<Sensors>,
    module_c: Option<f64>,
    stuck: Option<Part>,
}

/// Whether something happened, beyond figures that always move.
fn changed(a: &McuLink, b: &McuLink) -> bool {
    (a.link, a.stuck, a.power, a.door_open, a.resets)
        != (b.link, b.stuck, b.power, b.door_open, b.resets)
}
