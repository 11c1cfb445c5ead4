//! Waiting for conditions instead of time, and ports nobody else has.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks at a condition: short against what a test takes, long against what looking costs.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks at `condition` until it gives a value; an error that names `what` after `limit`.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Ports that no system hands out by itself (Linux: from 32768 on): a connection of somebody else takes none of them in the
/// moment between its choice and its use.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1 that was free a moment ago, for peers that cannot take port 0 and tell. No two calls of a process give
/// the same.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in PORTS {
        // Processes begin apart.
        let turn = std::process::id()
            .wrapping_mul(97)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into());
        let port = PORTS.start + (turn % u32::from(PORTS.end - PORTS.start)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// Waits until something listens on `port` of 127.0.0.1.
pub fn wait_for_port(port: u16, limit: Duration) -> Result<()> {
    wait_until(&format!("a listener on port {port}"), limit, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_comes_is_named() {
        let error = wait_until::<()>("the moon", Duration::from_millis(20), || None).unwrap_err();
        assert!(error.to_string().starts_with("the moon: not within"), "{error}");
        let mut left = 3;
        let came = wait_until("a count", Duration::from_secs(5), || {
            left -= 1;
            (left == 0).then_some(7)
        });
        assert_eq!(came.unwrap(), 7);
    }

    #[test]
    fn a_listener_is_seen() {
        let port = free_port().unwrap();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        wait_for_port(port, Duration::from_secs(5)).unwrap();
    }
}
