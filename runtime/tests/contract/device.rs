//! Messages about the device in every form: all known, nothing known, every word.

use crate::packaged;
use crate::support::service;
use models::engine::trouble::State;
use sagitta::health::Part;
use sagitta::messages::{
    AlarmCode, AlarmMessage, BootSlot, Degraded, DeviceEvent, EngineKind, Happening, HealthReport,
    JobStage, Latencies, LinkState, MachineHealth, Passed, Percentiles, Precision, SelfTest,
    ServiceHealth, Timestamp, Version,
};
use sagitta::telemetry::metrics;
use serde_json::Value;

const OF: Percentiles = Percentiles { p50: 812.4, p95: 1100.0, p99: 1250.5 };

fn machine() -> MachineHealth {
    MachineHealth {
        cpu_c: Some(51.3),
        gpu_c: Some(48.5),
        soc_c: Some(49.0),
        hottest_c: Some(52.0),
        power_w: Some(17.5),
        gpu_load_percent: Some(73.5),
        gpu_mhz: Some(918.0),
        throttled: Some(2),
        memory_used_percent: Some(75.0),
        memory_free_mib: Some(1953),
        cpu_pressure_percent: Some(1.25),
        memory_pressure_percent: Some(0.0),
        io_pressure_percent: Some(2.5),
        disk_used_percent: Some(40.1),
        disk_free_mib: Some(60_000),
        disk_worn_percent: Some(20.0),
        clock_synchronised: Some(true),
        boot_slot: Some(BootSlot::A),
    }
}

pub(crate) fn reports() -> Vec<HealthReport> {
    let report = |machine, service| HealthReport { uptime_s: 86_400, machine, service };
    let latency_ms =
        Latencies { stages: JobStage::ALL.map(|stage| (stage, OF)).to_vec(), total: Some(OF) };
    let mut all = vec![
        report(MachineHealth::default(), service()),
        report(machine(), ServiceHealth { latency_ms, ..service() }),
        report(MachineHealth { boot_slot: Some(BootSlot::B), ..machine() }, service()),
    ];
    let mut add = |service| all.push(report(machine(), service));
    Part::ALL.iter().for_each(|&part| add(ServiceHealth { stuck: Some(part), ..service() }));
    for engine in
        [EngineKind::Simd, EngineKind::Onnxruntime, EngineKind::Tensorrt, EngineKind::Cuda]
    {
        for precision in [Precision::F32, Precision::F16, Precision::Int8] {
            let (engine, precision) = (Some(engine), Some(precision));
            add(ServiceHealth { engine, precision, ..service() });
        }
    }
    for because in State::ALL {
        for engine in [EngineKind::Tensorrt, EngineKind::Cuda] {
            let fallback = Some(Passed { engine, because });
            add(ServiceHealth { fallback, ..service() });
        }
    }
    for link in [LinkState::Up, LinkState::Silent, LinkState::NoPort, LinkState::OtherVersion] {
        add(ServiceHealth { mcu: Some(link), ..service() });
    }
    let (degraded, self_test) = (Some(Degraded::SelfTest), SelfTest::Failed);
    add(ServiceHealth { degraded, self_test, ..service() });
    add(ServiceHealth { self_test: SelfTest::Pending, self_test_age_s: None, ..service() });
    all
}

pub(crate) fn alarms() -> Vec<AlarmMessage> {
    let at = Timestamp::from_millis(1_795_236_169_123);
    let alarm = |code: AlarmCode, active| AlarmMessage {
        code,
        severity: code.severity(),
        active,
        acknowledged: !active,
        raised: at,
        cleared: (!active).then_some(at),
        count: 1,
        action: code.action(),
    };
    AlarmCode::ALL.into_iter().flat_map(|code| [alarm(code, true), alarm(code, false)]).collect()
}

pub(crate) fn events() -> Vec<DeviceEvent> {
    let software = Version::parse("0.1.0", "version").unwrap();
    let mut all = vec![Happening::Started { software }, Happening::Stopping];
    for code in AlarmCode::ALL {
        all.extend(
            [Happening::raised, Happening::cleared, Happening::acknowledged].map(|of| of(code)),
        );
    }
    (1..).zip(all).map(|(number, happening)| DeviceEvent { number, happening }).collect()
}

/// The metrics that a report with every figure gives to Prometheus.
fn exported() -> String {
    let (outbox_oldest_s, deliveries_oldest_s) = (Some(3), Some(7));
    let all = reports().swap_remove(1);
    let service = ServiceHealth { outbox_oldest_s, deliveries_oldest_s, ..all.service };
    metrics::text(&HealthReport { service, ..all }, &alarms())
}

/// What the example for Grafana asks for is there, under the labels that it names.
#[test]
fn grafana_asks_for_what_is_exported() {
    let exported = exported();
    let dashboard: Value = serde_json::from_str(&packaged("examples/grafana.json")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter();
    let targets = targets.flat_map(|panel| panel["targets"].as_array().unwrap());
    let asked: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let mut names = 0;
    for expression in &asked {
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        for name in expression.split(word).filter(|word| word.starts_with("sagitta_")) {
            let is = |line: &str| line.split([' ', '{']).next() == Some(name);
            assert!(exported.lines().any(is), "{name} of {expression}");
            names += 1;
        }
        for label in expression.split(['{', '}', ',', '(']).filter(|part| part.contains("=")) {
            let name = label.split(['=', '!']).next().unwrap();
            let known = name == "instance" || exported.contains(&format!("{name}=\""));
            assert!(known, "{label} of {expression}");
        }
    }
    assert!(asked.len() > 20 && names >= asked.len(), "{names} names of {asked:?}");
}

/// Frozen, as `bytes_of_version_1`.
#[test]
fn bytes_of_events_in_version_1() {
    let text = |event: &DeviceEvent| serde_json::to_string(event).unwrap();
    let events = events();
    assert_eq!(text(&events[0]), r#"{"number":1,"event":"started","software":"0.1.0"}"#);
    assert_eq!(text(&events[1]), r#"{"number":2,"event":"stopping"}"#);
    assert_eq!(
        text(&events[2]),
        r#"{"number":3,"event":"alarm_raised","code":"broker_away","severity":"warning"}"#
    );
}
