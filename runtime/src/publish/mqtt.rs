//! MQTT out: the outbox drained to one broker, the device's birth and will, and a subscriber for our own pages.
//!
//! The service never waits for a broker: a message is durable in the outbox when `status` or `result` returns, one task
//! sends what lies there, and a row leaves only on the broker's acknowledgement. At least once, in order; a repetition
//! carries the same `seq`. MQTT 5, quality of service 1. Message types are left to `messages`.

mod drain;
mod health;
mod mcu;
mod subscriber;
mod window;

pub use subscriber::{LiveMessage, commands, neighbours, subscribe};

use crate::broker::{self, Broker, BrokerError};
use crate::error::Move;
use crate::messages::{
    Boot, CommandReply, Envelope, JobResult, JobStatus, LinkState, Name, Timestamp, Topics,
};
use crate::outbox::{Destination, Draft, Outbox, OutboxError, Priority};
use crate::tls::Tls;
use health::Latest;
use rumqttc::v5::MqttOptions;
use rumqttc::{TlsConfiguration, Transport};
use rustls::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Shortest keep-alive rumqttc takes: a dead line is noticed within two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// For TCP and CONNACK together.
const CONNECT_TIMEOUT_S: u64 = 5;
/// First pause before connecting again; it doubles up to [`MAX_PAUSE`]. No jitter: one device has one connection.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause: a broker that comes back is found within this.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// What an orderly end may take: sending the rest and the farewell, with a disk flush for what the broker took; a worn disk
/// takes a second for one.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
/// Largest packet we take: our own payloads and what surrounds them, and as much again for a broker's properties.
const MAX_PACKET_BYTES: u32 = 2 * crate::messages::MAX_PAYLOAD_BYTES as u32;
/// Registered ports of MQTT, without and with TLS.
const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;

/// Section `mqtt` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// First level of the topics after the version.
    pub site: Name,
    /// Second level.
    pub device: Name,
    #[serde(default)]
    pub broker: BrokerSettings,
}

impl Settings {
    /// What commands call the device: `SITE/DEVICE`.
    pub fn device_path(&self) -> String {
        format!("{}/{}", self.site.as_str(), self.device.as_str())
    }
}

/// Which broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BrokerSettings {
    /// Our own, in this process.
    Embedded {
        #[serde(default = "default_listen")]
        listen: SocketAddr,
    },
    /// The site's.
    External(SiteBroker),
}

/// A broker of the site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteBroker {
    pub host: String,
    /// The registered one when absent: 1883, with TLS 8883.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub username: Option<String>,
    /// File that holds the password and nothing else; a line end is ignored.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// TLS with the certificates of `[tls]`; the broker's must name `host`.
    #[serde(default)]
    pub tls: bool,
}

impl BrokerSettings {
    /// Whether what a login takes can be read.
    pub fn check_login(&self) -> Result<(), MqttError> {
        match self {
            BrokerSettings::Embedded { .. } => Ok(()),
            BrokerSettings::External(broker) => broker.login().map(drop),
        }
    }
}

impl SiteBroker {
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { MQTTS_PORT } else { MQTT_PORT })
    }

    fn login(&self) -> Result<Option<(String, String)>, MqttError> {
        match (&self.username, &self.password_file) {
            (None, None) => Ok(None),
            (Some(user), Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| MqttError::PasswordFile { path: path.clone(), source })?;
                Ok(Some((user.clone(), text.trim_end_matches(['\r', '\n']).to_owned())))
            }
            _ => Err(MqttError::HalfLogin),
        }
    }
}

impl Default for BrokerSettings {
    fn default() -> Self {
        BrokerSettings::Embedded { listen: default_listen() }
    }
}

fn default_listen() -> SocketAddr {
    broker::DEFAULT_LISTEN
}

/// Why MQTT cannot start.
#[derive(Debug, Error)]
pub enum MqttError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the broker's password file {path} cannot be read: {source}")]
    PasswordFile { path: PathBuf, source: std::io::Error },
    #[error(
        "the broker has a user name without a password file, or a password file without a user name"
    )]
    HalfLogin,
    #[error("the broker has tls = true, but there is no [tls]")]
    NoTls,
}

impl MqttError {
    pub fn whose(&self) -> Move {
        Move::Site
    }
}

