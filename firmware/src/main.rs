//! The simulator: the supervisor's own logic on the host, with a pseudo-terminal for its UART.
//!
//! `firmware PATH` makes PATH a link to the terminal, which a runtime opens as its serial port. Standard input takes the
//! letters of the test bench (`bench.rs`), standard output gives its lines; the end of standard input ends the simulator.
//! `--bench` shortens the limits from minutes to seconds.
//!
//! Its flash lives as long as it does. An image in it is judged as on the board, and stands for the simulator itself, which
//! goes by the version in the header; a program that begins with `hang` hangs.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use firmware::bench::{Bench, Request, Seen, VENDOR_SEED};
use firmware::boot::choose;
use firmware::flash::Memory;
use firmware::slots::{FLASH_BYTES, offset};
use firmware::vendor::Digest;
use firmware::{Event, Limits, Retained, Slots, Supervisor, Updater, VendorKey};
use link::image::{HEADER, Header, MPS2_AN386};
use link::{Reader, ResetCause, Slot, ToSupervisor, encode};
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Time between two ticks: a fifth of the shortest limit, the reset pulse.
const TICK: Duration = Duration::from_millis(10);
/// Bytes waiting for the loop: eight of the longest frames. A full queue stops the reading, as a full UART would.
const QUEUE: usize = 8 * link::MAX_FRAME;
/// The program of the simulator's first image, version 1; and what one begins with that hangs.
const PROGRAM: &[u8] = b"simulator";
const HANGS: &[u8] = b"hang";
/// The watchdog's two stages together, as on the board.
const WATCHDOG: Duration = Duration::from_secs(4);

/// What wakes the loop.
enum Input {
    Uart(u8),
    Bench(u8),
    /// Standard input has ended.
    End,
}

fn main() -> io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let bench = arguments.last().is_some_and(|last| last == "--bench");
    if bench {
        arguments.pop();
    }
    let [path] = arguments.as_slice() else {
        return Err(io::Error::other("usage: firmware PATH [--bench]"));
    };
    let (inputs, queue) = sync_channel(QUEUE);
    let terminal = Terminal::open(Path::new(path))?;
    let uart = std::fs::File::from(terminal.master.try_clone()?);
    forward(uart, inputs.clone(), Input::Uart, None);
    forward(io::stdin(), inputs, Input::Bench, Some(Input::End));
    let limits = if bench { Limits::BENCH } else { Limits::PRODUCT };
    let mut board = Board { retained: Retained::empty(), flash: factory() };
    let mut cause = ResetCause::PowerOn;
    loop {
        match run(limits, cause, &mut board, &queue, &terminal)? {
            Ended::Hung => {
                std::thread::sleep(WATCHDOG);
                // Nobody read the UART meanwhile.
                while queue.try_recv().is_ok() {}
                cause = ResetCause::Watchdog;
            }
            Ended::StartAnew => cause = ResetCause::Software,
            Ended::Closed => return std::fs::remove_file(path),
        }
    }
}

/// What outlives a reset.
struct Board {
    retained: Retained,
    flash: Vec<u8>,
}

/// A flash with one image in slot A, signed by the bench.
fn factory() -> Vec<u8> {
    let mut digest = Digest::default();
    digest.update(PROGRAM);
    let (length, digest) = (PROGRAM.len() as u32, digest.finish());
    let (board, slot) = (MPS2_AN386, Slot::A);
    let header = Header { board, slot, version: 1, oldest: 1, length, digest };
    let signature = salty::Keypair::from(&VENDOR_SEED).sign(&header.signed()).to_bytes();
    let image = [header.to_bytes(&signature).as_slice(), PROGRAM].concat();
    let mut flash = vec![firmware::flash::ERASED; FLASH_BYTES as usize];
    flash[offset(slot) as usize..][..image.len()].copy_from_slice(&image);
    flash
}

