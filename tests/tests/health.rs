//! What a service engineer sees of a device: health by MQTT, Prometheus and the page, and an alarm from its reason to its
//! acknowledgement, over a restart.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use serde_json::Value;
use std::time::Duration;
use tests::series::Nagle;
use tests::site::{get, series_uid};
use tests::wait::wait_until;
use tests::{Appliance, Site, phantom, send};

/// Looks come every five seconds.
const LOOKS: Duration = Duration::from_secs(30);
const ALARM: &str = "engine_fallback";

/// The payloads of one topic so far; empty ones as null.
fn payloads(site: &Site, end: &str) -> Vec<Value> {
    let messages = site.messages.messages().unwrap().into_iter();
    let of_topic = messages.filter(|(topic, _)| topic.ends_with(end));
    of_topic.map(|(_, payload)| serde_json::from_str(&payload).unwrap_or_default()).collect()
}

/// The last payload of a topic that `wanted` accepts.
fn until(site: &Site, end: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let last = || payloads(site, end).into_iter().rfind(|payload| wanted(payload));
    wait_until(end, LOOKS, last).unwrap()
}

/// An engine that is not here: the next one works, and somebody should know.
fn start(site: &Site, engine: &str) -> Appliance {
    let config = format!("{}[jobs]\nengine = '{engine}'\n", site.config());
    Appliance::ready(&site.folder, &config).unwrap()
}

#[test]
fn a_device_tells_how_it_is_and_an_alarm_stays_until_somebody_has_seen_it() {
    let site = Site::new().unwrap();
    let appliance = start(&site, "tensorrt");
    let alarm = until(&site, ALARM, |alarm| alarm["active"] == true);
    assert_eq!((&alarm["severity"], &alarm["acknowledged"]), (&"warning".into(), &false.into()));
    assert!(alarm["action"].as_str().unwrap().contains("sagitta doctor"), "{alarm}");

    let folder = site.folder.join("series");
    phantom(&folder, &["--seed", "7"]).unwrap();
    send(site.dicom, &folder, Nagle::Off).unwrap();
    let job = site.job(&series_uid(&folder).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let health = until(&site, "/health", |health| health["service"]["jobs_done"] == 1);
    let service = &health["service"];
    assert_eq!((&service["engine"], &service["alarms_active"]), (&"simd".into(), &1.into()));
    assert_eq!(service["fallback"]["engine"], "tensorrt");
    let sent = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(service["instances_stored"], sent, "{health}");
    assert!(service["latency_ms"]["semantic"]["p50"].as_f64().unwrap() > 0.0, "{health}");
    assert_eq!(service["stuck"], Value::Null, "{health}");
    assert!(health["machine"]["disk_used_percent"].as_f64().unwrap() > 0.0, "{health}");
    let metrics = get(site.page, "/metrics").unwrap();
    assert!(metrics.contains("\nsagitta_service_jobs_done 1\n"), "{metrics}");
    assert!(metrics.contains(&format!("sagitta_alarm_active{{code=\"{ALARM}\"}} 1")), "{metrics}");

    // Its reason goes away while nobody looks: it stays, and says so.
    drop(appliance);
    let appliance = start(&site, "simd");
    let over = until(&site, ALARM, |alarm| alarm["active"] == false);
    assert_eq!((&over["acknowledged"], &over["raised"]), (&false.into(), &alarm["raised"]));
    assert_eq!(site.acknowledge(ALARM).unwrap(), "204", "{}", appliance.log());
    until(&site, ALARM, |payload| payload.is_null());
    assert_eq!(get(site.page, "/api/alarms").unwrap(), "[]");
    assert_eq!(site.acknowledge(ALARM).unwrap(), "404");

    // What was, from the first start to the farewell of the second run; the first one was cut off. A message that was not
    // acknowledged before the kill may come again, with its number.
    appliance.process.signal("TERM").unwrap();
    until(&site, "/event", |event| event["event"] == "stopping");
    let mut events = payloads(&site, "/event");
    events.sort_by_key(|event| event["number"].as_u64());
    events.dedup_by_key(|event| event["number"].as_u64());
    let told: Vec<_> = events.iter().map(|e| (e["number"].as_u64(), e["event"].clone())).collect();
    let words =
        ["started", "alarm_raised", "started", "alarm_cleared", "alarm_acknowledged", "stopping"];
    let wanted: Vec<_> = (1..).map(Some).zip(words.map(Value::from)).collect();
    assert_eq!(told, wanted);
}
