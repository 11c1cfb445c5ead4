//! The report as a table for people: a row an exam, then mean, median and worst, structures, and counts in words.
//!
//! Rows are made one by one, so that they can be shown as exams are done. The contact sheet has the same columns.

use super::score::{ExamScore, Outcome};
use super::spread::Spread;
use super::summary::{Spreads, Summary};
use std::collections::BTreeMap;

/// A column after the exam's name and contrast.
struct Column {
    /// Heading above this and the following columns without one of their own.
    group: &'static str,
    title: &'static str,
    width: usize,
    cell: Cell,
}

/// What a column shows.
enum Cell {
    /// A figure with so many decimals, also as mean, median and worst.
    Figure(&'static str, usize),
    /// As [`Cell::Figure`], a share in per cent.
    Percent(&'static str),
    /// What only an exam has.
    Exam(fn(&ExamScore) -> String),
}

/// Mean, median or worst.
type Which = fn(Spread) -> f64;

/// Stands where there is nothing to show.
const NOTHING: &str = "-";

const COLUMNS: [Column; 14] = [
    Column { group: "bodies", title: "Dice", width: 6, cell: Cell::Figure("body_dice_mean", 3) },
    Column { group: "", title: "worst", width: 6, cell: Cell::Figure("body_dice_worst", 3) },
    Column { group: "", title: "ASSD", width: 6, cell: Cell::Figure("body_assd_mm_mean", 2) },
    Column { group: "", title: "NSD", width: 6, cell: Cell::Figure("body_nsd_1mm_mean", 3) },
    Column { group: "", title: "PQ", width: 6, cell: Cell::Figure("body_pq", 3) },
    Column { group: "", title: "found", width: 6, cell: Cell::Exam(found) },
    Column { group: "", title: "extra", width: 6, cell: Cell::Exam(extra) },
    Column { group: "", title: "count", width: 6, cell: Cell::Exam(count) },
    Column { group: "discs", title: "Dice", width: 7, cell: Cell::Figure("disc_dice_mean", 3) },
    Column { group: "", title: "ASSD", width: 6, cell: Cell::Figure("disc_assd_mm_mean", 2) },
    Column { group: "cord", title: "Dice", width: 7, cell: Cell::Figure("spinal_cord_dice", 3) },
    Column { group: "", title: "ASSD", width: 6, cell: Cell::Figure("spinal_cord_assd_mm", 2) },
    Column { group: "spine", title: "off %", width: 7, cell: Cell::Percent("off_spine_fraction") },
    Column { group: "segment", title: "time", width: 9, cell: Cell::Exam(time) },
];

fn found(score: &ExamScore) -> String {
    of(score.bodies.as_ref().map(|b| [b.found(), b.annotated()]))
}

fn extra(score: &ExamScore) -> String {
    score.bodies.as_ref().map_or(NOTHING.to_owned(), |b| b.spurious.to_string())
}

fn count(score: &ExamScore) -> String {
    of(score.bodies.as_ref().map(|b| [b.predicted, b.annotated()]))
}

fn time(score: &ExamScore) -> String {
    format!("{:.1} s", score.seconds)
}

fn of(pair: Option<[usize; 2]>) -> String {
    pair.map_or(NOTHING.to_owned(), |[part, of]| format!("{part}/{of}"))
}

impl Cell {
    /// What stands in the row of an exam, whose figures are `figures`.
    fn of_exam(&self, score: &ExamScore, figures: &BTreeMap<String, f64>) -> String {
        match self {
            Cell::Exam(show) => show(score),
            Cell::Figure(key, _) | Cell::Percent(key) => self.number(figures.get(*key).copied()),
        }
    }

    /// What stands in a row of means, medians or worsts.
    fn of_exams(&self, spreads: &Spreads, which: Which) -> String {
        match self {
            Cell::Exam(_) => String::new(),
            Cell::Figure(key, _) | Cell::Percent(key) => {
                self.number(spreads.get(*key).map(|&spread| which(spread)))
            }
        }
    }

    fn number(&self, value: Option<f64>) -> String {
        let Some(value) = value else { return NOTHING.to_owned() };
        match self {
            Cell::Percent(_) => format!("{:.2}", 100.0 * value),
            Cell::Figure(_, decimals) => format!("{value:.decimals$}"),
            Cell::Exam(_) => String::new(),
        }
    }
}

/// What was special about an exam.
pub(super) fn remarks(score: &ExamScore) -> String {
    let mut remarks = match &score.outcome {
        Outcome::Segmented { flags, .. } => flags.iter().map(code).collect(),
        Outcome::Refused(refusal) => vec![format!("refused: {}", code(&refusal.code))],
        Outcome::Failed(text) => vec![format!("failed: {text}")],
    };
    if score.sacrum_found == Some(false) {
        remarks.push("sacrum missed".to_owned());
    }
    if !score.primary {
        remarks.push("not in the summary".to_owned());
    }
    remarks.join(", ")
}

/// The name by which reports and messages call a flag or a refusal.
fn code(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_value(value).ok();
    text.as_ref().and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned()
}

/// The titles of the columns, with their group's name, for other forms of the table.
pub(super) fn titles() -> Vec<String> {
    let mut group = "";
    let title = |column: &Column| {
        group = if column.group.is_empty() { group } else { column.group };
        format!("{group} {}", column.title)
    };
    COLUMNS.iter().map(title).collect()
}

/// The cells of an exam's row, in the order of [`titles`].
pub(super) fn cells(score: &ExamScore) -> Vec<String> {
    let figures = score.figures();
    COLUMNS.iter().map(|column| column.cell.of_exam(score, &figures)).collect()
}

/// The rows below the exams: what they are, and cells in the order of [`titles`].
pub(super) fn spread_rows(spreads: &Spreads) -> Vec<(&'static str, Vec<String>)> {
    let rows: [(&str, Which); 3] =
        [("mean", |s| s.mean), ("median", |s| s.median), ("worst", |s| s.worst)];
    let cells = |which| COLUMNS.iter().map(|c| c.cell.of_exams(spreads, which)).collect();
    rows.into_iter().map(|(name, which)| (name, cells(which))).collect()
}

/// The table on a terminal, whose first column fits the exams' ids.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    id_width: usize,
}

/// Room for the name of a contrast.
const CONTRAST_WIDTH: usize = 5;
/// Room for `median` and the like in the first column.
const LEAST_ID_WIDTH: usize = 12;

impl Table {
    pub fn new<'a>(ids: impl Iterator<Item = &'a str>) -> Table {
        let longest = ids.map(|id| id.chars().count()).max().unwrap_or(0);
        Table { id_width: longest.max(LEAST_ID_WIDTH) }
    }

