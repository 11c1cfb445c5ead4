//! A source for the page: jobs in several states and a drawn spine, for the tests and the example server.
#![allow(clippy::unwrap_used, reason = "the example page uses it too")]

use crate::support::{job, result, service, status, timings};
use pipeline::Numbering;
use pipeline::RefusalCode;
use sagitta::dashboard::{JobView, OverlaySource};
use sagitta::error::Move;
use sagitta::identity::JobId;
use sagitta::messages::{
    AlarmCode, AlarmMessage, FailureCode, HealthReport, JobStage, JobState, Latencies,
    MachineHealth, Percentiles, ServiceHealth, Timestamp,
};

const WIDTH: usize = 360;
const HEIGHT: usize = 480;
pub(crate) const SLICES: usize = 15;

pub(crate) struct DrawnSpine;

impl OverlaySource for DrawnSpine {
    fn jobs(&self) -> Vec<JobView> {
        let plain = |name: &str, state| {
            let status = status(&job(name), state);
            JobView { status, slices: 0, result: None }
        };
        let done = |name: &str, numbering| {
            let mut view = plain(name, JobState::Done);
            view.status.stages_ms = timings();
            view.result = Some(result(&view.status.job, numbering));
            JobView { slices: SLICES, ..view }
        };
        vec![
            done("1.2.3", Numbering::FromSacrum),
            plain("1.2.4", JobState::Running { stage: JobStage::Semantic }),
            plain("1.2.5", JobState::Receiving),
            plain("1.2.6", JobState::Refused { code: RefusalCode::NotSagittal }),
            plain("1.2.7", JobState::Incomplete { have: 11, expect: Some(15) }),
            plain("1.2.8", JobState::Failed { code: FailureCode::Storage, whose: Move::Site }),
            done("1.2.9", Numbering::Unverified),
        ]
    }

    fn health(&self) -> Option<HealthReport> {
        let percentiles = Percentiles { p50: 1450.0, p95: 1910.0, p99: 2200.0 };
        let latency_ms = Latencies { stages: Vec::new(), total: Some(percentiles) };
        Some(HealthReport {
            uptime_s: 3600,
            machine: MachineHealth { hottest_c: Some(61.5), ..MachineHealth::default() },
            service: ServiceHealth { latency_ms, ..service() },
        })
    }

    fn alarms(&self) -> Vec<AlarmMessage> {
        let code = AlarmCode::DestinationAway;
        vec![AlarmMessage {
            code,
            severity: code.severity(),
            active: true,
            acknowledged: false,
            raised: Timestamp::from_millis(1_795_236_169_123),
            cleared: None,
            count: 2,
            action: code.action(),
        }]
    }

    fn acknowledge(&self, code: AlarmCode) -> bool {
        code == AlarmCode::DestinationAway
    }

    fn slice_png(&self, wanted: &JobId, k: usize, overlay: bool) -> Option<Vec<u8>> {
        let known = [job("1.2.3"), job("1.2.9")].contains(wanted);
        (known && k < SLICES).then(|| picture(k, overlay))
    }

    fn overview_png(&self, job: &JobId) -> Option<Vec<u8>> {
        self.slice_png(job, SLICES / 2, true)
    }
}

fn picture(k: usize, overlay: bool) -> Vec<u8> {
    let pixels: Vec<u8> = (0..WIDTH * HEIGHT)
        .flat_map(|n| pixel((n % WIDTH) as f64, (n / WIDTH) as f64, k, overlay))
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// A curved column of bodies and discs with a canal behind it, narrower away from the middle slice.
fn pixel(x: f64, y: f64, k: usize, overlay: bool) -> [u8; 3] {
    let side = (k as f64 - 7.0).abs() / 8.0;
    let centre = 165.0 + 26.0 * (y / 110.0).sin();
    let (across, along) = ((x - centre) / (40.0 * (1.0 - 0.5 * side)), (y % 66.0 - 27.0) / 25.0);
    let noise = ((x * 12.9898 + y * 78.233 + k as f64).sin() * 43_758.547).fract() * 14.0;
    let (body, disc) = (
        across.abs().powi(4) + along.abs().powi(4) < 1.0,
        across.abs() < 0.95 && (54.0..64.0).contains(&(y % 66.0)),
    );
    let canal = side < 0.4 && (1.25..1.75).contains(&across);
    let (grey, colour) = match (body, disc, canal) {
        (true, ..) => (150.0, Some([212.0, 188.0, 102.0])),
        (_, true, _) => (95.0, Some([0.0, 200.0, 150.0])),
        (.., true) => (215.0, Some([85.0, 188.0, 255.0])),
        _ => (42.0 + 30.0 * (-((x - 200.0) / 130.0).powi(2)).exp(), None),
    };
    let grey = grey + noise;
    let shade =
        |c: f64| (if overlay { 0.6 * grey + 0.4 * c } else { grey }).clamp(0.0, 255.0) as u8;
    colour.map_or([grey.clamp(0.0, 255.0) as u8; 3], |colour| colour.map(shade))
}
