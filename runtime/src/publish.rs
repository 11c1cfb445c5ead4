//! Results out: C-STORE to the console or PACS, MQTT to the broker. An outbox row leaves only on the receiver's word.

pub mod advance;
pub mod deliveries;
pub mod mqtt;
pub mod store;
