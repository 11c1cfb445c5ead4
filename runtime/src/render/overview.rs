//! The layout of the overview: two large panels, a column with two small ones, legend and notes, a footer.

use super::canvas::{Canvas, Colour, Font};
use super::enlarge::Frame;
use super::{MUTED, NOT_FOR_DIAGNOSIS, Scene, TEXT, WARNING, panel_width, wrap};
use kernels::components::Bounds;
use pipeline::Structure;
use pipeline::overlay::tint;
use pipeline::{Flag, Numbering};

const BACKGROUND: Colour = [15, 18, 23];
const LINE: Colour = [52, 59, 68];
const MARGIN: usize = 40;
const GAP: usize = 24;
const PANEL_HEIGHT: usize = 1000;
const SMALL_HEIGHT: usize = 380;
/// Narrowest column that holds the longest legend line.
const COLUMN_WIDTH: usize = 400;
const HEADER_HEIGHT: usize = 72;
const FOOTER_HEIGHT: usize = 56;
/// Where the paracentral slices lie: through facets and pedicles (12 mm beside the midline).
const PARACENTRAL_MM: f64 = 12.0;
/// Millimetres shown in front of and behind the structures, and the narrowest and widest panel (width to
/// height).
const AROUND_MM: f64 = 30.0;
const NARROWEST: f64 = 0.5;
const WIDEST: f64 = 0.7;

/// Draws the whole picture.
pub(crate) fn draw(scene: &Scene) -> Canvas {
    let (columns, ratio) = region(scene);
    let rows = 0.0..scene.image.dims().counts()[1] as f64;
    let frame =
        Frame { columns, rows, width: panel_width(PANEL_HEIGHT, ratio), height: PANEL_HEIGHT };
    let small_width = panel_width(SMALL_HEIGHT, ratio);
    let column = (2 * small_width + GAP).max(COLUMN_WIDTH);
    let width = 2 * MARGIN + 2 * (frame.width + GAP) + column;
    let height = MARGIN + HEADER_HEIGHT + PANEL_HEIGHT + FOOTER_HEIGHT + MARGIN / 2;
    let mut canvas = Canvas::filled(width, height, BACKGROUND);
    header(&mut canvas, scene);
    let (left, top) = (MARGIN, MARGIN + HEADER_HEIGHT);
    let right = left + frame.width + GAP;
    let k = scene.midsagittal();
    for (x, overlay) in [(left, false), (right, true)] {
        let mut panel = scene.panel(k, &frame, overlay);
        if overlay {
            scene.name_levels(&mut panel, k, &frame);
        } else {
            orient(&mut panel);
            scale_bar(&mut panel, scene);
        }
        canvas.picture([x, top], &panel);
    }
    let x = right + frame.width + GAP;
    let small = Frame { width: small_width, height: SMALL_HEIGHT, ..frame };
    paracentral(&mut canvas, scene, [x, top], &small);
    let y = top + SMALL_HEIGHT + 64;
    let y = legend(&mut canvas, scene, [x, y]);
    notes(&mut canvas, scene, [x, y + 20], column);
    footer(&mut canvas, scene);
    canvas
}

/// The columns to show (source pixels) and the ratio of panel width to height in millimetres: around the
/// structures.
fn region(scene: &Scene) -> (std::ops::Range<f64>, f64) {
    let [columns, rows, _] = scene.image.dims().counts();
    let [across, down, _] = scene.image.grid().affine.spacing();
    let high = rows as f64 * down;
    let whole = columns as f64;
    let spine = Bounds::of(&scene.semantic, |v| v != 0);
    let (from, to) = spine.map_or((0.0, whole), |b| (b.min[0] as f64, b.max[0] as f64 + 1.0));
    let wanted = (to - from) * across + 2.0 * AROUND_MM;
    let wide = wanted.clamp(NARROWEST * high, WIDEST * high).min(whole * across);
    let half = wide / across / 2.0;
    let centre = ((from + to) / 2.0).clamp(half, (whole - half).max(half));
    (centre - half..centre + half, wide / high)
}

fn header(canvas: &mut Canvas, scene: &Scene) {
    let at = [MARGIN as isize, (MARGIN - 6) as isize];
    canvas.text(at, Font::Title, TEXT, "Spine segmentation");
    let count = scene.levels.len();
    let vertebrae = match count {
        0 => "no vertebra found".to_owned(),
        1 => "1 vertebra".to_owned(),
        n => format!("{n} vertebrae"),
    };
    let sacrum = if scene.sacrum { ", sacrum in view" } else { "" };
    let slice = format!("midsagittal slice {} of {}", scene.midsagittal() + 1, scene.slices());
    let text = format!("{slice}  |  {vertebrae}{sacrum}");
    let line = [at[0], at[1] + Font::Title.height() as isize + 8];
    canvas.text(line, Font::Body, MUTED, &text);
}

/// Where the panel's borders are in the patient.
fn orient(panel: &mut Canvas) {
    let (w, h) = (panel.width() as isize, panel.height() as isize);
    let (glyph, line) = (Font::Label.advance() as isize, Font::Label.height() as isize);
    let middle = [(w - glyph) / 2, (h - line) / 2];
    let letters = [
        ("A", [8, middle[1]]),
        ("P", [w - glyph - 8, middle[1]]),
        ("S", [middle[0], 8]),
        ("I", [middle[0], h - line - 8]),
    ];
    for (letter, at) in letters {
        panel.outlined_text(at, Font::Label, MUTED, letter);
    }
}

