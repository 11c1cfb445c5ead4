//! The devices of the site, as they tell of themselves by MQTT: what a screen on a wall shows. Looks only.
//!
//! What comes is another device's, perhaps of another version: fields that are not known are left out, words are words and
//! short, and there is room for so many devices and no more.

use super::Page;
use crate::messages::Name;
use crate::publish::mqtt::LiveMessage;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Devices shown; what a screen can show. More are said to be there.
const DEVICES: usize = 64;
/// Alarms of one device; a version of ours has thirteen.
const ALARMS: usize = 32;
/// Characters of a word.
const WORD: std::ops::RangeInclusive<usize> = 1..=40;

/// A word of the contract, of any version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Word(String);

impl TryFrom<String> for Word {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Word, &'static str> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        match WORD.contains(&text.len()) && text.bytes().all(plain) {
            true => Ok(Word(text)),
            false => Err("no word of the contract"),
        }
    }
}

/// Of `state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Presence {
    state: Word,
    software: Option<Word>,
}

/// Of `health`, what a wall shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Health {
    uptime_s: Option<u64>,
    machine: Machine,
    service: Service,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Machine {
    hottest_c: Option<f64>,
    disk_used_percent: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Service {
    degraded: Option<Word>,
    stuck: Option<Word>,
    jobs_open: Option<u64>,
    jobs_done: Option<u64>,
    jobs_refused: Option<u64>,
    jobs_failed: Option<u64>,
    outbox_messages: Option<u64>,
    deliveries_waiting: Option<u64>,
    engine: Option<Word>,
    #[serde(default)]
    latency_ms: Latency,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Latency {
    total: Option<Total>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Total {
    p50: f64,
    p95: f64,
}

/// Of `alarms/{code}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Alarm {
    code: Word,
    severity: Word,
    active: bool,
    acknowledged: bool,
}

#[derive(Debug, Default)]
struct Device {
    presence: Option<Presence>,
    health: Option<Health>,
    /// When its health came fresh; what a broker kept may be of last week.
    heard: Option<Instant>,
    alarms: Vec<Alarm>,
}

#[derive(Debug, Default)]
struct Devices {
    known: BTreeMap<String, Device>,
    /// There are more.
    full: bool,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Fleet(Arc<Mutex<Devices>>);

impl Fleet {
    /// Takes note of a message, if it tells how a device is.
    pub(super) fn hear(&self, message: &LiveMessage, now: Instant) {
        let mut levels = message.topic.splitn(5, '/').skip(3);
        let (Some(name), Some(rest)) = (levels.next(), levels.next()) else { return };
        let known = rest == "state" || rest == "health" || rest.starts_with("alarms/");
        if !known || Name::new(name).is_err() {
            return;
        }
        let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !devices.known.contains_key(name) && devices.known.len() == DEVICES {
            devices.full = true;
            return;
        }
        if rest == "state" && message.payload.is_empty() {
            // A device that was taken away, and from the broker too.
            devices.known.remove(name);
            return;
        }
        devices.known.entry(name.to_owned()).or_default().hear(rest, message, now);
    }

    fn to_json(&self, now: Instant) -> Value {
        let devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |(name, device): (&String, &Device)| {
            let age = device.heard.map(|heard| now.saturating_duration_since(heard).as_secs());
            let Device { presence, health, alarms, .. } = device;
            json!({ "device": name, "presence": presence, "health": health, "age_s": age, "alarms": alarms })
        };
        json!({ "devices": devices.known.iter().map(shown).collect::<Vec<_>>(), "full": devices.full })
    }
}

impl Device {
    fn hear(&mut self, rest: &str, message: &LiveMessage, now: Instant) {
        let LiveMessage { payload, retained, .. } = message;
        match rest {
            "state" => self.presence = serde_json::from_str(payload).ok(),
            "health" => {
                self.health = serde_json::from_str(payload).ok();
                self.heard = (!retained).then_some(now).or(self.heard);
            }
            _ => {
                let code = rest.trim_start_matches("alarms/");
                self.alarms.retain(|known| known.code.0 != code);
                // An empty message took it back; one that nobody understands is none.
                let alarm = serde_json::from_str(payload).ok();
                self.alarms.extend(alarm.filter(|_| self.alarms.len() < ALARMS));
            }
        }
    }
}

pub(super) async fn fleet(State(page): State<Page>) -> Json<Value> {
    Json(page.fleet.to_json(Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn say(fleet: &Fleet, rest: &str, payload: &str, retained: bool) {
        let topic = format!("sagitta/v1/north/{rest}");
        fleet.hear(&LiveMessage { topic, payload: payload.to_owned(), retained }, Instant::now());
    }

    fn shown(fleet: &Fleet) -> Value {
        fleet.to_json(Instant::now() + Duration::from_secs(60))
    }

    const HEALTH: &str = r#"{"v":1,"new_field":{"a":1},"uptime_s":7,"machine":{"hottest_c":61.5,"disk_used_percent":null},
        "service":{"degraded":null,"stuck":null,"jobs_open":1,"engine":"simd","latency_ms":{"total":{"p50":1,"p95":2,"p99":3}}}}"#;

    #[test]
    fn a_device_is_shown_as_it_tells_of_itself_until_it_is_taken_away() {
        let fleet = Fleet::default();
        say(&fleet, "mr2/state", r#"{"v":1,"state":"online","software":"0.1.0"}"#, true);
        say(&fleet, "mr2/health", HEALTH, true);
        let device = shown(&fleet)["devices"][0].clone();
        assert_eq!(
            (&device["device"], &device["presence"]["state"]),
            (&"mr2".into(), &"online".into())
        );
        assert_eq!(device["health"]["machine"]["hottest_c"], 61.5);
        assert_eq!(device["age_s"], Value::Null, "the broker may have kept it for a week");
        say(&fleet, "mr2/health", HEALTH, false);
        assert!(shown(&fleet)["devices"][0]["age_s"].as_u64() >= Some(59));

        let alarm = r#"{"code":"too_hot","severity":"warning","active":true,"acknowledged":false}"#;
        say(&fleet, "mr2/alarms/too_hot", alarm, false);
        say(&fleet, "mr2/alarms/too_hot", alarm, false);
        assert_eq!(shown(&fleet)["devices"][0]["alarms"].as_array().unwrap().len(), 1);
        say(&fleet, "mr2/alarms/too_hot", "", false);
        assert_eq!(shown(&fleet)["devices"][0]["alarms"], json!([]));
        say(&fleet, "mr2/state", "", false);
        assert_eq!(shown(&fleet)["devices"], json!([]));
    }

    #[test]
    fn what_nobody_understands_is_not_shown_and_ten_thousand_devices_have_no_room() {
        let fleet = Fleet::default();
        say(&fleet, "mr2/state", r#"{"state":"<b>online</b>"}"#, true);
        say(&fleet, "mr2/alarms/x", r#"{"code":"Doe^Jane","severity":"warning"}"#, true);
        assert_eq!(shown(&fleet)["devices"][0]["presence"], Value::Null);
        assert_eq!(shown(&fleet)["devices"][0]["alarms"], json!([]));
        for rest in ["MR 2/state", "mr3/jobs/x/status", "mr3", "mr3/event"] {
            say(&fleet, rest, "{}", true);
        }
        assert_eq!(shown(&fleet)["devices"].as_array().unwrap().len(), 1);
        for n in 0..10_000 {
            say(&fleet, &format!("mr{n}/state"), r#"{"state":"online"}"#, true);
        }
        let shown = shown(&fleet);
        assert_eq!(
            (shown["devices"].as_array().unwrap().len(), &shown["full"]),
            (DEVICES, &true.into())
        );
    }
}
