//! The task that drains the outbox: connect, say we are here, keep the window full, take out what is acknowledged,
//! begin again when the line breaks.
//!
//! Every connection gets a client and event loop of its own. rumqttc keeps unacknowledged messages in memory and would
//! repeat them on its own account (issue 863); here only the outbox decides what is sent. A poll of the event loop is
//! never cancelled: a packet could be lost between its state and its socket.

use super::window::{Sent, WINDOW, Window};
use super::{AwayReason, Connection, Endpoint, Identity, pause};
use crate::messages::{DeviceState, Envelope, Presence, Timestamp, Version};
use crate::outbox::{Destination, Outbox, OutboxError, Priority};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, PubAck, PubAckReason};
use rumqttc::v5::mqttbytes::{Error as MqttError, QoS};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, StateError};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Requests that wait in the client: a whole window, the birth, the farewell, the subscription and the disconnection, which
/// find room whatever health takes.
const CHANNEL: usize = WINDOW + 16;
/// A broker that takes messages and acknowledges none for this long counts as away.
const ACKNOWLEDGEMENT_LIMIT: Duration = Duration::from_secs(20);
/// Acknowledged rows are taken out together, one disk flush for many: at half a window, or after this pause.
const REMOVE_PAUSE: Duration = Duration::from_millis(20);
const REMOVE_AT: usize = WINDOW / 2;
/// A connection that held this long was a good one: the pauses begin again at the shortest.
const STEADY: Duration = Duration::from_secs(30);
/// How often one connection says again that it is here when another message says the contrary.
const MAX_CORRECTIONS: u32 = 8;

/// How a connection ended.
enum End {
    Closed,
    /// With what was seen, for the log.
    Away(AwayReason, String),
}

impl From<OutboxError> for End {
    fn from(error: OutboxError) -> End {
        End::Away(AwayReason::Outbox, error.to_string())
    }
}

/// How far an orderly end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Staying,
    /// Sends the rest first.
    Wanted,
    /// `offline` is on its way.
    Said,
    Leaving,
}

pub(super) struct Drain {
    identity: Identity,
    endpoint: Endpoint,
    outbox: Arc<Outbox>,
    state: watch::Sender<Connection>,
    stop: watch::Receiver<bool>,
    /// The last health message, and how many were sent.
    health: (watch::Receiver<Option<Vec<u8>>>, Arc<AtomicU64>),
    /// Counts connections of this boot.
    session: u32,
}

impl Drain {
    pub(super) fn new(
        identity: Identity,
        endpoint: Endpoint,
        outbox: Arc<Outbox>,
        state: watch::Sender<Connection>,
        stop: watch::Receiver<bool>,
        health: (watch::Receiver<Option<Vec<u8>>>, Arc<AtomicU64>),
    ) -> Drain {
        Drain { identity, endpoint, outbox, state, stop, health, session: 0 }
    }

    /// Until the stop.
    pub(super) async fn run(mut self) {
        let mut attempts = 0;
        while !*self.stop.borrow() {
            self.session += 1;
            let began = Instant::now();
            let End::Away(reason, seen) = self.connection().await else { break };
            attempts = if began.elapsed() >= STEADY { 1 } else { attempts + 1 };
            if !matches!(*self.state.borrow(), Connection::Away { reason: before, .. } if before == reason)
            {
                tracing::warn!(?reason, seen, endpoint = ?self.endpoint, "broker away: the site's move");
            }
            self.state.send_replace(Connection::Away { reason, attempts });
            tokio::select! {
                () = sleep(pause(attempts)) => {}
                _ = self.stop.changed() => {}
            }
        }
        self.state.send_replace(Connection::Closed);
    }

