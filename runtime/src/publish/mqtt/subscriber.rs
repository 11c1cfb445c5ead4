//! A subscriber to our own topics: what the page and the demo show is what a client of the broker gets.

use super::{Endpoint, Settings, client_id, pause};
use crate::messages::Topics;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// Requests that wait in the client: one subscription.
const CHANNEL: usize = 1;

/// A message as a client of the broker received it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveMessage {
    pub topic: String,
    pub payload: String,
    pub retained: bool,
}

/// Subscribes to everything the device publishes and passes it on to `live`; connects again for ever. Ends when the
/// handle is aborted. Needs a tokio runtime.
pub fn subscribe(
    settings: &Settings,
    endpoint: Endpoint,
    live: broadcast::Sender<LiveMessage>,
) -> JoinHandle<()> {
    let filter = Topics::new(&settings.site, &settings.device).all();
    let client_id = client_id(settings, "page");
    tokio::spawn(async move {
        let mut attempts = 0;
        loop {
            attempts += 1;
            if listen(&endpoint, &client_id, &filter, &live).await {
                attempts = 1;
            }
            tokio::time::sleep(pause(attempts)).await;
        }
    })
}

/// One connection, to its end; whether it came to be.
async fn listen(
    endpoint: &Endpoint,
    client_id: &str,
    filter: &str,
    live: &broadcast::Sender<LiveMessage>,
) -> bool {
    let options = endpoint.options(client_id.to_owned());
    let (client, mut events) = AsyncClient::new(options, CHANNEL);
    let mut connected = false;
    while let Ok(event) = events.poll().await {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                connected = true;
                if client.try_subscribe(filter, QoS::AtLeastOnce).is_err() {
                    break;
                }
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let message = LiveMessage {
                    topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                    payload: String::from_utf8_lossy(&publish.payload).into_owned(),
                    retained: publish.retain,
                };
                // Nobody listens to the channel: nothing is lost, the broker has had it.
                let _ = live.send(message);
            }
            _ => {}
        }
    }
    connected
}
