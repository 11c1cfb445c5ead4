//! A card and its weights, found together and checked against each other: embedded in the binary,
//! or from a folder.
//!
//! What a [`Weights`] holds fits: hash, channels, and what the training wrote into the weights about
//! classes and grid agree. Running it is `engine`'s matter.

mod patch;

pub use patch::PatchWeights;

use crate::card::{About, Card, CardError, InstanceFile, Int8Form};
use crate::onnx::{Graph, MAX_BYTES, OnnxError};
use pipeline::card::Class;
use pipeline::{InstanceCard, ModelCard, Structure};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The shipped semantic net, byte for byte as in `models/weights`.
pub const SEMANTIC_ONNX: &[u8] = include_bytes!("../weights/semantic.onnx");
/// Its card.
pub const SEMANTIC_CARD: &str = include_str!("../weights/semantic.toml");

/// The shipped instance net, byte for byte as in `models/weights`.
pub const INSTANCE_ONNX: &[u8] = include_bytes!("../weights/instance.onnx");
/// Its card.
pub const INSTANCE_CARD: &str = include_str!("../weights/instance.toml");

/// The int8 forms of both, as the cards name them.
pub const SEMANTIC_INT8_ONNX: &[u8] = include_bytes!("../weights/semantic.int8.onnx");
pub const INSTANCE_INT8_ONNX: &[u8] = include_bytes!("../weights/instance.int8.onnx");

/// Name of the semantic net's files without ending.
pub const SEMANTIC: &str = "semantic";
/// Name of the instance net's files without ending.
pub const INSTANCE: &str = "instance";

/// Which form of the weights is taken; it says in what numbers an engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In floats, as the nets were trained.
    Float,
    /// In whole numbers, as far as a net's int8 form goes.
    Int8,
}

impl Form {
    /// The file of a net's weights.
    fn file(self, name: &str) -> String {
        match self {
            Form::Float => format!("{name}.onnx"),
            Form::Int8 => format!("{name}.int8.onnx"),
        }
    }

    /// Reads it from beside a card; an int8 form may be missing there, whatever the card says.
    fn read(self, folder: &Path, name: &str, card: &File) -> Result<File, ModelError> {
        use std::io::ErrorKind::NotFound;
        match (self, File::read(folder, &self.file(name))) {
            (Form::Int8, Err(ModelError::Read { source, .. })) if source.kind() == NotFound => {
                Err(ModelError::NoInt8(card.name.clone()))
            }
            (_, read) => read,
        }
    }

    /// The SHA-256 that a card gives for this form.
    fn hash(self, float: &str, int8: Option<Int8Form>, card: &str) -> Result<String, ModelError> {
        match (self, int8) {
            (Form::Float, _) => Ok(float.to_owned()),
            (Form::Int8, Some(form)) => Ok(form.weights_sha256),
            (Form::Int8, None) => Err(ModelError::NoInt8(card.to_owned())),
        }
    }
}

/// Why a model cannot be used. The move is the site's (another file, another setting); for the
/// embedded model it is ours, for the tests load it.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("cannot read model file {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Card(#[from] CardError),
    #[error("weights {file}: {source}")]
    Weights { file: String, source: OnnxError },
    #[error(
        "weights {file}: the card says {what} {card}, the weights have {weights}; install card \
         and weights of one release"
    )]
    Mismatch { file: String, what: &'static str, card: String, weights: String },
    #[error("weights {file} cannot run on the engine: {what}")]
    Unsupported { file: String, what: String },
    #[error("{0} has no int8 form; ask for float, or install weights that have one")]
    NoInt8(String),
    #[error("engine \"{0}\" is not known; this version has: auto, tensorrt, cuda, simd")]
    UnknownEngine(String),
}

/// A network with its card, checked. The SHA-256 in the card is that of the form at hand.
#[derive(Debug, Clone)]
pub struct Weights<C = ModelCard> {
    /// Names the weights in errors: a path, or the name of the embedded file.
    pub file: String,
    pub card: C,
    pub about: About,
    pub graph: Graph,
}

impl Weights {
    /// The shipped semantic net.
    pub fn embedded() -> Result<Weights, ModelError> {
        Self::embedded_in(Form::Float)
    }

    pub fn embedded_in(form: Form) -> Result<Weights, ModelError> {
        let onnx = built_in(form, SEMANTIC, SEMANTIC_ONNX, SEMANTIC_INT8_ONNX);
        Self::check(SEMANTIC_CARD, "semantic.toml (built in)", form, &onnx)
    }

