//! Outlines as the attributes from which syngo draws graphics on an image: one `ROI_<n>` a contour.

use super::meta::Meta;
use pipeline::contour::{self, Polygon};
use pipeline::overlay;

/// Most points of a contour, the repeated first among them: what a console is known to draw.
pub const MAX_POINTS: usize = 64;
/// How a contour is drawn: its thickness, and whether it is seen at first.
const THICKNESS: &str = "1";
const VISIBLE: &str = "1";
/// Unbroken where the levels are known by a landmark, dashed where not.
const SOLID: &str = "0";
const DASHED: &str = "1";

/// Whether an attribute is a contour.
pub fn is_contour(name: &str) -> bool {
    name == "ROI" || name.starts_with("ROI_")
}

/// Adds the outlines of bodies, discs and sacrum of a slice with `columns` pixels a row.
pub fn draw(meta: &mut Meta, columns: usize, semantic: &[u8], instances: &[u16], verified: bool) {
    let labels = overlay::outlined(semantic, instances);
    let polygons = contour::outlines(columns, &labels).into_iter();
    let polygons =
        polygons.flat_map(|(label, list)| list.into_iter().map(move |polygon| (label, polygon)));
    for (n, (label, polygon)) in polygons.enumerate() {
        let colour = overlay::outlined_structure(label).colour();
        let mut values: Vec<String> =
            colour.iter().map(|&part| format!("{:.3}", f64::from(part) / 255.0)).collect();
        let style = if verified { SOLID } else { DASHED };
        values.extend([THICKNESS, style, VISIBLE].map(str::to_owned));
        let polygon = thinned(polygon);
        for [column, row] in polygon.iter().chain(polygon.first()) {
            // Corners count from the edge of the first pixel, the viewer from its centre.
            values.extend([row, column].map(|&at| format!("{:.1}", at as f64 - 0.5)));
        }
        meta.set(&format!("ROI_{n}"), values);
    }
}

/// The polygon with few enough points: those go first that move its outline least, by the area of the triangle with their
/// neighbours (Visvalingam and Whyatt 1993).
fn thinned(mut polygon: Polygon) -> Polygon {
    while polygon.len() >= MAX_POINTS {
        let count = polygon.len();
        let area = |n: usize| {
            let [a, b, c] = [(n + count - 1) % count, n, (n + 1) % count]
                .map(|at| polygon[at].map(|coordinate| coordinate as i64));
            ((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])).abs()
        };
        let least = (0..count).min_by_key(|&n| area(n)).unwrap_or(0);
        polygon.remove(least);
    }
    polygon
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::Structure;

    #[test]
    fn a_contour_is_closed_and_has_rows_before_columns() {
        let body = Structure::VertebralBody.value();
        let semantic = [0, 0, 0, 0, 0, body, body, 0, 0, 0, 0, 0];
        let instances = semantic.map(|value| if value == 0 { 0 } else { 24 });
        let mut meta = Meta::default();
        draw(&mut meta, 4, &semantic, &instances, false);
        let values = meta.values("ROI_0").unwrap();
        assert_eq!(values[3..6], ["1", "1", "1"], "dashed: its level is not known");
        let points: Vec<&[String]> = values[6..].chunks(2).collect();
        assert_eq!(points.len(), 5);
        assert_eq!(points.first(), points.last());
        assert_eq!(points[0], ["0.5", "2.5"], "the upper right corner, row first");
        assert!(is_contour("ROI_0") && is_contour("ROI") && !is_contour("ROIS"));
    }

    #[test]
    fn a_long_outline_loses_points_and_little_of_its_area() {
        // A disc of 40 pixels across.
        let columns = 50;
        let inside = |at: usize| {
            let [x, y] = [at % columns, at / columns].map(|n| n as f64 - 24.5);
            x.hypot(y) <= 20.0
        };
        let labels: Vec<u16> = (0..columns * columns).map(|at| u16::from(inside(at))).collect();
        let pixels = labels.iter().filter(|&&label| label == 1).count() as f64;
        let polygon = contour::outlines(columns, &labels).remove(&1).unwrap().remove(0);
        assert!(polygon.len() > MAX_POINTS, "{}", polygon.len());
        let thin = thinned(polygon);
        assert_eq!(thin.len() + 1, MAX_POINTS);
        let next = thin.iter().cycle().skip(1);
        let twice: f64 =
            thin.iter().zip(next).map(|(a, b)| (a[0] * b[1]) as f64 - (b[0] * a[1]) as f64).sum();
        assert!((twice.abs() / 2.0 / pixels - 1.0).abs() < 0.02, "{twice} {pixels}");
    }
}