/// Sends every byte of `from` to the loop, then `end`.
fn forward(
    from: impl Read + Send + 'static,
    to: SyncSender<Input>,
    wrap: fn(u8) -> Input,
    end: Option<Input>,
) {
    std::thread::spawn(move || {
        for byte in io::BufReader::new(from).bytes().map_while(Result::ok) {
            if to.send(wrap(byte)).is_err() {
                return;
            }
        }
        // The loop may have ended by itself.
        let _ = end.map(|end| to.send(end));
    });
}

#[derive(PartialEq, Eq)]
enum Ended {
    Hung,
    StartAnew,
    Closed,
}

/// One run of the supervisor, from its reset to the next.
fn run(
    limits: Limits,
    cause: ResetCause,
    board: &mut Board,
    queue: &Receiver<Input>,
    terminal: &Terminal,
) -> io::Result<Ended> {
    let start =
        choose(&mut Slots::new(Memory::new(&mut board.flash)), MPS2_AN386, &VendorKey::BENCH)
            .map_err(|none| io::Error::other(format!("no image may run: {:?}", none.why)))?;
    let hangs = board.flash[offset(start.slot) as usize + HEADER..].starts_with(HANGS);
    let slots = Slots::new(Memory::new(&mut board.flash));
    let mut updater = Updater::new(slots, MPS2_AN386, start.slot, &limits);
    show(format_args!(
        "boot slot={:?} version={} trial={}",
        start.slot, start.header.version, start.on_trial
    ))?;
    if hangs {
        return Ok(Ended::Hung);
    }
    let started = Instant::now();
    // The counter wraps as the MCU's does.
    let now_ms = || started.elapsed().as_millis() as u32;
    let mut supervisor = Supervisor::new(limits, cause, now_ms(), &mut board.retained);
    let (mut bench, mut reader, mut shown) = (Bench::default(), Reader::default(), None);
    loop {
        let input = queue.recv_timeout(TICK);
        let message = match input {
            Ok(Input::Uart(byte)) => reader.push::<ToSupervisor>(byte),
            Ok(Input::Bench(letter)) => match bench.command(supervisor.now_ms(), letter) {
                Some(Request::Hang) => return Ok(Ended::Hung),
                None => None,
            },
            Err(RecvTimeoutError::Timeout) => None,
            Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Closed),
        };
        let pins = bench.inputs(supervisor.now_ms(), &supervisor.outputs());
        supervisor.handle(now_ms(), Event::Tick(pins));
        let answer = match message {
            Some(Ok(message)) => updater.handle(&mut supervisor, now_ms(), Event::Message(message)),
            Some(Err(_)) => supervisor.handle(now_ms(), Event::BadFrame),
            None => None,
        };
        if let Some(answer) = answer {
            let frame = encode(&answer).expect("every answer is shorter than a frame");
            rustix::io::write(&terminal.master, frame.as_bytes())?;
        }
        let seen = Seen::of(&supervisor, cause);
        if shown.replace(seen) != Some(seen) {
            show(format_args!("{seen}"))?;
        }
        if updater.is_reset_due(supervisor.now_ms()) {
            return Ok(Ended::StartAnew);
        }
    }
}

/// One line of the bench.
fn show(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A pseudo-terminal whose other end a runtime may open, close and open again.
struct Terminal {
    master: OwnedFd,
    /// Held open: reading the master fails while nobody has the other end.
    _slave: OwnedFd,
}

impl Terminal {
    fn open(link: &Path) -> io::Result<Terminal> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.into_string().map_err(io::Error::other)?;
        let options = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let slave = rustix::fs::open(name.as_str(), options, rustix::fs::Mode::empty())?;
        // A line discipline that echoes would answer for us.
        let mut line = tcgetattr(&slave)?;
        line.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &line)?;
        if link.is_symlink() {
            std::fs::remove_file(link)?;
        }
        std::os::unix::fs::symlink(name, link)?;
        Ok(Terminal { master, _slave: slave })
    }
}
