//! The messages about the device itself: how it is, and its alarms.

use super::engine::{EngineKind, Passed, Precision};
use super::mcu::LinkState;
use super::{JobStage, Timestamp};
use crate::health::Part;
use serde::{Serialize, Serializer};

/// Payload of `health`. What is not known is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HealthReport {
    /// Of the service.
    pub uptime_s: u64,
    pub machine: MachineHealth,
    pub service: ServiceHealth,
}

/// What the computer measures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MachineHealth {
    /// The hottest zone of each kind.
    pub cpu_c: Option<f64>,
    pub gpu_c: Option<f64>,
    pub soc_c: Option<f64>,
    /// Of all zones.
    pub hottest_c: Option<f64>,
    /// At the module's supply.
    pub power_w: Option<f64>,
    pub gpu_load_percent: Option<f64>,
    pub gpu_mhz: Option<f64>,
    /// Times that too high a current throttled the module, since the computer started.
    pub throttled: Option<u64>,
    pub memory_used_percent: Option<f64>,
    pub memory_free_mib: Option<u64>,
    /// Share of the last minute in which something waited for the processor, memory or disk.
    pub cpu_pressure_percent: Option<f64>,
    pub memory_pressure_percent: Option<f64>,
    pub io_pressure_percent: Option<f64>,
    /// Of the disk of the data folder.
    pub disk_used_percent: Option<f64>,
    pub disk_free_mib: Option<u64>,
    /// Used share of the life that its maker promised, of the flash that is worn most: steps of ten, 110 for more than all.
    pub disk_worn_percent: Option<f64>,
    pub clock_synchronised: Option<bool>,
    /// Of two systems beside each other, the one that runs.
    pub boot_slot: Option<BootSlot>,
}

/// A slot that a computer can start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BootSlot {
    A,
    B,
}

/// What the last self-test said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfTest {
    /// The first has not ended: jobs wait for it.
    #[default]
    Pending,
    Passed,
    Failed,
}

/// Why the service takes series and makes no results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// Nothing that is computed here can be believed.
    SelfTest,
}

/// What the service counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceHealth {
    /// Which part makes no progress. Null: all is well.
    pub stuck: Option<Part>,
    /// Null: series become results.
    pub degraded: Option<Degraded>,
    pub self_test: SelfTest,
    /// Since the last one ended.
    pub self_test_age_s: Option<u64>,
    /// Series that wait for the worker or are at work.
    pub jobs_open: u32,
    /// Since the service started.
    pub jobs_done: u64,
    pub jobs_refused: u64,
    pub jobs_failed: u64,
    /// Instances taken and refused by any way in, since the service started.
    pub instances_stored: u64,
    pub instances_refused: u64,
    /// No more series are taken until a command or a restart says so.
    pub draining: bool,
    /// Messages to the topic of commands that no operator had signed, or that came again, since the service started.
    pub commands_ignored: u64,
    /// Of the last jobs; empty before the first.
    pub latency_ms: Latencies,
    pub engine: Option<EngineKind>,
    pub precision: Option<Precision>,
    /// The engine that should be at work and is not.
    pub fallback: Option<Passed>,
    /// Messages that wait for the broker.
    pub outbox_messages: u64,
    pub outbox_oldest_s: Option<u64>,
    /// Results that wait for a destination.
    pub deliveries_waiting: u64,
    pub deliveries_oldest_s: Option<u64>,
    /// Null: no supervisor is configured.
    pub mcu: Option<LinkState>,
    pub alarms_active: u32,
    /// Health messages that were overtaken before the broker could take them, since the service started.
    pub health_dropped: u64,
}

/// Percentiles over the last jobs, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// Percentiles of every stage, and of the whole; on the wire an object `{"semantic": {"p50": ...}, "total": ...}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latencies {
    pub stages: Vec<(JobStage, Percentiles)>,
    pub total: Option<Percentiles>,
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stages = self.stages.iter().map(|(stage, of)| (stage.name(), of));
        serializer.collect_map(stages.chain(self.total.iter().map(|of| ("total", of))))
    }
}