    /// `NAME.toml`, and beside it `NAME.onnx` or `NAME.int8.onnx`.
    pub fn from_folder(folder: &Path, name: &str, form: Form) -> Result<Weights, ModelError> {
        let card = File::read(folder, &format!("{name}.toml"))?;
        let onnx = form.read(folder, name, &card)?;
        Self::check(&card.text()?, &card.name, form, &onnx)
    }

    fn check(card: &str, card_file: &str, form: Form, onnx: &File) -> Result<Weights, ModelError> {
        let Card { mut model, int8, about } = Card::parse(card, card_file)?;
        model.weights_sha256 = form.hash(&model.weights_sha256, int8, card_file)?;
        let hash = model.weights_sha256.clone();
        matched(model, about, &hash, onnx)
    }
}

impl Weights<InstanceCard> {
    /// The shipped instance net.
    pub fn embedded_instance() -> Result<Weights<InstanceCard>, ModelError> {
        Self::embedded_instance_in(Form::Float)
    }

    pub fn embedded_instance_in(form: Form) -> Result<Weights<InstanceCard>, ModelError> {
        let onnx = built_in(form, INSTANCE, INSTANCE_ONNX, INSTANCE_INT8_ONNX);
        Self::check_instance(INSTANCE_CARD, "instance.toml (built in)", form, &onnx)
    }

    /// `NAME.toml`, and beside it `NAME.onnx` or `NAME.int8.onnx`.
    pub fn instance_from_folder(
        folder: &Path,
        name: &str,
        form: Form,
    ) -> Result<Weights<InstanceCard>, ModelError> {
        let card = File::read(folder, &format!("{name}.toml"))?;
        let onnx = form.read(folder, name, &card)?;
        Self::check_instance(&card.text()?, &card.name, form, &onnx)
    }

    fn check_instance(
        card: &str,
        card_file: &str,
        form: Form,
        onnx: &File,
    ) -> Result<Weights<InstanceCard>, ModelError> {
        let InstanceFile { mut model, int8, about } = InstanceFile::parse(card, card_file)?;
        model.weights_sha256 = form.hash(&model.weights_sha256, int8, card_file)?;
        let hash = model.weights_sha256.clone();
        matched(model, about, &hash, onnx)
    }
}

/// What weights and engine must know of a card.
pub trait Shape {
    fn input_channels(&self) -> usize;

    fn output_channels(&self) -> usize;

    /// Rows and columns must be multiples of this.
    fn multiple_of(&self) -> usize;

    /// What the training writes into the weights' metadata, and what it must say: key and text.
    fn described(&self) -> Vec<(&'static str, String)>;
}

impl Shape for ModelCard {
    fn input_channels(&self) -> usize {
        2 * self.context + 1
    }

    fn output_channels(&self) -> usize {
        self.classes.len()
    }

    fn multiple_of(&self) -> usize {
        self.multiple_of
    }

    /// For example `;41;43,44` and `1 mm`.
    fn described(&self) -> Vec<(&'static str, String)> {
        let classes = self.classes.iter().map(|class| match *class {
            Class::Background => String::new(),
            Class::Single(one) => values(&[one]),
            Class::Paired(left, right) => values(&[left, right]),
        });
        let classes = classes.collect::<Vec<_>>().join(";");
        vec![("classes", classes), ("grid", format!("{} mm", self.in_plane_mm))]
    }
}

impl Shape for InstanceCard {
    fn input_channels(&self) -> usize {
        InstanceCard::input_channels(self)
    }

    fn output_channels(&self) -> usize {
        InstanceCard::output_channels(self)
    }

    /// The largest power of two that divides rows and columns of the cutout.
    fn multiple_of(&self) -> usize {
        let [columns, rows, _] = self.window.counts;
        1 << (columns | rows).trailing_zeros()
    }

