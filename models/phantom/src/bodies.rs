//! Vertebral bodies with their cortex, endplates and marrow; the discs between them are drawn by `discs`.
//!
//! In the frame of a vertebra, (u, v, w) run back, up and left in millimetres from the centre of its body.

use crate::canvas::{Canvas, Reach};
use crate::discs;
use crate::field::Field;
use crate::pathology::Node;
use crate::random::Random;
use crate::spine::{L5, Part, S1, Spine, Vertebra};
use crate::tissue::{Structure, Tissue};

/// Thickness of the labelled endplate inside the body; with what reaches into the disc it makes about 1 mm.
pub(crate) const ENDPLATE_INSIDE_MM: f64 = 0.7;
pub(crate) const ENDPLATE_OUTSIDE_MM: f64 = 0.4;

/// How much the unevenness of a wall adds to its squared radius, per unit of the field.
const WALL_ROUGHNESS: f64 = 0.03;

/// The most that the unevenness adds or takes.
const WALL_SWING: f64 = WALL_ROUGHNESS * Field::MOST;

/// No superellipse is this far from its centre, in half sizes, where its unevenness can still reach it.
const UNEVEN_REACH: f64 = 1.06;

/// The least height that a fracture leaves between the two endplates of a body.
const LEAST_HEIGHT_MM: f64 = 5.0;

/// The steepest endplate: change of a half height from the middle to the edge, as a share.
const MOST_SLOPE: f64 = 0.6;

/// x^2 blended with x^4: a superellipse whose corners sharpen with `squareness` from 0 to 1, without a power function.
pub(crate) fn superellipse(x: f64, squareness: f64) -> f64 {
    let square = x * x;
    square * (1.0 - squareness + squareness * square)
}

/// Shape of one body around its frame.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) depth: f64,
    pub(crate) width: f64,
    height: f64,
    /// One by half of the depth, width and height: a division costs as much as ten products.
    per_half: [f64; 3],
    pub(crate) squareness: f64,
    concavity: f64,
    waist: f64,
    waist_aside: f64,
    wedge: f64,
    /// Higher on the left than on the right, as a share.
    slant: f64,
    /// Bony lips at the corners: in front and at the sides, and behind.
    osteophyte: [f64; 2],
    /// Height of the lips beside a cervical disc (uncinate processes).
    uncinate: f64,
    node: Option<Node>,
}

impl Body {
    fn new(random: &mut Random, vertebra: &Vertebra, person: &Person) -> Body {
        let size = &vertebra.size;
        let worn = vertebra.degeneration;
        let spur = if random.chance(0.35) { random.between(0.5, 4.0) * worn } else { 0.0 };
        let spur_behind = if random.chance(0.3) { random.between(0.3, 2.0) * worn } else { 0.0 };
        // The lowest lumbar bodies are higher in front.
        let lordotic = match (vertebra.part, vertebra.place) {
            (Part::Lumbar, place) if place < 5.5 => random.between(0.03, 0.16),
            (Part::Lumbar, place) if place < 6.9 => random.between(0.0, 0.06),
            _ => 0.0,
        };
        let own = random.between(0.7, 1.3);
        let (mut wedge, slant) = (random.normal() * 0.025 - lordotic, random.normal() * 0.012);
        let mut concavity = person.concavity * own;
        if let Some(fracture) = vertebra.findings.fracture {
            wedge += (fracture.front - fracture.back) / (2.0 * fracture.height_left());
            let whole = vertebra.whole_height();
            let sunk = whole * (fracture.middle - (fracture.front + fracture.back) / 2.0) / 2.0;
            concavity += sunk.max(0.0);
        }
        let most = ((size.height - LEAST_HEIGHT_MM) / 2.0).max(0.0);
        Body {
            depth: size.depth,
            width: size.width,
            height: size.height,
            per_half: [2.0 / size.depth, 2.0 / size.width, 2.0 / size.height],
            squareness: person.squareness,
            concavity: concavity.min(most),
            waist: person.waist,
            waist_aside: person.waist_aside,
            wedge: wedge.clamp(-0.5, 0.5),
            slant,
            osteophyte: [spur, spur_behind],
            uncinate: if vertebra.part == Part::Cervical { random.between(1.5, 3.5) } else { 0.0 },
            node: vertebra.findings.node.map(|n| Node { depth: n.depth.min(most), ..n }),
        }
    }

