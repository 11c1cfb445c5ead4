//! The MQTT contract: what is published and what `packaging/` says are the same, both ways, to the byte where it is
//! frozen; and no field can carry patient data.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "contract/command.rs"]
mod command;
#[path = "contract/device.rs"]
mod device;
#[path = "contract/fit.rs"]
mod fit;
#[path = "contract/mcu.rs"]
mod mcu;
mod support;

use fit::{check, matches_pattern};
use models::engine::trouble::State;
use pipeline::Numbering;
use pipeline::RefusalCode;
use pipeline::penn::{Compartment, Lesion, Tumours, Unseen};
use sagitta::decode::selection::{Class, Confidence, Reason, Selection};
use sagitta::error::Move;
use sagitta::messages::{
    AlarmCode, Boot, Completion, DeviceState, EngineKind, Envelope, FailureCode, JobStage,
    JobState, JobStatus, LesionCounts, Name, Passed, Presence, Receipt, Shortfall, Timestamp,
    Topics, Version,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use support::{job, result, segmentation, status, timings};

/// The schema of every message.
const SCHEMAS: [&str; 9] =
    ["state", "status", "result", "health", "alarm", "event", "mcu_link", "mcu_journal", "reply"];

fn encode(seq: u64, message: &impl Serialize) -> String {
    let (boot, ts) = (Boot::from_bytes([0xab; 8]), Timestamp::from_millis(1_795_236_169_123));
    String::from_utf8(Envelope { seq, boot, ts }.encode(message)).unwrap()
}

const REFUSALS: [RefusalCode; 14] = [
    RefusalCode::WrongClass,
    RefusalCode::UnreadablePixels,
    RefusalCode::Lossy,
    RefusalCode::MissingGeometry,
    RefusalCode::MixedOrientation,
    RefusalCode::DuplicateSlice,
    RefusalCode::Gap,
    RefusalCode::TooFewSlices,
    RefusalCode::NotSagittal,
    RefusalCode::Resolution,
    RefusalCode::NotAnatomical,
    RefusalCode::NotSelected,
    RefusalCode::TooLarge,
    RefusalCode::NoSpine,
];
const FAILURES: [FailureCode; 7] = [
    FailureCode::Engine,
    FailureCode::Deadline,
    FailureCode::Storage,
    FailureCode::Delivery,
    FailureCode::Cancelled,
    FailureCode::SelfTest,
    FailureCode::Internal,
];

/// Every state a job can be in.
fn job_states() -> Vec<JobState> {
    let mut states = vec![JobState::Receiving, JobState::Sending, JobState::Done];
    let reasons = [
        Completion::CountKnown,
        Completion::AssociationRelease,
        Completion::Silence,
        Completion::SeriesEnd,
    ];
    states.extend(reasons.map(|reason| JobState::Complete { reason }));
    states.extend(JobStage::ALL.map(|stage| JobState::Running { stage }));
    states.extend(REFUSALS.map(|code| JobState::Refused { code }));
    for whose in [Move::Peer, Move::Site, Move::Sagitta] {
        states.extend(FAILURES.map(|code| JobState::Failed { code, whose }));
    }
    states.extend([Some(15), None].map(|expect| JobState::Incomplete { have: 11, expect }));
    states
}

/// Every way in which a destination can fall short, beside one that has all.
fn receipts() -> Vec<Vec<Receipt>> {
    let whole = Receipt { destination: 2, taken: 38, shortfall: None };
    let codes = [FailureCode::Storage, FailureCode::Delivery];
    let moves = [Move::Peer, Move::Site, Move::Sagitta];
    let of = |code| moves.map(|whose| Shortfall { refused: 1, code, whose });
    let shortfalls = codes.into_iter().flat_map(of);
    let beside =
        |shortfall| vec![Receipt { destination: 1, taken: 37, shortfall: Some(shortfall) }, whole];
    shortfalls.map(beside).collect()
}

/// Every class, confidence and reason.
fn selections() -> Vec<Selection> {
    let of = |class, confidence| Selection {
        class,
        confidence,
        reasons: Reason::ALL.to_vec(),
        ..Selection::unknown()
    };
    let both = [Confidence::Low, Confidence::High];
    Class::ALL.iter().flat_map(|&class| both.map(|confidence| of(class, confidence))).collect()
}

/// Two lesions, none, and every reason why nothing can be said.
fn lesions() -> Vec<Result<Tumours, Unseen>> {
    let found = |count: usize| {
        let lesion = Lesion {
            volume_mm3: 1234.5,
            extent_mm: [20.0, 30.0, 8.0],
            centre_mm: [0.0; 3],
            compartment: Compartment::Cord,
            level: None,
        };
        let mask = segmentation(Numbering::FromSacrum).instances;
        Ok(Tumours { mask, lesions: vec![lesion; count], elsewhere: 1 })
    };
    [found(2), found(0)].into_iter().chain(Unseen::ALL.map(Err)).collect()
}

/// One message of every form, by the name of its schema.
fn published() -> Vec<(&'static str, Value)> {
    let mut messages = Vec::new();
    let mut add = |schema, text: String| {
        messages.push((schema, serde_json::from_str(&text).unwrap()));
    };
    for state in [Presence::Online, Presence::Offline, Presence::Lost] {
        add("state", encode(0, &DeviceState { state, session: 1, software: Version::software() }));
    }
    for state in job_states() {
        let mut status = status(&job("1.2.3"), state);
        status.stages_ms = timings();
        add("status", encode(7, &status));
    }
    for destinations in receipts() {
        add(
            "status",
            encode(7, &JobStatus { destinations, ..status(&job("1.2.3"), JobState::Done) }),
        );
    }
    for because in State::ALL {
        for engine in [EngineKind::Tensorrt, EngineKind::Cuda] {
            let fallback = Some(Passed { engine, because });
            add(
                "status",
                encode(7, &JobStatus { fallback, ..status(&job("1.2.3"), JobState::Done) }),
            );
            let mut result = result(&job("1.2.3"), Numbering::FromSacrum);
            result.fallback = fallback;
            add("result", encode(8, &result));
        }
    }
    for numbering in
        [Numbering::FromSacrum, Numbering::FromStudy { neighbour: 0 }, Numbering::Unverified]
    {
        let mut numbered = result(&job("1.2.3"), numbering);
        numbered.levels_from =
            (numbering == Numbering::FromStudy { neighbour: 0 }).then(|| job("1.2.4"));
        add("result", encode(8, &numbered));
    }
    for selection in selections() {
        let mut taken = result(&job("1.2.3"), Numbering::FromSacrum);
        (taken.selection, taken.replaces) = (Some(selection), Some(job("1.2.4")));
        add("result", encode(8, &taken));
    }
    for said in lesions() {
        let mut searched = result(&job("1.2.3"), Numbering::FromSacrum);
        searched.lesions = Some(LesionCounts::of(&said));
        add("result", encode(8, &searched));
    }
    device::reports().iter().for_each(|report| add("health", encode(8, report)));
    device::alarms().iter().for_each(|alarm| add("alarm", encode(8, alarm)));
    device::events().iter().for_each(|event| add("event", encode(8, event)));
    command::replies().iter().for_each(|reply| add("reply", encode(8, reply)));
    mcu::links().iter().for_each(|link| add("mcu_link", encode(9, link)));
    mcu::entries().iter().for_each(|entry| add("mcu_journal", encode(10, entry)));
    messages
}

fn packaged(name: &str) -> String {
    let path = format!("{}/packaging/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn schema(name: &str) -> Value {
    serde_json::from_str(&packaged(&format!("schemas/{name}.json"))).unwrap()
}

/// Every text that a string of the message may be, as `path=text`; with `words` from the schema's enumerations.
fn documented_words(schema: &Value, place: &str, found: &mut BTreeSet<String>) {
    for word in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        // A value that is not known is null, and no word.
        word.as_str().map(|word| found.insert(format!("{place}={word}")));
    }
    for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        found.insert(format!("{place}.{key}"));
        documented_words(schema, &format!("{place}.{key}"), found);
    }
    if let Some(items) = schema.get("items") {
        documented_words(items, &format!("{place}[]"), found);
    }
}

