//! Reads a model card (TOML) into [`ModelCard`]: unknown keys refused, every value checked once,
//! errors name file and key. The file format is described by the cards in `models/weights`.

mod instance;
mod patch;

pub use instance::InstanceFile;
pub use patch::PatchFile;

use pipeline::card::{Class, Normalisation};
use pipeline::{ModelCard, Structure};
use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// A card that cannot be used; the move is the site's: install card and weights of one release.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CardError {
    #[error("model card {file}, line {line}: {message}")]
    Syntax { file: String, line: usize, message: String },
    #[error("model card {file}, key {key}: {message}")]
    Value { file: String, key: &'static str, message: String },
}

/// What a card says beyond what the pipeline needs: for people, never for a decision of the
/// program.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub status: String,
    pub intended_use: String,
    pub origin: String,
    pub licence: String,
    pub training: Training,
    /// What the scores below were measured on and how.
    pub scores_note: String,
    /// Scores on development exams, by name.
    pub scores: BTreeMap<String, f64>,
    pub known_faults: Vec<String>,
}

/// How the weights were made, so that somebody can make them again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    pub data: String,
    /// As typed in the root of the repository.
    pub command: String,
    /// Of the anatomies, and of weights and painting.
    pub seeds: String,
    /// Git's hash of the folder `models/phantom` that drew the anatomies: `git rev-parse COMMIT:models/phantom`.
    pub generator: String,
    pub steps: u64,
    pub hours: f64,
    /// The machine, and what else there is to know.
    pub note: String,
}

/// The int8 form of a net, which lies beside its weights as `NAME.int8.onnx`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Int8Form {
    pub weights_sha256: String,
    /// Mean Dice lost against the weights it was made from, on patients that neither was made from.
    pub dice_lost: f64,
}

