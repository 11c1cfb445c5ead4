//! The contact sheet: a page with one row of slices an exam, its scores beside them, to be looked at before any mean is
//! believed.
//!
//! Holds pictures of the exams: never write it where git would find it (`target/evaluate` is ignored).

mod scene;

use super::Evaluated;
use super::matching::Instances;
use super::score::{ExamScore, Outcome};
use super::summary::Summary;
use super::table::{cells, in_words, remarks, spread_rows, titles};
use pipeline::{ModelCard, Structure, VertebraId};
use scene::{Picture, Scene, TRUTH_COLOUR, shown_name};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

const STYLE: &str = include_str!("sheet/style.css");
/// Digits of the weights' hash: enough to tell two releases apart, the whole is in the JSON.
const HASH_DIGITS: usize = 12;

/// A page under construction: pictures are written exam by exam, the page at the end.
#[derive(Debug)]
pub struct Sheet {
    folder: PathBuf,
    /// The exams' part of the page.
    rows: String,
    /// The table's part.
    table: String,
}

impl Sheet {
    /// Begins a page in `folder`, which is made when it is not there.
    pub fn new(folder: &Path) -> io::Result<Sheet> {
        std::fs::create_dir_all(folder)?;
        Ok(Sheet { folder: folder.to_owned(), rows: String::new(), table: String::new() })
    }

    /// Adds an exam and writes its pictures.
    pub fn add(&mut self, exam: &Evaluated) -> io::Result<()> {
        let id = &exam.score.id;
        let mut figures = String::new();
        for (n, picture) in Scene::new(exam).pictures().iter().enumerate() {
            let file = format!("{}-{n}.png", file_name(id));
            std::fs::write(self.folder.join(&file), png(picture))?;
            figures.push_str(&figure(&file, picture));
        }
        let anchor = escape(&file_name(id));
        self.rows.push_str(&format!(
            "<section id=\"{anchor}\">\n<div class=\"scores\">\n<h2>{}</h2>\n<p>{}</p>\n<p>{}</p>\n{}</div>\n\
             <div class=\"slices\">\n{figures}</div>\n</section>\n",
            escape(id),
            escape(&exam.score.contrast),
            escape(&remarks(&exam.score)),
            scores(&exam.score),
        ));
        let link = format!("<a href=\"#{anchor}\">{}</a>", escape(id));
        self.table.push_str(&row(&link, &exam.score.contrast, &cells(&exam.score)));
        Ok(())
    }

    /// Writes `index.html` and returns its path.
    pub fn finish(mut self, card: &ModelCard, summary: &Summary) -> io::Result<PathBuf> {
        for (name, cells) in spread_rows(&summary.over_exams) {
            self.table.push_str(&row(name, "", &cells));
        }
        let head: String =
            titles().iter().map(|title| format!("<th>{}</th>", escape(title))).collect();
        let hash: String = card.weights_sha256.chars().take(HASH_DIGITS).collect();
        let model = escape(&format!("{} {} ({hash})", card.name, card.version));
        let words: String =
            in_words(summary).iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>Evaluation of {model}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <h1>Evaluation of {model}</h1>\n<p class=\"legend\">{}</p>\n<ul>\n{words}</ul>\n\
             <table class=\"all\">\n<tr><th>exam</th><th></th>{head}</tr>\n{}</table>\n{}</body>\n</html>\n",
            legend(),
            self.table,
            self.rows
        );
        let path = self.folder.join("index.html");
        std::fs::write(&path, page)?;
        Ok(path)
    }
}

/// A row of the table of all exams; `name` is HTML.
fn row(name: &str, contrast: &str, cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
    format!("<tr><th>{name}</th><td>{}</td>{cells}</tr>\n", escape(contrast))
}

/// The scores beside the slices: each instance, then each structure.
fn scores(score: &ExamScore) -> String {
    if score.instances().next().is_none() && score.structures.is_empty() {
        return "<p>nothing annotated</p>\n".to_owned();
    }
    let mut rows =
        String::from("<table>\n<tr><th></th><th>Dice</th><th>ASSD mm</th><th>NSD</th></tr>\n");
    let mut add = |name: &str, agreement: &super::Agreement, worst: bool| {
        let class = if worst { " class=\"worst\"" } else { "" };
        let assd = agreement.assd_mm.map_or("-".to_owned(), |v| format!("{v:.2}"));
        let cells = [format!("{:.3}", agreement.dice), assd, format!("{:.3}", agreement.nsd)];
        let cells = cells.map(|cell| format!("<td>{cell}</td>")).concat();
        // Writing to a String cannot fail.
        let _ = writeln!(rows, "<tr{class}><th>{}</th>{cells}</tr>", escape(name));
    };
    let mut counts = String::new();
    for (kind, instances) in score.instances() {
        let least = instances.matches.values().map(|m| m.agreement.dice).fold(1.0, f64::min);
        for (id, matched) in &instances.matches {
            let name = format!("{kind} {id}{}", level(score, matched.partner));
            add(&name, &matched.agreement, matched.agreement.dice == least);
        }
        counts.push_str(&format!("<p>{}</p>\n", escape(&in_short(kind, instances))));
    }
    for (name, agreement) in &score.structures {
        add(name, agreement, false);
    }
    format!("{rows}</table>\n{counts}")
}

/// The name under which the pictures show an instance's partner.
fn level(score: &ExamScore, partner: Option<u16>) -> String {
    let id = partner.and_then(|p| u8::try_from(p).ok()).and_then(VertebraId::new);
    match (&score.outcome, id) {
        (Outcome::Segmented { numbering, .. }, Some(id)) => {
            format!(", {}", shown_name(*numbering, id))
        }
        _ => String::new(),
    }
}

fn in_short(kind: &str, instances: &Instances) -> String {
    let (found, annotated) = (instances.found(), instances.annotated());
    let (extra, quality) = (instances.spurious, instances.panoptic.quality);
    format!("{kind}: found {found}/{annotated}, extra {extra}, PQ {quality:.3}")
}

/// One slice with its caption and the names of its vertebrae.
fn figure(file: &str, picture: &Picture) -> String {
    let Picture { caption, width, height, levels, .. } = picture;
    let name = |(name, share): &(String, f64)| {
        format!("<span style=\"top: {:.1}%\">{}</span>", 100.0 * share, escape(name))
    };
    let names: String = levels.iter().map(name).collect();
    let file = escape(file);
    format!(
        "<figure><div><a href=\"{file}\"><img src=\"{file}\" width=\"{width}\" height=\"{height}\" \
         alt=\"{caption}\" loading=\"lazy\"></a>{names}</div><figcaption>{caption}</figcaption></figure>\n"
    )
}

/// What the colours mean.
fn legend() -> String {
    let swatch = |[r, g, b]: [u8; 3], name: &str| {
        format!("<span><i style=\"background: rgb({r} {g} {b})\"></i>{}</span> ", escape(name))
    };
    let predicted = Structure::ALL.map(|s| swatch(s.colour(), s.name())).concat();
    format!("{predicted}{}", swatch(TRUTH_COLOUR, "outline: annotated"))
}

/// An id as the name of a file: what is no letter or digit becomes a dash.
fn file_name(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn png(picture: &Picture) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width as u32, picture.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(picture.pixels.as_flattened()))
        .expect("memory takes any picture of the announced size");
    bytes
}
