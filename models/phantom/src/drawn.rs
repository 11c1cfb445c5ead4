//! What was drawn, as numbers: the shapes before they became voxels, for whoever measures the voxels.
//!
//! The definitions are those of the measures in crate `pipeline`: an eighth of the depth from either wall, the
//! midsagittal third, the middle of the labelled endplate as the border of body and disc.

use crate::bodies::{self, Body};
use crate::canal;
use crate::random::Random;
use crate::spine::{Frame, L5, S1, Spine, Vertebra};
use crate::{Recipe, spine_of, stream};
use kernels::volume::{add, dot, norm, scale, sub};

/// Where heights are read, as shares of the depth from the front.
const PLACES: [f64; 3] = [0.125, 0.5, 0.875];
/// Steps of the mean over the midsagittal third, to either side.
const STEPS: i32 = 4;
/// The wall is read so far from an endplate.
const BESIDE_ENDPLATE_MM: f64 = 2.5;

/// One vertebra from S1 up, as it was drawn. Points and directions in LPS, lengths in millimetres.
#[derive(Debug, Clone)]
pub struct DrawnVertebra {
    /// SPINEPS instance value; 26 for S1.
    pub id: u8,
    pub centre: [f64; 3],
    /// Anterior, middle and posterior height.
    pub heights_mm: [f64; 3],
    /// Front to back at half the height.
    pub depth_mm: f64,
    /// Directions upwards, perpendicular to the upper and the lower endplate.
    pub normals: [[f64; 3]; 2],
    /// Where the posterior wall meets the upper and the lower endplate.
    pub corners: [[f64; 3]; 2],
    /// Front to back along the upper endplate.
    pub endplate_depth_mm: f64,
    /// Largest share of height that a fracture took.
    pub fracture_loss: f64,
    /// The disc below; none below S1 and in a block.
    pub disc: Option<DrawnDisc>,
    /// The canal behind the middle of the body.
    pub sac: DrawnSac,
}

/// The disc below a vertebra.
#[derive(Debug, Clone)]
pub struct DrawnDisc {
    pub anterior_mm: f64,
    pub mean_mm: f64,
    pub posterior_mm: f64,
    /// Of the lower posterior corner of the body above over the upper one of the body below: positive forwards.
    pub slip_mm: f64,
    /// The canal behind the disc.
    pub sac: DrawnSac,
}

/// The dural sac at one level, perpendicular to the canal.
#[derive(Debug, Clone)]
pub struct DrawnSac {
    pub area_mm2: f64,
    pub depth_mm: f64,
    /// 0 below the conus.
    pub cord_mm2: f64,
}

/// The vertebrae of the patient of `recipe` from S1 up, whether in the field of view or not.
pub fn geometry(recipe: &Recipe) -> Vec<DrawnVertebra> {
    let stream = |number: u64| Random::stream(recipe.seed, number);
    let (_, spine) = spine_of(recipe);
    let bodies = bodies::outlines(&mut stream(stream::BODIES), &spine);
    let canal = canal::Drawn::new(&mut stream(stream::CANAL), &spine, recipe.population);
    spine.vertebrae[S1..].iter().map(|v| vertebra(v, &spine, &bodies, &canal)).collect()
}

fn vertebra(
    vertebra: &Vertebra,
    spine: &Spine,
    bodies: &[Body],
    canal: &canal::Drawn,
) -> DrawnVertebra {
    let (frame, body) = (&vertebra.frame, &bodies[vertebra.level]);
    let [front, back] = body.walls(0.0, 0.0).unwrap_or_default();
    let height = |place: f64| {
        mean_aside(body, |w| {
            let (top, bottom) = body.endplates(front + place * (back - front), w);
            top - bottom - 2.0 * endplate_middle()
        })
    };
    let corner = |side: f64| wall_at_endplate(body, side);
    let world = |[u, v]: [f64; 2]| frame.world([u, v, 0.0]);
    let ([upper_front, upper_back], [_, lower_back]) = (corner(1.0), corner(-1.0));
    let fracture = vertebra.findings.fracture;
    DrawnVertebra {
        id: vertebra.id,
        centre: frame.centre,
        heights_mm: PLACES.map(height),
        depth_mm: back - front,
        normals: [1.0, -1.0].map(|side| normal(frame, body, side)),
        corners: [world(upper_back), world(lower_back)],
        endplate_depth_mm: upper_back[0] - upper_front[0],
        fracture_loss: fracture.map_or(0.0, |f| f.front.max(f.middle).max(f.back)),
        disc: (vertebra.level >= L5 && !vertebra.findings.disc.fused)
            .then(|| disc(vertebra, spine, bodies, canal)),
        sac: sac(spine, canal, behind(vertebra)),
    }
}

