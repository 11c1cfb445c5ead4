//! Spinous processes and the ligament along their tips.

use crate::angle::sin_cos;
use crate::arch::Base;
use crate::canvas::Canvas;
use crate::capsule::{Blade, Capsule, Solid};
use crate::random::Random;
use crate::spine::{C2, C7, Frame, L5, Part, Spine, Vertebra};
use crate::tissue::Tissue;
use kernels::volume::sub;

/// What the spinous processes of one person share.
pub(crate) struct Person {
    /// Half thickness of the lumbar ones.
    thickness: f64,
    /// Share of the height between two lumbar ones that is free; near zero is a kissing spine (Baastrup).
    gap: f64,
    length: f64,
    bifid: bool,
    ligament: f64,
}

/// Half heights of a lumbar process, however close its neighbour is.
const LUMBAR_HALF_HEIGHT: std::ops::Range<f64> = 5.0..14.0;

impl Person {
    pub(crate) fn new(random: &mut Random) -> Person {
        let kissing = random.chance(0.15);
        Person {
            thickness: random.between(2.1, 4.2),
            gap: if kissing { random.between(0.02, 0.08) } else { random.between(0.1, 0.32) },
            length: random.between(0.9, 1.12),
            bifid: random.chance(0.7),
            ligament: random.between(0.8, 1.6),
        }
    }
}

/// The spinous process of a vertebra: one blade, or two where its tip is forked.
pub(crate) fn blades(
    base: &Base,
    person: &Person,
    spine: &Spine,
    vertebra: &Vertebra,
    random: &mut Random,
) -> Vec<Blade> {
    match vertebra.part {
        Part::Lumbar => vec![lumbar(base, person, spine, vertebra, random)],
        Part::Thoracic => vec![thoracic(base, person, vertebra, random)],
        _ => cervical(base, person, vertebra, random),
    }
}

/// A hatchet: higher and thicker towards its end.
fn lumbar(
    base: &Base,
    person: &Person,
    spine: &Spine,
    vertebra: &Vertebra,
    random: &mut Random,
) -> Blade {
    let h = base.height;
    // The lowest one is the shortest.
    let share = [0.72, 0.92, 1.0, 1.0, 1.0][vertebra.place as usize - L5];
    let length = random.between(25.0, 31.0) * base.scale * share * person.length;
    let start = base.meet + 1.0;
    // Lordosis brings the processes closer together than the bodies are.
    let below = &spine.vertebrae[vertebra.level - 1];
    let rise = sub(vertebra.frame.centre, below.frame.centre);
    let bodies = rise.iter().map(|x| x * x).sum::<f64>().sqrt();
    let bend = sin_cos(vertebra.tilt - below.tilt).0.max(0.0);
    let pitch = bodies - bend * (start + 0.7 * length);
    let half = (pitch * (1.0 - person.gap) / 2.0 + random.normal() * 0.6)
        .clamp(LUMBAR_HALF_HEIGHT.start, LUMBAR_HALF_HEIGHT.end * base.scale.max(0.8));
    let thickness = person.thickness * random.between(0.9, 1.1);
    Blade {
        a: [start, -h * 0.34, 0.0],
        b: [start + length, -h * random.between(0.4, 0.55), random.normal()],
        heights: [half * 0.72, half * if share < 0.8 { 0.7 } else { 1.0 }],
        thicknesses: [thickness * 0.85, thickness * 1.25],
    }
}

/// Thoracic processes overlap like tiles, steepest at T6 to T8.
fn thoracic(base: &Base, person: &Person, vertebra: &Vertebra, random: &mut Random) -> Blade {
    let (h, place) = (base.height, vertebra.place);
    let from_middle = (place - 16.0).abs();
    let (sine, cosine) = sin_cos(58.0 - 5.5 * from_middle + random.normal() * 4.0);
    let length = random.between(30.0, 38.0) * base.scale.sqrt() * person.length;
    let low = ((13.5 - place) / 3.0).clamp(0.0, 1.0);
    let start = [base.meet + 1.0, -h * 0.3, 0.0];
    Blade {
        a: start,
        b: [start[0] + length * cosine, start[1] - length * sine, random.normal()],
        heights: [5.5 + 2.0 * low, 3.8 + 3.5 * low],
        thicknesses: [random.between(2.2, 3.4), random.between(2.2, 3.6)],
    }
}

/// C7 is the prominent one, C2 the stout one; C3 to C6 are often forked.
fn cervical(base: &Base, person: &Person, vertebra: &Vertebra, random: &mut Random) -> Vec<Blade> {
    const LENGTH: [f64; 6] = [33.0, 24.0, 18.0, 15.0, 15.0, 19.0];
    let place = vertebra.place as usize;
    let (h, length) = (base.height, LENGTH[place - C7] * random.between(0.88, 1.1) * person.length);
    let (tall, thick) = match place {
        C2 => ([7.0, 7.5], [2.8, 4.0]),
        C7 => ([4.8, 4.6], [2.4, 3.4]),
        _ => ([4.2, 3.6], [2.2, 2.8]),
    };
    let (start, low) = (base.meet, random.between(0.45, 0.75));
    let at =
        |share: f64, side: f64| [start + length * share, -h * (0.2 + (low - 0.2) * share), side];
    if !person.bifid || place == C7 {
        return vec![Blade { a: at(0.0, 0.0), b: at(1.0, 0.0), heights: tall, thicknesses: thick }];
    }
    let fork = random.between(2.5, 5.0);
    let stem = Blade { a: at(0.0, 0.0), b: at(0.6, 0.0), heights: tall, thicknesses: thick };
    let prong = |side: f64| Blade {
        a: at(0.55, 0.0),
        b: at(1.0, side * fork),
        heights: [tall[1], tall[1] * 0.8],
        thicknesses: [2.0, 2.2],
    };
    vec![stem, prong(1.0), prong(-1.0)]
}

/// The supraspinous ligament: a dark line along the tips of the lumbar and thoracic processes.
pub(crate) fn ligament(canvas: &mut Canvas, spine: &Spine, person: &Person) {
    let behind = |vertebra: &Vertebra| {
        let size = &vertebra.size;
        let reach = 33.0 * person.length * vertebra.whole_height() / 27.0;
        vertebra.frame.world([
            size.depth / 2.0 + size.canal_depth + reach,
            -0.45 * vertebra.whole_height(),
            0.0,
        ])
    };
    for pair in spine.vertebrae[L5..].windows(2) {
        if pair[1].place > 14.0 {
            break;
        }
        let [from, to] = [behind(&pair[0]), behind(&pair[1])];
        let frame = Frame::upright(from);
        let thick = person.ligament;
        let cord = Capsule::new([0.0; 3], frame.local(to), [thick, thick, 2.5]);
        canvas.visit(&frame, &cord.reach(0.0), |place, _, voxel| {
            let soft = voxel.is_free() && voxel.tissue != Tissue::Air;
            if soft && cord.holds(place) {
                voxel.tissue = Tissue::Ligament;
            }
        });
    }
}
