//! The runtime's side of the supervisor against peers that lie in wait: one of another version, one that is noisy, one that
//! forgot its journal; and against the simulator, with a service that makes no progress.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use link::{
    FromSupervisor, JournalEvent, PowerState, Reader, ResetCause, ToSupervisor, VERSION, Version,
    encode,
};
use sagitta::config::Config;
use sagitta::health::{Health, Part};
use sagitta::outbox::{Destination, Outbox, Priority};
use sagitta::progress::Progress;
use sagitta::publish::mqtt::{Endpoint, Publisher};
use sagitta::supervise;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Folder, PATIENCE, free_port};
use tokio::sync::watch;

/// Longer than two beats.
const SOME_BEATS: Duration = Duration::from_millis(2_500);

/// A supervisor of our own: answers by `answer`, and remembers what it was asked.
#[derive(Clone)]
struct Peer {
    asked: Arc<Mutex<Vec<ToSupervisor>>>,
}

impl Peer {
    fn listen(
        port: &Path,
        answer: impl Fn(ToSupervisor) -> Vec<u8> + Send + Sync + 'static,
    ) -> Peer {
        let listener = UnixListener::bind(port).unwrap();
        let peer = Peer { asked: Arc::default() };
        let (listening, answer) = (peer.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (peer, answer) = (listening.clone(), answer.clone());
                std::thread::spawn(move || peer.serve(stream.unwrap(), &*answer));
            }
        });
        peer
    }

    fn serve(&self, mut stream: UnixStream, answer: &dyn Fn(ToSupervisor) -> Vec<u8>) {
        let (mut reader, from) = (Reader::default(), BufReader::new(stream.try_clone().unwrap()));
        for byte in from.bytes().map_while(Result::ok) {
            if let Some(Ok(question)) = reader.push::<ToSupervisor>(byte) {
                self.asked.lock().unwrap().push(question);
                if stream.write_all(&answer(question)).is_err() {
                    return;
                }
            }
        }
    }

    fn asked(&self) -> Vec<ToSupervisor> {
        self.asked.lock().unwrap().clone()
    }

    fn beats(&self) -> usize {
        self.asked().iter().filter(|q| matches!(q, ToSupervisor::Heartbeat { .. })).count()
    }
}

fn bytes(answer: FromSupervisor) -> Vec<u8> {
    encode(&answer).unwrap().as_bytes().to_vec()
}

/// What a supervisor of `version` answers that has this journal: uptimes and events.
fn answer(
    version: Version,
    journal: &[(u64, JournalEvent)],
    question: ToSupervisor,
) -> FromSupervisor {
    match question {
        ToSupervisor::Hello { .. } => {
            FromSupervisor::Hello { version, reset_cause: ResetCause::PowerOn }
        }
        ToSupervisor::Heartbeat { sequence } => FromSupervisor::HeartbeatSeen { sequence },
        ToSupervisor::GetStatus => FromSupervisor::Status {
            uptime_ms: 1,
            state: PowerState::Running,
            resets: 0,
            bad_frames: 0,
            fan_percent: 100,
        },
        ToSupervisor::GetClock => FromSupervisor::Clock { run: 1, uptime_ms: 5_000 },
        ToSupervisor::GetSensors => FromSupervisor::Sensors(link::Sensors::default()),
        ToSupervisor::GetEntry { from } => match journal.get(from as usize) {
            Some(&(at_ms, event)) => FromSupervisor::Entry { sequence: from, run: 1, at_ms, event },
            None => FromSupervisor::JournalEnd { next: journal.len() as u32 },
        },
        ToSupervisor::GetJournal { .. } => FromSupervisor::JournalEnd { next: 0 },
        ToSupervisor::Command(_) => FromSupervisor::Done,
        // The service asks nothing about images.
        ToSupervisor::Image(_) => FromSupervisor::Refused,
    }
}