/// A broker that can be connected to. Its `Debug` does not show the password.
#[derive(Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    login: Option<(String, String)>,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secure = if self.tls.is_some() { ", TLS" } else { "" };
        write!(f, "Endpoint({}:{}{secure})", self.host, self.port)
    }
}

impl Endpoint {
    /// Starts the embedded broker where the settings want it (blocks until it answers), or reads the password of the
    /// external one, which need not be there yet.
    pub fn open(settings: &BrokerSettings, tls: Option<&Tls>) -> Result<Endpoint, MqttError> {
        match settings {
            BrokerSettings::Embedded { listen } => {
                let address = Broker::start(*listen)?.address();
                let (host, port) = (address.ip().to_string(), address.port());
                Ok(Endpoint { host, port, login: None, tls: None })
            }
            BrokerSettings::External(broker) => {
                let tls = match (broker.tls, tls) {
                    (false, _) => None,
                    (true, Some(tls)) => Some(tls.client()),
                    (true, None) => return Err(MqttError::NoTls),
                };
                let (host, port) = (broker.host.clone(), broker.port());
                Ok(Endpoint { host, port, login: broker.login()?, tls })
            }
        }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Options of one connection: nothing is remembered from an earlier one, the outbox is the memory.
    fn options(&self, client_id: String) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, &self.host, self.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_connection_timeout(CONNECT_TIMEOUT_S);
        options.set_clean_start(true);
        options.set_max_packet_size(Some(MAX_PACKET_BYTES));
        if let Some((user, password)) = &self.login {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &self.tls {
            options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
        }
        options
    }
}

/// Where the connection stands, for health and the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// First attempt under way.
    Connecting,
    /// Birth sent; the session's number.
    Online(u32),
    /// Not there; attempts since it last held for a while.
    Away { reason: AwayReason, attempts: u32 },
    /// Ended by `shutdown`.
    Closed,
}

/// Why a broker counts as away. All are the site's move, and all are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AwayReason {
    /// No TCP connection, or it broke.
    NoConnection,
    /// One side did not believe the other's certificate.
    Insecure,
    /// The broker refused the connection: user, password or client id.
    Refused,
    /// The broker refused a message: access list, quota or size.
    MessageRefused,
    /// The broker took messages and never acknowledged them.
    NoAcknowledgement,
    /// Our own outbox could not be read or written.
    Outbox,
}

/// Pauses between attempts, one after the other.
fn pause(attempts: u32) -> Duration {
    MIN_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(MAX_PAUSE)
}

/// What all messages of this run share.
#[derive(Debug, Clone)]
struct Identity {
    topics: Topics,
    client_id: String,
    boot: Boot,
}

/// The way out for messages.
#[derive(Debug)]
pub struct Publisher {
    identity: Identity,
    outbox: Arc<Outbox>,
    connection: watch::Receiver<Connection>,
    latest: Latest,
    mcu: Mutex<Option<LinkState>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Starts to drain the outbox; returns at once, whether or not the broker is there. Needs a tokio runtime.
    pub fn start(settings: &Settings, endpoint: Endpoint, outbox: Arc<Outbox>) -> Publisher {
        let identity = Identity {
            topics: Topics::new(&settings.site, &settings.device),
            client_id: client_id(settings, "out"),
            boot: Boot::new(),
        };
        let (stop, stopped) = watch::channel(false);
        let (state, connection) = watch::channel(Connection::Connecting);
        let latest = Latest::default();
        let health = (latest.subscribe(), latest.sent.clone());
        let task =
            drain::Drain::new(identity.clone(), endpoint, outbox.clone(), state, stopped, health);
        let (task, mcu) = (tokio::spawn(task.run()), Mutex::default());
        Publisher { identity, outbox, connection, latest, mcu, stop, task }
    }

    /// Publishes a change in a job's life. Durable when it returns; blocks for one disk flush.
    pub fn status(&self, status: &JobStatus) -> Result<u64, OutboxError> {
        self.push(&self.identity.topics.status(&status.job), status)
    }

