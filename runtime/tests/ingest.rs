//! The receiver against a real peer (DCMTK's `storescu`, `echoscu`) and against a hostile one.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod shared;

use dicom_ul::association::client::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use sagitta::ingest::association::{Settings, serve};
use sagitta::ingest::mpps::Steps;
use sagitta::ingest::receiver::{Receiver, Services};
use sagitta::ingest::spool::{Outcome, Spool};
use sagitta::ingest::{Arrival, Event};
use sagitta::part10;
use shared::{Scratch, dicom, run, unpack};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Nothing here takes so long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const VERIFICATION: &str = "1.2.840.10008.1.1";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
/// Command fields: C-STORE-RQ, C-ECHO-RQ, C-STORE-RSP.
const STORE: u16 = 0x0001;
const ECHO: u16 = 0x0030;
const STORE_RESPONSE: u16 = 0x8001;

/// The receiver on a free port, with its spool.
struct Service {
    address: SocketAddr,
    events: mpsc::Receiver<Event>,
    stop: watch::Sender<bool>,
    task: Option<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
    scratch: Scratch,
}

impl Service {
    fn start(name: &str, settings: Settings) -> Service {
        let scratch = Scratch::new(name);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (spool, _) = Spool::open(&scratch.0.join("spool"), b"key").unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, events) = mpsc::channel(10_000);
        let (stop, stopped) = watch::channel(false);
        let services = Services {
            admission: Arc::default(),
            settings,
            tls: None,
            spool: Arc::new(spool),
            steps: Steps::open(&scratch.0.join("steps"), b"key").unwrap().0,
            commitments: None,
            counts: Arc::default(),
            events: sender,
        };
        let task = Some(runtime.spawn(serve(listener, Receiver::new(services), stopped)));
        Service { address, events, stop, task, runtime, scratch }
    }

    fn next(&mut self) -> Event {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.events.recv()).await })
            .expect("an event in time")
            .expect("the receiver runs")
    }

    /// The arrivals up to the end of the next association, and whether it was released.
    fn association(&mut self) -> (Vec<Arrival>, bool) {
        let mut arrivals = Vec::new();
        loop {
            match self.next() {
                Event::Arrived(arrival) => arrivals.push(*arrival),
                Event::Released(_) => return (arrivals, true),
                Event::Performed(_) | Event::Removed(_) => {}
                Event::Aborted(_) => return (arrivals, false),
            }
        }
    }

    /// Stops the receiver and waits for its end.
    fn stop(&mut self) {
        self.stop.send(true).unwrap();
        let task = self.task.take().unwrap();
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap() });
    }

    fn storescu(&self, folder: &Path) -> Command {
        let mut command = Command::new("storescu");
        command
            .args(["+sd", "+r", "--max-pdu", "131072", "-aec", "SAGITTA"])
            .args(["127.0.0.1", &self.address.port().to_string()])
            .arg(folder)
            .env("TCP_NODELAY", "1");
        command
    }
}

/// The files in a spool, but the blanks of its pool.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_none_or(|end| end != "blank"))
        .collect();
    files.sort();
    files
}

/// A peer that sends any bytes under any names.
struct Peer(dicom_ul::ClientAssociation<TcpStream>);

impl Peer {
    fn open(address: SocketAddr, class: &str, transfer_syntax: &str) -> Peer {
        let options = ClientAssociationOptions::new()
            .with_presentation_context(class.to_owned(), vec![transfer_syntax.to_owned()])
            .read_timeout(PATIENCE);
        Peer(options.establish(address).unwrap())
    }

    fn value(&mut self, value_type: PDataValueType, is_last: bool, data: &[u8]) {
        let presentation_context_id = self.0.presentation_contexts()[0].id;
        let value =
            PDataValue { presentation_context_id, value_type, is_last, data: data.to_vec() };
        self.0.send(&Pdu::PData { data: vec![value] }).unwrap();
    }

    /// Sends one C-STORE, its command in two values, and returns the status of the answer.
    fn store(&mut self, class: &str, instance: &str, data_set: &[u8]) -> u16 {
        let command = store_command(class, instance);
        self.value(PDataValueType::Command, false, &command[..20]);
        self.value(PDataValueType::Command, true, &command[20..]);
        let mut parts = data_set.chunks(100_000).peekable();
        while let Some(part) = parts.next() {
            self.value(PDataValueType::Data, parts.peek().is_none(), part);
        }
        self.status()
    }