fn published_words(value: &Value, place: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(format!("{place}.{key}"));
                published_words(value, &format!("{place}.{key}"), found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| published_words(item, &format!("{place}[]"), found));
        }
        Value::String(text) => drop(found.insert(format!("{place}={text}"))),
        _ => {}
    }
}

#[test]
fn every_published_message_fits_its_schema() {
    for (name, message) in published() {
        check(&schema(name), &message, name).unwrap();
    }
}

#[test]
fn a_message_with_a_wrong_field_does_not_fit() {
    let (_, good) = published().into_iter().find(|(name, _)| *name == "status").unwrap();
    let with = |key: &str, value: Value| {
        let mut message = good.clone();
        message[key] = value;
        check(&schema("status"), &message, "status")
    };
    assert!(with("instances", 16.into()).is_ok());
    for (key, value) in [
        ("patient", "Doe^Jane".into()),
        ("job", "1.2.840.113619.2.55.3".into()),
        ("state", "sleeping".into()),
        ("reason", "count_known".into()), // belongs to another state
        ("v", 2.into()),
        ("ts", "yesterday".into()),
    ] {
        assert!(with(key, value).is_err(), "{key} was taken");
    }
}

#[test]
fn every_documented_field_and_word_is_published() {
    for name in SCHEMAS {
        let (mut documented, mut seen) = (BTreeSet::new(), BTreeSet::new());
        documented_words(&schema(name), "", &mut documented);
        let messages = published().into_iter().filter(|(schema, _)| *schema == name);
        messages.for_each(|(_, message)| published_words(&message, "", &mut seen));
        // What one example result cannot show: the other engines, flags, outputs and structures are checked by name.
        let missing: Vec<_> = documented
            .difference(&seen)
            .filter(|item| {
                !["=", ".volumes_ml."].iter().any(|part| name == "result" && item.contains(part))
            })
            .collect();
        assert!(missing.is_empty(), "{name}: documented, never published: {missing:?}");
    }
}

