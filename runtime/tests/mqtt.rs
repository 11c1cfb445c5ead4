//! MQTT end to end: the publisher against the embedded broker and against Debian's Mosquitto, with brokers that are
//! away, killed, or refuse.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use pipeline::Numbering;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, MqttOptions};
use sagitta::messages::{AlarmCode, AlarmMessage, Completion, JobStage, JobState, Name, Timestamp};
use sagitta::outbox::Outbox;
use sagitta::publish::mqtt::{
    AwayReason, BrokerSettings, Connection, Endpoint, Publisher, Settings, SiteBroker, subscribe,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::watcher::Watcher;
use support::{Folder, Mosquitto, PATIENCE, free_port, job, result, status};
use tokio::sync::broadcast;
use tokio::time::timeout;

fn external(port: u16) -> BrokerSettings {
    let (host, port) = ("127.0.0.1".to_owned(), Some(port));
    BrokerSettings::External(SiteBroker { host, port, ..SiteBroker::default() })
}

fn settings(broker: BrokerSettings) -> Settings {
    Settings { site: Name::new("north").unwrap(), device: Name::new("mr1").unwrap(), broker }
}

fn outbox(folder: &Folder) -> Arc<Outbox> {
    Arc::new(Outbox::open(&folder.path().join("outbox.redb")).unwrap())
}

async fn connection_is(publisher: &Publisher, wanted: impl Fn(&Connection) -> bool) -> Connection {
    let mut connection = publisher.connection();
    let found = timeout(PATIENCE, connection.wait_for(wanted)).await;
    *found.expect("the connection never came to that").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_seen_from_birth_to_farewell_on_the_embedded_broker() {
    let folder = Folder::new("mqtt-embedded");
    let settings = settings(BrokerSettings::Embedded { listen: "127.0.0.1:0".parse().unwrap() });
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let mut watcher = Watcher::start(endpoint.port()).await;
    let (live, mut page) = broadcast::channel(64);
    let page_task = subscribe(&settings, endpoint.clone(), live);
    let outbox = outbox(&folder);
    let publisher = Publisher::start(&settings, endpoint, outbox.clone());

    let (topic, birth) = watcher.next().await;
    assert_eq!(
        (topic.as_str(), &birth["state"], &birth["session"]),
        ("state", &"online".into(), &1.into())
    );
    assert_eq!(
        connection_is(&publisher, |c| matches!(c, Connection::Online(_))).await,
        Connection::Online(1)
    );

    let job = job("1.2.3");
    let complete = JobState::Complete { reason: Completion::CountKnown };
    let running = JobState::Running { stage: JobStage::Semantic };
    for state in [JobState::Receiving, complete, running, JobState::Sending] {
        publisher.status(&status(&job, state)).unwrap();
    }
    let done = status(&job, JobState::Done);
    publisher.end(&result(&job, Numbering::FromSacrum), Some(&done)).unwrap();
    for (seq, state) in (1..).zip(["receiving", "complete", "running", "sending"]) {
        let (topic, payload) = watcher.next().await;
        assert_eq!(topic, format!("jobs/{job}/status"));
        assert_eq!((&payload["state"], &payload["seq"]), (&state.into(), &seq.into()));
        assert_eq!(payload["boot"], birth["boot"]);
    }
    let (topic, payload) = watcher.next().await;
    assert_eq!(topic, format!("jobs/{job}/result"));
    assert_eq!(payload["vertebrae_count"], 2);
    assert_eq!(payload["vertebrae"][1]["level"], "L2");
    let (topic, payload) = watcher.next().await;
    assert_eq!(topic, format!("jobs/{job}/status"));
    assert_eq!((&payload["state"], &payload["seq"]), (&"done".into(), &6.into()));

    publisher.shutdown().await;
    let farewell = watcher.next_state().await;
    assert_eq!((&farewell["state"], &farewell["seq"]), (&"offline".into(), &6.into()));
    assert_eq!(outbox.backlog().unwrap().messages, 0, "acknowledged rows left the outbox");
    let seen = timeout(PATIENCE, async {
        while !page.recv().await.unwrap().topic.ends_with("/result") {}
    });
    seen.await.expect("our own subscriber saw the result");
    page_task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_subscriber_of_mosquitto_sees_the_retained_birth_and_the_job() {
    let folder = Folder::new("mqtt-mosquitto");
    let broker = Mosquitto::start(free_port(), folder.path(), "allow_anonymous true");
    let settings = settings(external(broker.port));
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let publisher = Publisher::start(&settings, endpoint, outbox(&folder));
    connection_is(&publisher, |c| matches!(c, Connection::Online(_))).await;
    let port = broker.port.to_string();
    let log = tokio::task::spawn_blocking(move || {
        let mut client = std::process::Command::new("mosquitto_sub");
        // Ends by itself after the birth and the status.
        client.args(["-p", &port, "-t", "sagitta/#", "-v", "-C", "2", "-W", "30"]).output()
    });
    let job = job("1.2.3");
    // The subscriber tells nobody when it is there: say it again until it has what it waits for.
    while !log.is_finished() {
        publisher.status(&status(&job, JobState::Receiving)).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let text = String::from_utf8(log.await.unwrap().unwrap().stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("sagitta/v1/north/mr1/state {\"v\":1,"), "{text}");
    assert!(lines[1].starts_with(&format!("sagitta/v1/north/mr1/jobs/{job}/status {{")), "{text}");
    publisher.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_the_broker_came_arrives_in_order() {
    let folder = Folder::new("mqtt-late");
    let (port, job) = (free_port(), job("1.2.3"));
    let outbox = outbox(&folder);
    let settings = settings(external(port));
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    // A first life of the service that never finds its broker.
    let publisher = Publisher::start(&settings, endpoint.clone(), outbox.clone());
    for _ in 0..40 {
        publisher.status(&status(&job, JobState::Receiving)).unwrap();
    }
    let away = connection_is(&publisher, |c| matches!(c, Connection::Away { .. })).await;
    assert!(matches!(away, Connection::Away { reason: AwayReason::NoConnection, .. }), "{away:?}");
    publisher.shutdown().await;
    assert_eq!(outbox.backlog().unwrap().messages, 40);

    let broker = Mosquitto::start(port, folder.path(), "allow_anonymous true");
    let mut watcher = Watcher::start(port).await;
    let publisher = Publisher::start(&settings, endpoint, outbox.clone());
    for _ in 0..60 {
        publisher.status(&status(&job, JobState::Receiving)).unwrap();
    }
    assert_eq!(watcher.numbers_up_to(100).await, 0, "nothing was repeated");
    publisher.shutdown().await;
    assert_eq!(outbox.backlog().unwrap().messages, 0);
    drop(broker);
}

/// A day without a broker, and the box too hot since a minute: who watches it hears that first.
#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_overtakes_what_waits_and_the_rest_stays_in_order() {
    let folder = Folder::new("mqtt-urgent");
    let (port, job) = (free_port(), job("1.2.3"));
    let outbox = outbox(&folder);
    let settings = settings(external(port));
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let publisher = Publisher::start(&settings, endpoint.clone(), outbox.clone());
    for _ in 0..100 {
        publisher.status(&status(&job, JobState::Receiving)).unwrap();
    }
    let code = AlarmCode::TooHot;
    let alarm = AlarmMessage {
        code,
        severity: code.severity(),
        active: true,
        acknowledged: false,
        raised: Timestamp::now(),
        cleared: None,
        count: 1,
        action: code.action(),
    };
    publisher.alarm(&alarm).unwrap();
    publisher.shutdown().await;

    let _broker = Mosquitto::start(port, folder.path(), "allow_anonymous true");
    let mut watcher = Watcher::start(port).await;
    let publisher = Publisher::start(&settings, endpoint, outbox.clone());
    let mut heard = Vec::new();
    while heard.len() < 101 {
        let (topic, message) = timeout(PATIENCE, watcher.messages.recv()).await.unwrap().unwrap();
        if topic != "state" {
            heard.push((topic, message["seq"].as_u64().unwrap()));
        }
    }
    assert_eq!(heard.remove(0), ("alarms/too_hot".to_owned(), 101));
    assert!(heard.iter().map(|(_, seq)| *seq).eq(1..=100), "{heard:?}");
    publisher.shutdown().await;
    assert_eq!(outbox.backlog().unwrap().messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_ends_in_the_middle_loses_nothing() {
    const MESSAGES: u64 = 600;
    let folder = Folder::new("mqtt-restart");
    let port = free_port();
    let start = || Mosquitto::start(port, folder.path(), "allow_anonymous true");
    let mut broker = start();
    let mut watcher = Watcher::start(port).await;
    let outbox = outbox(&folder);
    let settings = settings(external(port));
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let publisher = Arc::new(Publisher::start(&settings, endpoint, outbox.clone()));
    let (writer, job) = (publisher.clone(), job("1.2.3"));
    let producer = std::thread::spawn(move || {
        for _ in 0..MESSAGES {
            writer.status(&status(&job, JobState::Receiving)).unwrap();
        }
    });
    for part in 1..=2 {
        let mut pushed = outbox.pushed();
        timeout(PATIENCE, pushed.wait_for(|&n| n >= part * MESSAGES / 3)).await.unwrap().unwrap();
        broker.stop();
        connection_is(&publisher, |c| matches!(c, Connection::Away { .. })).await;
        broker = start();
    }
    producer.join().unwrap();
    let repeated = watcher.numbers_up_to(MESSAGES).await;
    assert!(repeated <= 2 * 2 * 32, "{repeated} repetitions, more than two windows each");
    Arc::into_inner(publisher).unwrap().shutdown().await;
    assert_eq!(outbox.backlog().unwrap().messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_will_tells_of_a_device_that_died_under_the_session_of_its_birth() {
    let folder = Folder::new("mqtt-will");
    let broker = Mosquitto::start(free_port(), folder.path(), "allow_anonymous true");
    let mut watcher = Watcher::start(broker.port).await;
    let settings = settings(external(broker.port));
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let device = tokio::runtime::Runtime::new().unwrap();
    let outbox = outbox(&folder);
    let publisher = {
        let _entered = device.enter();
        Publisher::start(&settings, endpoint, outbox)
    };
    let birth = watcher.next_state().await;
    device.shutdown_background(); // the connection breaks without a word, as when the process is killed
    drop(publisher);
    let will = watcher.next_state().await;
    assert_eq!((&birth["state"], &will["state"]), (&"online".into(), &"lost".into()));
    assert_eq!((&birth["boot"], &birth["session"]), (&will["boot"], &will["session"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_will_is_corrected() {
    let folder = Folder::new("mqtt-correct");
    let settings = settings(BrokerSettings::Embedded { listen: "127.0.0.1:0".parse().unwrap() });
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let mut watcher = Watcher::start(endpoint.port()).await;
    let options = MqttOptions::new("old", "127.0.0.1", endpoint.port());
    let publisher = Publisher::start(&settings, endpoint, outbox(&folder));
    assert_eq!(watcher.next_state().await["state"], "online");

    let (old, mut events) = AsyncClient::new(options, 10);
    let poll = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let will = r#"{"v":1,"seq":0,"boot":"00","ts":"","state":"lost","session":1,"software":""}"#;
    old.publish(publisher.topics().state(), QoS::AtLeastOnce, true, will).await.unwrap();
    assert_eq!(watcher.next_state().await["state"], "lost");
    assert_eq!(watcher.next_state().await["state"], "online");
    poll.abort();
    publisher.shutdown().await;
    assert_eq!(watcher.next_state().await["state"], "offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_from_a_broker_that_is_away() {
    let folder = Folder::new("mqtt-password");
    let users = folder.path().join("users");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b".as_ref(), "-c".as_ref(), users.as_os_str(), "box".as_ref(), "right".as_ref()])
        .status();
    assert!(made.unwrap().success());
    let config = format!("allow_anonymous false\npassword_file {}", users.display());
    let broker = Mosquitto::start(free_port(), folder.path(), &config);
    let outbox = outbox(&folder);
    let try_with = async |password: &str, file: &Path| {
        std::fs::write(file, password).unwrap();
        let settings = settings(BrokerSettings::External(SiteBroker {
            host: "127.0.0.1".to_owned(),
            port: Some(broker.port),
            username: Some("box".to_owned()),
            password_file: Some(file.to_owned()),
            tls: false,
        }));
        let endpoint = Endpoint::open(&settings.broker, None).unwrap();
        let publisher = Publisher::start(&settings, endpoint, outbox.clone());
        let found = connection_is(&publisher, |c| *c != Connection::Connecting).await;
        publisher.shutdown().await;
        found
    };
    let file = folder.path().join("password");
    let refused = Connection::Away { reason: AwayReason::Refused, attempts: 1 };
    assert_eq!(try_with("wrong\n", &file).await, refused);
    assert_eq!(try_with("right\n", &file).await, Connection::Online(1));
}
