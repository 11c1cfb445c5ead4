//! A client of the broker that misses nothing.

use super::PATIENCE;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What a client of the broker sees: topic without the device's prefix, and payload.
pub(crate) struct Watcher {
    pub(crate) messages: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Watcher {
    /// Subscribes with a session that outlives the broker, and returns when the broker has confirmed it.
    pub(crate) async fn start(port: u16) -> Watcher {
        let (send, messages) = mpsc::unbounded_channel();
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        tokio::spawn(async move {
            let mut options = MqttOptions::new("watcher", "127.0.0.1", port);
            options.set_clean_start(false).set_session_expiry_interval(Some(600));
            options.set_max_packet_size(Some(1 << 20));
            let (client, mut events) = AsyncClient::new(options, 10);
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        client.try_subscribe("sagitta/v1/#", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        ready.take().map(|ready| ready.send(()));
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        let topic = topic.strip_prefix("sagitta/v1/north/mr1/").unwrap();
                        let payload = serde_json::from_slice(&publish.payload).unwrap();
                        if send.send((topic.to_owned(), payload)).is_err() {
                            break;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        timeout(PATIENCE, subscribed).await.expect("no subscription").unwrap();
        Watcher { messages }
    }

    pub(crate) async fn next(&mut self) -> (String, Value) {
        timeout(PATIENCE, self.messages.recv()).await.expect("no message").unwrap()
    }

    /// The next message of a job, past the state messages.
    pub(crate) async fn next_of_job(&mut self) -> Value {
        loop {
            let (topic, payload) = self.next().await;
            if topic.starts_with("jobs/") {
                return payload;
            }
        }
    }

    /// The next state message, past the job messages.
    pub(crate) async fn next_state(&mut self) -> Value {
        loop {
            let (topic, payload) = self.next().await;
            if topic == "state" {
                return payload;
            }
        }
    }

    /// Reads until every number from 1 to `last` was seen; how many came again. A number may come again but none may
    /// be seen for the first time after a higher one.
    pub(crate) async fn numbers_up_to(&mut self, last: u64) -> usize {
        let (mut next, mut repeated) = (1, 0);
        while next <= last {
            let seq = self.next_of_job().await["seq"].as_u64().unwrap();
            assert!(seq <= next, "number {next} is missing before {seq}");
            repeated += usize::from(seq < next);
            next = next.max(seq + 1);
        }
        repeated
    }
}
