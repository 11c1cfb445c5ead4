//! How long the stages take on masks as large as those of patients, the nets left out. A measurement, not a check: run it
//! alone, `cargo test --release -p pipeline --test spineps -- --ignored --nocapture speed`.

use super::case;
use kernels::Grid;
use kernels::components::crop;
use pipeline::spineps::Rules;
use pipeline::spineps::centres::centres;
use pipeline::spineps::clean::{Extent, clean};
use pipeline::spineps::cutouts::{Cutout, code};
use pipeline::spineps::ended::Ended;
use pipeline::spineps::instances::{boxed, instances};
use pipeline::spineps::prepare::{NET_SPACING_MM, grid_at, image_at, mask_at};
use std::time::{Duration, Instant};

/// The median of so many runs counts.
const RUNS: usize = 5;

fn median(mut run: impl FnMut() -> Duration) -> u128 {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    times.sort();
    times[RUNS / 2].as_millis()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    for (name, archive) in case::archives(|a| a.has("native_shape") && a.has("seg")) {
        let zoom = archive.triple("zoom");
        let (seg, truth) = (archive.labels("seg", zoom), archive.labels("truth", zoom));
        let native: Grid = case::grid(
            archive.triple("native_shape").map(|n| n as usize),
            archive.triple("native_zoom"),
        );
        for rules in [Rules::Spineps213, Rules::Sagitta] {
            let cleaned = clean(&seg, Extent::Whole, rules).unwrap().labels;
            let at_net = cleaned.clone().on(&grid_at(&cleaned.whole, NET_SPACING_MM).unwrap());
            let part = boxed(&at_net).unwrap();
            let truth = crop(&mask_at(&truth, NET_SPACING_MM).unwrap(), part.bounds);
            let cutouts = centres(&part.part, rules).unwrap().len();
            let cleaning = median(|| timed(|| clean(&seg, Extent::Whole, rules)).1);
            let centring = median(|| timed(|| centres(&part.part, rules)).1);
            let fusing = median(|| {
                let mut net = Duration::ZERO;
                let predict = |cutout: &Cutout, _: &[u8], answer: &mut [u8]| {
                    let ((), time) = timed(|| {
                        let own = truth.at(cutout.centre.map(|v| v as usize));
                        let class = |id: u8| match i16::from(id) - i16::from(own) {
                            away @ -1..=1 if own != 0 && id != 0 => (away + 2) as u8,
                            _ => 0,
                        };
                        cutout.show(&truth.map(class), answer);
                    });
                    net += time;
                    Ok::<_, Ended>(())
                };
                timed(|| instances(&cleaned, rules, predict)).1 - net
            });
            let back = median(|| timed(|| cleaned.clone().on(&native)).1);
            println!(
                "{name} {rules:?}: {cutouts} cutouts; clean {cleaning} ms, instances {fusing} ms (centres {centring} ms), \
                 back {back} ms"
            );
        }
        let image = seg.map(f32::from);
        let from = kernels::Volume::filled(native, image.voxels()[0]);
        let spline = median(|| timed(|| image_at(&from, NET_SPACING_MM)).1);
        println!("{name}: cubic {spline} ms; codes {} ms", median(|| timed(|| seg.map(code)).1));
    }
}
