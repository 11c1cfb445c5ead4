//! What may be published: the message types, the topics, and their bytes.
//!
//! No patient data can get in, by type: a message holds a [`JobId`], enums, numbers, versions, hashes and names that
//! come from our own configuration or model cards, and no type here can be built from a DICOM string. The bytes are a
//! contract (`packaging/asyncapi.yaml`, frozen by `tests/contract.rs`); sending them is left to `publish::mqtt`.

mod command;
mod engine;
mod event;
mod health;
mod job;
mod lesions;
mod mcu;
mod receipt;
mod time;

pub use command::{CommandReply, OrderFault, OrderKind, Outcome};
pub use engine::{Engine, EngineKind, Passed, Precision};
pub use event::{DeviceEvent, Happening};
pub use health::{
    AlarmCode, AlarmMessage, BootSlot, Degraded, HealthReport, Latencies, MachineHealth,
    Percentiles, SelfTest, ServiceHealth, Severity,
};
pub use job::{
    Completion, FailureCode, JobResult, JobStage, JobState, JobStatus, ModelTag, OutputKind,
    ResultFlag, Timings, VertebraEntry, VolumesMl,
};
pub use lesions::LesionCounts;
pub use mcu::{LinkState, McuCause, McuEntry, McuEvent, McuLink, McuPower, McuRail};
pub use receipt::{Receipt, Shortfall};
pub use time::Timestamp;

use crate::identity::JobId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Version of the topics and of every payload. It counts up when a field changes its meaning or goes away; a new field
/// does not change it.
pub const VERSION: u8 = 1;
/// Largest payload. Messages are summaries: pixels travel by HTTP. Site brokers often limit packets; 64 KiB is common.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Longest site, device or model name: three of them and the words between stay short enough for any broker's topic.
const MAX_NAME_BYTES: usize = 32;

/// A value that may not enter a message. The site's move: these values come from the configuration and the model cards.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    #[error("the {what} must be 1 to {MAX_NAME_BYTES} characters of a-z, 0-9 and '-'")]
    Name { what: &'static str },
    #[error("the {what} must be major.minor.patch, each below 65536")]
    Version { what: &'static str },
    #[error("the weights' SHA-256 must be 64 hexadecimal digits")]
    Digest,
    #[error("the engine is not one of ours: want for example \"simd f32\"")]
    Engine,
}

/// A name of the site's own choice, `[a-z0-9-]{1,32}`: a level of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z0-9-]{1,32}$"))]
pub struct Name(String);

impl Name {
    pub fn new(text: &str) -> Result<Name, MessageError> {
        Name::checked(text, "site or device name")
    }

    fn checked(text: &str, what: &'static str) -> Result<Name, MessageError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let length = 1..=MAX_NAME_BYTES;
        match length.contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(Name(text.to_owned())),
            false => Err(MessageError::Name { what }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = MessageError;

    fn try_from(text: String) -> Result<Name, MessageError> {
        Name::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

/// Version of software or of a model: three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version([u16; 3]);

impl Version {
    pub fn parse(text: &str, what: &'static str) -> Result<Version, MessageError> {
        let wrong = MessageError::Version { what };
        let numbers: Option<Vec<u16>> = text.split('.').map(|part| part.parse().ok()).collect();
        numbers.and_then(|n| n.try_into().ok()).map(Version).ok_or(wrong)
    }

    /// The version of this program.
    pub fn software() -> Version {
        Version::parse(env!("CARGO_PKG_VERSION"), "version").expect("the crate's own version")
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Version([major, minor, patch]) = self;
        serializer.collect_str(&format_args!("{major}.{minor}.{patch}"))
    }
}

/// Which run of the service a message is from: 16 hexadecimal digits, another one at every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot([u8; 8]);

impl Boot {
    /// A new one. Two starts differ by the clock, or by the process number where the clock stands still.
    pub fn new() -> Boot {
        let mut hash = Sha256::new();
        hash.update(Timestamp::now().to_string());
        hash.update(std::process::id().to_le_bytes());
        hash.update(format!("{:?}", std::time::Instant::now()));
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize()[..8]);
        Boot(id)
    }

    pub fn from_bytes(id: [u8; 8]) -> Boot {
        Boot(id)
    }
}

impl Default for Boot {
    fn default() -> Self {
        Boot::new()
    }
}

impl Serialize for Boot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", u64::from_be_bytes(self.0)))
    }
}

/// The topics of one device: `sagitta/v1/{site}/{device}/...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Topics {
    pub fn new(site: &Name, device: &Name) -> Topics {
        Topics { prefix: format!("sagitta/v{VERSION}/{}/{}", site.as_str(), device.as_str()) }
    }

    /// Retained: whether the device is there.
    pub fn state(&self) -> String {
        format!("{}/state", self.prefix)
    }

    /// The life of a job, one message per change.
    pub fn status(&self, job: &JobId) -> String {
        format!("{}/jobs/{job}/status", self.prefix)
    }

    /// The numbers of a finished job.
    pub fn result(&self, job: &JobId) -> String {
        format!("{}/jobs/{job}/result", self.prefix)
    }

    /// Retained: how the device is, every few seconds.
    pub fn health(&self) -> String {
        format!("{}/health", self.prefix)
    }

    /// Retained: an alarm that is there or that nobody has seen.
    pub fn alarm(&self, code: AlarmCode) -> String {
        format!("{}/alarms/{}", self.prefix, code.name())
    }

    /// What happened to the device, one message an event.
    pub fn event(&self) -> String {
        format!("{}/event", self.prefix)
    }

    /// Retained: the link to the supervisor MCU, what it measures, and our own health.
    pub fn mcu_link(&self) -> String {
        format!("{}/mcu/link", self.prefix)
    }

    /// The supervisor's journal, one message an entry.
    pub fn mcu_journal(&self) -> String {
        format!("{}/mcu/journal", self.prefix)
    }

    /// Commands to this device, the only topic that others write.
    pub fn commands(&self) -> String {
        format!("{}/cmd", self.prefix)
    }

    /// What became of a command.
    pub fn reply(&self, command: &Name) -> String {
        format!("{}/cmd/{}/reply", self.prefix, command.as_str())
    }

    /// Filters for what every device of the site tells of how it is, this one's too.
    pub fn of_site(&self) -> [String; 3] {
        let site = self.prefix.rsplit_once('/').map_or("", |(site, _)| site);
        ["state", "health", "alarms/+"].map(|kind| format!("{site}/+/{kind}"))
    }

    /// Filter for everything this device publishes.
    pub fn all(&self) -> String {
        format!("{}/#", self.prefix)
    }
}

/// Whether the device is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Birth: connected.
    Online,
    /// Shut down in order.
    Offline,
    /// The last will, sent by the broker: the connection broke.
    Lost,
}