/// What is wrong with the device. The word is a level of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmCode {
    BrokerAway,
    CertificateExpired,
    CertificateExpiring,
    ClockNotSynchronised,
    DestinationAway,
    DiskFilling,
    DiskFull,
    EngineFallback,
    McuLink,
    PartStuck,
    QueueFilling,
    SelfTestFailed,
    TooHot,
}

/// How soon somebody should come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Work goes on; look at it today.
    Warning,
    /// Results are late or refused now.
    Critical,
}

impl AlarmCode {
    pub const ALL: [AlarmCode; 13] = [
        AlarmCode::BrokerAway,
        AlarmCode::CertificateExpired,
        AlarmCode::CertificateExpiring,
        AlarmCode::ClockNotSynchronised,
        AlarmCode::DestinationAway,
        AlarmCode::DiskFilling,
        AlarmCode::DiskFull,
        AlarmCode::EngineFallback,
        AlarmCode::McuLink,
        AlarmCode::PartStuck,
        AlarmCode::QueueFilling,
        AlarmCode::SelfTestFailed,
        AlarmCode::TooHot,
    ];

    /// The word in topics, messages and addresses of the page.
    pub fn name(self) -> &'static str {
        match self {
            AlarmCode::BrokerAway => "broker_away",
            AlarmCode::CertificateExpired => "certificate_expired",
            AlarmCode::CertificateExpiring => "certificate_expiring",
            AlarmCode::ClockNotSynchronised => "clock_not_synchronised",
            AlarmCode::DestinationAway => "destination_away",
            AlarmCode::DiskFilling => "disk_filling",
            AlarmCode::DiskFull => "disk_full",
            AlarmCode::EngineFallback => "engine_fallback",
            AlarmCode::McuLink => "mcu_link",
            AlarmCode::PartStuck => "part_stuck",
            AlarmCode::QueueFilling => "queue_filling",
            AlarmCode::SelfTestFailed => "self_test_failed",
            AlarmCode::TooHot => "too_hot",
        }
    }

    pub fn severity(self) -> Severity {
        match self {
            AlarmCode::CertificateExpired
            | AlarmCode::DiskFull
            | AlarmCode::PartStuck
            | AlarmCode::SelfTestFailed => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    /// What to do about it, for whoever reads it at three in the morning.
    pub fn action(self) -> &'static str {
        match self {
            AlarmCode::BrokerAway => {
                "look at the site's broker and the network; messages wait and none is lost"
            }
            AlarmCode::CertificateExpired => {
                "renew our certificate and restart the service: peers refuse us"
            }
            AlarmCode::CertificateExpiring => "renew our certificate and restart the service",
            AlarmCode::ClockNotSynchronised => {
                "look at the time server: times in results and logs may be wrong"
            }
            AlarmCode::DestinationAway => {
                "run `sagitta doctor`: a destination takes no results; they wait"
            }
            AlarmCode::DiskFilling => {
                "lower keep_hours or give a larger disk: old series are deleted early"
            }
            AlarmCode::DiskFull => "free the disk: consoles are refused",
            AlarmCode::EngineFallback => {
                "run `sagitta doctor`: the configured engine does not work, results are slower"
            }
            AlarmCode::McuLink => "look at the cable to the supervisor and at its supply",
            AlarmCode::PartStuck => {
                "send the log to us; the supervisor, where there is one, restarts the computer"
            }
            AlarmCode::QueueFilling => {
                "send fewer series at once, or use a faster engine: consoles will have to wait"
            }
            AlarmCode::SelfTestFailed => {
                "install the program again and restart it, then have the memory tested: no results are made"
            }
            AlarmCode::TooHot => {
                "look at fan, dust and the air around the box: the processor slows down"
            }
        }
    }
}

/// Payload of `alarms/{code}`, retained; an empty payload when it is over and acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlarmMessage {
    pub code: AlarmCode,
    pub severity: Severity,
    /// Whether the reason is there now.
    pub active: bool,
    /// Somebody has seen it since it was raised last.
    pub acknowledged: bool,
    /// When it was raised last.
    pub raised: Timestamp,
    /// When its reason went away; null while it is active.
    pub cleared: Option<Timestamp>,
    /// Times it was raised since it was acknowledged last.
    pub count: u32,
    pub action: &'static str,
}
