//! A card and its weights, found together and checked against each other: embedded in the binary,
//! or from a folder.
//!
//! What a [`Weights`] holds fits: hash, input channels and class count agree. Running it is
//! `engine`'s matter.

use crate::card::{About, Card, CardError};
use crate::onnx::{Graph, MAX_BYTES, OnnxError};
use pipeline::ModelCard;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The shipped semantic net, byte for byte as in `models/weights`.
pub const SEMANTIC_ONNX: &[u8] = include_bytes!("../weights/semantic.onnx");
/// Its card.
pub const SEMANTIC_CARD: &str = include_str!("../weights/semantic.toml");

/// Name of the semantic net's files without ending.
pub const SEMANTIC: &str = "semantic";

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
    #[error("engine \"{0}\" is not known; this version has: auto, simd")]
    UnknownEngine(String),
}

/// A network with its card, checked.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Names the weights in errors: a path, or the name of the embedded file.
    pub file: String,
    pub card: ModelCard,
    pub about: About,
    pub graph: Graph,
}

impl Weights {
    /// The shipped semantic net.
    pub fn embedded() -> Result<Weights, ModelError> {
        Self::check(
            SEMANTIC_CARD,
            "semantic.toml (built in)",
            SEMANTIC_ONNX,
            "semantic.onnx (built in)",
        )
    }

    /// `NAME.toml` and `NAME.onnx` in `folder`.
    pub fn from_folder(folder: &Path, name: &str) -> Result<Weights, ModelError> {
        let card = folder.join(format!("{name}.toml"));
        let weights = folder.join(format!("{name}.onnx"));
        let text = read(&card).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|e| ModelError::Read {
                path: card.clone(),
                source: std::io::Error::new(std::io::ErrorKind::InvalidData, e),
            })
        })?;
        let bytes = read(&weights)?;
        Self::check(&text, &card.display().to_string(), &bytes, &weights.display().to_string())
    }

    fn check(
        card: &str,
        card_file: &str,
        onnx: &[u8],
        onnx_file: &str,
    ) -> Result<Weights, ModelError> {
        let Card { model, about } = Card::parse(card, card_file)?;
        let agree = |what, card: String, weights: String| {
            if card == weights {
                return Ok(());
            }
            Err(ModelError::Mismatch { file: onnx_file.to_owned(), what, card, weights })
        };
        agree("SHA-256", model.weights_sha256.clone(), sha256(onnx))?;
        let graph = Graph::read(onnx)
            .map_err(|source| ModelError::Weights { file: onnx_file.to_owned(), source })?;
        let channels = 2 * model.context + 1;
        agree("input channels", channels.to_string(), graph.input_channels.to_string())?;
        agree("class count", model.classes.len().to_string(), graph.output_channels.to_string())?;
        Ok(Weights { file: onnx_file.to_owned(), card: model, about, graph })
    }
}

/// The whole file, but never more than one byte beyond [`MAX_BYTES`], which its reader then
/// refuses.
fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Lower-case hexadecimal SHA-256.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(card: &str, onnx: &[u8]) -> String {
        Weights::check(card, "a.toml", onnx, "a.onnx").unwrap_err().to_string()
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

    #[test]
    fn a_folder_gives_the_same_weights_and_a_missing_file_its_path() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
        let weights = Weights::from_folder(&folder, SEMANTIC).unwrap();
        assert_eq!(weights.graph, Weights::embedded().unwrap().graph);
        let text = Weights::from_folder(&folder, "absent").unwrap_err().to_string();
        assert!(text.contains("absent.toml"), "{text}");
    }
}
