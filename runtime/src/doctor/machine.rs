//! The parts around the engines: processor, memory, broker, disk, supervisor.

use super::Finding;
use crate::publish::mqtt::BrokerSettings;
use crate::telemetry::machine::clock_synchronised;
use crate::tls::{self, Expiry, Tls};
use models::engine;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A broker of the same site answers within milliseconds.
const BROKER: Duration = Duration::from_secs(3);
/// Room for a day of a busy scanner: 100 series of 40 MB with their results.
const LEAST_FREE_GB: u64 = 8;
/// 2026-11-01, before which this version was not there: a board without a battery starts in 1970.
const RELEASED_S: u64 = 1_793_491_200;

pub(super) fn processor() -> Finding {
    let (cores, set) = (kernels::threads::available(), engine::instruction_set());
    let text = format!("{}, {cores} cores, engine simd uses {set}", std::env::consts::ARCH);
    match set {
        "scalar" => Finding::absent(
            "processor",
            text,
            "nothing; without vector instructions a series takes minutes instead of seconds",
        ),
        _ => Finding::good("processor", text),
    }
}

pub(super) fn memory() -> Finding {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| {
        let line = info.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    match (kib("MemTotal:"), kib("MemAvailable:")) {
        (Some(total), Some(free)) => {
            let text = format!(
                "{} of {} MiB available; a series takes up to 1 GiB",
                free >> 10,
                total >> 10
            );
            Finding::good("memory", text)
        }
        _ => Finding::absent("memory", "the system does not tell", "nothing"),
    }
}

/// Whether the clock can be right, and whether somebody keeps it.
pub(super) fn clock(now: SystemTime) -> Finding {
    const PART: &str = "clock";
    const ADVICE: &str = "look at the time server: times in results and logs may be wrong";
    if now < SystemTime::UNIX_EPOCH + Duration::from_secs(RELEASED_S) {
        let text = "it is before the release of this program: certificates will be refused";
        return Finding::wrong(PART, text, ADVICE);
    }
    match clock_synchronised(Path::new("/")) {
        Some(true) => Finding::good(PART, "set by the time server"),
        Some(false) => Finding::absent(PART, "not yet set by the time server", ADVICE),
        None => Finding::good(PART, "kept by something other than systemd-timesyncd"),
    }
}

/// Our TLS certificate, and with it key and authorities.
pub(super) fn certificate(settings: &tls::Settings) -> Finding {
    const PART: &str = "certificate";
    const RENEW: &str = "have it renewed, put it in its place and restart the service";
    let path = settings.certificate.display();
    match Tls::open(settings).map(|tls| tls.expiry()) {
        Ok(Expiry::Good { days }) => {
            Finding::good(PART, format!("{path} is valid for {days} days"))
        }
        Ok(Expiry::Soon { days }) => {
            Finding::absent(PART, format!("{path} expires in {days} days"), RENEW)
                .in_state("expires")
        }
        Ok(Expiry::Over) => {
            Finding::wrong(PART, format!("{path} has expired: peers refuse us"), RENEW)
                .in_state("expired")
        }
        Err(error) => Finding::wrong(PART, error.to_string(), "mend the files, then ask again"),
    }
}

pub(super) fn broker(settings: &BrokerSettings) -> Finding {
    let (host, port) = match settings {
        BrokerSettings::Embedded { listen } => {
            let running = TcpStream::connect_timeout(listen, BROKER).is_ok();
            let now =
                if running { "something listens there now" } else { "nothing listens there now" };
            return Finding::good("broker", format!("our own, on {listen}; {now}"));
        }
        BrokerSettings::External(broker) => (&broker.host, broker.port()),
    };
    let place = format!("{host}:{port}");
    match reach(host, port) {
        Ok(()) => Finding::good("broker", format!("{place} answers")),
        Err(error) => {
            let advice =
                "start it, or mend the address in [mqtt]; messages wait in the outbox until then";
            Finding::wrong("broker", format!("{place} cannot be reached: {error}"), advice)
        }
    }
}

fn reach(host: &str, port: u16) -> std::io::Result<()> {
    let mut last = std::io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, BROKER) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

pub(super) fn disk(data: &Path) -> Finding {
    // The nearest folder that exists: the service makes the rest.
    let existing = data.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let Some(free) = free_gb(existing) else {
        let text = format!("the free space of {} is not known", existing.display());
        return Finding::absent("disk", text, "look with `df`");
    };
    let text = format!("{free} GB free for {}", data.display());
    match free >= LEAST_FREE_GB {
        true => Finding::good("disk", text),
        false => {
            let advice = format!(
                "free at least {LEAST_FREE_GB} GB, a day of a busy scanner; the service refuses instances when the disk is full"
            );
            Finding::wrong("disk", text, advice)
        }
    }
}

/// Free space by `df`, which is in every POSIX system; the standard library does not ask.
fn free_gb(folder: &Path) -> Option<u64> {
    let answer = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib * 1024 / 1_000_000_000)
}

/// Looks for the port only: the service may be speaking through it.
pub(super) fn supervisor(port: Option<&Path>) -> Finding {
    const PART: &str = "supervisor";
    let Some(port) = port else {
        let advice = "nothing without a supervisor MCU; with one name its port in [mcu]";
        return Finding::absent(PART, "none in the configuration", advice);
    };
    match port.exists() {
        true => Finding::good(PART, format!("its port {} is there", port.display())),
        false => {
            let advice = "connect it, or mend the port in [mcu]; the service runs without it";
            Finding::wrong(PART, format!("its port {} is not there", port.display()), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;
    use crate::publish::mqtt::SiteBroker;

    #[test]
    fn a_supervisor_is_there_missing_or_not_wanted() {
        let health = |port: Option<&str>| supervisor(port.map(Path::new)).health;
        assert_eq!(health(None), Health::Absent);
        assert_eq!(health(Some("/dev/null")), Health::Good);
        assert_eq!(health(Some("/dev/no-such-port")), Health::Wrong);
    }

    #[test]
    fn a_clock_before_the_release_is_wrong() {
        assert_eq!(clock(SystemTime::UNIX_EPOCH).health, Health::Wrong);
    }

    #[test]
    fn a_broker_is_reached_or_the_reason_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let at = |port| {
            let (host, port) = ("127.0.0.1".to_owned(), Some(port));
            BrokerSettings::External(SiteBroker { host, port, ..SiteBroker::default() })
        };
        assert_eq!(broker(&at(port)).health, Health::Good);
        drop(listener);
        let finding = broker(&at(port));
        assert_eq!(finding.health, Health::Wrong);
        assert!(finding.text.contains("cannot be reached"), "{finding:?}");
    }

    #[test]
    fn the_space_of_a_folder_that_is_not_there_yet_is_that_of_its_parent() {
        assert!(free_gb(Path::new("/")).is_some());
        assert!(disk(Path::new("/not/there/yet")).text.ends_with("for /not/there/yet"));
    }
}
