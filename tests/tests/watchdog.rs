//! What systemd hears of a real `sagitta run`: that it is ready when it listens, that it lives, and that it stops.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tests::{Appliance, Site};

/// systemd's limit, and what the unit test of the beats does not wait for.
const LIMIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// The next datagram within `limit`.
fn hear(socket: &UnixDatagram, limit: Duration) -> Option<String> {
    socket.set_read_timeout(Some(limit)).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn until(socket: &UnixDatagram, begin: &str) -> String {
    let since = Instant::now();
    let heard =
        std::iter::from_fn(|| hear(socket, PATIENCE).filter(|_| since.elapsed() < PATIENCE));
    heard.into_iter().find(|lines| lines.starts_with(begin)).unwrap()
}

#[test]
fn systemd_hears_ready_then_beats_then_silence_of_a_stopped_process_then_stopping() {
    let site = Site::new().unwrap();
    let name = site.folder.join("notify");
    let socket = UnixDatagram::bind(&name).unwrap();
    let environment = [
        ("NOTIFY_SOCKET", name.to_str().unwrap()),
        ("WATCHDOG_USEC", &LIMIT.as_micros().to_string()),
    ];
    let appliance = Appliance::start_with(&site.folder, &site.config(), &environment).unwrap();
    assert_eq!(hear(&socket, PATIENCE), Some("READY=1\n".to_owned()), "{}", appliance.log());
    TcpStream::connect(("127.0.0.1", site.dicom)).unwrap();
    for _ in 0..5 {
        let beat = hear(&socket, LIMIT).unwrap();
        assert_eq!(beat, "WATCHDOG=1\nSTATUS=at work\n");
    }
    // As a process that hangs in the kernel. What it had sent already is read first.
    appliance.process.signal("STOP").unwrap();
    while hear(&socket, Duration::from_millis(10)).is_some() {}
    assert_eq!(hear(&socket, LIMIT), None);
    appliance.process.signal("CONT").unwrap();
    until(&socket, "WATCHDOG=1");
    appliance.process.signal("TERM").unwrap();
    until(&socket, "STOPPING=1");
}

#[test]
fn a_socket_that_is_not_there_stops_nothing() {
    let site = Site::new().unwrap();
    let environment = [("NOTIFY_SOCKET", "/not/there")];
    let appliance = Appliance::start_with(&site.folder, &site.config(), &environment).unwrap();
    tests::wait_until("the line", PATIENCE, || {
        appliance.log().contains("systemd cannot be told anything").then_some(())
    })
    .unwrap();
    TcpStream::connect(("127.0.0.1", site.dicom)).unwrap();
}