    /// Heights of the upper and the lower endplate above the centre, at (u, w).
    pub(crate) fn endplates(&self, u: f64, w: f64) -> (f64, f64) {
        let (back, left) = (u * self.per_half[0], w * self.per_half[1]);
        let radius = (back * back + left * left).min(1.3);
        let slope = 1.0 + (self.wedge * back + self.slant * left).clamp(-MOST_SLOPE, MOST_SLOPE);
        let half = self.height / 2.0 * slope - self.concavity * (1.0 - radius);
        let (mut top, mut bottom) = (half, -half);
        if self.uncinate > 0.0 {
            // Cervical bodies have lips: upwards at the sides, downwards in front.
            let beside = ((left.abs() - 0.6) * 2.5).clamp(0.0, 1.0);
            let front = (-back).clamp(0.0, 1.0);
            top += self.uncinate * beside * beside;
            bottom -= 0.4 * self.uncinate * front * front;
        }
        if let Some(node) = &self.node {
            let (a, b) = (self.depth / 2.0, self.width / 2.0);
            let (du, dw) = (u - node.back * a, w - node.left * b);
            let dip =
                node.depth * (1.0 - (du * du + dw * dw) / (node.radius * node.radius)).max(0.0);
            if node.upper { top -= dip } else { bottom += dip }
        }
        (top, bottom)
    }

    /// A height that the upper endplate never exceeds within `far` half sizes of the axis; nor the lower one downwards.
    pub(crate) fn highest(&self, far: f64) -> f64 {
        let slope = 1.0 + (far * (self.wedge.abs() + self.slant.abs())).min(MOST_SLOPE);
        self.height / 2.0 * slope + 0.3 * self.concavity + self.uncinate
    }

    /// A height that the upper endplate never falls below within `far` half sizes; nor the lower one upwards.
    pub(crate) fn lowest(&self, far: f64) -> f64 {
        let slope = 1.0 - (far * (self.wedge.abs() + self.slant.abs())).min(MOST_SLOPE);
        let node = self.node.map_or(0.0, |node| node.depth);
        self.height / 2.0 * slope - self.concavity - node
    }

    /// How far the wall reaches back, up and left of the centre; the first of back is that to the front.
    fn reach(&self) -> Reach {
        let [front, back] = self.osteophyte.map(|lip| (self.depth / 2.0 + lip) * UNEVEN_REACH);
        let aside = (self.width / 2.0 + 0.5 * self.osteophyte[0]) * UNEVEN_REACH;
        // The lips of the endplates lie within those of the wall.
        let far = (front.max(back) * self.per_half[0]).max(aside * self.per_half[1]);
        let up = self.highest(far).min(self.height / 2.0 + 5.0) + ENDPLATE_OUTSIDE_MM;
        Reach { low: [-front, -up, -aside], high: [back, up, aside] }
    }

    /// Where the front and the back wall lie at height `v`, `w` to the left: none beside the body.
    pub(crate) fn walls(&self, v: f64, w: f64) -> Option<[f64; 2]> {
        let inside = |u: f64| self.wall(u, v, w) < 1.0;
        inside(0.0).then(|| {
            [-1.0, 1.0].map(|side| {
                let (mut near, mut far) = (0.0, side * self.depth);
                for _ in 0..40 {
                    let middle = (near + far) / 2.0;
                    *(if inside(middle) { &mut near } else { &mut far }) = middle;
                }
                near
            })
        })
    }

    /// The slopes of the upper endplate to the back and to the left, without what is hollow in it; the lower one falls so.
    pub(crate) fn slopes(&self) -> [f64; 2] {
        [self.wedge / self.depth * self.height, self.slant / self.width * self.height]
    }

    /// Below 1 inside the side wall: waisted, flatter at the back, with lips at the corners.
    fn wall(&self, u: f64, v: f64, w: f64) -> f64 {
        let (a, b) = (self.depth / 2.0, self.width / 2.0);
        let along = (v * self.per_half[2]).clamp(-1.0, 1.0);
        let corner = ((along.abs() - 0.7) * (1.0 / 0.3)).clamp(0.0, 1.0);
        let narrow_by = |waist: f64| 1.0 - waist * (1.0 - along * along);
        let narrow = narrow_by(self.waist);
        let (u_reach, squareness) = if u > 0.0 {
            // The back wall is flat, a little hollow in the midline where the canal lies.
            let left = w * self.per_half[1];
            let hollow = (1.0 - 4.0 * left * left).max(0.0) * 0.8;
            let reach = a * (0.5 + 0.5 * narrow) - hollow + self.osteophyte[1] * corner;
            (reach, (self.squareness + 0.4).min(1.0))
        } else {
            let lip = self.osteophyte[0] * corner * (-u * self.per_half[0]).clamp(0.0, 1.0);
            (a * narrow + lip, self.squareness)
        };
        let w_reach = b * narrow_by(self.waist_aside) + 0.5 * self.osteophyte[0] * corner;
        superellipse(u / u_reach, squareness) + superellipse(w / w_reach, self.squareness)
    }
}

