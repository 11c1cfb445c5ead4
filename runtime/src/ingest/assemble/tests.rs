//! Tests of the completeness rules: every state with every event, and shuffled arrivals.

use super::*;
use crate::ingest::Origin;
use crate::ingest::header::Declared;
use crate::ingest::spool::Outcome;
use crate::replay::script;
use dicom_dictionary_std::uids;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Image `index` of the stack that `sagitta replay` plays, too.
fn image(association: u64, index: usize) -> Arrival {
    Arrival {
        origin: Some(Origin { association: AssociationId(association), sender: "MR1".into() }),
        job: JobId::new(b"key", "2"),
        path: script::path(index),
        header: script::header(index, Declared::default()),
        outcome: Outcome::New,
    }
}

fn counted(association: u64, index: usize, total: u32) -> Arrival {
    let mut arrival = image(association, index);
    arrival.header.declared.ge_series = Some(total);
    arrival
}

/// An assembler that took `count` images on association 1, 10 ms apart, the last at `10 * count`.
fn with_images(count: usize) -> Assembler {
    let mut assembler = Assembler::new(Settings::default());
    for index in 0..count {
        let now = MS(10 * (index as u64 + 1));
        assembler.on_instance(now, &image(1, index));
        assert!(assembler.poll(now).is_empty());
    }
    assembler
}

/// Runs without further events; the decisions with their times.
fn run_out(assembler: &mut Assembler) -> Vec<(Duration, Reason)> {
    let mut out = Vec::new();
    let mut rounds = 0;
    while let Some(now) = assembler.next_deadline() {
        out.extend(assembler.poll(now).into_iter().map(|decision| (now, decision.reason)));
        rounds += 1;
        assert!(rounds < 100, "deadlines must be used up");
    }
    out
}

#[test]
fn a_known_count_runs_at_once() {
    let mut assembler = Assembler::new(Settings::default());
    for index in 0..10 {
        assert!(assembler.poll(MS(1)).is_empty());
        assembler.on_instance(MS(1), &counted(1, index, 10));
    }
    let decisions = assembler.poll(MS(1));
    assert_eq!(decisions.len(), 1);
    let decision = &decisions[0];
    assert_eq!((decision.reason, decision.generation), (Reason::CountKnown, 1));
    assert_eq!((decision.have, decision.expect, decision.paths.len()), (10, Some(10), 10));
    assert!(assembler.poll(MS(100_000)).is_empty());
}

#[test]
fn release_runs_after_the_guard() {
    let mut assembler = with_images(12);
    assembler.on_release(MS(200), AssociationId(1));
    assert_eq!(run_out(&mut assembler), [(MS(350), Reason::AssociationRelease)]);
}

#[test]
fn silence_runs_without_release() {
    assert_eq!(run_out(&mut with_images(12)), [(MS(2_120), Reason::Silence)]);
}

#[test]
fn another_open_association_holds_the_release_back() {
    let mut assembler = with_images(12);
    assembler.on_instance(MS(150), &image(2, 12));
    assembler.on_release(MS(200), AssociationId(1));
    assert_eq!(run_out(&mut assembler), [(MS(2_200), Reason::Silence)]);
}

#[test]
fn an_association_for_each_image_says_nothing() {
    let mut assembler = Assembler::new(Settings::default());
    for index in 0..12u64 {
        let now = MS(400 * index);
        assembler.on_instance(now, &image(index + 1, index as usize));
        assembler.on_release(now, AssociationId(index + 1));
        assert!(assembler.poll(now + MS(390)).is_empty(), "false start at image {index}");
    }
    assert_eq!(run_out(&mut assembler), [(MS(6_400), Reason::Silence)]);
}

#[test]
fn an_abort_never_completes() {
    let mut assembler = with_images(12);
    assembler.on_abort(MS(200), AssociationId(1));
    assert_eq!(run_out(&mut assembler), [(MS(30_200), Reason::Incomplete)]);
}

