//! A source for the page: jobs in several states and a drawn spine, for the tests and the example server.
#![allow(clippy::unwrap_used, reason = "the example page uses it too")]

use crate::support::{job, result, segmentation, service, status, timings};
use kernels::{Affine, Dims, Grid, Volume};
use pipeline::{Numbering, RefusalCode, Segmentation, Structure, VertebraId};
use sagitta::dashboard::{JobView, OverlaySource};
use sagitta::error::Move;
use sagitta::identity::{JobId, Provenance};
use sagitta::messages::{
    AlarmCode, AlarmMessage, FailureCode, HealthReport, JobStage, JobState, Latencies,
    MachineHealth, Percentiles, ServiceHealth, Timestamp,
};
use sagitta::render::{Scene, View};
use std::sync::OnceLock;

const WIDTH: usize = 360;
const HEIGHT: usize = 480;
pub(crate) const SLICES: usize = 15;
/// T10: eight bodies down to L5.
const FIRST: u8 = 17;

pub(crate) struct DrawnSpine;

impl OverlaySource for DrawnSpine {
    fn topics(&self) -> String {
        "sagitta/v1/north/mr1/".to_owned()
    }

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

    fn view(&self, job: &JobId) -> Option<View> {
        is_shown(job).then(|| scene().view())
    }

    fn voxels(&self, job: &JobId, k: usize) -> Option<Vec<u8>> {
        is_shown(job).then(|| scene().voxels(k))?
    }

    fn overview_png(&self, job: &JobId) -> Option<Vec<u8>> {
        is_shown(job).then(|| scene().overlay_png())
    }
}

fn is_shown(wanted: &JobId) -> bool {
    [job("1.2.3"), job("1.2.9")].contains(wanted)
}

/// A curved column of bodies and discs with a canal behind it, narrower away from the middle slice.
fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let axes = [[0.0, 0.6, 0.0], [0.0, 0.0, -0.6], [-4.0, 0.0, 0.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([WIDTH, HEIGHT, SLICES]).unwrap(), affine };
        let all = (0..grid.dims.voxels()).map(|n| voxel(grid.dims.index(n)));
        let (greys, labels): (Vec<f32>, Vec<(u8, u16)>) = all.unzip();
        let (semantic, instances) = labels.into_iter().unzip();
        let (semantic, instances) =
            (Volume::new(grid, semantic).unwrap(), Volume::new(grid, instances).unwrap());
        let ids: Vec<_> = (FIRST..FIRST + 8).filter_map(VertebraId::new).collect();
        let vertebrae = pipeline::measure::vertebrae(&semantic, &instances, &ids, &[]);
        let numbering = Numbering::FromSacrum;
        let known: (&[pipeline::Flag], f32) = (&[], 0.95);
        let measures =
            pipeline::measure::measurements(&semantic, &instances, &vertebrae, numbering, known);
        let segmentation = Segmentation {
            semantic,
            instances,
            vertebrae,
            measures,
            flags: Vec::new(),
            ..segmentation(numbering)
        };
        let image = Volume::new(grid, greys).unwrap();
        Scene::new(&image, &segmentation, &provenance(), None)
    })
}

fn provenance() -> Provenance {
    Provenance {
        software: "Sagitta".to_owned(),
        model: "drawn".to_owned(),
        model_version: "0.1.0".to_owned(),
        weights_sha256: "0123456789abcdef".repeat(4),
        instance: None,
        patches: None,
        engine: "simd f32".to_owned(),
        configuration_sha256: String::new(),
        generation: 1,
        supersedes: None,
    }
}

/// Grey, structure and instance.
fn voxel([i, j, k]: [usize; 3]) -> (f32, (u8, u16)) {
    let (x, y) = (i as f64, j as f64);
    let side = (k as f64 - 7.0).abs() / 8.0;
    let centre = 165.0 + 26.0 * (y / 110.0).sin();
    let (across, along) = ((x - centre) / (40.0 * (1.0 - 0.5 * side)), (y % 66.0 - 27.0) / 25.0);
    let noise = ((x * 12.9898 + y * 78.233 + k as f64).sin() * 43_758.547).fract() * 14.0;
    let body = across.abs().powi(4) + along.abs().powi(4) < 1.0;
    let disc = across.abs() < 0.95 && (54.0..64.0).contains(&(y % 66.0));
    let canal = side < 0.4 && (1.25..1.75).contains(&across);
    let id = u16::from(FIRST) + (j / 66) as u16;
    let (grey, label) = match (body, disc, canal) {
        (true, ..) => (150.0, (Structure::VertebralBody.value(), id)),
        (_, true, _) => (95.0, (Structure::Disc.value(), VertebraId::DISC_OFFSET + id)),
        (.., true) => (215.0, (Structure::SpinalCanal.value(), 0)),
        _ => (42.0 + 30.0 * (-((x - 200.0) / 130.0).powi(2)).exp(), (0, 0)),
    };
    ((grey + noise) as f32, label)
}
