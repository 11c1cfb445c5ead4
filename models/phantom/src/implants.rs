//! Metal in the spine: pedicle screws with rods, and cages in discs.
//!
//! Drawn last, as the void that a turbo spin echo image shows: the object and its blooming. The truth of these voxels
//! stays the anatomy's.

use crate::Population;
use crate::canvas::Canvas;
use crate::capsule::{Capsule, Solid};
use crate::random::Random;
use crate::spine::{Frame, L5, Part, Spine, Vertebra};
use crate::tissue::Tissue;

/// Share of training patients with an instrumented spine: common enough to be learnt, a few in a hundred exams.
const INSTRUMENTED: f64 = 0.06;

/// Radius of a screw and of a rod (6 mm implants), millimetres.
const SCREW_MM: f64 = 3.0;
const ROD_MM: f64 = 2.8;

/// Draws the implants of one patient; most have none.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    population: Population,
) {
    let instrumented = random.chance(INSTRUMENTED);
    if !instrumented || population == Population::Ordinary {
        return;
    }
    let blooming = random.between(1.5, 2.5);
    let lumbar = spine.vertebrae.iter().filter(|v| v.part == Part::Lumbar).count();
    let first = L5 + random.count(0, lumbar as u64) as usize;
    let segment = &spine.vertebrae[first..first + random.count(2, 5) as usize];
    for left in [true, false] {
        for vertebra in segment {
            let [head, tip] = screw(vertebra, left);
            let radius = SCREW_MM + blooming;
            metal(canvas, &vertebra.frame, Capsule::new(head, tip, [radius; 3]));
        }
        for pair in segment.windows(2) {
            let head = |v: &Vertebra| v.frame.world(screw(v, left)[0]);
            let frame = Frame::upright(head(&pair[0]));
            let end = frame.local(head(&pair[1]));
            metal(canvas, &frame, Capsule::new([0.0; 3], end, [ROD_MM + blooming; 3]));
        }
    }
    for vertebra in &segment[1..] {
        if random.chance(0.5) {
            let (size, half) = (&vertebra.size, vertebra.size.height / 2.0);
            let height = -half - size.disc / 2.0;
            let width = size.width * 0.22;
            // A cage of plastic or titanium: dark with less blooming.
            let radii = [size.depth * 0.28, (size.disc / 2.0).max(2.0), 4.0];
            let cage = Capsule::new([0.0, height, -width], [0.0, height, width], radii);
            metal(canvas, &vertebra.frame, cage);
        }
    }
}

/// Head and tip of a pedicle screw, which converges towards the front.
fn screw(vertebra: &Vertebra, left: bool) -> [[f64; 3]; 2] {
    let size = &vertebra.size;
    let (wall, side) = (size.depth / 2.0, if left { 1.0 } else { -1.0 });
    let pedicle = size.canal_width / 2.0 + 2.5;
    let height = vertebra.whole_height() * 0.15;
    [
        [wall + size.canal_depth + 8.0, height, side * (pedicle + 4.0)],
        [-wall * 0.35, height, side * pedicle * 0.5],
    ]
}

fn metal(canvas: &mut Canvas, frame: &Frame, capsule: Capsule) {
    canvas.visit(frame, &capsule.reach(0.0), |place, _, voxel| {
        if voxel.tissue != Tissue::Air && capsule.holds(place) {
            voxel.tissue = Tissue::Metal;
        }
    });
}