#[test]
fn a_resend_after_an_abort_completes() {
    let mut assembler = with_images(6);
    assembler.on_abort(MS(200), AssociationId(1));
    for index in 0..12 {
        let mut arrival = image(2, index);
        if index < 6 {
            arrival.outcome = Outcome::Duplicate;
        }
        assembler.on_instance(MS(300), &arrival);
    }
    assembler.on_release(MS(400), AssociationId(2));
    assert_eq!(run_out(&mut assembler), [(MS(550), Reason::AssociationRelease)]);
}

#[test]
fn a_gap_is_incomplete_and_a_late_image_heals_it() {
    let mut assembler = Assembler::new(Settings::default());
    for index in (0..12).filter(|&index| index != 5) {
        assembler.on_instance(MS(0), &image(1, index));
    }
    assembler.on_release(MS(0), AssociationId(1));
    let decisions: Vec<_> = (0..400).flat_map(|n| assembler.poll(MS(100 * n))).collect();
    assert_eq!(decisions.len(), 1);
    assert_eq!((decisions[0].reason, decisions[0].have), (Reason::Incomplete, 11));
    assembler.on_instance(MS(50_000), &image(2, 5));
    assert_eq!(run_out(&mut assembler), [(MS(52_000), Reason::Silence)]);
}

#[test]
fn a_count_not_reached_is_incomplete() {
    let mut assembler = Assembler::new(Settings::default());
    for index in 0..9 {
        assembler.on_instance(MS(0), &counted(1, index, 10));
    }
    assembler.on_release(MS(0), AssociationId(1));
    assert_eq!(run_out(&mut assembler), [(MS(30_000), Reason::Incomplete)]);
}

#[test]
fn a_count_exceeded_does_not_hang() {
    let mut assembler = Assembler::new(Settings::default());
    for index in 0..12 {
        assembler.on_instance(MS(0), &counted(1, index, 10));
    }
    assert_eq!(run_out(&mut assembler), [(MS(2_000), Reason::Silence)]);
}

#[test]
fn a_late_image_is_a_new_generation_and_a_duplicate_is_not() {
    let mut assembler = with_images(12);
    assembler.on_release(MS(200), AssociationId(1));
    assert_eq!(assembler.poll(MS(350))[0].generation, 1);
    let mut duplicate = image(2, 3);
    duplicate.outcome = Outcome::Duplicate;
    assembler.on_instance(MS(500), &duplicate);
    assert!(run_out(&mut assembler).is_empty());
    assembler.on_instance(MS(600), &image(2, 12));
    let decision = assembler.poll(MS(2_600)).remove(0);
    assert_eq!((decision.generation, decision.have), (2, 13));
}

/// A sender that repeats a series right after our start can overtake what was found in the spool: the same images, twice
/// complete, ran twice.
#[test]
fn an_image_found_in_the_spool_after_it_was_sent_again_is_no_news() {
    let mut assembler = Assembler::new(Settings::default());
    for index in 0..10 {
        let mut again = counted(1, index, 10);
        again.outcome = Outcome::Duplicate;
        assembler.on_instance(MS(1), &again);
    }
    assert_eq!(assembler.poll(MS(1)).len(), 1);
    for index in 0..10 {
        let mut found = counted(1, index, 10);
        found.origin = None;
        assembler.on_instance(MS(2), &found);
    }
    assert_eq!(run_out(&mut assembler), []);
}

#[test]
fn a_conflict_is_counted_and_not_used() {
    let mut assembler = with_images(12);
    let mut conflict = image(1, 3);
    conflict.outcome = Outcome::Conflict;
    assembler.on_instance(MS(130), &conflict);
    let decision = assembler.poll(MS(10_000)).remove(0);
    assert_eq!((decision.conflicts, decision.have), (1, 12));
}

/// An Enhanced object of so many frames.
fn object(index: usize, frames: u32) -> Arrival {
    let mut arrival = image(1, index);
    arrival.header.sop_class = uids::ENHANCED_MR_IMAGE_STORAGE.to_owned();
    (arrival.header.position, arrival.header.number_of_frames) = (None, Some(frames));
    arrival
}

