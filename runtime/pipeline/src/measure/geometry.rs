//! Planes through surface points, and the frame of a body or disc between its two planes.
//!
//! Least squares with a few rounds of trimming: a hole, a lip or a node in an endplate must not tilt it. The direction
//! across the slices is fitted over the whole width, so slices of 4 mm do no harm; their steps are not in the points.

use crate::measure::outline::Outline;
use crate::measure::value::Reason;
use kernels::volume::{add, cross, dot, norm, scale, sub};

/// Fewer points than this say nothing about a plane.
const MIN_POINTS: usize = 12;
/// Fewer voxels are a crumb, not a body or disc: 20 of 1 x 1 x 4 mm are 0.08 ml.
const MIN_VOXELS: usize = 20;
/// Rounds of trimming; the fits of phantoms stand after three.
const ROUNDS: usize = 4;
/// Points further from the plane than so many standard deviations (of the median) are left out.
const OUTLIER: f64 = 2.5;
/// No point this near the plane is an outlier: half a voxel, and the hollow of an endplate.
const NEAR_MM: f64 = 1.0;
/// Where fewer points than this lie on the plane it is no endplate: the top of C2 is half dens, half shoulders. An endplate
/// with a node keeps above 0.7.
const MIN_AGREEMENT: f64 = 0.6;
/// Walls lie within this many half depths of the axis; what is further is another part: the back of the sacrum.
const WALL_REACH: f64 = 1.4;
/// The part of an endplate that is fitted, as shares of the half depth and half width: without rim and uncinate process.
const INNER: [f64; 2] = [0.8, 0.65];
/// Where the points spread less than this across the slices (one or two slices), they cannot tell a tilt sideways.
const MIN_SPREAD_MM: f64 = 2.0;

/// The axes of the patient as the grid has them, unit vectors in LPS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axes {
    pub(crate) back: [f64; 3],
    pub(crate) up: [f64; 3],
    pub(crate) left: [f64; 3],
}

/// A point with axes of its own: unit vectors in LPS, perpendicular to each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) centre: [f64; 3],
    pub(crate) back: [f64; 3],
    pub(crate) up: [f64; 3],
    pub(crate) left: [f64; 3],
}

impl Frame {
    /// The frame at `centre` that stands along `up`; `left` only as far as it is perpendicular to it.
    pub(crate) fn new(centre: [f64; 3], up: [f64; 3], left: [f64; 3]) -> Result<Frame, Reason> {
        let up = unit(up).ok_or(Reason::Undefined)?;
        let left = unit(sub(left, scale(up, dot(left, up)))).ok_or(Reason::Undefined)?;
        Ok(Frame { centre, back: cross(up, left), up, left })
    }

    /// LPS millimetres -> (back, up, left).
    pub(crate) fn local(&self, point: [f64; 3]) -> [f64; 3] {
        let d = sub(point, self.centre);
        [dot(d, self.back), dot(d, self.up), dot(d, self.left)]
    }

    pub(crate) fn world(&self, [u, v, w]: [f64; 3]) -> [f64; 3] {
        let aside = add(scale(self.up, v), scale(self.left, w));
        add(self.centre, add(scale(self.back, u), aside))
    }
}

/// An endplate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) point: [f64; 3],
    /// Unit vector upwards.
    pub(crate) normal: [f64; 3],
    /// Share of the points that lie on it.
    pub(crate) agreement: f64,
    /// Whether its tilt from side to side is known: it spans more than a slice or two.
    pub(crate) sideways: bool,
}

pub(crate) fn unit(vector: [f64; 3]) -> Option<[f64; 3]> {
    let length = norm(vector);
    (length > 1e-9).then(|| scale(vector, 1.0 / length))
}

/// Median of `values`, which it sorts.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().checked_sub(1)? / 2);
    Some((values[lower] + values[upper]) / 2.0)
}

/// Mean of the values within `near` of their median: as steady as the one, as fine as the other.
pub(crate) fn trimmed_mean(values: &mut [f64], near: f64) -> Option<f64> {
    let middle = median(values)?;
    let inside = values.iter().filter(|value| (**value - middle).abs() <= near);
    let (sum, n) = inside.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    (n > 0.0).then(|| sum / n)
}

/// Least squares v = a + b u + c w over `points` (u, v, w), and whether they tell c.
fn regress(points: &[[f64; 3]]) -> Option<([f64; 3], bool)> {
    let n = points.len() as f64;
    let mean: [f64; 3] =
        std::array::from_fn(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / n);
    let product = |a: usize, b: usize| {
        points.iter().map(|p| (p[a] - mean[a]) * (p[b] - mean[b])).sum::<f64>() / n
    };
    let (uu, ww, uw, uv, vw) =
        (product(0, 0), product(2, 2), product(0, 2), product(0, 1), product(1, 2));
    let least = MIN_SPREAD_MM * MIN_SPREAD_MM;
    if uu < least {
        return None;
    }
    let determinant = uu * ww - uw * uw;
    let sideways = ww >= least && determinant >= 0.01 * uu * ww;
    let (b, c) = if sideways {
        ((uv * ww - vw * uw) / determinant, (vw * uu - uv * uw) / determinant)
    } else {
        (uv / uu, 0.0)
    };
    Some(([mean[1] - b * mean[0] - c * mean[2], b, c], sideways))
}