/// Payload of [`Topics::state`]. Birth and will of one connection carry the same `boot` and `session`, so that a late
/// will can be told from news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceState {
    pub state: Presence,
    /// Counts the connections of this boot, from 1.
    pub session: u32,
    pub software: Version,
}

/// What is around every payload.
#[derive(Debug, Clone, Copy)]
pub struct Envelope {
    /// Counts up by one with each message, over restarts too, so that a consumer sees a loss or a repetition.
    /// State messages: the last number given when the state was written.
    pub seq: u64,
    pub boot: Boot,
    pub ts: Timestamp,
}

impl Envelope {
    /// The bytes of a message: one JSON object, `v`, `seq`, `boot`, `ts`, then the message's own fields.
    pub fn encode(self, message: &impl Serialize) -> Vec<u8> {
        #[derive(Serialize)]
        struct Wire<'a, T> {
            v: u8,
            seq: u64,
            boot: Boot,
            ts: Timestamp,
            #[serde(flatten)]
            message: &'a T,
        }
        let Envelope { seq, boot, ts } = self;
        serde_json::to_vec(&Wire { v: VERSION, seq, boot, ts, message })
            .expect("message types have string keys and finite numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_topic_levels() {
        assert!(Name::new("mr-1").is_ok());
        for wrong in ["", "MR1", "a/b", "a b", "+", "#", "größe", &"x".repeat(33)] {
            assert_eq!(Name::new(wrong), Err(MessageError::Name { what: "site or device name" }));
        }
        assert!(serde_json::from_str::<Name>("\"Meier^Anna\"").is_err());
    }

    #[test]
    fn versions_are_three_numbers() {
        assert!(Version::parse("1.20.3", "version").is_ok());
        for wrong in ["1.2", "1.2.3.4", "1.2.x", "1.2.70000", ""] {
            assert!(Version::parse(wrong, "version").is_err(), "{wrong}");
        }
    }

    #[test]
    fn boots_differ() {
        assert_ne!(Boot::new(), Boot::new());
    }
}