#[test]
fn an_enhanced_object_with_all_announced_images_is_complete_on_arrival() {
    let mut assembler = Assembler::new(Settings::default());
    let mut arrival = object(0, 15);
    arrival.header.declared.philips_slices = Some(15);
    assembler.on_instance(MS(5), &arrival);
    assert_eq!(run_out(&mut assembler), [(MS(5), Reason::CountKnown)]);
}

#[test]
fn an_enhanced_object_that_tells_nothing_is_worked_on_while_silence_is_waited_for() {
    let mut assembler = Assembler::new(Settings::default());
    let event = Event::Arrived(Box::new(object(0, 15)));
    assembler.on_event(MS(5), &event);
    assert!(assembler.poll(MS(5)).is_empty());
    assert!(assembler.ahead(MS(5), &event).unwrap().whole);
    let second = Event::Arrived(Box::new(object(1, 15)));
    assembler.on_event(MS(500), &second);
    assert_eq!(assembler.ahead(MS(500), &second), None);
    assert_eq!(run_out(&mut assembler), [(MS(2_500), Reason::Silence)]);
}

#[test]
fn missing_geometry_few_slices_and_doubles_are_never_complete() {
    type Spoil = fn(usize, &mut Arrival);
    let spoils: [(usize, Spoil); 5] = [
        (12, |_, arrival| arrival.header.position = None),
        (4, |_, _| {}),
        (12, |index, arrival| arrival.header.rows = Some(if index == 3 { 128 } else { 256 })),
        (12, |index, arrival| {
            if index == 4 {
                arrival.header.position = Some([12.0, -100.0, 100.0]);
            }
        }),
        (12, |index, arrival| {
            if index % 2 == 0 {
                arrival.header.orientation = Some([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
            }
        }),
    ];
    for (case, (count, spoil)) in spoils.into_iter().enumerate() {
        let mut assembler = Assembler::new(Settings::default());
        for index in 0..count {
            let mut arrival = image(1, index);
            spoil(index, &mut arrival);
            assembler.on_instance(MS(0), &arrival);
        }
        assembler.on_release(MS(0), AssociationId(1));
        assert_eq!(run_out(&mut assembler), [(MS(30_000), Reason::Incomplete)], "case {case}");
    }
}

#[test]
fn echoes_of_philips_are_stacks_of_their_own() {
    let mut assembler = Assembler::new(Settings::default());
    for index in 0..12 {
        let mut arrival = image(1, index % 6);
        arrival.path = PathBuf::from(format!("{index}"));
        arrival.header.echo = Some(index as i64 / 6);
        arrival.header.declared.philips_slices = Some(6);
        arrival.header.declared.philips_echoes = Some(2);
        assembler.on_instance(MS(0), &arrival);
        assert_eq!(assembler.poll(MS(0)).len(), usize::from(index == 11));
    }
}

#[test]
fn finished_series_are_forgotten_and_open_ones_bounded() {
    let mut assembler = with_images(12);
    assembler.poll(MS(5_000));
    assert_eq!(assembler.series.len(), 1);
    assembler.poll(MS(25 * 3_600_000));
    assert!(assembler.series.is_empty());
    for series in 0..MAX_SERIES + 3 {
        let mut arrival = image(1, 0);
        arrival.job = JobId::new(b"key", &series.to_string());
        assembler.on_instance(MS(series as u64), &arrival);
    }
    assert_eq!(assembler.series.len(), MAX_SERIES);
}

fn performed(count: usize) -> Performed {
    let paths = (0..count).map(|index| PathBuf::from(format!("{index:05}.dcm"))).collect();
    Performed { job: JobId::new(b"key", "2"), paths }
}

#[test]
fn a_completed_procedure_step_makes_the_count_sure_before_and_after_the_images() {
    let mut before = Assembler::new(Settings::default());
    before.on_performed(MS(0), &performed(12));
    assert_eq!(run_out(&mut before), [], "a list without images decides nothing");
    for index in 0..12 {
        assert!(before.poll(MS(60_000)).is_empty());
        before.on_instance(MS(60_000), &image(1, index));
    }
    let decision = before.poll(MS(60_000)).remove(0);
    assert_eq!((decision.reason, decision.expect), (Reason::CountKnown, Some(12)));
    assert_eq!(decision.reason.certainty(), Certainty::Sure);

    let mut after = with_images(12);
    after.on_event(MS(200), &Event::Performed(vec![performed(12)]));
    assert_eq!(after.poll(MS(200))[0].reason, Reason::CountKnown);
}

#[test]
fn listed_images_that_do_not_come_are_missed_and_a_stopped_scan_is_not() {
    let mut assembler = with_images(12);
    assembler.on_release(MS(200), AssociationId(1));
    assembler.on_performed(MS(200), &performed(14));
    assert_eq!(run_out(&mut assembler), [(MS(30_200), Reason::Incomplete)]);

    let mut stopped = Assembler::new(Settings::default());
    (0..9).for_each(|index| stopped.on_instance(MS(0), &counted(1, index, 10)));
    assert_eq!(run_out(&mut stopped), [(MS(30_000), Reason::Incomplete)]);
    stopped.on_performed(MS(40_000), &performed(9));
    assert_eq!(stopped.poll(MS(40_000))[0].reason, Reason::CountKnown);
}

#[test]
fn a_list_that_comes_after_a_presumed_run_and_names_more_is_waited_for_and_told() {
    let late = || {
        let mut assembler = with_images(12);
        assembler.on_release(MS(200), AssociationId(1));
        assert_eq!(run_out(&mut assembler), [(MS(350), Reason::AssociationRelease)]);
        assembler.on_performed(MS(5_000), &performed(14));
        assembler
    };
    assert_eq!(run_out(&mut late()), [(MS(35_000), Reason::Incomplete)]);
    let mut assembler = late();
    for index in [12, 13] {
        assembler.on_instance(MS(6_000), &image(2, index));
    }
    let decision = assembler.poll(MS(6_000)).remove(0);
    assert_eq!((decision.reason, decision.have), (Reason::CountKnown, 14));
    assert_eq!(decision.generation, 2, "another result");
    let mut whole = with_images(12);
    assert_eq!(run_out(&mut whole).len(), 1);
    whole.on_performed(MS(5_000), &performed(12));
    assert_eq!(run_out(&mut whole), [], "what is confirmed needs no second run");
}

#[test]
fn lists_without_images_are_forgotten() {
    let mut assembler = Assembler::new(Settings::default());
    assembler.on_performed(MS(0), &performed(12));
    assembler.poll(MS(25 * 3_600_000));
    assert!(assembler.series.is_empty());
}

#[test]
fn a_sender_that_never_pauses_is_believed_sooner_and_one_that_fooled_us_later() {
    let series = |number: u64, index| {
        let job = JobId::new(b"key", &number.to_string());
        Arrival { job, ..image(number, index) }
    };
    let mut assembler = Assembler::new(Settings::default());
    let mut now = MS(0);
    // Ten series, an image each 10 ms, never released.
    for number in 1..=10 {
        for index in 0..30 {
            now += MS(10);
            assembler.on_instance(now, &series(number, index));
        }
        let silence = if number < 7 { 2_000 } else { 1_000 };
        assert!(assembler.poll(now + MS(silence - 1)).is_empty(), "series {number}");
        now += MS(silence);
        assert_eq!(assembler.poll(now)[0].reason, Reason::Silence, "series {number}");
    }
    // It begins to pause for more than we wait: each pause makes a second result, until it is known.
    let fooled = (11..=20).filter(|&number| {
        for index in 0..30 {
            now += if index % 10 == 9 { MS(1_500) } else { MS(10) };
            assembler.poll(now);
            assembler.on_instance(now, &series(number, index));
        }
        now += MS(8_000);
        assembler.poll(now).iter().any(|decision| decision.generation > 1)
    });
    let fooled: Vec<u64> = fooled.collect();
    assert_eq!(fooled, [11, 12], "then silence is longer");
}

/// xorshift64*: the seed replays a failure.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

#[test]
fn shuffled_arrivals_never_start_early_and_never_hang() {
    for seed in 1..=300 {
        let mut random = Random(seed);
        let total = 5 + random.below(40);
        let known = random.below(2) == 0;
        let missing = random.below(3) == 0;
        let mut order: Vec<usize> = (0..total).collect();
        (1..total).rev().for_each(|n| order.swap(n, random.below(n + 1)));
        if missing {
            order.pop();
        }
        let mut assembler = Assembler::new(Settings::default());
        let mut now = MS(0);
        let mut decisions = Vec::new();
        for &index in &order {
            now += MS(random.below(if known { 3_000 } else { 100 }) as u64);
            let association = 1 + random.below(2) as u64;
            let arrival = match known {
                true => counted(association, index, total as u32),
                false => image(association, index),
            };
            decisions.extend(assembler.poll(now));
            assert!(decisions.is_empty(), "seed {seed}: false start");
            assembler.on_instance(now, &arrival);
        }
        decisions.extend(assembler.poll(now));
        assembler.on_release(now, AssociationId(1));
        assembler.on_release(now, AssociationId(2));
        while let Some(deadline) = assembler.next_deadline() {
            decisions.extend(assembler.poll(deadline));
        }
        assert_eq!(decisions.len(), 1, "seed {seed}: one decision a series");
        let complete = decisions[0].reason != Reason::Incomplete;
        if known {
            assert_eq!(complete, !missing, "seed {seed}");
        }
        assert!(complete || missing, "seed {seed}: nothing is missing");
    }
}

/// Forty images so far apart: with how many it was worked on ahead; and the assembler at the end.
fn coming(apart_ms: u64) -> (Vec<usize>, Assembler) {
    let mut assembler = Assembler::new(Settings::default());
    let mut looked = Vec::new();
    for index in 0..40 {
        let now = MS(apart_ms * (index as u64 + 1));
        let event = Event::Arrived(Box::new(image(1, index)));
        assembler.on_event(now, &event);
        assembler.poll(now);
        looked.extend(assembler.ahead(now, &event).map(|coming| {
            assert!(!coming.whole);
            coming.paths.len()
        }));
    }
    (looked, assembler)
}

#[test]
fn a_series_is_worked_on_ahead_now_and_then_and_when_it_is_likely_whole() {
    let (looked, mut assembler) = coming(50);
    assert_eq!(looked[1..], [9, 13, 17, 21, 26, 32, 40]);
    let released = Event::Released(AssociationId(1));
    assembler.on_event(MS(2_010), &released);
    assembler.poll(MS(2_010));
    let whole = assembler.ahead(MS(2_010), &released).unwrap();
    assert_eq!((whole.paths.len(), whole.whole), (40, true));
    assert_eq!(run_out(&mut assembler).len(), 1);
    assert_eq!(assembler.ahead(MS(2_500), &released), None, "it is complete");
    assert!(coming(2).0.is_empty(), "a burst needs the processor itself");
}

#[test]
fn nothing_is_worked_on_ahead_that_is_not_sagittal_or_lay_in_the_spool() {
    let mut looked = 0;
    for change in 0..2 {
        let mut assembler = Assembler::new(Settings::default());
        for index in 0..12 {
            let mut arrival = image(1, index);
            match change {
                0 => arrival.header.orientation = Some([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
                _ => arrival.origin = None,
            }
            let (now, event) = (MS(100 * index as u64), Event::Arrived(Box::new(arrival)));
            assembler.on_event(now, &event);
            looked += usize::from(assembler.ahead(now, &event).is_some());
        }
    }
    assert_eq!(looked, 0);
}
