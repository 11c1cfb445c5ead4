//! The patch net for enhancing tumours with its card.

use super::{File, ModelError, agree, sha256};
use crate::card::{About, PatchFile};
use crate::onnx::patch_net::PatchGraph;
use pipeline::PatchCard;
use pipeline::penn::{self, Detector, OUTPUTS, PIXEL_MM, SIDE};
use std::borrow::Cow;
use std::path::Path;

/// The shipped patch net, byte for byte as in `models/weights`, and its card.
const PENN_ONNX: &[u8] = include_bytes!("../../weights/penn.onnx");
const PENN_CARD: &str = include_str!("../../weights/penn.toml");

/// A patch net with its card, checked, ready to run on this machine's processor.
#[derive(Debug, Clone)]
pub struct PatchWeights {
    pub card: PatchCard,
    pub about: About,
    pub detector: Detector,
}

impl PatchWeights {
    /// The shipped patch net.
    pub fn embedded() -> Result<PatchWeights, ModelError> {
        let onnx =
            File { name: "penn.onnx (built in)".to_owned(), bytes: Cow::Borrowed(PENN_ONNX) };
        Self::check(PENN_CARD, "penn.toml (built in)", &onnx)
    }

    /// `NAME.toml` and beside it `NAME.onnx`.
    pub fn from_folder(folder: &Path, name: &str) -> Result<PatchWeights, ModelError> {
        let card = File::read(folder, &format!("{name}.toml"))?;
        let onnx = File::read(folder, &format!("{name}.onnx"))?;
        Self::check(&card.text()?, &card.name, &onnx)
    }

    fn check(card: &str, card_file: &str, onnx: &File) -> Result<PatchWeights, ModelError> {
        let PatchFile { model: card, about } = PatchFile::parse(card, card_file)?;
        let file = onnx.name.as_str();
        agree(file, "SHA-256", card.weights_sha256.clone(), sha256(&onnx.bytes))?;
        let PatchGraph { net, metadata } = PatchGraph::read(&onnx.bytes)
            .map_err(|source| ModelError::Weights { file: file.to_owned(), source })?;
        let reading = card.reading;
        // What the weights were trained on, and what the service makes of an image.
        let said = [
            ("grid", format!("{PIXEL_MM} mm")),
            ("preparation", penn::preparation()),
            ("reconstruction", reading.reconstruction.name().to_owned()),
            ("threshold", reading.threshold.to_string()),
        ];
        for (key, said) in said {
            agree(file, key, said, metadata.get(key).cloned().unwrap_or_default())?;
        }
        let form = |side: usize, outputs: usize| format!("{side} x {side}, {outputs} outputs");
        let (wanted, found) = (form(SIDE, OUTPUTS), form(net.side(), net.outputs()));
        let detector = Detector::new(net, reading).map_err(|_| {
            let file = file.to_owned();
            ModelError::Mismatch { file, what: "form", card: wanted, weights: found }
        })?;
        Ok(PatchWeights { card, about, detector })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(card: &str, onnx: &[u8]) -> String {
        let onnx = File { name: "a.onnx".to_owned(), bytes: Cow::Owned(onnx.to_vec()) };
        PatchWeights::check(card, "a.toml", &onnx).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_pair_fits_and_is_small() {
        let weights = PatchWeights::embedded().unwrap();
        assert_eq!(weights.card.weights_sha256, sha256(PENN_ONNX));
        assert!(PENN_ONNX.len() < 600_000, "285 802 weights of two bytes");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
        let from_folder = PatchWeights::from_folder(&folder, "penn").unwrap();
        assert_eq!((from_folder.card, from_folder.about), (weights.card, weights.about));
    }

    #[test]
    fn weights_of_another_card_training_or_net_are_refused() {
        let mut changed = PENN_ONNX.to_vec();
        changed[100_000] ^= 1;
        assert!(error(PENN_CARD, &changed).contains("the card says SHA-256"));
        let way = PatchWeights::embedded().unwrap().card.reading.reconstruction.name();
        let other = if way == "mean" { "centre" } else { "mean" };
        let card = PENN_CARD.replace(&format!("\"{way}\""), &format!("\"{other}\""));
        let text = error(&card, PENN_ONNX);
        assert!(
            text.contains(&format!("reconstruction {other}, the weights have {way}")),
            "{text}"
        );
        let semantic = super::super::SEMANTIC_ONNX;
        let hash = PatchWeights::embedded().unwrap().card.weights_sha256;
        let text = error(&PENN_CARD.replace(&hash, &sha256(semantic)), semantic);
        assert!(text.contains("weights a.onnx: "), "{text}");
    }
}
