//! When series of Enhanced objects are complete, by the headers of real ones (Siemens XA) and of dressed ones.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod shared;

use kernels::{Affine, Dims, Grid, Volume};
use sagitta::dress::{Contrast, Dress, Form, Vendor, dress};
use sagitta::identity::JobId;
use sagitta::ingest::assemble::{Assembler, Decision, Reason, Settings};
use sagitta::ingest::header::{self, Header};
use sagitta::ingest::prescan::Limits;
use sagitta::ingest::spool::Outcome;
use sagitta::ingest::{Arrival, AssociationId, Origin};
use sagitta::part10;
use shared::{Scratch, unpack};
use std::time::Duration;

const SETTINGS: fn() -> Settings = Settings::default;

fn header_of(file: &[u8]) -> Header {
    let (transfer_syntax, data_set) = part10::split(file).unwrap();
    header::read(data_set, &transfer_syntax, Limits::IMAGE).unwrap()
}

/// Lets objects with these headers come, a second apart, each by an association of its own that is released; what was decided,
/// and the time since the last object.
fn play(headers: Vec<Header>) -> Vec<(Duration, Decision)> {
    let mut assembler = Assembler::new(SETTINGS());
    let (mut decisions, mut now) = (Vec::new(), Duration::ZERO);
    for (n, header) in headers.into_iter().enumerate() {
        now = Duration::from_secs(n as u64);
        let association = AssociationId(n as u64 + 1);
        assembler.on_instance(
            now,
            &Arrival {
                origin: Some(Origin { association, sender: "MR1".into() }),
                job: JobId::new(b"key", "1"),
                path: format!("{n}.dcm").into(),
                header,
                outcome: Outcome::New,
            },
        );
        assembler.on_release(now, association);
        decisions.extend(assembler.poll(now).into_iter().map(|d| (Duration::ZERO, d)));
    }
    while let Some(due) = assembler.next_deadline() {
        decisions.extend(assembler.poll(due).into_iter().map(|d| (due - now, d)));
    }
    decisions
}

/// The five time points of an XA acquisition, an object each.
fn time_points(test: &str) -> Vec<Header> {
    let scratch = Scratch::new(test);
    unpack("siemens-prisma-xa30-sag-epi-enhanced", &scratch.0);
    let folder = std::fs::read_dir(&scratch.0).unwrap().next().unwrap().unwrap().path();
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| header_of(&std::fs::read(path).unwrap())).collect()
}

/// The series was called sure, and judged, with its first object, and again with each other one.
#[test]
fn a_series_of_several_objects_is_waited_for() {
    let headers = time_points("completeness-counted");
    assert_eq!(headers[0].declared.siemens_time_points, Some(5));
    assert_eq!((headers[0].time_points, headers[0].number_of_frames), (1, Some(63)));
    let decisions = play(headers.clone());
    let [(delay, decision)] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!((delay, decision.reason), (&Duration::ZERO, Reason::CountKnown));
    assert_eq!((decision.have, decision.expect, decision.generation), (5, Some(5), 1));

    // Without the protocol, the time points tell; without the last one, it is missed.
    let mut untold = headers;
    untold.iter_mut().for_each(|header| header.declared.siemens_slices = None);
    let decisions = play(untold.clone());
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].1.reason, Reason::CountKnown);
    untold.pop();
    let (_, decision) = play(untold).remove(0);
    assert_eq!(decision.reason, Reason::Incomplete);
    assert_eq!((decision.have, decision.expect), (4, Some(5)));
}

#[test]
fn objects_whose_number_nobody_tells_are_waited_for_by_silence() {
    let mut headers = time_points("completeness-silence");
    for header in &mut headers {
        header.declared = Default::default();
    }
    let decisions = play(headers);
    let [(delay, decision)] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!(*delay, Duration::from_millis(SETTINGS().silence_ms));
    assert_eq!((decision.reason, decision.have, decision.expect), (Reason::Silence, 5, None));
}

#[test]
fn the_parts_of_a_concatenation_are_counted() {
    let mut headers = time_points("completeness-parts");
    for (n, header) in headers.iter_mut().enumerate() {
        header.declared = Default::default();
        let uid = format!("1.2.{}", n / 3);
        header.concatenation =
            Some(header::Concatenation { uid, parts: Some(if n < 3 { 3 } else { 2 }) });
    }
    let decisions = play(headers);
    let reasons: Vec<_> = decisions.iter().map(|(_, d)| (d.reason, d.have, d.expect)).collect();
    // A second concatenation is nobody's announcement: the first is whole by itself.
    let [first, second] = [(Reason::CountKnown, 3, Some(3)), (Reason::CountKnown, 5, Some(5))];
    assert_eq!(reasons, [first, second]);
}

/// What vendors announce lets a series of one object run at once.
#[test]
fn one_object_with_all_announced_images_runs_at_once() {
    let axes = [[0.0, 0.8, 0.0], [0.0, 0.0, -0.8], [4.0, 0.0, 0.0]];
    let affine = Affine::new(axes, [-20.0, -50.0, 50.0]).unwrap();
    let grid = Grid { dims: Dims::new([128, 128, 9]).unwrap(), affine };
    for vendor in [Vendor::Siemens, Vendor::Philips, Vendor::Ge] {
        let recipe = Dress {
            vendor,
            form: Form::Enhanced,
            contrast: Contrast::T2,
            seed: 1,
            series_number: 4,
        };
        let objects = dress(&Volume::filled(grid, 1.0), &recipe).unwrap();
        let decisions = play(objects.iter().map(|object| header_of(&object.bytes)).collect());
        let [(delay, decision)] = &decisions[..] else { panic!("{vendor:?}: {decisions:?}") };
        assert_eq!((delay, decision.reason), (&Duration::ZERO, Reason::CountKnown), "{vendor:?}");
        assert_eq!((decision.have, decision.expect), (1, Some(1)), "{vendor:?}");
    }
}
