//! The embedded MQTT broker: rumqttd on a loopback port, so that a device without a site broker still speaks MQTT.
//!
//! It speaks MQTT 5 (`mosquitto_sub -V 5`), keeps everything in memory, takes only topics under `sagitta/` and knows no
//! users: that is why it listens on loopback unless the site decides otherwise. rumqttd cannot be stopped; it ends with
//! the process. What is published is left to `publish::mqtt`.

use crate::messages::MAX_PAYLOAD_BYTES;
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Where it listens unless configured: the registered port of MQTT, on loopback.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883);
/// Most clients at once: our publisher and subscriber, and a room of dashboards.
const MAX_CONNECTIONS: usize = 64;
/// A client that connects and says nothing is dropped after this.
const CONNECT_TIMEOUT_MS: u16 = 5_000;
/// Publishes on the way to one client without acknowledgement.
const MAX_IN_FLIGHT: usize = 100;
/// Topic, properties and headers beside the payload of a packet.
const PACKET_OVERHEAD_BYTES: usize = 1024;
/// Memory per subscription filter: what a slow client may lag behind.
const SEGMENT_BYTES: usize = 1024 * 1024;
const SEGMENTS: usize = 4;
/// Packets handed to one client in one turn (rumqttd's example value).
const PACKETS_PER_TURN: u64 = 200;
/// The broker answers within milliseconds; this is for a machine under full load.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Free ports tried before it is given up.
const FREE_PORTS: usize = 5;
/// Pause between two looks whether it answers.
const START_PAUSE: Duration = Duration::from_millis(10);
/// MQTT 5 CONNECT (section 3.1): clean start, keep alive 5 s, no properties, client id `start`.
const CONNECT: &[u8] = b"\x10\x12\x00\x04MQTT\x05\x02\x00\x05\x00\x00\x05start";
/// MQTT 5 DISCONNECT, reason 0 (section 3.14).
const DISCONNECT: &[u8] = b"\xe0\x00";
/// First byte of a CONNACK (section 3.2).
const CONNACK: u8 = 0x20;

/// Why the embedded broker does not run. All are the site's move.
#[derive(Debug, Error)]
pub enum BrokerError {
    #[error(
        "the embedded broker cannot listen on {listen}: the port is in use; stop the other program, or give the \
         broker another port, or use that broker as external broker"
    )]
    PortInUse { listen: SocketAddr },
    #[error("the embedded broker cannot listen on {listen}: {source}")]
    Listen { listen: SocketAddr, source: std::io::Error },
    #[error("the embedded broker on {listen} does not answer")]
    Silent { listen: SocketAddr },
}

/// The running broker.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
}

impl Broker {
    /// Starts the broker on its own threads and returns when it has answered a connection. Port 0 takes a free port.
    /// Blocks up to ten seconds.
    pub fn start(listen: SocketAddr) -> Result<Broker, BrokerError> {
        let mut started = Broker::try_start(listen);
        // A free port can be somebody else's before rumqttd has it: it binds by itself.
        for _ in 1..FREE_PORTS {
            match started {
                Err(BrokerError::PortInUse { .. }) if listen.port() == 0 => {
                    started = Broker::try_start(listen);
                }
                _ => break,
            }
        }
        started
    }

    fn try_start(listen: SocketAddr) -> Result<Broker, BrokerError> {
        let address = free_address(listen)?;
        let thread = thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || rumqttd::Broker::new(config(address)).start().map_err(drop))
            .map_err(|source| BrokerError::Listen { listen, source })?;
        wait_until_it_answers(address, &thread)?;
        tracing::info!(%address, "embedded broker listens");
        Ok(Broker { address })
    }

    /// Where clients on this machine reach it.
    pub fn address(&self) -> SocketAddr {
        reachable(self.address)
    }
}

/// Finds out whether `listen` is free and which port it means. rumqttd binds by itself and only logs a failure.
fn free_address(listen: SocketAddr) -> Result<SocketAddr, BrokerError> {
    match TcpListener::bind(listen).and_then(|listener| listener.local_addr()) {
        Ok(address) => Ok(address),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Err(BrokerError::PortInUse { listen })
        }
        Err(source) => Err(BrokerError::Listen { listen, source }),
    }
}

/// An address that listens on every interface is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: CONNECT_TIMEOUT_MS,
        max_payload_size: MAX_PAYLOAD_BYTES + PACKET_OVERHEAD_BYTES,
        max_inflight_count: MAX_IN_FLIGHT,
        auth: None,
        external_auth: None,
        // Otherwise every topic without a subscriber would get a log of its own, for ever.
        dynamic_filters: false,
    };
    let server = ServerSettings {
        name: "broker".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    Config {
        router: RouterConfig {
            max_connections: MAX_CONNECTIONS,
            max_outgoing_packet_count: PACKETS_PER_TURN,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            initialized_filters: Some(vec!["sagitta/#".to_owned()]),
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("1".to_owned(), server)])),
        ..Config::default()
    }
}

/// Connects as a client until it is let in. The thread ends only when the broker could not bind: somebody took the port
/// in between.
fn wait_until_it_answers<T>(listen: SocketAddr, thread: &JoinHandle<T>) -> Result<(), BrokerError> {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        if thread.is_finished() {
            return Err(BrokerError::PortInUse { listen });
        }
        if greet(reachable(listen)).is_ok() {
            return Ok(());
        }
        thread::sleep(START_PAUSE);
    }
    Err(BrokerError::Silent { listen })
}

/// One connection, as a client makes it, and an orderly farewell.
fn greet(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, START_DEADLINE)?;
    stream.set_read_timeout(Some(START_DEADLINE))?;
    stream.write_all(CONNECT)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    stream.write_all(DISCONNECT)?;
    match answer {
        [CONNACK] => Ok(()),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_chosen_and_answers() {
        let broker = Broker::start("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(broker.address().port(), 0);
        greet(broker.address()).unwrap();
    }

    #[test]
    fn a_port_in_use_names_the_address_and_what_to_do() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Broker::start(other.local_addr().unwrap()).unwrap_err();
        assert!(matches!(error, BrokerError::PortInUse { .. }));
        assert!(error.to_string().contains("the port is in use"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        let error = Broker::start("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(matches!(error, BrokerError::Listen { .. }), "{error}");
    }
}