    /// One connection from CONNECT to its end.
    async fn connection(&mut self) -> End {
        let mut options = self.endpoint.options(self.identity.client_id.clone());
        options.set_outgoing_inflight_upper_limit(WINDOW as u16);
        let (topic, will) = (self.identity.topics.state(), self.presence(Presence::Lost));
        options.set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, true, None));
        let (client, events) = AsyncClient::new(options, CHANNEL);
        let mut pushed = self.outbox.pushed();
        let mut stop = self.stop.clone();
        let mut health = self.health.0.clone();
        let mut line = Line::new(self, client);
        let mut next = Box::pin(step(events));
        loop {
            if let Err(end) = line.advance(*pushed.borrow_and_update(), *stop.borrow_and_update()) {
                return end;
            }
            let many = line.acknowledged.len() >= REMOVE_AT || line.window.is_empty();
            if many && let Err(error) = line.remove().await {
                return error.into();
            }
            tokio::select! {
                (events, event) = &mut next => {
                    next = Box::pin(step(events));
                    if let Err(end) = line.on(event) {
                        // What the broker confirmed before the line broke needs no repetition.
                        return line.remove().await.map_or_else(End::from, |()| end);
                    }
                }
                _ = pushed.changed() => {}
                Ok(()) = health.changed() => line.tell_health(health.borrow_and_update().as_deref()),
                _ = stop.changed() => {}
                () = sleep(REMOVE_PAUSE), if !line.acknowledged.is_empty() => {
                    if let Err(error) = line.remove().await {
                        return error.into();
                    }
                }
                () = sleep_until(line.heard + ACKNOWLEDGEMENT_LIMIT), if !line.window.is_empty() => {
                    let seen = format!("no acknowledgement for {ACKNOWLEDGEMENT_LIMIT:?}");
                    return End::Away(AwayReason::NoAcknowledgement, seen);
                }
            }
        }
    }

    /// The bytes of a state message of the present session.
    fn presence(&self, state: Presence) -> Vec<u8> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let seq = *self.outbox.pushed().borrow();
        let (session, software) = (self.session, Version::software());
        Envelope { seq, boot, ts }.encode(&DeviceState { state, session, software })
    }
}

/// One event, with the loop handed through, so that the future can outlive a turn of `select!`.
async fn step(mut events: EventLoop) -> (EventLoop, Result<Event, ConnectionError>) {
    let event = events.poll().await;
    (events, event)
}

/// One connection's state.
struct Line<'a> {
    drain: &'a Drain,
    client: AsyncClient,
    window: Window,
    /// Rows up to here were handed over or are not there: those that overtake, and the others.
    urgent: u64,
    ordinary: u64,
    /// Rows the broker confirmed, still in the outbox.
    acknowledged: Vec<u64>,
    /// When the last acknowledgement came, or the window stopped being empty.
    heard: Instant,
    online: bool,
    farewell: Farewell,
    corrections: u32,
}