    /// For example `49,62;100;41`, `2,3,4` and `80 x 96 x 20 of 1.5 x 1.5 x 4 mm, centre behind 24 columns`.
    fn described(&self) -> Vec<(&'static str, String)> {
        let groups: Vec<String> = self.groups.iter().map(|group| values(group)).collect();
        let [columns, rows, slices] = self.window.counts;
        let [x, y, z] = self.window.spacing_mm;
        let before = self.window.columns_before;
        let grid = format!(
            "{columns} x {rows} x {slices} of {x} x {y} x {z} mm, centre behind {before} columns"
        );
        let levels: Vec<String> = self.levels.iter().map(|id| id.value().to_string()).collect();
        vec![("classes", groups.join(";")), ("grid", grid), ("levels", levels.join(","))]
    }
}

/// Structures by their values in the semantic mask.
fn values(structures: &[Structure]) -> String {
    let values: Vec<String> = structures.iter().map(|s| s.value().to_string()).collect();
    values.join(",")
}

/// Compares a card with its weights.
fn matched<C: Shape>(
    card: C,
    about: About,
    hash: &str,
    onnx: &File,
) -> Result<Weights<C>, ModelError> {
    let file = onnx.name.as_str();
    let agree = |what, card, weights| agree(file, what, card, weights);
    agree("SHA-256", hash.to_owned(), sha256(&onnx.bytes))?;
    let graph = Graph::read(&onnx.bytes)
        .map_err(|source| ModelError::Weights { file: file.to_owned(), source })?;
    let counts = [card.input_channels(), card.output_channels()].map(|n| n.to_string());
    let [inputs, outputs] = counts;
    agree("input channels", inputs, graph.input_channels.to_string())?;
    agree("class count", outputs, graph.output_channels.to_string())?;
    for (key, said) in card.described() {
        // Weights of the first release say nothing about themselves.
        if let Some(written) = graph.metadata.get(key) {
            agree(key, said, written.clone())?;
        }
    }
    Ok(Weights { file: file.to_owned(), card, about, graph })
}

/// Whether card and weights say the same of `what`.
fn agree(file: &str, what: &'static str, card: String, weights: String) -> Result<(), ModelError> {
    if card == weights {
        return Ok(());
    }
    Err(ModelError::Mismatch { file: file.to_owned(), what, card, weights })
}

/// A file as read, or as it is built in.
struct File {
    /// Its path, or what it is called in errors.
    name: String,
    bytes: Cow<'static, [u8]>,
}

impl File {
    /// The whole file, but never more than one byte beyond [`MAX_BYTES`], which its reader then
    /// refuses.
    fn read(folder: &Path, file: &str) -> Result<File, ModelError> {
        let path = folder.join(file);
        let mut bytes = Vec::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        Ok(File { name: path.display().to_string(), bytes: Cow::Owned(bytes) })
    }

    fn text(&self) -> Result<String, ModelError> {
        String::from_utf8(self.bytes.to_vec()).map_err(|e| ModelError::Read {
            path: PathBuf::from(&self.name),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, e),
        })
    }
}