#[test]
fn the_words_of_results_are_the_words_of_the_types() {
    use sagitta::messages::{Engine, OutputKind, ResultFlag};
    let words = |path: &str| schema("result").pointer(path).unwrap().clone();
    let outputs = [
        OutputKind::SegSpine,
        OutputKind::SegVert,
        OutputKind::Centroids,
        OutputKind::Overlay,
        OutputKind::MrDerived,
        OutputKind::ScRgb,
        OutputKind::SegSemantic,
        OutputKind::SegInstances,
        OutputKind::SrMeasurements,
        OutputKind::Gsps,
        OutputKind::SegLabelmap,
        OutputKind::SegLesions,
    ];
    assert_eq!(words("/properties/outputs/items/enum"), serde_json::json!(outputs));
    let flags = [
        ResultFlag::LevelUnverified,
        ResultFlag::LandmarksDisagree,
        ResultFlag::DiscCountMismatch,
        ResultFlag::BodyTooLarge,
        ResultFlag::LaterallyTruncated,
        ResultFlag::RowInterrupted,
        ResultFlag::VertebraeDisputed,
    ];
    assert_eq!(words("/properties/flags/items/enum"), serde_json::json!(flags));
    let structures: BTreeSet<String> = pipeline::Structure::ALL
        .map(|s| serde_json::json!(s).as_str().unwrap().to_owned())
        .into_iter()
        .collect();
    let volumes = words("/properties/volumes_ml/properties");
    assert_eq!(volumes.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), structures);
    for engine in words("/properties/engine/enum").as_array().unwrap() {
        for precision in words("/properties/precision/enum").as_array().unwrap() {
            let text = format!("{} {}", engine.as_str().unwrap(), precision.as_str().unwrap());
            assert!(Engine::parse(&text).is_ok(), "{text}");
        }
    }
}

/// AsyncAPI's `address: ` lines are the published topics, and each schema is some message's payload.
#[test]
fn the_documented_topics_are_the_published_ones() {
    let document = packaged("asyncapi.yaml");
    let lines_after = |key: &str| -> BTreeSet<String> {
        let lines = document.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(|rest| rest.trim().to_owned()).collect()
    };
    let topics = Topics::new(&Name::new("site").unwrap(), &Name::new("device").unwrap());
    let id = job("1.2.3");
    let (link, journal) = (topics.mcu_link(), topics.mcu_journal());
    let code = AlarmCode::TooHot;
    let (health, alarm, event) = (topics.health(), topics.alarm(code), topics.event());
    let (state, status, result) = (topics.state(), topics.status(&id), topics.result(&id));
    let (commands, reply) = (topics.commands(), topics.reply(&Name::new("a-command").unwrap()));
    let topics = [state, status, result, health, alarm, event, link, journal, commands, reply].map(
        |topic| {
            let topic = topic.replace("/site/device/", "/{site}/{device}/");
            let topic = topic.replace("a-command", "{command}");
            topic.replace(id.as_str(), "{job}").replace(code.name(), "{code}")
        },
    );
    assert_eq!(lines_after("address:"), BTreeSet::from(topics));
    let payloads = SCHEMAS.iter().chain(&["command"]);
    let payloads = payloads.map(|name| format!("{{$ref: './schemas/{name}.json'}}"));
    assert_eq!(lines_after("payload:"), payloads.collect());
}

/// What a person looks up at night is what the program does.
#[test]
fn every_alarm_is_in_the_guide_with_its_action() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/monitoring.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let (_, guide) = guide.split_once("## Alarms").unwrap();
    let rows: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    for code in AlarmCode::ALL {
        let severity = serde_json::to_value(code.severity()).unwrap();
        let begin = format!("| `{}` | {} |", code.name(), severity.as_str().unwrap());
        let end = format!("| {} |", code.action());
        let row = rows.iter().find(|row| row.starts_with(&begin));
        assert!(row.is_some_and(|row| row.ends_with(&end)), "{begin} ... {end}");
    }
    assert_eq!(rows.len(), AlarmCode::ALL.len() + 1, "`code` in the head of the table");
}

