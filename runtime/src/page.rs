//! What the page shows: the board's jobs and their pictures.

use crate::dashboard::{JobView, OverlaySource};
use crate::identity::JobId;
use crate::jobs::board::{Board, Record};
use std::sync::Arc;

/// The page's view of the board.
#[derive(Debug)]
pub struct Page {
    board: Arc<Board>,
}

impl Page {
    pub fn new(board: Arc<Board>) -> Page {
        Page { board }
    }
}

impl OverlaySource for Page {
    fn jobs(&self) -> Vec<JobView> {
        self.board.lines().iter().map(view).collect()
    }

    fn slice_png(&self, job: &JobId, k: usize, overlay: bool) -> Option<Vec<u8>> {
        self.board.line(job)?.shown?.scene.slice_png(k, overlay)
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
