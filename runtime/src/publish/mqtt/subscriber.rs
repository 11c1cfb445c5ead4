//! Subscribers: one to our own topics, so that what the page and the demo show is what a client of the broker gets, one to the
//! other devices of the site, and one to the commands.

use super::{BrokerSettings, Endpoint, Settings, client_id, pause};
use crate::commands::Unproven;
use crate::messages::Topics;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish};
use rumqttc::v5::{AsyncClient, Event};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};
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
    let topics = Topics::new(&settings.site, &settings.device);
    let (filter, commands) = (topics.all(), topics.commands());
    let hear = move |publish: Publish| {
        // What others say to the device is not what it says.
        if publish.topic != commands {
            pass_on(&publish, &live);
        }
    };
    tokio::spawn(listen(endpoint, client_id(settings, "page"), vec![filter], hear))
}

/// Subscribes to how the other devices of the site are and passes it on to `live`, as [`subscribe`] does. A broker in this
/// process has none.
pub fn neighbours(
    settings: &Settings,
    endpoint: Endpoint,
    live: broadcast::Sender<LiveMessage>,
) -> Option<JoinHandle<()>> {
    let BrokerSettings::External(_) = settings.broker else { return None };
    let topics = Topics::new(&settings.site, &settings.device);
    let own = topics.all().trim_end_matches('#').to_owned();
    let hear = move |publish: Publish| {
        if !publish.topic.starts_with(own.as_bytes()) {
            pass_on(&publish, &live);
        }
    };
    let filters = topics.of_site().to_vec();
    Some(tokio::spawn(listen(endpoint, client_id(settings, "site"), filters, hear)))
}

fn pass_on(publish: &Publish, live: &broadcast::Sender<LiveMessage>) {
    let message = LiveMessage {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: String::from_utf8_lossy(&publish.payload).into_owned(),
        retained: publish.retain,
    };
    // Nobody listens to the channel: nothing is lost, the broker has had it.
    let _ = live.send(message);
}

/// Subscribes to the commands to this device and passes them on to `orders`, unproven as they are; connects again for ever. One
/// that finds no room, or that a broker has kept, is dropped: commands are for now. Ends when the handle is aborted. Needs a
/// tokio runtime.
pub fn commands(
    settings: &Settings,
    endpoint: Endpoint,
    orders: mpsc::Sender<Vec<u8>>,
    unproven: Arc<Unproven>,
) -> JoinHandle<()> {
    let filter = Topics::new(&settings.site, &settings.device).commands();
    let hear = move |publish: Publish| {
        if publish.retain {
            unproven.add("it was retained: commands are for now");
        } else if orders.try_send(publish.payload.to_vec()).is_err() {
            unproven.add("too many came at once");
        }
    };
    tokio::spawn(listen(endpoint, client_id(settings, "cmd"), vec![filter], hear))
}

/// Connects, subscribes and hears, again and again.
async fn listen(
    endpoint: Endpoint,
    client_id: String,
    filters: Vec<String>,
    mut hear: impl FnMut(Publish),
) {
    let mut attempts = 0;
    loop {
        attempts += 1;
        if connection(&endpoint, &client_id, &filters, &mut hear).await {
            attempts = 1;
        }
        tokio::time::sleep(pause(attempts)).await;
    }
}

/// One connection, to its end; whether it came to be.
async fn connection(
    endpoint: &Endpoint,
    client_id: &str,
    filters: &[String],
    hear: &mut impl FnMut(Publish),
) -> bool {
    let options = endpoint.options(client_id.to_owned());
    let (client, mut events) = AsyncClient::new(options, CHANNEL);
    let mut connected = false;
    while let Ok(event) = events.poll().await {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                connected = true;
                let wanted = filters.iter().map(|filter| Filter::new(filter, QoS::AtLeastOnce));
                if client.try_subscribe_many(wanted).is_err() {
                    break;
                }
            }
            Event::Incoming(Packet::SubAck(_)) => tracing::info!(?filters, "subscribed"),
            Event::Incoming(Packet::Publish(publish)) => hear(publish),
            _ => {}
        }
    }
    connected
}