/// Frozen: consumers parse these. A new field is added here and in `packaging/`; anything else is version 2.
#[test]
fn bytes_of_version_1() {
    let software = Version::parse("0.1.0", "version").unwrap();
    let state = DeviceState { state: Presence::Lost, session: 3, software };
    assert_eq!(
        encode(41, &state),
        r#"{"v":1,"seq":41,"boot":"abababababababab","ts":"2026-11-21T04:42:49.123Z","state":"lost","session":3,"software":"0.1.0"}"#
    );
    let failed = JobState::Failed { code: FailureCode::Delivery, whose: Move::Site };
    assert_eq!(
        encode(42, &status(&job("1.2.3"), failed)),
        r#"{"v":1,"seq":42,"boot":"abababababababab","ts":"2026-11-21T04:42:49.123Z","job":"nwbvvvbbijtioowjsy6a","generation":1,"state":"failed","code":"delivery","move":"site","instances":15,"elapsed_ms":1234,"stages_ms":{}}"#
    );
    let mut done = result(&job("1.2.3"), Numbering::Unverified);
    done.stages_ms = Default::default();
    done.stages_ms.add(JobStage::Semantic, std::time::Duration::from_micros(812_440));
    assert_eq!(
        encode(43, &done).replace(env!("CARGO_PKG_VERSION"), "0.1.0"),
        concat!(
            r#"{"v":1,"seq":43,"boot":"abababababababab","ts":"2026-11-21T04:42:49.123Z","job":"nwbvvvbbijtioowjsy6a","#,
            r#""generation":1,"vertebrae_count":2,"vertebrae":[{"id":20,"level":null,"body_ml":21.46,"truncated":true},"#,
            r#"{"id":21,"level":null,"body_ml":24.1,"truncated":false}],"sacrum":false,"numbering":"unverified","levels_from":null,"#,
            r#""flags":["level_unverified","laterally_truncated"],"volumes_ml":{"vertebral_body":2.0,"disc":1.0},"#,
            r#""confidence":0.9513,"engine":"simd","precision":"f32","model":"semantic-cpu","model_version":"0.1.0","#,
            r#""weights_sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","software":"0.1.0","#,
            r#""stages_ms":{"semantic":812.4},"total_ms":812.4,"outputs":["seg_spine","overlay","mr_derived"]}"#
        )
    );
}

/// Every text a schema allows is one of a fixed set of words or has a shape no name, UID or date of birth has.
#[test]
fn phi_has_no_field_to_travel_in() {
    fn walk(schema: &Value, place: &str) {
        let types = schema.get("type").map(Value::to_string).unwrap_or_default();
        if types.contains("string") {
            let fixed = schema.get("enum").or_else(|| schema.get("pattern"));
            assert!(fixed.is_some(), "{place} takes free text");
        }
        if types.contains("object") {
            let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
            assert!(closed, "{place} takes fields that nobody documented");
        }
        let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        fields.for_each(|(key, schema)| walk(schema, &format!("{place}.{key}")));
        schema.get("items").into_iter().for_each(|items| walk(items, &format!("{place}[]")));
    }
    for name in SCHEMAS {
        walk(&schema(name), name);
    }
    // The shapes themselves take no patient data.
    for text in ["Doe^Jane", "1.2.840.113619.2.55.3.1", "19700101", "DOE JANE", "Lumbar T2 Doe"] {
        for pattern in ["^[0-9a-f]{16}$", "^[0-9a-f]{64}$", "^[a-z2-7]{20}$", "^[CTLS][0-9]{1,2}$"]
        {
            assert!(!matches_pattern(pattern, text), "{pattern} takes {text}");
        }
    }
}

/// The same with the messages: nothing of a series' header comes out of them, whatever the site key.
#[test]
fn phi_of_the_series_is_not_in_its_messages() {
    let uid = "1.2.840.113619.2.55.3.604688119.971.1234567890.123";
    let job = job(uid);
    let texts = [
        encode(1, &status(&job, JobState::Receiving)),
        encode(2, &result(&job, Numbering::FromSacrum)),
        Topics::new(&Name::new("north").unwrap(), &Name::new("mr1").unwrap()).status(&job),
    ];
    for text in texts {
        assert!(!text.contains(uid) && !text.contains("113619"), "{text}");
    }
}
