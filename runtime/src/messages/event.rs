//! What happened to the device, in order: alarms and health tell what is, events tell what was.

use super::{AlarmCode, Severity, Version};
use serde::Serialize;

/// Payload of `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceEvent {
    /// Counts up by one with each event of this device, over restarts too: a consumer sees what it has missed.
    pub number: u64,
    #[serde(flatten)]
    pub happening: Happening,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// The service is ready. Where the event before is not `stopping`, the last run was cut off.
    Started { software: Version },
    /// An orderly end.
    Stopping,
    /// The reason of an alarm has been there long enough.
    AlarmRaised { code: AlarmCode, severity: Severity },
    /// It has been gone long enough.
    AlarmCleared { code: AlarmCode, severity: Severity },
    /// Somebody has seen the alarm.
    AlarmAcknowledged { code: AlarmCode, severity: Severity },
}

impl Happening {
    pub fn raised(code: AlarmCode) -> Happening {
        Happening::AlarmRaised { code, severity: code.severity() }
    }

    pub fn cleared(code: AlarmCode) -> Happening {
        Happening::AlarmCleared { code, severity: code.severity() }
    }

    pub fn acknowledged(code: AlarmCode) -> Happening {
        Happening::AlarmAcknowledged { code, severity: code.severity() }
    }
}
