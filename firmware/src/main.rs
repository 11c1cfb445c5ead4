//! The simulator: the supervisor's own logic on the host, with a pseudo-terminal for its UART.
//!
//! `firmware PATH` makes PATH a link to the terminal, which a runtime opens as its serial port. Standard input takes the
//! letters of the test bench (`bench.rs`), standard output gives its lines; the end of standard input ends the simulator.
//! `--bench` shortens the limits from minutes to seconds.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use firmware::bench::{Bench, Request, Seen};
use firmware::{Event, Limits, Retained, Supervisor};
use link::{Reader, ResetCause, ToSupervisor, encode};
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Time between two ticks: a fifth of the shortest limit, the reset pulse.
const TICK: Duration = Duration::from_millis(10);
/// Bytes waiting for the loop: eight of the longest frames. A full queue stops the reading, as a full UART would.
const QUEUE: usize = 8 * link::MAX_FRAME;
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
    let mut retained = Retained::empty();
    let mut cause = ResetCause::PowerOn;
    while run(limits, cause, &mut retained, &queue, &terminal)? == Ended::Hung {
        std::thread::sleep(WATCHDOG);
        // Nobody read the UART meanwhile.
        while queue.try_recv().is_ok() {}
        cause = ResetCause::Watchdog;
    }
    std::fs::remove_file(path)
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
    Closed,
}

/// One run of the supervisor, from its reset to the next.
fn run(
    limits: Limits,
    cause: ResetCause,
    retained: &mut Retained,
    queue: &Receiver<Input>,
    terminal: &Terminal,
) -> io::Result<Ended> {
    let started = Instant::now();
    // The counter wraps as the MCU's does.
    let now_ms = || started.elapsed().as_millis() as u32;
    let mut supervisor = Supervisor::new(limits, cause, now_ms(), retained);
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
            Some(Ok(message)) => supervisor.handle(now_ms(), Event::Message(message)),
            Some(Err(_)) => supervisor.handle(now_ms(), Event::BadFrame),
            None => None,
        };
        if let Some(answer) = answer {
            let frame = encode(&answer).expect("every answer is shorter than a frame");
            rustix::io::write(&terminal.master, frame.as_bytes())?;
        }
        let seen = Seen::of(&supervisor, cause);
        if shown.replace(seen) != Some(seen) {
            let mut out = io::stdout().lock();
            writeln!(out, "{seen}")?;
            out.flush()?;
        }
    }
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
