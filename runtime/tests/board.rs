//! The end of a job on the board: who may bring it about, and what is said of it.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use kernels::Volume;
use pipeline::{Numbering, Plane};
use sagitta::error::Move;
use sagitta::identity::{JobId, Provenance};
use sagitta::jobs::board::{Board, Produced, Shown};
use sagitta::messages::{FailureCode, JobState, Receipt, Shortfall};
use sagitta::outbox::{Delivery, Destination, Handover, Outbox, Priority};
use sagitta::render::Scene;
use sagitta::report::{EngineReport, FILE_NAME, Files, Report, SeriesReport};
use sagitta::seal::DeviceKey;
use std::path::Path;
use std::sync::Arc;
use support::{Folder, board, job, result, segmentation};

/// A small result that was handed over so.
fn produce(board: &Board, handover: &Handover, folder: &Path) {
    let segmentation = segmentation(Numbering::FromSacrum);
    let grid = *segmentation.semantic.grid();
    let provenance = Provenance {
        software: "Sagitta".to_owned(),
        model: "semantic".to_owned(),
        model_version: "1".to_owned(),
        weights_sha256: String::new(),
        instance: None,
        patches: None,
        engine: "simd f32".to_owned(),
        configuration_sha256: String::new(),
        generation: handover.generation,
        supersedes: None,
    };
    let series = SeriesReport {
        name: handover.job.to_string(),
        generation: handover.generation,
        instances: 5,
        plane: Plane::Sagittal,
        selection: None,
        replaces: None,
        dims: grid.dims.counts(),
        spacing_mm: grid.affine.spacing(),
        complete: None,
    };
    let engine = EngineReport {
        slices_ahead: 0,
        name: "simd f32".to_owned(),
        instruction_set: "",
        threads: 1,
        reason: String::new(),
        fallback: None,
    };
    let report = Report::new(series, &segmentation, &provenance, engine, Files::default());
    let scene = Scene::new(&Volume::filled(grid, 0.0), &segmentation, &provenance, None);
    let shown = Shown { scene: Arc::new(scene), overview: Arc::default() };
    let result = result(&handover.job, Numbering::FromSacrum);
    let key = Arc::new(DeviceKey::keep(folder).unwrap());
    let produced = Produced::new(result, report, folder.to_owned(), handover.clone(), key);
    board.produced(&handover.job, shown, produced);
}

/// The last levels of the topics that wait in the outbox, and the states among the payloads.
fn told(outbox: &Outbox) -> Vec<String> {
    let waiting = outbox.pending(Destination::Mqtt, Priority::Ordinary, 0, usize::MAX).unwrap();
    let word = |payload: &[u8]| {
        let message: serde_json::Value = serde_json::from_slice(payload).unwrap();
        message["state"].as_str().unwrap_or("result").to_owned()
    };
    waiting.iter().map(|message| word(&message.payload)).collect()
}

/// Of a destination that took and refused so many objects.
fn receipt(destination: u32, taken: u32, refused: u32) -> Receipt {
    let (code, whose) = (FailureCode::Delivery, Move::Site);
    Receipt { destination, taken, shortfall: Some(Shortfall { refused, code, whose }) }
}

fn delivery(job: &JobId, recorded_ms: u64) -> Delivery {
    let (destination, files) = ("console".to_owned(), vec![format!("{job}/1/seg.dcm").into()]);
    Delivery { job: job.clone(), destination, files, recorded_ms }
}

/// A delivery that was recorded before a kill goes out while its series runs again. Between the new result and its record
/// the end of the old delivery was taken for that of the new one: the job was done before it was sending, and stayed so.
#[tokio::test]
async fn a_delivery_of_an_earlier_run_does_not_end_the_job_at_work() {
    let folder = Folder::new("board-earlier");
    let (board, outbox) = board(folder.path());
    let job = job("1.2.3");
    board.arrived(&job, true);
    let handover = Handover { job: job.clone(), generation: 1, recorded_ms: 2 };
    produce(&board, &handover, folder.path());
    let (old, new) = (delivery(&job, 1), delivery(&job, 2));
    board.received(&job, |this| this.recorded(&old), receipt(1, 0, 1));
    board.finished(&job, |this| this.recorded(&old));
    assert_eq!(told(&outbox), [""; 0]);
    assert!(!folder.path().join(FILE_NAME).exists());

    board.change(&job, JobState::Sending);
    outbox.record_deliveries(&handover, &[("console", new.files.clone())]).unwrap();
    assert!(outbox.is_untold(&job, 1).unwrap());
    board.finished(&job, |this| this.recorded(&new));
    assert_eq!(told(&outbox), ["sending", "result", "done"]);
    assert!(!outbox.is_untold(&job, 1).unwrap());
    assert!(folder.path().join(FILE_NAME).exists());
    assert_eq!(board.line(&job).unwrap().state, JobState::Done);
    assert_eq!(board.line(&job).unwrap().status().destinations, []);
    board.finished(&job, |this| this.recorded(&new));
    assert_eq!(told(&outbox), ["sending", "result", "done"], "told once");
}

/// A result that one of two destinations refused was told as failed, without its numbers and its report, and was made again
/// at every start.
#[tokio::test]
async fn what_a_destination_refuses_takes_nothing_from_the_end_of_the_job() {
    for (taken, state) in [(37, "done"), (0, "failed")] {
        let folder = Folder::new("board-refused");
        let (board, outbox) = board(folder.path());
        let job = job("1.2.3");
        board.arrived(&job, true);
        let handover = Handover { job: job.clone(), generation: 1, recorded_ms: 2 };
        produce(&board, &handover, folder.path());
        outbox.record_deliveries(&handover, &[("console", vec!["seg.dcm".into()])]).unwrap();
        let receipts = [receipt(1, taken, 1), receipt(2, 0, 38)];
        receipts
            .iter()
            .for_each(|&receipt| board.received(&job, |this| *this == handover, receipt));
        board.finished(&job, |this| *this == handover);
        assert_eq!(told(&outbox), ["result", state]);
        assert!(!outbox.is_untold(&job, 1).unwrap(), "it is not made again");
        let line = board.line(&job).unwrap();
        assert_eq!(line.status().destinations, receipts);
        assert_eq!(line.state == JobState::Done, taken > 0, "{:?}", line.state);
        let report = std::fs::read(folder.path().join(FILE_NAME)).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["destinations"], serde_json::json!(receipts));
        assert_eq!(board.figures().failed, u64::from(taken == 0));
    }
}

#[tokio::test]
async fn a_result_of_an_earlier_run_is_no_news_unless_something_else_was_said() {
    let folder = Folder::new("board-found");
    let (board, outbox) = board(folder.path());
    let (found, sent_again) = (job("1.2.3"), job("1.2.4"));
    board.arrived(&found, true);
    board.found(&found, JobState::Done);
    assert_eq!(board.line(&found).unwrap().state, JobState::Done);
    assert_eq!(told(&outbox), [""; 0]);
    board.arrived(&sent_again, false);
    board.found(&sent_again, JobState::Done);
    assert_eq!(told(&outbox), ["receiving", "done"]);
}
