//! Whether the service as a whole makes progress: what a heartbeat to the supervisor MCU and a beat to systemd both stand for.

use crate::config::Config;
use crate::health::{Hand, Health, Part};
use crate::publish::mqtt::{BrokerSettings, Connection, Publisher};
use std::sync::Arc;
use tokio::runtime::Handle;

/// An embedded broker that our own client cannot reach so often in a row is a fault of this process.
const MAX_ATTEMPTS: u32 = 10;

/// See the module.
#[derive(Debug)]
pub struct Progress {
    embedded: bool,
    runtime: Handle,
    executor: Arc<Hand>,
    health: Arc<Health>,
    publisher: Arc<Publisher>,
}

impl Progress {
    /// Needs a tokio runtime, whose progress it is.
    pub fn new(config: &Config, health: &Arc<Health>, publisher: &Arc<Publisher>) -> Arc<Progress> {
        Arc::new(Progress {
            embedded: matches!(config.mqtt.broker, BrokerSettings::Embedded { .. }),
            runtime: Handle::current(),
            executor: Arc::new(health.hand(Part::Executor)),
            health: health.clone(),
            publisher: publisher.clone(),
        })
    }

    /// The part that makes no progress. The executor gets a task for the next time.
    pub fn stuck(&self) -> Option<Part> {
        let away = match *self.publisher.connection().borrow() {
            Connection::Away { attempts, .. } => self.embedded && attempts > MAX_ATTEMPTS,
            _ => false,
        };
        let part = match away || !self.publisher.is_running() {
            true => Some(Part::Broker),
            false => self.health.stuck(),
        };
        let executor = self.executor.clone();
        executor.begins();
        self.runtime.spawn(async move { executor.rests() });
        part
    }
}
