//! The last hours of the figures, for the plots of the page: kept in memory, a fixed number of samples, gone with the service.

use super::Page;
use crate::messages::{HealthReport, Percentiles};
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two samples: a job is seen by several, and a fan that fails by many.
const STEP: Duration = Duration::from_secs(15);
/// Samples kept: six hours, 200 KiB.
const KEPT: usize = 1440;

type Figure = fn(&HealthReport) -> Option<f64>;

/// What is kept of a report, under the names of `health` where it has them.
const CURVES: [(&str, Figure); 14] = [
    ("cpu_c", |report| report.machine.cpu_c),
    ("gpu_c", |report| report.machine.gpu_c),
    ("soc_c", |report| report.machine.soc_c),
    ("hottest_c", |report| report.machine.hottest_c),
    ("power_w", |report| report.machine.power_w),
    ("gpu_load_percent", |report| report.machine.gpu_load_percent),
    ("cpu_pressure_percent", |report| report.machine.cpu_pressure_percent),
    ("io_pressure_percent", |report| report.machine.io_pressure_percent),
    ("memory_used_percent", |report| report.machine.memory_used_percent),
    ("disk_used_percent", |report| report.machine.disk_used_percent),
    ("job_p50_ms", |report| total(report).map(|total| total.p50)),
    ("job_p95_ms", |report| total(report).map(|total| total.p95)),
    // Nothing waits: it has waited for no time.
    ("outbox_oldest_s", |report| Some(report.service.outbox_oldest_s.unwrap_or(0) as f64)),
    ("deliveries_oldest_s", |report| Some(report.service.deliveries_oldest_s.unwrap_or(0) as f64)),
];

fn total(report: &HealthReport) -> Option<Percentiles> {
    report.service.latency_ms.total
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    values: [Option<f64>; CURVES.len()],
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct History(Arc<Mutex<VecDeque<Sample>>>);

impl History {
    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, at: Instant, report: &HealthReport) {
        let mut samples = self.samples();
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(Sample { at, values: CURVES.map(|(_, read)| read(report)) });
    }

    /// The samples, oldest first: how old each is, and a list for each curve. Ages, because the clock may be set meanwhile.
    fn to_json(&self, now: Instant) -> Value {
        let samples = self.samples();
        let age = |sample: &Sample| now.saturating_duration_since(sample.at).as_secs();
        let ages: Vec<u64> = samples.iter().map(age).collect();
        let curve = |n: usize| samples.iter().map(|sample| sample.values[n]).collect::<Vec<_>>();
        let curves: Map<String, Value> =
            (0..).zip(CURVES).map(|(n, (name, _))| (name.to_owned(), json!(curve(n)))).collect();
        json!({ "step_s": STEP.as_secs(), "span_s": STEP.as_secs() * KEPT as u64, "age_s": ages, "curves": curves })
    }
}

/// Samples the reports until `stop` turns true.
pub(super) async fn keep(page: Page, mut stop: watch::Receiver<bool>) {
    loop {
        // None before the first look.
        if let Ok(report) = page.ask(|source| source.health()).await {
            page.history.add(Instant::now(), &report);
        }
        let stopped = tokio::time::timeout(STEP, stop.wait_for(|stop| *stop));
        if stopped.await.is_ok() {
            return;
        }
    }
}

pub(super) async fn history(State(page): State<Page>) -> Json<Value> {
    Json(page.history.to_json(Instant::now()))
}
