//! The simulator: the supervisor's own logic on the host, with stdin and stdout for its UART.
//!
//! Frames of crate `link` in, frames out; ends at the end of stdin. Changes of the outputs go to stderr, one line each,
//! where a board would move its pins. A pty in between makes a serial port of it:
//! `socat pty,link=mcu,raw exec:target/release/firmware`.

use std::io::{self, Read, Write};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use firmware::{Event, Limits, Supervisor};
use link::{Reader, ResetCause, ToSupervisor, encode};

/// Time between two ticks: a fifth of the shortest limit, the reset pulse.
const TICK: Duration = Duration::from_millis(10);
/// Bytes waiting for the loop: eight of the longest frames. A full queue stops the reading, as a full UART would.
const QUEUE: usize = 8 * link::MAX_FRAME;

fn main() -> io::Result<()> {
    let (bytes, queue) = sync_channel(QUEUE);
    std::thread::spawn(move || {
        for byte in io::stdin().lock().bytes().map_while(Result::ok) {
            if bytes.send(byte).is_err() {
                return;
            }
        }
    });
    let started = Instant::now();
    // The uptime wraps as the MCU's counter does.
    let now_ms = || started.elapsed().as_millis() as u32;
    let mut supervisor = Supervisor::new(Limits::PRODUCT, ResetCause::PowerOn, now_ms());
    let mut reader = Reader::default();
    let mut shown = None;
    loop {
        let event = match queue.recv_timeout(TICK) {
            Ok(byte) => match reader.push::<ToSupervisor>(byte) {
                Some(Ok(message)) => Event::Message(message),
                Some(Err(_)) => Event::BadFrame,
                None => Event::Tick,
            },
            Err(RecvTimeoutError::Timeout) => Event::Tick,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        if let Some(answer) = supervisor.handle(now_ms(), event) {
            let frame = encode(&answer).expect("every answer is shorter than a frame");
            let mut out = io::stdout().lock();
            out.write_all(frame.as_bytes())?;
            out.flush()?;
        }
        let outputs = supervisor.outputs();
        if shown.replace(outputs) != Some(outputs) {
            eprintln!("{} ms {:?} {outputs:?}", now_ms(), supervisor.state().power());
        }
    }
}