impl<'a> Line<'a> {
    fn new(drain: &'a Drain, client: AsyncClient) -> Line<'a> {
        Line {
            drain,
            client,
            window: Window::default(),
            urgent: 0,
            ordinary: 0,
            acknowledged: Vec::new(),
            heard: Instant::now(),
            online: false,
            farewell: Farewell::Staying,
            corrections: 0,
        }
    }

    /// Hands over what there is room for, and moves the farewell on. `pushed`: the last number in the outbox.
    fn advance(&mut self, pushed: u64, stop: bool) -> Result<(), End> {
        if stop && !self.online {
            return Err(End::Closed);
        }
        if stop && self.farewell == Farewell::Staying {
            self.farewell = Farewell::Wanted;
        }
        if !self.online {
            return Ok(());
        }
        match self.farewell {
            Farewell::Staying | Farewell::Wanted => self.top_up(pushed)?,
            Farewell::Said | Farewell::Leaving => {}
        }
        let rest = !self.window.is_empty() || self.urgent.min(self.ordinary) < pushed;
        match self.farewell {
            Farewell::Wanted if !rest => {
                self.say(Presence::Offline);
                self.farewell = Farewell::Said;
            }
            Farewell::Said if self.window.is_empty() => {
                self.farewell = Farewell::Leaving;
                if self.client.try_disconnect().is_err() {
                    return Err(End::Closed);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn top_up(&mut self, pushed: u64) -> Result<(), End> {
        self.urgent = self.hand_over(Priority::Urgent, self.urgent, pushed)?;
        self.ordinary = self.hand_over(Priority::Ordinary, self.ordinary, pushed)?;
        Ok(())
    }

    /// Hands over rows behind `cursor` as far as there is room; up to where.
    fn hand_over(&mut self, priority: Priority, cursor: u64, pushed: u64) -> Result<u64, End> {
        let (mut cursor, room) = (cursor, self.window.room());
        if cursor >= pushed || room == 0 {
            return Ok(cursor);
        }
        let rows = self.drain.outbox.pending(Destination::Mqtt, priority, cursor, room)?;
        let all = rows.len() < room;
        for row in rows {
            let sent =
                self.client.try_publish(row.topic, QoS::AtLeastOnce, row.retained, row.payload);
            sent.expect("the channel holds a whole window and topics are valid");
            self.hand(Sent::Row(row.seq));
            cursor = row.seq;
        }
        Ok(if all { cursor.max(pushed) } else { cursor })
    }

    fn hand(&mut self, sent: Sent) {
        if self.window.is_empty() {
            self.heard = Instant::now();
        }
        self.window.hand(sent);
    }

    /// Publishes whether we are here, retained.
    fn say(&mut self, state: Presence) {
        let (topic, payload) = (self.drain.identity.topics.state(), self.drain.presence(state));
        let sent = self.client.try_publish(topic, QoS::AtLeastOnce, true, payload);
        sent.expect("the channel has room beside a whole window and the topic is valid");
        self.hand(Sent::State);
    }

    /// Publishes how we are, retained; the broker need not say that it has it.
    fn tell_health(&mut self, message: Option<&[u8]>) {
        // Nothing comes after the farewell.
        let here = self.online && matches!(self.farewell, Farewell::Staying | Farewell::Wanted);
        let Some(message) = message.filter(|_| here) else { return };
        let topic = self.drain.identity.topics.health();
        // One that finds no room is worth less than what takes it: the next one comes.
        if self.client.try_publish(topic, QoS::AtMostOnce, true, message.to_vec()).is_ok() {
            self.drain.health.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on(&mut self, event: Result<Event, ConnectionError>) -> Result<(), End> {
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => self.birth(),
            // Health has no number and is not acknowledged.
            Ok(Event::Outgoing(Outgoing::Publish(0))) => {}
            Ok(Event::Outgoing(Outgoing::Publish(id))) => self.window.outgoing(id),
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return Err(End::Closed),
            Ok(Event::Incoming(Packet::PubAck(ack))) => return self.acknowledge(&ack),
            Ok(Event::Incoming(Packet::Publish(publish))) => self.correct(&publish.payload),
            Ok(_) => {}
            Err(_) if self.farewell == Farewell::Leaving => return Err(End::Closed),
            Err(error) => return Err(End::Away(away_reason(&error), error.to_string())),
        }
        Ok(())
    }

    fn birth(&mut self) {
        self.online = true;
        self.say(Presence::Online);
        let state = self.drain.identity.topics.state();
        // A broker that does not let us read our own state only loses us the correction of a late will.
        let _ = self.client.try_subscribe(state, QoS::AtLeastOnce);
        let health = self.drain.health.0.borrow().clone();
        self.tell_health(health.as_deref());
        tracing::info!(session = self.drain.session, "broker online");
        self.drain.state.send_replace(Connection::Online(self.drain.session));
    }

    fn acknowledge(&mut self, ack: &PubAck) -> Result<(), End> {
        if !matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
            return Err(End::Away(AwayReason::MessageRefused, format!("{:?}", ack.reason)));
        }
        self.heard = Instant::now();
        if let Some(Sent::Row(seq)) = self.window.acknowledged(ack.pkid) {
            self.acknowledged.push(seq);
        }
        Ok(())
    }

    /// Our state topic says something: the will of an earlier connection may come after our birth (MQTT 5, 3.1.2.5,
    /// sets no order). Say again that we are here.
    fn correct(&mut self, payload: &[u8]) {
        #[derive(serde::Deserialize)]
        struct State {
            state: Presence,
        }
        let said = serde_json::from_slice::<State>(payload).map(|message| message.state);
        let wrong = matches!(said, Ok(Presence::Offline | Presence::Lost));
        let may = self.farewell == Farewell::Staying && self.corrections < MAX_CORRECTIONS;
        if wrong && may && self.window.room() > 0 {
            self.corrections += 1;
            self.say(Presence::Online);
        }
    }

    /// Takes confirmed rows out of the outbox.
    async fn remove(&mut self) -> Result<(), OutboxError> {
        let confirmed = std::mem::take(&mut self.acknowledged);
        if confirmed.is_empty() {
            return Ok(());
        }
        let outbox = self.drain.outbox.clone();
        let removed = tokio::task::spawn_blocking(move || outbox.remove(&confirmed)).await;
        removed.expect("taking rows out does not panic")
    }
}

fn away_reason(error: &ConnectionError) -> AwayReason {
    match error {
        ConnectionError::ConnectionRefused(_) => AwayReason::Refused,
        ConnectionError::Tls(_) => AwayReason::Insecure,
        // With TLS 1.3 the broker's alert comes when we believe ourselves connected, where bytes of MQTT are read.
        ConnectionError::Io(error)
        | ConnectionError::MqttState(StateError::Deserialization(MqttError::Io(error)))
            if error.kind() == ErrorKind::InvalidData =>
        {
            AwayReason::Insecure
        }
        ConnectionError::MqttState(StateError::OutgoingPacketTooLarge { .. }) => {
            AwayReason::MessageRefused
        }
        ConnectionError::MqttState(StateError::AwaitPingResp | StateError::CollisionTimeout) => {
            AwayReason::NoAcknowledgement
        }
        _ => AwayReason::NoConnection,
    }
}