/// What all bodies of one person share.
#[derive(Debug)]
struct Person {
    squareness: f64,
    concavity: f64,
    /// Share of the depth that the middle of a body is shallower, and of the width that it is narrower.
    waist: f64,
    waist_aside: f64,
    cortex_mm: f64,
}

/// The shape of every body; the first to take from the stream.
fn shapes(random: &mut Random, spine: &Spine) -> (Person, Vec<Body>) {
    let waist = random.between(0.03, 0.12);
    let person = Person {
        // Front and sides are nearly an ellipse: off the midline a body is shallower, which a blunt one would not be.
        squareness: random.between(0.0, 0.35),
        concavity: random.between(0.4, 1.5),
        waist,
        waist_aside: waist + random.between(0.02, 0.1),
        cortex_mm: random.between(0.4, 1.0),
    };
    let bodies =
        spine.vertebrae.iter().map(|vertebra| Body::new(random, vertebra, &person)).collect();
    (person, bodies)
}

/// The bodies that [`draw`] draws from the same stream.
pub(crate) fn outlines(random: &mut Random, spine: &Spine) -> Vec<Body> {
    shapes(random, spine).1
}

/// Draws every disc, then every body and its endplates. The cord keeps its voxels.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    roughness: &Field,
) -> Vec<Body> {
    let (person, bodies) = shapes(random, spine);
    discs::draw(canvas, random, spine, &bodies);
    for vertebra in &spine.vertebrae[L5..] {
        let above = spine.vertebrae.get(vertebra.level + 1);
        body(canvas, random, vertebra, above, &bodies[vertebra.level], person.cortex_mm, roughness);
    }
    bodies
}

/// The marrow of one body: which tissue lies where.
struct Marrow<'a> {
    vertebra: &'a Vertebra,
    above: Option<&'a Vertebra>,
    /// The basivertebral vein: height, opening and half width of a wedge at the middle of the back wall.
    vein: [f64; 3],
    half: [f64; 3],
}

impl Marrow<'_> {
    /// Whether it holds anything with an uneven border.
    fn is_uneven(&self) -> bool {
        let findings = &self.vertebra.findings;
        !findings.foci.is_empty()
            || findings.disc.modic.is_some()
            || self.above.is_some_and(|v| v.findings.disc.modic.is_some())
    }

    fn at(&self, [u, v, w]: [f64; 3], [to_top, to_bottom]: [f64; 2], rough: f64) -> Tissue {
        let place = [u, v, w];
        for focus in &self.vertebra.findings.foci {
            let square = |n: usize| {
                let d = (place[n] - focus.centre[n] * self.half[n]) / focus.radii[n];
                d * d
            };
            if square(0) + square(1) + square(2) + 0.3 * rough < 1.0 {
                return focus.tissue;
            }
        }
        let below = self.vertebra.findings.disc.modic;
        let above = self.above.and_then(|v| v.findings.disc.modic);
        for (modic, distance) in [(below, to_bottom), (above, to_top)] {
            if let Some((tissue, height)) = modic
                && distance < height * (1.0 + 0.25 * rough)
            {
                return tissue;
            }
        }
        let opening = self.vein[1] * (u / self.half[0] - 0.4) / 0.6;
        if (v - self.vein[0]).abs() < opening && w.abs() < self.vein[2] {
            return Tissue::BasivertebralVein;
        }
        Tissue::BodyMarrow
    }
}

