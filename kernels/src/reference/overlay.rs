//! Definition of `crate::overlay`: each channel of each pixel by itself, from the table of colours.

use crate::overlay::{HATCH_PIXELS, Palette, Slice, Window};

/// See [`crate::overlay::blend`].
pub fn blend(slice: Slice<'_>, window: Window, palette: &Palette) -> Vec<[u8; 3]> {
    let rows = slice.pixels.len() / slice.columns;
    let at = |row: usize, column: usize| row * slice.columns + column;
    let pixel = |row: usize, column: usize| {
        let here = at(row, column);
        let under = window.grey(slice.pixels[here]);
        let Some(ink) = palette.ink(slice.semantic[here]) else { return [under; 3] };
        let differs = |(dy, dx): (isize, isize)| {
            let (Some(y), Some(x)) = (row.checked_add_signed(dy), column.checked_add_signed(dx))
            else {
                return false;
            };
            let inside = y < rows && x < slice.columns;
            inside
                && (slice.semantic[at(y, x)] != slice.semantic[here]
                    || slice.instances[at(y, x)] != slice.instances[here])
        };
        let edge = [(0, -1), (0, 1), (-1, 0), (1, 0)].into_iter().any(differs);
        let inside =
            if (row + column) % HATCH_PIXELS < HATCH_PIXELS / 2 { ink.striped } else { ink.share };
        let share = if edge { ink.outline.unwrap_or(inside) } else { inside };
        let colour = ink.colours[usize::from(slice.instances[here] % 2)];
        colour
            .map(|over| (f32::from(under) * (1.0 - share) + f32::from(over) * share).round() as u8)
    };
    let places = (0..rows).flat_map(|row| (0..slice.columns).map(move |column| (row, column)));
    places.map(|(row, column)| pixel(row, column)).collect()
}
