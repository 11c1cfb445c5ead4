//! The serial port of the supervisor: a UART, a pseudo-terminal, or a socket where a simulator has one.
//!
//! Every call ends at its deadline, whatever the other end does: the thread behind it beats for the whole service.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, fcntl_setfl, flock};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, isatty, speed, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The port, non-blocking.
#[derive(Debug)]
pub(super) struct Port(File);

impl Port {
    /// Opens `path`; a terminal is set to 115 200 baud, 8 bits, no parity, nothing interpreted, and is ours alone among the
    /// programs that ask ([`io::ErrorKind::ResourceBusy`]). A socket is as the simulator behind it wants.
    pub(super) fn open(path: &Path) -> io::Result<Port> {
        if std::fs::metadata(path)?.file_type().is_socket() {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            return Ok(Port(File::from(OwnedFd::from(stream))));
        }
        // Without NONBLOCK, opening waits for a carrier that a UART of three wires never has.
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags.bits() as i32);
        let file = options.open(path)?;
        if !isatty(&file) {
            return Err(io::Error::other("neither a serial port nor a socket"));
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another program holds it")
            }
            error => error.into(),
        })?;
        let mut line = tcgetattr(&file)?;
        line.make_raw();
        line.set_speed(speed::B115200)?;
        tcsetattr(&file, OptionalActions::Flush, &line)?;
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
        Ok(Port(file))
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if waits(&error) => self.wait(PollFlags::OUT, until)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there, at least one byte.
    pub(super) fn read(&mut self, bytes: &mut [u8], until: Instant) -> io::Result<usize> {
        loop {
            match self.0.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if waits(&error) => self.wait(PollFlags::IN, until)?,
                other => return other,
            }
        }
    }

    /// Until the port is ready; [`io::ErrorKind::TimedOut`] after `until`.
    fn wait(&self, ready: PollFlags, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut polled = [PollFd::new(&self.0, ready)];
        // A signal ends the wait early: the caller looks again.
        match poll(&mut polled, Some(&timespec(left))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_silent_or_full_port_ends_at_the_deadline() {
        let path = std::env::temp_dir().join(format!("sagitta-port-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let mut port = Port::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let kind = |result: io::Result<usize>| result.unwrap_err().kind();
        assert_eq!(kind(port.read(&mut [0; 8], soon())), io::ErrorKind::TimedOut);
        other.write_all(b"ab").unwrap();
        let mut bytes = [0; 8];
        assert_eq!(port.read(&mut bytes, soon()).unwrap(), 2);
        // Nobody reads the other end: it fills, and writing ends at its deadline.
        let much = vec![7; 16 << 20];
        let error = port.write(&much, soon()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(other);
        let broken = port.read(&mut bytes, soon()).unwrap_err().kind();
        assert!(broken != io::ErrorKind::TimedOut, "{broken:?}");
    }

    #[test]
    fn a_plain_file_is_no_port() {
        let path = std::env::temp_dir().join(format!("sagitta-noport-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        assert!(Port::open(&path).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
