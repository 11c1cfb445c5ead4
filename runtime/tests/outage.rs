//! Nothing is lost: a publisher that is killed again and again, a broker that ends, a disk that is full for a while. The publisher
//! is this test's own program, started anew with [`CHILD`].
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use sagitta::messages::{Happening, Name};
use sagitta::outbox::Outbox;
use sagitta::publish::mqtt::{BrokerSettings, Endpoint, Publisher, Settings, SiteBroker};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::watcher::Watcher;
use support::{Folder, Mosquitto, PATIENCE, free_port, wait_for};
use tokio::time::{sleep, timeout};

/// Names the folder, the port and the last event to a publisher.
const CHILD: &str = "SAGITTA_TEST_PUBLISHER";
/// The session of who watches must hold what comes while the broker is away from them.
const QUEUE: &str = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0";

/// What goes wrong, spread over the events.
struct Trouble {
    events: u64,
    kills: u32,
    ends_of_the_broker: u32,
}

/// The publisher: events up to a number, each until it is stored, and all of them sent.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the others: their publisher"]
async fn publisher() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let (port, last): (u16, u64) = (arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    // A service that cannot start is started again.
    let outbox = loop {
        match Outbox::open(Path::new(arguments[0])) {
            Ok(outbox) => break Arc::new(outbox),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    let (host, port) = ("127.0.0.1".to_owned(), Some(port));
    let broker = BrokerSettings::External(SiteBroker { host, port, ..SiteBroker::default() });
    let name = |text| Name::new(text).unwrap();
    let settings = Settings { site: name("north"), device: name("mr1"), broker };
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let publisher = Publisher::start(&settings, endpoint, outbox.clone());
    while *outbox.pushed().borrow() < last {
        // Nobody has heard of an event that could not be stored: it has no number.
        if publisher.event(Happening::Stopping).is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    }
    while outbox.backlog().map_or(true, |backlog| backlog.messages > 0) {
        sleep(Duration::from_millis(20)).await;
    }
    publisher.shutdown().await;
}

/// A publisher at work; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it; a limit of its files gives it an error to handle, not a signal.
fn start(file: &Path, port: u16, last: u64) -> Process {
    let arguments = format!("{} {port} {last}", file.display());
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "publisher"])
        .env(CHILD, arguments)
        // A file would be full, too.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

/// No byte more goes to any file of a process, or all again: what a full disk does.
fn disk_is_full(publisher: &Process, full: bool) {
    let limit = if full { "--fsize=0:unlimited" } else { "--fsize=unlimited:unlimited" };
    let set =
        Command::new("prlimit").args(["--pid", &publisher.0.id().to_string(), limit]).status();
    assert!(set.unwrap().success());
}

/// Reads until the event of this number came; which number of a message each event had.
async fn hear(watcher: &mut Watcher, heard: &mut BTreeMap<u64, u64>, until: u64) -> usize {
    let mut repeated = 0;
    while heard.last_key_value().is_none_or(|(&last, _)| last < until) {
        let (topic, event) = timeout(PATIENCE, watcher.messages.recv()).await.unwrap().unwrap();
        if topic != "event" {
            continue;
        }
        let number = |key: &str| event[key].as_u64().unwrap();
        let (number, seq) = (number("number"), number("seq"));
        let next = heard.last_key_value().map_or(1, |(&last, _)| last + 1);
        assert!(number <= next, "event {next} is missing before {number}");
        if let Some(before) = heard.insert(number, seq) {
            assert_eq!(before, seq, "event {number} came again as another message");
            repeated += 1;
        }
    }
    repeated
}

/// Plays the trouble and hears every event; how many came more than once.
async fn play(name: &str, trouble: Trouble) -> usize {
    let Trouble { events, kills, ends_of_the_broker } = trouble;
    let folder = Folder::new(name);
    let (file, port) = (folder.path().join("outbox.redb"), free_port());
    let mut broker = Some(Mosquitto::start(port, folder.path(), QUEUE));
    let mut watcher = Watcher::start(port).await;
    let (mut heard, mut repeated) = (BTreeMap::new(), 0);
    let mut process = start(&file, port, events);
    let steps = u64::from(kills + ends_of_the_broker + 1);
    for step in 1..steps {
        repeated += hear(&mut watcher, &mut heard, events * step / steps).await;
        if step == steps / 2 {
            disk_is_full(&process, true);
            sleep(Duration::from_millis(500)).await;
            disk_is_full(&process, false);
            // It goes on by itself, with the broker and without a new start.
            let before = heard.len() as u64;
            repeated += hear(&mut watcher, &mut heard, before + 100).await;
        }
        if step % u64::from(kills / ends_of_the_broker + 1) == 0 {
            broker.take().unwrap().stop();
            sleep(Duration::from_millis(100)).await;
            broker = Some(Mosquitto::start(port, folder.path(), QUEUE));
        } else {
            // One at a time: the file is locked.
            drop(process);
            process = start(&file, port, events);
        }
    }
    repeated += hear(&mut watcher, &mut heard, events).await;
    let ended = wait_for("the end of the publisher", || process.0.try_wait().unwrap());
    assert!(ended.success());
    assert!(heard.keys().copied().eq(1..=events));
    drop(broker);
    repeated
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_to_kills_a_broker_that_ends_and_a_full_disk() {
    play("outage", Trouble { events: 400, kills: 4, ends_of_the_broker: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: 5,000 events, 20 kills, 5 ends of the broker"]
async fn no_event_of_thousands_is_lost() {
    let trouble = Trouble { events: 5_000, kills: 20, ends_of_the_broker: 5 };
    let repeated = play("outage-long", trouble).await;
    println!("5000 events, none missing; {repeated} came more than once, as the same message");
}