/// A checked card.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    pub model: ModelCard,
    pub int8: Option<Int8Form>,
    pub about: About,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardFile {
    name: String,
    version: String,
    weights_sha256: String,
    int8: Option<Int8Form>,
    input: InputTable,
    classes: Vec<ClassTable>,
    about: About,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    context: usize,
    multiple_of: usize,
    in_plane_mm: f64,
    slice_pitch_mm: [f64; 2],
    mirror_slices: bool,
    normalisation: NormalisationTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NormalisationTable {
    low_percentile: f64,
    high_percentile: f64,
    foreground: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassTable {
    name: String,
    structures: Vec<u8>,
}

/// Most neighbours on one side: the streaming path waits for that many slices.
const MAX_CONTEXT: usize = 8;
/// Most rows or columns a net may want its input rounded to: beyond, padding would outweigh the
/// image.
const MAX_MULTIPLE: usize = 256;
/// Millimetres that a pixel or a slice pitch of a spine exam can have.
const MILLIMETRES: std::ops::RangeInclusive<f64> = 0.1..=20.0;

impl Card {
    /// Parses and checks `text`; `file` names it in errors.
    pub fn parse(text: &str, file: &str) -> Result<Card, CardError> {
        let card: CardFile = toml::from_str(text).map_err(|e| syntax(text, file, &e))?;
        let fault =
            |key, message: String| Err(CardError::Value { file: file.to_owned(), key, message });
        if let Err(message) = checked_hash(&card.weights_sha256) {
            return fault("weights_sha256", message);
        }
        if let Err(message) = card.int8.as_ref().map_or(Ok(()), Int8Form::check) {
            return fault("int8", message);
        }
        if card.name.is_empty() || card.version.is_empty() {
            return fault("name", "name and version must not be empty".to_owned());
        }
        let input = &card.input;
        if input.context > MAX_CONTEXT {
            return fault("input.context", format!("{} is more than {MAX_CONTEXT}", input.context));
        }
        if !(1..=MAX_MULTIPLE).contains(&input.multiple_of) {
            let message = format!("{} is not in 1..={MAX_MULTIPLE}", input.multiple_of);
            return fault("input.multiple_of", message);
        }
        if !MILLIMETRES.contains(&input.in_plane_mm) {
            let message = format!("{} mm is not in {MILLIMETRES:?}", input.in_plane_mm);
            return fault("input.in_plane_mm", message);
        }
        let [low, high] = input.slice_pitch_mm;
        if !MILLIMETRES.contains(&low) || !MILLIMETRES.contains(&high) || low > high {
            let message = format!("[{low}, {high}] mm is not a range in {MILLIMETRES:?}");
            return fault("input.slice_pitch_mm", message);
        }
        let normalisation = match normalisation(&input.normalisation) {
            Ok(normalisation) => normalisation,
            Err(message) => return fault("input.normalisation", message),
        };
        let classes = match classes(&card.classes) {
            Ok(classes) => classes,
            Err(message) => return fault("classes", message),
        };
        let model = ModelCard {
            name: card.name,
            version: card.version,
            weights_sha256: card.weights_sha256,
            context: input.context,
            multiple_of: input.multiple_of,
            in_plane_mm: input.in_plane_mm,
            slice_pitch_mm: input.slice_pitch_mm,
            normalisation,
            mirror_slices: input.mirror_slices,
            classes,
        };
        Ok(Card { model, int8: card.int8, about: card.about })
    }
}

/// Most Dice that an int8 form may lose: a tenth of what annotators differ by is not noticed.
const MOST_DICE_LOST: f64 = 0.002;

impl Int8Form {
    fn check(&self) -> Result<(), String> {
        checked_hash(&self.weights_sha256)?;
        // A gain is welcome, NaN is none.
        if self.dice_lost <= MOST_DICE_LOST {
            return Ok(());
        }
        Err(format!("loses {} of Dice, at most {MOST_DICE_LOST} are allowed", self.dice_lost))
    }
}

fn checked_hash(hash: &str) -> Result<(), String> {
    if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("not 64 lower-case hexadecimal digits".to_owned());
    }
    Ok(())
}

/// One line instead of the parser's drawing; the quoted source line names the key.
fn syntax(text: &str, file: &str, error: &toml::de::Error) -> CardError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..start].iter().filter(|&&b| b == b'\n').count();
    let source = text.lines().nth(line).unwrap_or_default().trim();
    let message = format!("{} (at `{source}`)", error.message().replace('\n', " "));
    CardError::Syntax { file: file.to_owned(), line: line + 1, message }
}

fn normalisation(table: &NormalisationTable) -> Result<Normalisation, String> {
    let NormalisationTable { low_percentile, high_percentile, foreground } = *table;
    if !(0.0 <= low_percentile && low_percentile < high_percentile && high_percentile <= 100.0) {
        return Err(format!("percentiles {low_percentile} and {high_percentile} are no range"));
    }
    if !(0.0..1.0).contains(&foreground) {
        return Err(format!("foreground {foreground} is not in 0..1"));
    }
    Ok(Normalisation { low_percentile, high_percentile, foreground })
}

