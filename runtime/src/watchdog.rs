//! systemd as the first of three watchdogs: the service tells it when it is ready and, while every part makes progress, that it
//! lives. Without beats systemd ends the process and starts it again (`WatchdogSec` of the unit). The second is the SoC's own,
//! which systemd feeds; the third the supervisor MCU ([`crate::supervise`]).
//!
//! The protocol is that of sd_notify(3): lines in a datagram to the socket that the environment names.

use crate::health::Part;
use crate::jobs::board::Board;
use crate::messages::Degraded;
use crate::progress::Progress;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Beats within systemd's limit: one may be late or lost, as sd_watchdog_enabled(3) advises.
const BEATS: u32 = 4;
/// Between two looks where systemd watches nothing: its status is kept true.
const LOOK: Duration = Duration::from_secs(5);

/// Who listens to us, and how often it wants to hear.
#[derive(Debug)]
struct Systemd {
    socket: UnixDatagram,
    pause: Duration,
}

impl Systemd {
    /// As the environment of the process says; `None` where nobody listens.
    fn of_environment() -> Option<Systemd> {
        let name = std::env::var_os("NOTIFY_SOCKET")?;
        let number = |key| std::env::var(key).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|_| ours).map(Duration::from_micros);
        match Systemd::at(&name, limit) {
            Ok(systemd) => Some(systemd),
            Err(error) => {
                tracing::error!("systemd cannot be told anything: {error}; it will restart us");
                None
            }
        }
    }

    fn at(name: &OsStr, limit: Option<Duration>) -> io::Result<Systemd> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A systemd that does not read must not stop us.
        socket.set_nonblocking(true)?;
        Ok(Systemd { socket, pause: limit.map_or(LOOK, |limit| limit / BEATS) })
    }

    fn say(&self, lines: &str) {
        if let Err(error) = self.socket.send(lines.as_bytes()) {
            tracing::warn!("systemd was not told: {error}");
        }
    }
}

/// What systemd is told at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    stuck: Option<Part>,
    degraded: Option<Degraded>,
}

impl Seen {
    /// For a person who asks `systemctl status`.
    fn status(self) -> String {
        match self {
            Seen { stuck: Some(part), .. } => format!("no progress: {part:?}"),
            Seen { degraded: Some(Degraded::SelfTest), .. } => {
                "degraded: the self-test failed, no results are made".to_owned()
            }
            _ => "at work".to_owned(),
        }
    }

    /// A beat only while all parts move: what is degraded lives, and a restart would not mend it.
    fn lines(self) -> String {
        let beat = if self.stuck.is_none() { "WATCHDOG=1\n" } else { "" };
        format!("{beat}STATUS={}\n", self.status())
    }
}

/// Says that the service is ready, then beats on a thread until `stop` turns true; nothing where no systemd listens. Needs a
/// tokio runtime.
pub fn start(
    progress: Arc<Progress>,
    board: Arc<Board>,
    stop: watch::Receiver<bool>,
) -> io::Result<Option<thread::JoinHandle<()>>> {
    let Some(systemd) = Systemd::of_environment() else { return Ok(None) };
    let look = move || Seen { stuck: progress.stuck(), degraded: board.figures().degraded() };
    beat(systemd, look, stop).map(Some)
}

fn beat(
    systemd: Systemd,
    look: impl Fn() -> Seen + Send + 'static,
    mut stop: watch::Receiver<bool>,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = Handle::current();
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        systemd.say("READY=1\n");
        let mut told = None;
        loop {
            let seen = look();
            systemd.say(&seen.lines());
            if let Some(part) = seen.stuck.filter(|_| told != seen.stuck) {
                tracing::error!(?part, "no progress: systemd hears no beats and will restart us");
            }
            told = seen.stuck;
            let stopped = runtime.block_on(async {
                tokio::time::timeout(systemd.pause, stop.wait_for(|stop| *stop)).await.is_ok()
            });
            if stopped {
                return systemd.say("STOPPING=1\n");
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use std::ffi::OsString;

    /// A listener on a real socket, as systemd has one.
    struct Listener {
        socket: UnixDatagram,
        name: OsString,
    }

    impl Listener {
        fn new(name: &str) -> Listener {
            let name = format!("sagitta-{name}-{}", std::process::id());
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            Listener { socket, name: format!("@{name}").into() }
        }

        /// The next datagram; `None` after so long a silence.
        fn hear(&self, limit: Duration) -> Option<String> {
            let mut buffer = [0; 512];
            self.socket.set_read_timeout(Some(limit)).unwrap();
            let length = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        }

        /// The next datagram that begins so.
        fn until(&self, begin: &str) -> String {
            let heard = std::iter::from_fn(|| self.hear(Duration::from_secs(10)));
            heard.into_iter().find(|lines| lines.starts_with(begin)).unwrap()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn beats_stop_when_a_part_is_stuck_and_come_back_with_its_progress() {
        let listener = Listener::new("watchdog");
        let limit = Duration::from_millis(80);
        let systemd = Systemd::at(&listener.name, Some(limit)).unwrap();
        let health = Health::new();
        let stuck = Arc::new(std::sync::Mutex::new(None));
        let (asked, told) = (health.clone(), stuck.clone());
        let look = move || Seen { stuck: asked.stuck().or(*told.lock().unwrap()), degraded: None };
        let (stop, stopped) = watch::channel(false);
        let thread = beat(systemd, look, stopped).unwrap();
        assert_eq!(listener.hear(limit * 50), Some("READY=1\n".to_owned()));
        let beats: Vec<_> = (0..8).map(|_| listener.hear(limit).unwrap()).collect();
        assert!(beats.iter().all(|beat| beat == "WATCHDOG=1\nSTATUS=at work\n"), "{beats:?}");

        *stuck.lock().unwrap() = Some(Part::Deliveries);
        listener.until("STATUS=no progress: Deliveries");
        for _ in 0..8 {
            let lines = listener.hear(limit * 50).unwrap();
            assert!(!lines.contains("WATCHDOG"), "{lines}");
        }
        *stuck.lock().unwrap() = None;
        listener.until("WATCHDOG=1");

        // A thread that is gone never comes back.
        drop(health.hand(Part::Jobs));
        listener.until("STATUS=no progress: Jobs");
        assert!(!listener.hear(limit * 50).unwrap().contains("WATCHDOG"));
        stop.send_replace(true);
        listener.until("STOPPING=1");
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
    }

    #[test]
    fn what_is_degraded_lives() {
        let seen = Seen { stuck: None, degraded: Some(Degraded::SelfTest) };
        assert!(seen.lines().starts_with("WATCHDOG=1\nSTATUS=degraded: the self-test"));
    }
}