/// Five centimetres at the lower left.
fn scale_bar(panel: &mut Canvas, scene: &Scene) {
    const BAR_MM: f64 = 50.0;
    let high = scene.image.dims().counts()[1] as f64 * scene.image.grid().affine.spacing()[1];
    let length = (BAR_MM * panel.height() as f64 / high).round() as usize;
    let y = panel.height() - 20;
    panel.rectangle([15, y - 1], [length + 2, 5], [8, 10, 12], 0.7);
    panel.rectangle([16, y], [length, 3], TEXT, 1.0);
    let text = [16, (y - Font::Body.height() - 4) as isize];
    panel.outlined_text(text, Font::Body, TEXT, "50 mm");
}

/// One slice to the right and one to the left of the middle, captions below.
fn paracentral(canvas: &mut Canvas, scene: &Scene, [x, y]: [usize; 2], frame: &Frame) {
    let pitch = scene.image.grid().affine.spacing()[2];
    let steps = ((PARACENTRAL_MM / pitch).round() as usize).max(1);
    let k = scene.midsagittal();
    // Index k runs to the patient's right, and so does the left picture, as one looks at a patient.
    let right = (k + steps).min(scene.slices() - 1);
    let left = k.saturating_sub(steps);
    let twice = Frame { width: 2 * frame.width, height: 2 * frame.height, ..frame.clone() };
    for (n, (k_side, side)) in [(right, "right"), (left, "left")].into_iter().enumerate() {
        let at = x + n * (frame.width + GAP);
        canvas.picture([at, y], &scene.panel(k_side, &twice, true).halved());
        let millimetres = k_side.abs_diff(k) as f64 * pitch;
        let caption = [at as isize, (y + frame.height + 8) as isize];
        canvas.text(caption, Font::Body, MUTED, &format!("{millimetres:.0} mm {side}"));
    }
}

/// The structures of this result with their colours; returns where the next block may begin.
fn legend(canvas: &mut Canvas, scene: &Scene, [x, y]: [usize; 2]) -> usize {
    const ROW: usize = 26;
    const SWATCH: [usize; 2] = [14, 14];
    let mut present = [false; 256];
    scene.semantic.voxels().iter().for_each(|&v| present[usize::from(v)] = true);
    let shown = Structure::ALL.into_iter().filter(|s| present[usize::from(s.value())]);
    let mut row = y;
    for structure in shown {
        // Two tints for parts of vertebrae: they alternate from one vertebra to the next.
        canvas.rectangle([x, row + 1], SWATCH, tint(structure, 0), 1.0);
        canvas.rectangle([x + SWATCH[0], row + 1], SWATCH, tint(structure, 1), 1.0);
        let at = [(x + 2 * SWATCH[0] + 12) as isize, row as isize];
        canvas.text(at, Font::Body, TEXT, structure.name());
        row += ROW;
    }
    row
}

/// What a reader must know, in plain words.
fn notes(canvas: &mut Canvas, scene: &Scene, [x, y]: [usize; 2], width: usize) {
    let mut lines = Vec::new();
    if !scene.levels.is_empty() {
        lines.push(match scene.numbering {
            Numbering::FromSacrum => (MUTED, "Levels are counted upwards from the sacrum."),
            Numbering::FromC2 => (MUTED, "Levels are counted downwards from C2."),
            Numbering::FromStudy { .. } => {
                (MUTED, "Levels are those another series of this study shows.")
            }
            Numbering::Unverified => {
                (WARNING, "Levels unverified: no landmark in view, numbers only run downwards.")
            }
        });
    }
    lines.extend(scene.flags.iter().filter_map(|&flag| Some((WARNING, sentence(flag)?))));
    let room = width / Font::Body.advance();
    let mut row = y;
    for (colour, text) in lines {
        for line in wrap(text, room) {
            canvas.text([x as isize, row as isize], Font::Body, colour, &line);
            row += Font::Body.height() + 4;
        }
        row += 6;
    }
}

/// The sentence of a flag; `None` where the numbering's own sentence says it.
fn sentence(flag: Flag) -> Option<&'static str> {
    match flag {
        Flag::LevelUnverified => None,
        Flag::LandmarksDisagree => Some("Two landmarks give different levels: check them."),
        Flag::DiscCountMismatch => Some("The discs do not match the vertebral bodies in number."),
        Flag::BodyTooLarge => Some("One vertebral body is very large: two may be merged."),
        Flag::LaterallyTruncated => {
            Some("The spine reaches the outermost slice: lateral parts may be missing.")
        }
        Flag::RowInterrupted => {
            Some("Two neighbouring bodies lie far apart: one between them may be missing.")
        }
        Flag::VertebraeDisputed => Some("Two methods tell the vertebrae apart differently."),
    }
}

fn footer(canvas: &mut Canvas, scene: &Scene) {
    let y = canvas.height() - MARGIN / 2 - FOOTER_HEIGHT + GAP;
    let inner = canvas.width() - 2 * MARGIN;
    canvas.rectangle([MARGIN, y], [inner, 1], LINE, 1.0);
    let line = (y + 12) as isize;
    canvas.text([MARGIN as isize, line], Font::Label, WARNING, NOT_FOR_DIAGNOSIS);
    let free = inner - Font::Label.width(NOT_FOR_DIAGNOSIS) - GAP;
    let text: String = scene.origin.chars().take(free / Font::Body.advance()).collect();
    let x = canvas.width() - MARGIN - Font::Body.width(&text);
    canvas.text([x as isize, line + 3], Font::Body, MUTED, &text);
}
