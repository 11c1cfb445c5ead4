//! How the device is: health and alarms for the page, the same figures for Prometheus, and the one thing the page can do.

use super::Page;
use crate::messages::AlarmCode;
use crate::telemetry::metrics as prometheus;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

pub(super) async fn health(State(page): State<Page>) -> Response {
    match page.ask(|source| source.health()).await {
        Ok(report) => axum::Json(report).into_response(),
        // Before the first look.
        Err(status) => status.into_response(),
    }
}

pub(super) async fn alarms(State(page): State<Page>) -> Response {
    match page.ask(|source| Some(source.alarms())).await {
        Ok(alarms) => axum::Json(alarms).into_response(),
        Err(status) => status.into_response(),
    }
}

/// Who may say that an alarm was seen is the login's to know.
pub(super) async fn acknowledge(State(page): State<Page>, Path(code): Path<String>) -> Response {
    let Some(code) = AlarmCode::ALL.into_iter().find(|known| known.name() == code) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match page.ask(move |source| source.acknowledge(code).then_some(())).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(status) => status.into_response(),
    }
}

pub(super) async fn metrics(State(page): State<Page>) -> Response {
    let asked = page.ask(|source| Some((source.health()?, source.alarms()))).await;
    match asked {
        Ok((report, alarms)) => {
            let text = prometheus::text(&report, &alarms);
            ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text).into_response()
        }
        Err(status) => status.into_response(),
    }
}
