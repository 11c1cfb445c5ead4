//! The outlines of labelled regions of a slice as closed polygons, for viewers that draw lines.
//!
//! Corners lie on the edges of pixels: column 0, row 0 is the outer corner of the first pixel, and
//! filling the polygons of a label by the even-odd rule gives back exactly its pixels. Which labels
//! are drawn, and how, is decided by others.

use std::collections::BTreeMap;

/// A closed polygon of `[column, row]` corners; the first is not repeated.
pub type Polygon = Vec<[usize; 2]>;

/// Steps along columns and rows by heading: right, down, left, up. One further is a turn to the
/// right.
const STEPS: [[isize; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];
/// The pixels ahead of a corner on the right and on the left of each heading, from the corner.
const AHEAD: [[[isize; 2]; 2]; 4] =
    [[[0, 0], [0, -1]], [[-1, 0], [0, 0]], [[-1, -1], [-1, 0]], [[0, -1], [-1, -1]]];

/// The polygons of every label but 0. Regions run clockwise, their holes against it; pixels that
/// share only a corner are apart.
pub fn outlines(columns: usize, labels: &[u16]) -> BTreeMap<u16, Vec<Polygon>> {
    let mut found: BTreeMap<u16, Vec<Polygon>> = BTreeMap::new();
    let mut walked = vec![false; labels.len()];
    for (at, &label) in labels.iter().enumerate() {
        let begins = label != 0 && (at < columns || labels[at - columns] != label);
        if begins && !walked[at] {
            let polygon = walk(columns, labels, at, &mut walked);
            found.entry(label).or_default().push(polygon);
        }
    }
    found
}

/// Follows the edge of the region of pixel `start` from that pixel's upper edge, the region on the
/// right hand, until it closes. Marks the pixels whose upper edges it passes.
fn walk(columns: usize, labels: &[u16], start: usize, walked: &mut [bool]) -> Polygon {
    let rows = labels.len() / columns;
    let label = labels[start];
    let pixel = |corner: [usize; 2], [right, down]: [isize; 2]| -> Option<usize> {
        let column = corner[0].checked_add_signed(right).filter(|&column| column < columns)?;
        let row = corner[1].checked_add_signed(down).filter(|&row| row < rows)?;
        Some(row * columns + column)
    };
    let inside = |at: Option<usize>| at.is_some_and(|at| labels[at] == label);
    let origin = [start % columns, start / columns];
    let (mut corner, mut heading) = (origin, 0);
    let mut polygon = Vec::new();
    loop {
        if let (0, Some(at)) = (heading, pixel(corner, [0, 0])) {
            walked[at] = true;
        }
        for (axis, step) in STEPS[heading].into_iter().enumerate() {
            corner[axis] = corner[axis].saturating_add_signed(step);
        }
        let [right, left] = AHEAD[heading].map(|ahead| inside(pixel(corner, ahead)));
        let next = match (right, left) {
            (false, _) => (heading + 1) % 4,
            (true, false) => heading,
            (true, true) => (heading + 3) % 4,
        };
        if next != heading {
            polygon.push(corner);
        }
        heading = next;
        if (corner, heading) == (origin, 0) {
            return polygon;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The even-odd rule at the centre of a pixel: polygon edges crossed on the way to the left.
    fn filled(polygons: &[Polygon], column: usize, row: usize) -> bool {
        let crossed = polygons.iter().flat_map(|polygon| {
            let next = polygon.iter().cycle().skip(1);
            polygon.iter().zip(next).filter(|(a, b)| {
                let spans = a[1].min(b[1]) <= row && row < a[1].max(b[1]);
                a[0] == b[0] && a[0] <= column && spans
            })
        });
        crossed.count() % 2 == 1
    }

    #[test]
    fn filling_the_polygons_gives_back_the_pixels() {
        let mut state = 1u32;
        for (columns, rows) in [(1, 1), (1, 7), (9, 1), (2, 2), (12, 9), (31, 17)] {
            for labels in [1u32, 2, 5] {
                let mut random = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((state >> 16) % (labels + 1)) as u16
                };
                let slice: Vec<u16> = (0..columns * rows).map(|_| random()).collect();
                let found = outlines(columns, &slice);
                for (&label, polygons) in &found {
                    for at in 0..slice.len() {
                        let want = slice[at] == label;
                        let got = filled(polygons, at % columns, at / columns);
                        assert_eq!(got, want, "label {label} of {slice:?}, pixel {at}");
                    }
                }
                let labelled = slice.iter().filter(|&&label| label != 0);
                assert!(labelled.clone().all(|label| found.contains_key(label)));
            }
        }
    }

    #[test]
    fn a_polygon_has_corners_only_where_it_turns() {
        let block: Vec<u16> = (0..20).map(|at| u16::from((5..15).contains(&at))).collect();
        assert_eq!(outlines(5, &block)[&1], [vec![[5, 1], [5, 3], [0, 3], [0, 1]]]);
        let ring = [1, 1, 1, 1, 0, 1, 1, 1, 1];
        let outer = vec![[3, 0], [3, 3], [0, 3], [0, 0]];
        let hole = vec![[2, 2], [2, 1], [1, 1], [1, 2]];
        assert_eq!(outlines(3, &ring)[&1], [outer, hole]);
        assert_eq!(outlines(2, &[1, 0, 0, 1])[&1].len(), 2);
    }
}
