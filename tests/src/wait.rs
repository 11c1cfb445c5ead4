//! Waiting for conditions instead of time, and ports nobody else has.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

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

/// A port of 127.0.0.1 that was free a moment ago, for peers that cannot take port 0 and tell.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind port 0")?;
    Ok(listener.local_addr()?.port())
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