    /// Two lines: groups and titles. Distances are in millimetres.
    pub fn head(&self) -> String {
        let titles = COLUMNS.iter().map(|column| column.title.to_owned()).collect();
        format!("{}\n{}", self.groups(), self.line("exam", "", titles, "remarks"))
    }

    /// Each group's name above the title of its first column.
    fn groups(&self) -> String {
        let mut text = String::new();
        let mut end = self.id_width + 1 + CONTRAST_WIDTH;
        for column in &COLUMNS {
            end += column.width;
            if !column.group.is_empty() {
                let start = end - column.title.len();
                text = format!("{text:<start$}{}", column.group);
            }
        }
        text
    }

    pub fn row(&self, score: &ExamScore) -> String {
        self.line(&score.id, &score.contrast, cells(score), &remarks(score))
    }

    /// Everything below the rows.
    pub fn foot(&self, scores: &[ExamScore], summary: &Summary) -> String {
        let mut lines = vec![String::new()];
        lines.extend(self.spreads("", &summary.over_exams));
        for (contrast, (_, spreads)) in &summary.by_contrast {
            lines.push(String::new());
            lines.extend(self.spreads(contrast, spreads));
        }
        // A cord alone has its columns above.
        lines.extend(scores.iter().filter(|s| s.structures.len() > 1).flat_map(structures));
        lines.push(String::new());
        lines.extend(in_words(summary));
        lines.join("\n")
    }

    fn spreads(&self, contrast: &str, spreads: &Spreads) -> Vec<String> {
        let rows = spread_rows(spreads).into_iter();
        rows.map(|(name, cells)| self.line(name, contrast, cells, "")).collect()
    }

    fn line(&self, id: &str, contrast: &str, cells: Vec<String>, remarks: &str) -> String {
        let mut line = format!("{id:<0$} {contrast:<CONTRAST_WIDTH$}", self.id_width);
        let widths = COLUMNS.iter().map(|column| column.width);
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(&format!("{cell:>width$}"));
        }
        format!("{line}  {remarks}").trim_end().to_owned()
    }
}

/// The structures of one exam.
fn structures(score: &ExamScore) -> Vec<String> {
    let head = format!("structures of {}", score.id);
    let mut lines =
        vec![String::new(), format!("{head:<36}{:>6}{:>7}{:>7}", "Dice", "ASSD", "NSD")];
    for (name, agreement) in &score.structures {
        let assd = agreement.assd_mm.map_or(NOTHING.to_owned(), |v| format!("{v:.2}"));
        lines.push(format!("{name:<36}{:>6.3}{assd:>7}{:>7.3}", agreement.dice, agreement.nsd));
    }
    lines
}

/// What is counted and not averaged.
pub(super) fn in_words(summary: &Summary) -> Vec<String> {
    let Summary { exams, refused, failed, flagged, bodies_spurious, .. } = summary;
    let part = |what: &str, [part, of]: [usize; 2]| match of {
        0 => format!("{what}: not annotated"),
        _ => format!("{what}: {part} of {of}"),
    };
    let [found, annotated] = summary.bodies_found;
    vec![
        format!("primary exams: {exams}, refused {refused}, failed {failed}, flagged {flagged}"),
        format!(
            "bodies: {found} of {annotated} found, {} missed, {bodies_spurious} where none is annotated",
            annotated - found
        ),
        part("exams with the exact count of bodies", summary.count_exact),
        part("S1 called sacrum", summary.sacrum_found),
        part("levels right, where known", summary.levels),
        "Dice, NSD (at 1 mm), PQ: 1 is best; ASSD in millimetres".to_owned(),
    ]
}