    /// Publishes the numbers of a finished job and, where it still stands for it, its last status: both or none, and once
    /// over restarts too. Durable when it returns; blocks for one disk flush.
    pub fn end(&self, result: &JobResult, status: Option<&JobStatus>) -> Result<(), OutboxError> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let numbers = |seq| Envelope { seq, boot, ts }.encode(result);
        let last = |seq| Envelope { seq, boot, ts }.encode(&status);
        let mut messages: Vec<Draft<'_>> =
            vec![(self.identity.topics.result(&result.job), &numbers)];
        if let Some(status) = status {
            messages.push((self.identity.topics.status(&status.job), &last));
        }
        self.outbox.push_end(Destination::Mqtt, &result.job, result.generation, &messages)
    }

    /// Publishes what became of a command, and notes that it is answered. Durable when it returns; blocks for one disk flush.
    pub fn reply(&self, reply: &CommandReply) -> Result<u64, OutboxError> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let payload = |seq| Envelope { seq, boot, ts }.encode(reply);
        let (id, topic) = (reply.command.as_str(), self.identity.topics.reply(&reply.command));
        self.outbox.push_reply(Destination::Mqtt, id, &topic, payload)
    }

    fn push(&self, topic: &str, message: &impl Serialize) -> Result<u64, OutboxError> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let payload = |seq| Envelope { seq, boot, ts }.encode(message);
        self.outbox.push(Destination::Mqtt, Priority::Ordinary, topic, false, payload)
    }

    /// Where the connection stands, as it changes.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    pub fn topics(&self) -> &Topics {
        &self.identity.topics
    }

    /// Sends what it can and says `offline`, for at most five seconds. What remains stays in the outbox.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut connection = self.connection();
        let closed = connection.wait_for(|connection| *connection == Connection::Closed);
        if tokio::time::timeout(SHUTDOWN_LIMIT, closed).await.is_err() {
            self.task.abort();
        }
    }
}

/// Client id: unique per device and purpose, without anything personal.
fn client_id(settings: &Settings, purpose: &str) -> String {
    format!("sagitta-{}-{}-{purpose}", settings.site.as_str(), settings.device.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let first: Vec<u128> = (1..=8).map(|n| pause(n).as_millis()).collect();
        assert_eq!(first, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(pause(u32::MAX), MAX_PAUSE);
    }

    #[test]
    fn settings_refuse_unknown_keys_and_bad_names() {
        let parse = |text: &str| toml::from_str::<Settings>(text);
        let plain = parse("site = 'north'\ndevice = 'mr1'").unwrap();
        assert_eq!(plain.broker, BrokerSettings::Embedded { listen: broker::DEFAULT_LISTEN });
        let site = "site = 'north'\ndevice = 'mr1'\nbroker = ";
        let external = parse(&format!("{site}{{kind = 'external', host = 'mqtt.example'}}"));
        let port = |settings: Settings| match settings.broker {
            BrokerSettings::External(broker) => broker.port(),
            embedded => panic!("{embedded:?}"),
        };
        assert_eq!(port(external.unwrap()), 1883);
        let secure =
            parse(&format!("{site}{{kind = 'external', host = 'mqtt.example', tls = true}}"));
        assert_eq!(port(secure.unwrap()), 8883);
        assert!(parse(&format!("{site}{{kind = 'external', hots = 'x'}}")).is_err());
        assert!(parse("site = 'North Wing'\ndevice = 'mr1'").is_err());
        assert!(parse("site = 'north'\ndevice = 'mr1'\nretain = true").is_err());
    }

    #[test]
    fn a_missing_password_file_is_named_and_the_password_never_shown() {
        let external = |password_file| {
            let (host, username) = ("h".to_owned(), Some("u".to_owned()));
            let broker = SiteBroker { host, username, password_file, ..SiteBroker::default() };
            BrokerSettings::External(broker)
        };
        let error = Endpoint::open(&external(Some("/nowhere/pw".into())), None).unwrap_err();
        assert!(error.to_string().contains("/nowhere/pw"), "{error}");
        assert!(matches!(Endpoint::open(&external(None), None), Err(MqttError::HalfLogin)));
        let path = std::env::temp_dir().join(format!("sagitta-pw-{}", std::process::id()));
        std::fs::write(&path, "secret\n").unwrap();
        let endpoint = Endpoint::open(&external(Some(path.clone())), None).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(endpoint.login.as_ref().unwrap().1, "secret");
        assert!(!format!("{endpoint:?}").contains("secret"));
    }
}
