//! When an alarm has its reason. Two limits each where a value may swing about one.

use super::alarms::Delay;
use crate::messages::{AlarmCode, HealthReport, LinkState, SelfTest};
use crate::publish::mqtt::Connection;
use crate::tls::Expiry;
use std::time::Duration;

/// The module throttles near 99 C: there is time to act above this, and no alarm below that.
const TOO_HOT_C: f64 = 92.0;
const COOL_AGAIN_C: f64 = 85.0;
/// Below its limit by so much, a disk counts as emptied.
const EMPTIED_PERCENT: f64 = 3.0;
/// Deliveries that wait longer: a PACS that restarts is back before.
const DELIVERY_S: u64 = 600;
/// Of the places of the queue, so many taken: beyond them consoles wait.
const QUEUE_FILLING: u32 = 48;
const QUEUE_EMPTIED: u32 = 16;

/// What the configuration says about limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Old series are deleted early beyond this.
    pub high_water_percent: f64,
    /// Instances are refused beyond this.
    pub refuse_percent: f64,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) report: &'a HealthReport,
    pub(super) broker: Connection,
    /// Of our own certificate, where there is one.
    pub(super) certificate: Option<Expiry>,
}

const fn delay(raise_s: u64, clear_s: u64) -> Delay {
    Delay { raise: Duration::from_secs(raise_s), clear: Duration::from_secs(clear_s) }
}

/// Each alarm that can be judged now: whether its reason is there, and for how long it must be.
pub(super) fn judge(seen: &Seen<'_>, limits: &Limits) -> Vec<(AlarmCode, bool, Delay)> {
    let HealthReport { machine, service, .. } = seen.report;
    let mut judged = vec![
        // A restart of the broker takes seconds.
        (AlarmCode::BrokerAway, matches!(seen.broker, Connection::Away { .. }), delay(60, 10)),
        (
            AlarmCode::DestinationAway,
            service.deliveries_oldest_s.is_some_and(|age| age >= DELIVERY_S),
            delay(0, 0),
        ),
        (AlarmCode::EngineFallback, service.fallback.is_some(), delay(0, 0)),
        (AlarmCode::PartStuck, service.stuck.is_some(), delay(10, 30)),
        (AlarmCode::SelfTestFailed, service.self_test == SelfTest::Failed, delay(0, 0)),
    ];
    let mut swing = |code, value: Option<f64>, high: f64, low: f64, delay| {
        // Between the limits nothing changes, and nothing is known of what nobody measures.
        match value {
            Some(value) if value >= high => judged.push((code, true, delay)),
            Some(value) if value <= low => judged.push((code, false, delay)),
            _ => {}
        }
    };
    let high_water = limits.high_water_percent;
    let refuse = limits.refuse_percent;
    let disk = machine.disk_used_percent;
    let open = Some(f64::from(service.jobs_open));
    let (filling, emptied) = (f64::from(QUEUE_FILLING), f64::from(QUEUE_EMPTIED));
    // Retention works at the high-water mark: it is no news there, but when it does not help.
    swing(AlarmCode::DiskFilling, disk, high_water, high_water - EMPTIED_PERCENT, delay(600, 60));
    swing(AlarmCode::DiskFull, disk, refuse, refuse - EMPTIED_PERCENT, delay(5, 60));
    swing(AlarmCode::TooHot, machine.hottest_c, TOO_HOT_C, COOL_AGAIN_C, delay(30, 60));
    swing(AlarmCode::QueueFilling, open, filling, emptied, delay(60, 60));
    if let Some(link) = service.mcu {
        judged.push((AlarmCode::McuLink, link != LinkState::Up, delay(30, 10)));
    }
    if let Some(synchronised) = machine.clock_synchronised {
        // After a start the time server may need minutes.
        judged.push((AlarmCode::ClockNotSynchronised, !synchronised, delay(900, 10)));
    }
    if let Some(expiry) = seen.certificate {
        let over = expiry == Expiry::Over;
        let soon = matches!(expiry, Expiry::Soon { .. });
        judged.push((AlarmCode::CertificateExpired, over, delay(0, 0)));
        judged.push((AlarmCode::CertificateExpiring, soon, delay(0, 0)));
    }
    judged
}