fn body(
    canvas: &mut Canvas,
    random: &mut Random,
    vertebra: &Vertebra,
    above: Option<&Vertebra>,
    body: &Body,
    cortex_mm: f64,
    roughness: &Field,
) {
    let (level, is_axis) = (vertebra.level, above.is_none());
    let half = [body.depth / 2.0, body.height / 2.0, body.width / 2.0];
    // The dens rises from C2 to the height of the atlas.
    let dens = if is_axis { random.between(12.0, 16.0) } else { 0.0 };
    let (dens_depth, dens_width) = (random.between(4.6, 5.8), random.between(4.4, 5.6));
    // The cortex as a change of the superellipse radius, whose power lies between two and four.
    let cortex = 1.0 - 2.6 * cortex_mm / half[0];
    let mut vein = [random.normal() * 0.6, random.between(0.8, 2.2), random.between(2.0, 5.0)];
    if is_axis {
        vein[1] = 0.0;
    }
    let marrow = Marrow { vertebra, above, vein, half };
    let fused = |v: &Vertebra| v.findings.disc.fused;
    let (plate_below, plate_above) = (!fused(vertebra), above.is_some_and(|v| !fused(v)));
    let mut reach = body.reach();
    if is_axis {
        let side = [body.depth * 0.12 + dens_depth, dens_width];
        reach.low = [reach.low[0].min(-side[0]), reach.low[1], reach.low[2].min(-side[1])];
        reach.high = [reach.high[0], half[1] + 5.0 + dens, reach.high[2].max(side[1])];
    }
    let uneven_marrow = marrow.is_uneven();
    canvas.visit(&vertebra.frame, &reach, |[u, v, w], point, voxel| {
        if matches!(voxel.structure, Structure::Cord) {
            return;
        }
        let in_dens = is_axis && v > 0.0 && v < half[1] + dens && {
            let (x, y) = ((u + body.depth * 0.12) / dens_depth, w / dens_width);
            x * x + y * y < 1.0
        };
        let mut radius = body.wall(u, v, w);
        if radius > 1.0 + WALL_SWING && !in_dens {
            return;
        }
        // Deep inside no noise moves the wall.
        let near_wall = radius > cortex - WALL_SWING;
        let rough = if near_wall || uneven_marrow { roughness.at(point) } else { 0.0 };
        radius += WALL_ROUGHNESS * rough;
        let (top, bottom) = body.endplates(u, w);
        let inside = radius < 1.0 && v > bottom && v < top;
        if inside || in_dens {
            let in_cortex = radius > cortex && !in_dens;
            let tissue = if in_cortex {
                Tissue::Cortex
            } else {
                marrow.at([u, v, w], [top - v, v - bottom], rough)
            };
            voxel.set(tissue, Structure::Body, level);
        }
        let sheet = |distance: f64| (-ENDPLATE_OUTSIDE_MM..ENDPLATE_INSIDE_MM).contains(&distance);
        if radius < 1.0 && plate_below && sheet(v - bottom) {
            voxel.set(Tissue::Endplate, Structure::Endplate, level);
        } else if radius < 1.0 && plate_above && sheet(top - v) {
            voxel.set(Tissue::Endplate, Structure::Endplate, level + 1);
        }
    });
}

/// The ligaments along the front and the back of the column: one to two millimetres of free voxels beside it.
pub(crate) fn longitudinal_ligaments(canvas: &mut Canvas, spine: &Spine, in_plane_mm: f64) {
    // Width of the anterior ligament to each side of the midline, and its thickness.
    const HALF_WIDTH_MM: f64 = 14.0;
    const THICKNESS_MM: f64 = 1.3;
    // No body or disc is further from the line through the bodies; so far, a turned row moves less to the side than this.
    const NEAR_MM: f64 = 60.0;
    const TURNED_MM: f64 = 4.0;
    let layers = (THICKNESS_MM / in_plane_mm).round().max(1.0) as usize;
    let bottom = spine.z_of(S1 as f64 + 0.4);
    canvas.rows_between(bottom, f64::INFINITY, |row| {
        let middle = spine.x.at(row.z());
        let column =
            |s: Structure| matches!(s, Structure::Body | Structure::Disc | Structure::Endplate);
        let line = spine.y.at(row.z());
        if (row.x_near(line) - middle).abs() > HALF_WIDTH_MM + TURNED_MM {
            return;
        }
        let near = row.column_at(line - NEAR_MM)..row.column_at(line + NEAR_MM);
        let start = near.start;
        let near = &row.voxels[near];
        let Some(first) = near.iter().position(|v| column(v.structure)) else { return };
        let Some(last) = near.iter().rposition(|v| column(v.structure)) else { return };
        let (first, last) = (start + first, start + last);
        if (row.x_at(first) - middle).abs() > HALF_WIDTH_MM {
            return;
        }
        let behind = (last + 1)..(last + 1 + layers).min(row.voxels.len());
        for n in (first.saturating_sub(layers)..first).chain(behind) {
            if row.voxels[n].is_free() {
                row.voxels[n].tissue = Tissue::Ligament;
            }
        }
    });
}