/// One of the forms of a net in the binary.
fn built_in(form: Form, net: &str, float: &'static [u8], int8: &'static [u8]) -> File {
    let bytes = match form {
        Form::Float => float,
        Form::Int8 => int8,
    };
    let name = format!("{} (built in)", form.file(net));
    File { name, bytes: Cow::Borrowed(bytes) }
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metadata of an int8 form: the SHA-256 of the weights it was made from (`train/quantise.py`).
    const FLOAT_SHA256: &str = "float_sha256";

    fn file(bytes: &[u8]) -> File {
        File { name: "a.onnx".to_owned(), bytes: Cow::Owned(bytes.to_vec()) }
    }

    fn error(card: &str, onnx: &[u8]) -> String {
        let checked = Weights::check(card, "a.toml", Form::Float, &file(onnx));
        checked.unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_pair_fits_and_is_small() {
        let weights = Weights::embedded().unwrap();
        assert_eq!((weights.graph.input_channels, weights.graph.output_channels), (5, 12));
        assert!(SEMANTIC_ONNX.len() < 4_000_000, "budget of the CPU-tier net");
    }

    #[test]
    fn a_changed_byte_is_a_hash_mismatch_with_both_values() {
        let mut onnx = SEMANTIC_ONNX.to_vec();
        onnx[1_000_000] ^= 1;
        let text = error(SEMANTIC_CARD, &onnx);
        let hash = Weights::embedded().unwrap().card.weights_sha256;
        let start = format!("weights a.onnx: the card says SHA-256 {hash}, the weights have ");
        assert!(text.starts_with(&start) && text.contains(&sha256(&onnx)), "{text}");
    }

    #[test]
    fn channels_and_classes_are_compared() {
        let card = SEMANTIC_CARD.replace("context = 2", "context = 1");
        let text = error(&card, SEMANTIC_ONNX);
        assert!(text.contains("input channels 3, the weights have 5"), "{text}");
        let sacrum = "[[classes]]\nname = \"sacrum\"\nstructures = [26]\n";
        assert!(SEMANTIC_CARD.contains(sacrum));
        let text = error(&SEMANTIC_CARD.replace(sacrum, ""), SEMANTIC_ONNX);
        assert!(text.contains("class count 11, the weights have 12"), "{text}");
    }

    fn instance_error(from: &str, to: &str) -> String {
        assert!(INSTANCE_CARD.contains(from), "{from}");
        let card = INSTANCE_CARD.replacen(from, to, 1);
        let onnx = file(INSTANCE_ONNX);
        let error = Weights::check_instance(&card, "a.toml", Form::Float, &onnx);
        error.unwrap_err().to_string()
    }

    #[test]
    fn the_instance_pair_fits_is_small_and_says_what_it_is() {
        let weights = Weights::embedded_instance().unwrap();
        assert!(INSTANCE_ONNX.len() < 4_000_000, "budget of the instance net");
        for (key, said) in weights.card.described() {
            assert_eq!(weights.graph.metadata[key], said);
        }
        assert_eq!(weights.card.multiple_of(), 16);
    }

    #[test]
    fn a_card_of_other_hash_shape_classes_or_grid_is_refused_with_both_values() {
        let hash = Weights::embedded_instance().unwrap().card.weights_sha256;
        let other = format!("{}{}", &hash[1..], &hash[..1]);
        let text = instance_error(&hash, &other);
        assert!(text.contains(&format!("SHA-256 {other}, the weights have {hash}")), "{text}");
        let text = instance_error("slices = 20", "slices = 19");
        assert!(text.contains("input channels 171, the weights have 180"), "{text}");
        let text = instance_error("in_plane_mm = 1.5", "in_plane_mm = 1.0");
        let grids = "grid 80 x 96 x 20 of 1 x 1 x 4 mm, centre behind 24 columns, the weights have \
                     80 x 96 x 20 of 1.5 x 1.5 x 4 mm, centre behind 24 columns";
        assert!(text.contains(grids), "{text}");
        let text = instance_error("levels = [2, 3, 4", "levels = [2, 4, 3");
        assert!(text.contains("levels 2,4,3") && text.contains("weights have 2,3,4"), "{text}");
        let text = instance_error("structures = [100]", "structures = []\n#");
        assert!(text.contains("group disc has no structure"), "{text}");
        let text = instance_error("structures = [60, 61]", "structures = [60]");
        let classes = "45,46;47,48;26;60, the weights have 49,62;100;41";
        assert!(text.contains(classes), "{text}");
    }

    #[test]
    fn what_semantic_weights_say_of_themselves_is_compared() {
        let card = Weights::embedded().unwrap().card;
        let classes = ";41;42;43,44;45,46;47,48;49;62;100;60;61;26";
        let want = [("classes", classes), ("grid", "1 mm")];
        assert_eq!(card.described(), want.map(|(key, text)| (key, text.to_owned())));
    }

    #[test]
    fn a_folder_gives_the_same_weights_and_a_missing_file_its_path() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
        let from = |name| Weights::from_folder(&folder, name, Form::Float);
        let weights = from(SEMANTIC).unwrap();
        assert_eq!(weights.graph, Weights::embedded().unwrap().graph);
        let text = from("absent").unwrap_err().to_string();
        assert!(text.contains("absent.toml"), "{text}");
    }

    #[test]
    fn an_int8_form_goes_by_the_hash_that_the_card_has_for_it() {
        let form = file(SEMANTIC_INT8_ONNX);
        let check = |card: &str| Weights::check(card, "a.toml", Form::Int8, &form);
        let hash = sha256(SEMANTIC_INT8_ONNX);
        assert_eq!(check(SEMANTIC_CARD).unwrap().card.weights_sha256, hash);
        let text = check(&SEMANTIC_CARD.replace(&hash, &"0".repeat(64))).unwrap_err().to_string();
        assert!(text.contains("the card says SHA-256 000"), "{text}");
        let mut card: toml::Table = SEMANTIC_CARD.parse().unwrap();
        card.remove("int8").unwrap();
        let text = check(&card.to_string()).unwrap_err().to_string();
        assert!(text.starts_with("a.toml has no int8 form; ask for float"), "{text}");
    }

    #[test]
    fn the_shipped_int8_forms_are_whole_numbers_made_from_the_shipped_weights() {
        let semantic = Weights::embedded_in(Form::Int8).unwrap().graph;
        let instance = Weights::embedded_instance_in(Form::Int8).unwrap().graph;
        let floats = [SEMANTIC_ONNX, INSTANCE_ONNX];
        for (graph, float) in [semantic, instance].into_iter().zip(floats) {
            assert!(graph.quantised());
            assert_eq!(
                graph.metadata[FLOAT_SHA256],
                sha256(float),
                "quantise the new weights, too"
            );
        }
    }
}
