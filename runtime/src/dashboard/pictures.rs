//! What the page draws from: numbers and names of a result, and the voxels of its slices.

use super::Page;
use crate::identity::JobId;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// Masks are runs and shrink at once; noise of the greys does not, however hard one tries.
const EFFORT: Compression = Compression::fast();

pub(super) async fn view(State(page): State<Page>, Path(job): Path<String>) -> Response {
    let Some(job) = JobId::parse(&job) else { return StatusCode::NOT_FOUND.into_response() };
    match page.ask(move |source| source.view(&job)).await {
        Ok(view) => Json(view).into_response(),
        Err(status) => status.into_response(),
    }
}

pub(super) async fn slice(
    State(page): State<Page>,
    Path((job, k)): Path<(String, String)>,
) -> Response {
    let (Some(job), Ok(k)) = (JobId::parse(&job), k.parse()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [(CONTENT_TYPE, "application/octet-stream"), (CONTENT_ENCODING, "gzip")];
    match page.ask(move |source| Some(packed(&source.voxels(&job, k)?))).await {
        Ok(bytes) => (headers, bytes).into_response(),
        Err(status) => status.into_response(),
    }
}

pub(super) async fn overview(State(page): State<Page>, Path(job): Path<String>) -> Response {
    let Some(job) = JobId::parse(&job) else { return StatusCode::NOT_FOUND.into_response() };
    match page.ask(move |source| source.overview_png(&job)).await {
        Ok(bytes) => ([(CONTENT_TYPE, "image/png")], bytes).into_response(),
        Err(status) => status.into_response(),
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), EFFORT);
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory takes what is written")
}