/// A service that has nothing but a supervisor, an outbox, and a broker that is away: every message stays to be seen.
struct Service {
    outbox: Arc<Outbox>,
    publisher: Arc<Publisher>,
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Service {
    fn start(folder: &Path) -> Service {
        let text = format!(
            "data = 'unused'\n[mqtt]\nsite = 'north'\ndevice = 'mr1'\n\
             broker = {{ kind = 'external', host = '127.0.0.1', port = {} }}\n[mcu]\nport = '{}'\n",
            free_port(),
            folder.join("link").display()
        );
        let config: Config = toml::from_str(&text).unwrap();
        let outbox = Arc::new(Outbox::open(&folder.join("outbox.redb")).unwrap());
        let endpoint = Endpoint::open(&config.mqtt.broker, None).unwrap();
        let publisher = Arc::new(Publisher::start(&config.mqtt, endpoint, outbox.clone()));
        let (health, (stop, stopped)) = (Health::new(), watch::channel(false));
        let settings = config.mcu.clone().unwrap();
        let progress = Progress::new(&config, &health, &publisher);
        let thread = supervise::start(settings, progress, publisher.clone(), stopped).unwrap();
        Service { outbox, publisher, health, stop, thread: Some(thread) }
    }

    /// Payloads on the supervisor's topic `kind`.
    fn said(&self, kind: &str) -> Vec<Value> {
        let rows = self.outbox.pending(Destination::Mqtt, Priority::Ordinary, 0, 1_000).unwrap();
        let rows = rows.iter().filter(|row| row.topic.ends_with(&format!("/mcu/{kind}")));
        rows.map(|row| serde_json::from_slice(&row.payload).unwrap()).collect()
    }

    /// Waits until a link message has these words.
    fn link_says(&self, key: &str, word: &str) {
        wait(&format!("{key} {word}"), || self.said("link").iter().any(|link| link[key] == word));
    }

    async fn end(mut self) {
        self.stop.send_replace(true);
        self.thread.take().unwrap().join().unwrap();
        // The next service opens the outbox when nobody has it.
        self.publisher.shutdown().await;
        while Arc::strong_count(&self.outbox) > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_makes_no_progress_stops_the_heartbeat() {
    let folder = Folder::new("supervise-stuck");
    let peer = Peer::listen(&folder.path().join("link"), |q| bytes(answer(VERSION, &[], q)));
    let service = Service::start(folder.path());
    wait("beats", || peer.beats() >= 2);
    service.link_says("link", "up");
    drop(service.health.hand(Part::Jobs));
    service.link_says("stuck", "jobs");
    let beats = peer.beats();
    std::thread::sleep(SOME_BEATS);
    assert_eq!(peer.beats(), beats, "a lie");
    // It is watched, and asked, all the same.
    let statuses = peer.asked().iter().filter(|q| matches!(q, ToSupervisor::GetStatus)).count();
    assert!(statuses > beats);
    service.end().await;
    let farewell = ToSupervisor::Command(link::Command::BeginUpdate { seconds: 180 });
    assert_eq!(peer.asked().last(), Some(&farewell));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_major_version_hears_nothing_but_hello() {
    let folder = Folder::new("supervise-major");
    let newer = Version { major: VERSION.major + 1, minor: 0 };
    let peer = Peer::listen(&folder.path().join("link"), move |q| bytes(answer(newer, &[], q)));
    let service = Service::start(folder.path());
    service.link_says("link", "other_version");
    wait("another try", || peer.asked().len() >= 2);
    service.end().await;
    let hello = |question: &ToSupervisor| matches!(question, ToSupervisor::Hello { .. });
    assert!(peer.asked().iter().all(hello), "{:?}", peer.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_of_1_0_is_asked_what_it_knows() {
    let folder = Folder::new("supervise-minor");
    let old = Version { major: 1, minor: 0 };
    let peer = Peer::listen(&folder.path().join("link"), move |q| bytes(answer(old, &[], q)));
    let service = Service::start(folder.path());
    wait("beats", || peer.beats() >= 2);
    service.link_says("power", "running");
    service.end().await;
    for question in peer.asked() {
        let known = matches!(
            question,
            ToSupervisor::Hello { .. }
                | ToSupervisor::Heartbeat { .. }
                | ToSupervisor::GetStatus
                | ToSupervisor::Command(link::Command::FanDuty { .. })
        );
        assert!(known, "{question:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_is_counted_and_does_not_stop_the_link() {
    let folder = Folder::new("supervise-noise");
    let peer = Peer::listen(&folder.path().join("link"), |q| {
        // A flood that ends nowhere, half a frame, and the answer.
        let whole = bytes(answer(VERSION, &[], q));
        [&[0x55; 400][..], &[0], &whole[..3], &[0], &whole[..]].concat()
    });
    let service = Service::start(folder.path());
    wait("beats", || peer.beats() >= 3);
    service.link_says("link", "up");
    let last = service.said("link").pop().unwrap();
    assert!(last["bad_frames_here"].as_u64().unwrap() >= 2, "{last}");
    assert_eq!(last["unanswered"], 0);
    service.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_a_missing_port_are_told() {
    let folder = Folder::new("supervise-silent");
    let service = Service::start(folder.path());
    service.link_says("link", "no_port");
    let _peer = Peer::listen(&folder.path().join("link"), |_| Vec::new());
    service.link_says("link", "silent");
    service.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_becomes_one_message_over_restarts_too() {
    let folder = Folder::new("supervise-journal");
    let journal = Arc::new(Mutex::new(vec![
        (10, JournalEvent::Started { cause: ResetCause::PowerOn }),
        (11, JournalEvent::PoweredOn),
        (12, JournalEvent::Healthy),
    ]));
    let kept = journal.clone();
    let peer = Peer::listen(&folder.path().join("link"), move |q| {
        bytes(answer(VERSION, &kept.lock().unwrap(), q))
    });
    let service = Service::start(folder.path());
    wait("three entries", || service.said("journal").len() == 3);
    let first = &service.said("journal")[0];
    assert_eq!((&first["event"], &first["cause"]), (&"started".into(), &"power_on".into()));
    assert!(first["at"].is_string(), "{first}");
    service.end().await;

    let beats = peer.beats();
    let service = Service::start(folder.path());
    wait("beats of the next run", || peer.beats() >= beats + 2);
    assert_eq!(service.said("journal").len(), 3, "told again");
    journal.lock().unwrap().push((13, JournalEvent::DoorOpened));
    wait("the next entry", || service.said("journal").len() == 4);
    service.end().await;

    // Its memory lost the supply: another journal, which is as long already.
    for entry in journal.lock().unwrap().iter_mut() {
        entry.0 += 1_000;
    }
    let service = Service::start(folder.path());
    wait("the other journal", || service.said("journal").len() == 8);
    service.end().await;
}

/// The whole chain: no progress, no beat, reset.
#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_resets_a_service_that_makes_no_progress() {
    let folder = Folder::new("supervise-reset");
    let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let mut simulator = Command::new(profile.join("firmware"))
        .arg(folder.path().join("link"))
        .arg("--bench")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo build --release -p firmware, or use tests/run");
    let mut lines = BufReader::new(simulator.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut bench = move |text: &str| lines.find(|line| line.contains(text)).unwrap();
    let service = Service::start(folder.path());
    bench("state=Running");
    drop(service.health.hand(Part::Deliveries));
    let stuck = Instant::now();
    assert!(bench("state=Resetting").contains("reset=true"));
    assert!(stuck.elapsed() > Duration::from_secs(2), "before its limit");
    service.end().await;
    drop(simulator.stdin.take());
    simulator.wait().unwrap();
}
