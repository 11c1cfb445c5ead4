//! The surfaces of bodies, discs and sacrum as points between voxels: what every fit starts from.
//!
//! A surface point lies halfway between the last voxel of one side and the first of the other along a grid line in the
//! plane of the slices. It has no bias whatever the slice thickness, and a labelled endplate between body and disc moves
//! neither: the border is the middle of the endplate.

use crate::labels::{Structure, VertebraId};
use kernels::Volume;

/// The surface of one body, disc or sacrum; points in LPS millimetres.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outline {
    pub(crate) voxels: usize,
    sum: [f64; 3],
    pub(crate) tops: Vec<[f64; 3]>,
    pub(crate) bottoms: Vec<[f64; 3]>,
    pub(crate) fronts: Vec<[f64; 3]>,
    pub(crate) backs: Vec<[f64; 3]>,
    /// Touches the edge of the field in the plane of the slices.
    pub(crate) cut: bool,
    /// Is in the first or last slice.
    pub(crate) cut_aside: bool,
}

impl Outline {
    pub(crate) fn centre(&self) -> Option<[f64; 3]> {
        (self.voxels > 0).then(|| self.sum.map(|sum| sum / self.voxels as f64))
    }
}

/// All outlines of one result.
#[derive(Debug)]
pub(crate) struct Outlines {
    /// Top to bottom, as the ids.
    pub(crate) bodies: Vec<Outline>,
    /// The disc below each body.
    pub(crate) discs: Vec<Outline>,
    pub(crate) sacrum: Outline,
}

/// What a voxel is to the surfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Outside,
    Other,
    Endplate,
    Sacrum,
    Body(u8),
    Disc(u8),
}

/// Label values -> parts, for masks on a (P, I, R) grid.
struct Parts<'a> {
    semantic: &'a Volume<u8>,
    instances: &'a Volume<u16>,
    /// Position of a vertebra in the list of ids; `u8::MAX` for none.
    order: [u8; 256],
}

impl Parts<'_> {
    fn at(&self, offset: usize) -> Part {
        let value = self.semantic.voxels()[offset];
        let nth = |base: u16| {
            let id = self.instances.voxels()[offset].wrapping_sub(base);
            self.order.get(usize::from(id)).copied().filter(|&n| n != u8::MAX)
        };
        match Structure::from_value(value) {
            Some(Structure::VertebralBody) => nth(0).map_or(Part::Other, Part::Body),
            Some(Structure::Disc) => nth(VertebraId::DISC_OFFSET).map_or(Part::Other, Part::Disc),
            Some(Structure::Endplate) => Part::Endplate,
            Some(Structure::Sacrum) => Part::Sacrum,
            _ => Part::Other,
        }
    }
}

/// The outlines in masks on a (P, I, R) grid.
pub(crate) fn outlines(
    semantic: &Volume<u8>,
    instances: &Volume<u16>,
    ids: &[VertebraId],
) -> Outlines {
    let mut order = [u8::MAX; 256];
    for (n, id) in ids.iter().enumerate() {
        order[usize::from(id.value())] = n as u8;
    }
    let parts = Parts { semantic, instances, order };
    let mut found = Outlines {
        bodies: vec![Outline::default(); ids.len()],
        discs: vec![Outline::default(); ids.len()],
        sacrum: Outline::default(),
    };
    let [columns, rows, slices] = semantic.dims().counts();
    let (mut above, mut line) =
        (vec![(Part::Outside, 0usize); columns], vec![Part::Other; columns]);
    for k in 0..slices {
        above.fill((Part::Outside, 0));
        for j in 0..rows {
            let start = (k * rows + j) * columns;
            let values = &semantic.voxels()[start..start + columns];
            line.fill(Part::Other);
            let aside = k == 0 || k + 1 == slices;
            for (i, _) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                line[i] = parts.at(start + i);
            }
            found.down(semantic, &mut above, &line, [j, k]);
            found.along(semantic, &line, [j, k], aside);
        }
        line.fill(Part::Outside);
        found.down(semantic, &mut above, &line, [rows, k]);
    }
    found
}

impl Outlines {
    fn of(&mut self, part: Part) -> Option<&mut Outline> {
        match part {
            Part::Body(n) => self.bodies.get_mut(usize::from(n)),
            Part::Disc(n) => self.discs.get_mut(usize::from(n)),
            Part::Sacrum => Some(&mut self.sacrum),
            Part::Outside | Part::Other | Part::Endplate => None,
        }
    }

    /// Borders between the last voxels `above` and row `j`; endplates lie between and are passed over.
    fn down(
        &mut self,
        grid: &Volume<u8>,
        above: &mut [(Part, usize)],
        line: &[Part],
        [j, k]: [usize; 2],
    ) {
        for (i, (&lower, above)) in line.iter().zip(above).enumerate() {
            let (upper, last) = *above;
            if lower == Part::Endplate {
                continue;
            }
            *above = (lower, j);
            if upper == lower {
                continue;
            }
            let middle = (last + j) as f64 / 2.0;
            let point = || grid.grid().affine.world([i as f64, middle, k as f64]);
            if upper == Part::Outside || lower == Part::Outside {
                let inside = if upper == Part::Outside { lower } else { upper };
                if let Some(outline) = self.of(inside) {
                    outline.cut = true;
                }
                continue;
            }
            let bone = |part| matches!(part, Part::Body(_) | Part::Sacrum);
            if bone(upper) || (matches!(upper, Part::Disc(_)) && bone(lower)) {
                self.of(upper).into_iter().for_each(|o| o.bottoms.push(point()));
            }
            if bone(lower) || (matches!(lower, Part::Disc(_)) && bone(upper)) {
                self.of(lower).into_iter().for_each(|o| o.tops.push(point()));
            }
        }
    }

    /// Counts the runs of one row and takes their front and back, unless an endplate is there.
    fn along(&mut self, grid: &Volume<u8>, line: &[Part], [j, k]: [usize; 2], aside: bool) {
        let affine = grid.grid().affine;
        let mut begin = 0;
        while begin < line.len() {
            let part = line[begin];
            let run = line[begin..].iter().position(|other| *other != part);
            let end = run.map_or(line.len(), |n| begin + n);
            let first = begin;
            begin = end;
            let Some(outline) = self.of(part) else { continue };
            let at = |i: f64| affine.world([i, j as f64, k as f64]);
            let (middle, length) = (at((first + end - 1) as f64 / 2.0), (end - first) as f64);
            outline.voxels += end - first;
            (0..3).for_each(|axis| outline.sum[axis] += middle[axis] * length);
            outline.cut_aside |= aside;
            outline.cut |= first == 0 || end == line.len();
            if first > 0 && line[first - 1] == Part::Other {
                outline.fronts.push(at(first as f64 - 0.5));
            }
            if end < line.len() && line[end] == Part::Other {
                outline.backs.push(at(end as f64 - 0.5));
            }
        }
    }
}