/// Class 0 is the background and nothing else is; every structure belongs to at most one class.
fn classes(tables: &[ClassTable]) -> Result<Vec<Class>, String> {
    let mut seen = Vec::new();
    let mut classes = Vec::with_capacity(tables.len());
    for (channel, table) in tables.iter().enumerate() {
        let mut structures = Vec::new();
        for &value in &table.structures {
            let structure = Structure::from_value(value)
                .ok_or_else(|| format!("{} has the unknown structure {value}", table.name))?;
            if seen.contains(&structure) {
                return Err(format!("structure {value} belongs to two classes"));
            }
            seen.push(structure);
            structures.push(structure);
        }
        classes.push(match (channel, structures.as_slice()) {
            (0, []) => Class::Background,
            (1.., &[one]) => Class::Single(one),
            (1.., &[left, right]) => Class::Paired(left, right),
            _ => {
                let count = structures.len();
                return Err(format!("class {channel} ({}) has {count} structures", table.name));
            }
        });
    }
    if classes.len() < 2 {
        return Err(format!("{} classes, at least background and one more", classes.len()));
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../weights/semantic.toml");

    /// The error of the shipped card after a replacement.
    fn refusal(from: &str, to: &str) -> String {
        assert!(SHIPPED.contains(from), "{from}");
        Card::parse(&SHIPPED.replacen(from, to, 1), "a.toml").unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_card_is_read() {
        let card = Card::parse(SHIPPED, "semantic.toml").unwrap();
        let model = card.model;
        assert_eq!((model.context, model.multiple_of, model.classes.len()), (2, 32, 12));
        assert_eq!(model.classes[0], Class::Background);
        assert_eq!(model.classes[6], Class::Single(Structure::VertebralBody));
        let left = Structure::TransverseProcessLeft;
        assert_eq!(model.classes[3], Class::Paired(left, Structure::TransverseProcessRight));
        assert!(!card.about.known_faults.is_empty());
        let training = card.about.training;
        assert!(training.generator.len() == 40 && training.steps > 0 && training.hours > 0.0);
    }

    #[test]
    fn syntax_errors_name_file_line_and_key() {
        let text = refusal("context = 2", "context = 2\ncontekst = 3");
        assert!(text.starts_with("model card a.toml, line "), "{text}");
        assert!(text.contains("unknown field `contekst`"), "{text}");
        let text = refusal("context = 2", "context = \"two\"");
        assert!(text.contains("context = \"two\"") && !text.contains('\n'), "{text}");
        let text = refusal("multiple_of = 32\n", "");
        assert!(text.contains("missing field `multiple_of`"), "{text}");
    }

    #[test]
    fn impossible_values_name_their_key() {
        let expect = |from: &str, to: &str, want: &str| {
            assert_eq!(refusal(from, to), format!("model card a.toml, key {want}"));
        };
        expect("context = 2", "context = 9", "input.context: 9 is more than 8");
        expect(
            "in_plane_mm = 1.0",
            "in_plane_mm = nan",
            "input.in_plane_mm: NaN mm is not in 0.1..=20.0",
        );
        expect(
            "low_percentile = 0.5",
            "low_percentile = 99.9",
            "input.normalisation: percentiles 99.9 and 99.5 are no range",
        );
        expect(
            "structures = [49]",
            "structures = [50]",
            "classes: vertebral body has the unknown structure 50",
        );
        expect(
            "structures = [49]",
            "structures = [62]",
            "classes: structure 62 belongs to two classes",
        );
        expect(
            "structures = [49]",
            "structures = []",
            "classes: class 6 (vertebral body) has 0 structures",
        );
    }

    #[test]
    fn an_int8_form_is_read_and_one_that_loses_too_much_is_refused() {
        let hash = "0a".repeat(32);
        let with = |hash: &str, lost: f64| {
            let mut card: toml::Table = SHIPPED.parse().unwrap();
            let form = card["int8"].as_table_mut().unwrap();
            form["weights_sha256"] = hash.into();
            form["dice_lost"] = lost.into();
            card.to_string()
        };
        let card = Card::parse(&with(&hash, 0.002), "a.toml").unwrap();
        assert_eq!(card.int8, Some(Int8Form { weights_sha256: hash.clone(), dice_lost: 0.002 }));
        let refusal = |card: String| Card::parse(&card, "a.toml").unwrap_err().to_string();
        let text = refusal(with(&hash, 0.0021));
        assert!(
            text.ends_with("key int8: loses 0.0021 of Dice, at most 0.002 are allowed"),
            "{text}"
        );
        let text = refusal(with(&hash, f64::NAN));
        assert!(text.contains("key int8: loses NaN"), "{text}");
        let text = refusal(with("0A", 0.0));
        assert!(text.ends_with("key int8: not 64 lower-case hexadecimal digits"), "{text}");
    }
}