/// How far the middle of the labelled endplate lies inside the body.
fn endplate_middle() -> f64 {
    (bodies::ENDPLATE_INSIDE_MM - bodies::ENDPLATE_OUTSIDE_MM) / 2.0
}

/// Mean over the midsagittal third.
fn mean_aside(body: &Body, of: impl Fn(f64) -> f64) -> f64 {
    let third = body.width / 6.0;
    let steps = -STEPS..=STEPS;
    let count = f64::from(2 * STEPS + 1);
    steps.map(|n| of(third * f64::from(n) / f64::from(STEPS))).sum::<f64>() / count
}

/// Upwards, perpendicular to the upper (1) or lower (-1) endplate.
fn normal(frame: &Frame, body: &Body, side: f64) -> [f64; 3] {
    let [back, left] = body.slopes().map(|slope| side * slope);
    let tilted = sub(frame.up, add(scale(frame.back, back), scale(frame.left, left)));
    scale(tilted, 1.0 / norm(tilted))
}

/// Front and back wall beside the upper (1) or lower (-1) endplate, brought to the endplate: (back, up).
fn wall_at_endplate(body: &Body, side: f64) -> [[f64; 2]; 2] {
    let edge = |u: f64| {
        let (top, bottom) = body.endplates(u, 0.0);
        if side > 0.0 { top } else { bottom }
    };
    let half = body.depth / 2.0;
    let straight = |u: f64| edge(0.0) + side * body.slopes()[0] * u;
    let wall = |n: usize, u: f64| {
        let v = straight(u) - side * BESIDE_ENDPLATE_MM;
        let u = mean_aside(body, |w| body.walls(v, w).unwrap_or_default()[n]);
        [u, straight(u)]
    };
    [wall(0, -half), wall(1, half)]
}

fn disc(upper: &Vertebra, spine: &Spine, bodies: &[Body], canal: &canal::Drawn) -> DrawnDisc {
    let lower = &spine.vertebrae[upper.level - 1];
    let [below, above] = [&bodies[lower.level], &bodies[upper.level]];
    let up = add(normal(&lower.frame, below, 1.0), normal(&upper.frame, above, -1.0));
    let up = scale(up, 1.0 / norm(up));
    let half = (below.depth + above.depth) / 4.0;
    let gap = |place: f64| {
        let u = half * (2.0 * place - 1.0);
        let between = mean_aside(above, |w| {
            let floor = lower.frame.world([u, below.endplates(u, w).0, w]);
            let ceiling = upper.frame.world([u, above.endplates(u, w).1, w]);
            dot(sub(ceiling, floor), up)
        });
        between + 2.0 * endplate_middle()
    };
    let inner = (0..=16).map(|n| gap(0.1 + 0.05 * f64::from(n)));
    let [_, corner] = wall_at_endplate(below, 1.0);
    let [_, over] = wall_at_endplate(above, -1.0);
    let [corner, over] = [
        lower.frame.world([corner[0], corner[1], 0.0]),
        upper.frame.world([over[0], over[1], 0.0]),
    ];
    let normal = normal(&lower.frame, below, 1.0);
    let along = sub(lower.frame.back, scale(normal, dot(lower.frame.back, normal)));
    let middle = scale(add(behind(lower), behind(upper)), 0.5);
    DrawnDisc {
        anterior_mm: gap(PLACES[0]),
        mean_mm: inner.sum::<f64>() / 17.0,
        posterior_mm: gap(PLACES[2]),
        slip_mm: dot(sub(corner, over), scale(along, 1.0 / norm(along))),
        sac: sac(spine, canal, middle),
    }
}

/// The middle of the canal behind a body.
fn behind(vertebra: &Vertebra) -> [f64; 3] {
    vertebra.frame.world([vertebra.size.depth / 2.0 + vertebra.size.canal_depth / 2.0, 0.0, 0.0])
}

fn sac(spine: &Spine, canal: &canal::Drawn, point: [f64; 3]) -> DrawnSac {
    let [area_mm2, depth_mm, cord_mm2] = canal.sac_at(spine, point[2]);
    DrawnSac { area_mm2, depth_mm, cord_mm2 }
}
