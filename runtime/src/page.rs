//! What the page shows: the board's jobs and their pictures.

use crate::dashboard::{JobView, OverlaySource};
use crate::identity::JobId;
use crate::jobs::board::{Board, Record};
use crate::messages::{AlarmCode, AlarmMessage, HealthReport};
use crate::render::View;
use crate::telemetry::Telemetry;
use std::sync::Arc;

/// The page's view of the board.
#[derive(Debug)]
pub struct Page {
    board: Arc<Board>,
    telemetry: Arc<Telemetry>,
}

impl Page {
    pub fn new(board: Arc<Board>, telemetry: Arc<Telemetry>) -> Page {
        Page { board, telemetry }
    }
}

impl OverlaySource for Page {
    fn topics(&self) -> String {
        self.telemetry.topics()
    }

    fn jobs(&self) -> Vec<JobView> {
        self.board.lines().iter().map(view).collect()
    }

    fn health(&self) -> Option<HealthReport> {
        self.telemetry.report()
    }

    fn alarms(&self) -> Vec<AlarmMessage> {
        self.telemetry.alarm_messages()
    }

    fn acknowledge(&self, code: AlarmCode) -> bool {
        self.telemetry.acknowledge(code)
    }

    fn view(&self, job: &JobId) -> Option<View> {
        Some(self.board.line(job)?.shown?.scene.view())
    }

    fn voxels(&self, job: &JobId, k: usize) -> Option<Vec<u8>> {
        self.board.line(job)?.shown?.scene.voxels(k)
    }

    fn overview_png(&self, job: &JobId) -> Option<Vec<u8>> {
        Some(self.board.line(job)?.shown?.overview.to_vec())
    }
}

fn view(record: &Record) -> JobView {
    JobView {
        status: record.status(),
        slices: record.shown.as_ref().map_or(0, |shown| shown.scene.slices()),
        result: record.result.clone(),
    }
}