    fn status(&mut self) -> u16 {
        let Pdu::PData { data } = self.0.receive().unwrap() else { panic!("no answer") };
        assert_eq!(field(&data[0].data, 0x0100), STORE_RESPONSE);
        assert_eq!(field(&data[0].data, 0x0120), 77, "the request's message id");
        field(&data[0].data, 0x0900)
    }
}

fn store_command(class: &str, instance: &str) -> Vec<u8> {
    command([
        (0x0002, class.as_bytes().to_vec()),
        (0x0100, STORE.to_le_bytes().to_vec()),
        (0x0110, 77u16.to_le_bytes().to_vec()),
        (0x0700, vec![0, 0]),
        (0x0800, vec![0, 0]),
        (0x1000, instance.as_bytes().to_vec()),
    ])
}

fn echo_command() -> Vec<u8> {
    command([
        (0x0002, VERIFICATION.as_bytes().to_vec()),
        (0x0100, ECHO.to_le_bytes().to_vec()),
        (0x0110, 77u16.to_le_bytes().to_vec()),
        (0x0800, 0x0101u16.to_le_bytes().to_vec()),
    ])
}

/// A command set of these elements (PS3.7 section 6.3.1).
fn command<const N: usize>(elements: [(u16, Vec<u8>); N]) -> Vec<u8> {
    let mut out = Vec::new();
    for (element, mut value) in elements {
        value.resize(value.len() + value.len() % 2, 0);
        out.extend([0, 0]);
        out.extend(element.to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
        out.extend(value);
    }
    out
}

/// A 16-bit value of an implicit command set.
fn field(command: &[u8], element: u16) -> u16 {
    let mut at = 0;
    loop {
        let number = u16::from_le_bytes([command[at + 2], command[at + 3]]);
        if number == element {
            return u16::from_le_bytes([command[at + 8], command[at + 9]]);
        }
        let length = u32::from_le_bytes(command[at + 4..at + 8].try_into().unwrap());
        at += 8 + length as usize;
    }
}

/// An explicit data set with the UIDs every instance has.
fn data_set(class: &str, instance: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (group, element, value) in
        [(8u16, 0x16u16, class), (8, 0x18, instance), (0x20, 0xD, "1.2"), (0x20, 0xE, "1.2.3")]
    {
        let mut value = value.as_bytes().to_vec();
        value.resize(value.len() + value.len() % 2, 0);
        out.extend(group.to_le_bytes());
        out.extend(element.to_le_bytes());
        out.extend(b"UI");
        out.extend((value.len() as u16).to_le_bytes());
        out.extend(value);
    }
    out
}

#[test]
fn a_series_of_storescu_is_stored_before_it_is_acknowledged() {
    let mut service = Service::start("ingest-series", Settings::default());
    let source = Scratch::new("ingest-series-source");
    unpack("siemens-skyra-d11-sag-t1-classic", &source.0);
    run(Command::new("echoscu").args(["127.0.0.1", &service.address.port().to_string()]));
    assert!(service.association().1, "C-ECHO and release");
    run(&mut service.storescu(&source.0));
    // storescu ended with success: every acknowledged file must be there now, whatever we have read of the events.
    let stored = files(&service.scratch.0);
    assert_eq!(stored.len(), 192);
    let (arrivals, released) = service.association();
    assert!(released && arrivals.len() == 192);
    let job = arrivals[0].job.clone();
    assert!(arrivals.iter().all(|arrival| arrival.job == job && arrival.outcome == Outcome::New));
    assert_eq!(arrivals[0].header.declared.siemens_slices, Some(192));
    // storescu may write lengths of sequences anew, so only values are compared here; bytes in the test of refusals.
    let dump =
        |tag: &str, path: &Path| run(Command::new("dcmdump").args(["+L", "+P", tag]).arg(path));
    for original in files(&source.0).iter().take(3) {
        let uid = dump("0008,0018", original);
        let uid = uid.split(['[', ']']).nth(1).unwrap();
        let arrival = arrivals.iter().find(|a| a.header.sop_instance == uid).unwrap();
        assert_eq!(dump("7fe0,0010", original), dump("7fe0,0010", &arrival.path));
    }
    run(&mut service.storescu(&source.0));
    let (again, _) = service.association();
    assert!(again.iter().all(|arrival| arrival.outcome == Outcome::Duplicate));
    assert_eq!(files(&service.scratch.0), stored);
    service.stop();
    let (_, recovered) = Spool::open(&service.scratch.0.join("spool"), b"key").unwrap();
    assert_eq!(recovered.len(), 192, "a restart finds what was acknowledged");
    assert!(recovered.iter().all(|arrival| arrival.job == job));
}

#[test]
fn side_objects_of_a_console_are_accepted_and_ignored() {
    let mut service = Service::start("ingest-raw", Settings::default());
    let scratch = Scratch::new("ingest-raw-source");
    let packed = dicom().join("philips-elition-571-enhanced-and-raw/104165610_ExamCard_Raw.dcm.gz");
    let raw = Command::new("gzip").arg("-dc").arg(packed).output().unwrap().stdout;
    std::fs::write(scratch.0.join("raw.dcm"), raw).unwrap();
    run(&mut service.storescu(&scratch.0));
    let (arrivals, released) = service.association();
    assert!(arrivals.is_empty() && released);
    assert_eq!(files(&service.scratch.0).len(), 1);
    service.stop();
}

#[test]
fn every_refusal_has_its_status_and_the_association_goes_on() {
    let mut service = Service::start("ingest-refusals", Settings::default());
    let mut peer = Peer::open(service.address, MR, EXPLICIT);
    let good = data_set(MR, "1.2.3.4");
    assert_eq!(peer.store(MR, "1.2.3.4", &good[..good.len() - 3]), 0xC000, "truncated");
    assert_eq!(peer.store("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", &good), 0x0122, "CT");
    assert_eq!(peer.store("1.2.840.10008.5.1.4.1.1.66", "1.2.3.4", &good), 0xA900, "context");
    assert_eq!(peer.store(MR, "1.2.3.5", &good), 0xA900, "another instance");
    assert_eq!(peer.store(MR, "../../x", &data_set(MR, "../../x")), 0xC000, "a path as UID");
    assert_eq!(peer.store(MR, "1.2.3.4", &good[..30]), 0xC000, "no UIDs");
    assert!(files(&service.scratch.0).is_empty());
    assert_eq!(peer.store(MR, "1.2.3.4", &good), 0, "the association goes on");
    let stored = std::fs::read(&files(&service.scratch.0)[0]).unwrap();
    assert_eq!(part10::split(&stored).unwrap(), (EXPLICIT.to_owned(), good.as_slice()), "verbatim");
    std::fs::remove_dir_all(&service.scratch.0).unwrap();
    std::fs::write(&service.scratch.0, b"a file where the spool was").unwrap();
    assert_eq!(peer.store(MR, "1.2.3.6", &data_set(MR, "1.2.3.6")), 0xA700, "no folder");
    drop(peer);
    let (arrivals, released) = service.association();
    assert_eq!((arrivals.len(), released), (1, false), "a broken link is no release");
    service.stop();
    std::fs::remove_file(&service.scratch.0).unwrap();
}

#[test]
fn hostile_data_sets_are_refused_with_a_status() {
    let mut service = Service::start("ingest-hostile", Settings::default());
    let scratch = Scratch::new("ingest-hostile-source");
    let python = std::env::var_os("SAGITTA_PYTHON").unwrap_or_else(|| "python3".into());
    let generator = dicom().join("malformed/make_malformed.py");
    run(Command::new(python).arg(generator).current_dir(&scratch.0));
    let mut refused = 0;
    for path in files(&scratch.0.join("mal")) {
        let file = std::fs::read(&path).unwrap();
        let (syntax, data_set) = part10::split(&file).unwrap();
        if syntax != EXPLICIT && syntax != IMPLICIT {
            continue; // deflated: no context is accepted for it
        }
        let mut peer = Peer::open(service.address, MR, &syntax);
        let start = Instant::now();
        assert_eq!(peer.store(MR, "1.2.3.4", data_set), 0xC000, "{path:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{path:?}");
        peer.0.release().unwrap();
        assert!(service.association().0.is_empty());
        refused += 1;
    }
    assert!(refused >= 11, "{refused} files");
    assert!(files(&service.scratch.0).is_empty());
    service.stop();
}

#[test]
fn too_many_associations_are_rejected_and_an_abort_is_told() {
    let settings = Settings { max_associations: 1, ..Settings::default() };
    let mut service = Service::start("ingest-full", settings);
    let peer = Peer::open(service.address, MR, EXPLICIT);
    let second = ClientAssociationOptions::new()
        .with_presentation_context(MR, vec![EXPLICIT])
        .read_timeout(PATIENCE)
        .establish(service.address);
    assert!(second.is_err(), "all places are taken");
    peer.0.abort().unwrap();
    assert!(!service.association().1);
    let _open = Peer::open(service.address, MR, EXPLICIT);
    service.stop(); // also with an association open
    assert!(!service.association().1);
}

/// More than ever come at once, and silent ones among them: every one is answered, and nobody is locked out afterwards.
#[test]
fn two_hundred_associations_at_once_are_all_answered() {
    const CROWD: usize = 200;
    let mut service = Service::start("ingest-crowd", Settings::default());
    let address = service.address;
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
    let all_have_asked = Arc::new(Barrier::new(CROWD));
    let askers: Vec<_> = (0..CROWD)
        .map(|_| {
            let all_have_asked = Arc::clone(&all_have_asked);
            std::thread::spawn(move || {
                let answer = ClientAssociationOptions::new()
                    .with_presentation_context(MR, vec![EXPLICIT])
                    .read_timeout(PATIENCE)
                    .establish(address);
                all_have_asked.wait();
                match answer {
                    Ok(association) => association.release().map(|()| true).unwrap(),
                    Err(dicom_ul::association::Error::Rejected { .. }) => false,
                    Err(other) => panic!("{other}"),
                }
            })
        })
        .collect();
    let accepted = askers.into_iter().map(|asker| usize::from(asker.join().unwrap())).sum();
    assert_eq!(Settings::default().max_associations_per_peer, accepted);
    for _ in 0..accepted {
        assert!(service.association().1);
    }
    drop(silent);
    Peer::open(address, MR, EXPLICIT).0.release().unwrap();
    assert!(service.association().1);
    service.stop();
}

/// It asks and asks and never reads an answer: its association ends, and the others do not notice.
#[test]
fn a_peer_that_stops_reading_is_left_alone() {
    let mut service = Service::start("ingest-deaf", Settings::default());
    let mut deaf = Peer::open(service.address, VERIFICATION, IMPLICIT);
    let context = deaf.0.presentation_contexts()[0].id;
    let value = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data: echo_command(),
    };
    let mut question = Vec::new();
    dicom_ul::pdu::write_pdu(&mut question, &Pdu::PData { data: vec![value] }).unwrap();
    let stream = deaf.0.inner_stream();
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    while std::io::Write::write_all(stream, &question).is_ok() {}

    let source = Scratch::new("ingest-deaf-source");
    unpack("siemens-skyra-d11-sag-t1-classic", &source.0);
    assert!(service.storescu(&source.0).status().unwrap().success());
    let (arrivals, released) = service.association();
    assert_eq!((arrivals.len(), released), (192, true));
    assert!(!service.association().1, "after the limit for an answer");
    service.stop();
}

/// Four associations at once; prints objects a second, as a note (the bench compares against DCMTK's storescp).
#[test]
fn four_associations_at_once_lose_nothing() {
    let mut service = Service::start("ingest-load", Settings::default());
    let source = Scratch::new("ingest-load-source");
    unpack("siemens-skyra-d11-sag-t1-classic", &source.0);
    let all = files(&source.0);
    let start = Instant::now();
    let senders: Vec<_> = (0..4)
        .map(|part| {
            let folder = source.0.join(format!("part-{part}"));
            std::fs::create_dir(&folder).unwrap();
            for (index, path) in all.iter().enumerate() {
                if index % 4 == part {
                    std::fs::rename(path, folder.join(format!("{index}"))).unwrap();
                }
            }
            service.storescu(&folder).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut sender in senders {
        assert!(sender.wait().unwrap().success());
    }
    println!("{:.0} objects/s", all.len() as f64 / start.elapsed().as_secs_f64());
    let arrivals: usize = (0..4).map(|_| service.association().0.len()).sum();
    assert_eq!(arrivals, 192);
    assert_eq!(files(&service.scratch.0).len(), 192);
    service.stop();
}