/// The plane through `points` near the axis of `frame`; `half` are half depth and half width of what it bounds.
fn fit(points: &[[f64; 3]], frame: &Frame, half: [f64; 2]) -> Result<Plane, Reason> {
    let inner = |p: &[f64; 3]| p[0].abs() <= INNER[0] * half[0] && p[2].abs() <= INNER[1] * half[1];
    let all: Vec<[f64; 3]> = points.iter().map(|p| frame.local(*p)).filter(inner).collect();
    let mut kept = all.clone();
    // Where a wall or hole gave points too, most points are still the endplate's.
    let start = median(&mut all.iter().map(|p| p[1]).collect::<Vec<_>>());
    kept.retain(|p| start.is_some_and(|v| (p[1] - v).abs() <= 0.6 * half[0].max(5.0)));
    let (mut plane, mut sideways) = ([0.0; 3], false);
    for _ in 0..ROUNDS {
        if kept.len() < MIN_POINTS {
            return Err(Reason::NoEndplates);
        }
        (plane, sideways) = regress(&kept).ok_or(Reason::NoEndplates)?;
        let off = |p: &[f64; 3]| (p[1] - plane[0] - plane[1] * p[0] - plane[2] * p[2]).abs();
        let spread = median(&mut kept.iter().map(off).collect::<Vec<_>>()).unwrap_or(0.0);
        let limit = (OUTLIER * 1.4826 * spread).max(NEAR_MM);
        kept = all.iter().filter(|p| off(p) <= limit).copied().collect();
    }
    let [a, b, c] = plane;
    let normal = sub(frame.up, add(scale(frame.back, b), scale(frame.left, c)));
    let agreement = kept.len() as f64 / all.len() as f64;
    if agreement < MIN_AGREEMENT {
        return Err(Reason::NoEndplates);
    }
    Ok(Plane {
        point: frame.world([0.0, a, 0.0]),
        normal: unit(normal).ok_or(Reason::NoEndplates)?,
        agreement,
        sideways,
    })
}

/// A body or disc: its frame stands between its upper and lower plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slab {
    pub(crate) frame: Frame,
    pub(crate) top: Plane,
    pub(crate) bottom: Plane,
    /// Half the width of the midsagittal third; at least half a slice to each side.
    pub(crate) third: f64,
    /// How far from the axis the front and back wall may lie.
    pub(crate) reach: f64,
}

/// Fits the slab of `outline`, which stands about along `up`.
pub(crate) fn slab(
    outline: &Outline,
    up: [f64; 3],
    axes: &Axes,
    slice_mm: f64,
) -> Result<Slab, Reason> {
    let centre = outline.centre().ok_or(Reason::TooFewVoxels)?;
    if outline.cut {
        return Err(Reason::CutByField);
    }
    if outline.voxels < MIN_VOXELS {
        return Err(Reason::TooFewVoxels);
    }
    let mut frame = Frame::new(centre, up, axes.left)?;
    let mut half = spread(outline, &frame)?;
    let mut planes = [fit(&outline.tops, &frame, half)?, fit(&outline.bottoms, &frame, half)?];
    // The first frame is only the line to the neighbours; the second stands on the endplates themselves.
    for _ in 0..2 {
        frame = Frame::new(centre, add(planes[0].normal, planes[1].normal), axes.left)?;
        half = spread(outline, &frame)?;
        planes = [fit(&outline.tops, &frame, half)?, fit(&outline.bottoms, &frame, half)?];
    }
    let third = (half[1] / 3.0).max(0.55 * slice_mm);
    Ok(Slab { frame, top: planes[0], bottom: planes[1], third, reach: WALL_REACH * half[0] })
}

/// Half depth and half width: an ellipse's half axis is twice the standard deviation of what fills it.
fn spread(outline: &Outline, frame: &Frame) -> Result<[f64; 2], Reason> {
    let points: Vec<[f64; 3]> =
        outline.tops.iter().chain(&outline.bottoms).map(|p| frame.local(*p)).collect();
    if points.len() < MIN_POINTS {
        return Err(Reason::NoEndplates);
    }
    let n = points.len() as f64;
    Ok([0, 2].map(|axis| {
        let mean = points.iter().map(|p| p[axis]).sum::<f64>() / n;
        let square = points.iter().map(|p| (p[axis] - mean) * (p[axis] - mean)).sum::<f64>() / n;
        2.0 * square.sqrt()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_with_a_hole_in_it_keeps_its_tilt() {
        let axes = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]];
        let frame = Frame::new([5.0, 6.0, 7.0], axes[1], axes[2]).unwrap();
        let mut points = Vec::new();
        for u in -15..=15 {
            for slice in -4..=4 {
                let (u, w) = (f64::from(u), 4.0 * f64::from(slice));
                let node = if u > 2.0 && u < 9.0 && slice > 1 { 6.0 } else { 0.0 };
                points.push(frame.world([u, 0.1 * u - 0.05 * w - node, w]));
            }
        }
        let plane = fit(&points, &frame, [16.0, 20.0]).unwrap();
        let [back, up, left] = axes.map(|axis| dot(plane.normal, axis));
        assert!((back / up + 0.1).abs() < 1e-6 && (left / up - 0.05).abs() < 1e-6);
        assert!(plane.agreement < 1.0 && plane.sideways);
    }

    #[test]
    fn one_slice_gives_a_plane_upright_from_side_to_side() {
        let frame = Frame::new([0.0; 3], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]).unwrap();
        let points: Vec<[f64; 3]> =
            (-15..=15).map(|u| frame.world([f64::from(u), 0.2 * f64::from(u), 0.0])).collect();
        let plane = fit(&points, &frame, [16.0, 5.0]).unwrap();
        assert!(dot(plane.normal, frame.left) == 0.0 && !plane.sideways);
        assert_eq!(fit(&points[..5], &frame, [16.0, 5.0]).unwrap_err(), Reason::NoEndplates);
    }
}
