//! The publisher's messages about the device: health, which is sent when the broker is there and forgotten when the next one is,
//! and alarms and events, which are durable.

use super::Publisher;
use crate::messages::{
    AlarmCode, AlarmMessage, DeviceEvent, Envelope, Happening, HealthReport, Timestamp,
};
use crate::outbox::{Destination, Draft, OutboxError, Priority};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The last health message on its way to the task that sends.
#[derive(Debug, Default)]
pub(super) struct Latest {
    bytes: watch::Sender<Option<Vec<u8>>>,
    made: AtomicU64,
    /// By the task that sends.
    pub(super) sent: Arc<AtomicU64>,
}

impl Latest {
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Vec<u8>>> {
        self.bytes.subscribe()
    }
}

impl Publisher {
    /// Publishes how the device is, retained, once the broker takes it; a newer one takes its place meanwhile. Its number is
    /// the last one given to a durable message.
    pub fn health(&self, report: &HealthReport) {
        let (boot, ts, seq) =
            (self.identity.boot, Timestamp::now(), *self.outbox.pushed().borrow());
        self.latest.made.fetch_add(1, Ordering::Relaxed);
        self.latest.bytes.send_replace(Some(Envelope { seq, boot, ts }.encode(report)));
    }

    /// Health messages that were overtaken, but the one that is on its way.
    pub fn health_dropped(&self) -> u64 {
        let made = self.latest.made.load(Ordering::Relaxed);
        made.saturating_sub(1).saturating_sub(self.latest.sent.load(Ordering::Relaxed))
    }

    /// Publishes that something happened, and returns the event's number. Durable when it returns; blocks for one disk flush.
    pub fn event(&self, happening: Happening) -> Result<u64, OutboxError> {
        self.push_event(None, happening)
    }

    /// Publishes a change of an alarm: how it stands now, and the event, both or none. Durable when it returns; blocks for one
    /// disk flush.
    pub fn alarm_changed(
        &self,
        code: AlarmCode,
        alarm: Option<&AlarmMessage>,
        happening: Happening,
    ) -> Result<u64, OutboxError> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let payload =
            |seq| alarm.map_or(Vec::new(), |alarm| Envelope { seq, boot, ts }.encode(alarm));
        self.push_event(Some((self.identity.topics.alarm(code), &payload)), happening)
    }

    fn push_event(
        &self,
        about: Option<Draft<'_>>,
        happening: Happening,
    ) -> Result<u64, OutboxError> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let payload =
            |seq, number| Envelope { seq, boot, ts }.encode(&DeviceEvent { number, happening });
        self.outbox.push_event(Destination::Mqtt, about, &self.identity.topics.event(), payload)
    }

    /// Publishes how an alarm stands, retained, where nothing changed. Durable when it returns; blocks for one disk flush.
    pub fn alarm(&self, alarm: &AlarmMessage) -> Result<u64, OutboxError> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let payload = |seq| Envelope { seq, boot, ts }.encode(alarm);
        let topic = self.identity.topics.alarm(alarm.code);
        self.outbox.push(Destination::Mqtt, Priority::Urgent, &topic, true, payload)
    }
}
