//! Reads the card of a patch net into [`PatchCard`], as [`super::Card`] reads that of a semantic net.

use super::{About, CardError, checked_hash, syntax};
use pipeline::PatchCard;
use pipeline::penn::{PIXEL_MM, Reading, Reconstruction, SIDE};
use serde::Deserialize;

/// A checked card of a patch net.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchFile {
    pub model: PatchCard,
    pub about: About,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardFile {
    name: String,
    version: String,
    weights_sha256: String,
    patch: PatchTable,
    about: About,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchTable {
    side: usize,
    pixel_mm: f64,
    stride: usize,
    reconstruction: String,
    threshold: f32,
}

impl PatchFile {
    /// Parses and checks `text`; `file` names it in errors.
    pub fn parse(text: &str, file: &str) -> Result<PatchFile, CardError> {
        let card: CardFile = toml::from_str(text).map_err(|e| syntax(text, file, &e))?;
        let fault = |key, message: String| CardError::Value { file: file.to_owned(), key, message };
        checked_hash(&card.weights_sha256).map_err(|m| fault("weights_sha256", m))?;
        if card.name.is_empty() || card.version.is_empty() {
            return Err(fault("name", "name and version must not be empty".to_owned()));
        }
        let PatchTable { side, pixel_mm, stride, reconstruction, threshold } = card.patch;
        if side != SIDE || pixel_mm != PIXEL_MM {
            let message = format!(
                "patches of {side} pixels of {pixel_mm} mm; the method has {SIDE} of {PIXEL_MM}"
            );
            return Err(fault("patch", message));
        }
        // Beyond, there are pixels that no patch covers.
        if !(1..=SIDE).contains(&stride) {
            return Err(fault("patch.stride", format!("{stride} is not in 1..={SIDE}")));
        }
        if !(0.0..1.0).contains(&threshold) {
            return Err(fault("patch.threshold", format!("{threshold} is not in 0..1")));
        }
        let way = Reconstruction::ALL.into_iter().find(|way| way.name() == reconstruction);
        let unknown = || fault("patch.reconstruction", format!("{reconstruction:?} is not known"));
        let reconstruction = way.ok_or_else(unknown)?;
        let model = PatchCard {
            name: card.name,
            version: card.version,
            weights_sha256: card.weights_sha256,
            reading: Reading { stride, reconstruction, threshold },
        };
        Ok(PatchFile { model, about: card.about })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../weights/penn.toml");

    #[test]
    fn the_shipped_card_is_read_and_says_what_it_is_not() {
        let card = PatchFile::parse(SHIPPED, "penn.toml").unwrap();
        assert_eq!(card.model.name, "penn");
        assert!(card.about.status.contains("not for diagnosis"), "{}", card.about.status);
        assert!(!card.about.known_faults.is_empty());
    }

    #[test]
    fn impossible_values_name_their_key() {
        let expect = |key: &str, value: &str, want: &str| {
            let mut card: toml::Table = SHIPPED.parse().unwrap();
            let patch = card["patch"].as_table_mut().unwrap();
            let value: toml::Table = format!("{key} = {value}").parse().unwrap();
            patch.extend(value);
            let error = PatchFile::parse(&card.to_string(), "a.toml").unwrap_err();
            assert_eq!(error.to_string(), format!("model card a.toml, key {want}"));
        };
        let size = "patch: patches of 32 pixels of 0.7 mm; the method has 32 of 0.677";
        expect("pixel_mm", "0.7", size);
        expect("stride", "0", "patch.stride: 0 is not in 1..=32");
        expect("stride", "33", "patch.stride: 33 is not in 1..=32");
        expect("threshold", "1.0", "patch.threshold: 1 is not in 0..1");
        expect("threshold", "nan", "patch.threshold: NaN is not in 0..1");
        let unknown = "patch.reconstruction: \"median\" is not known";
        expect("reconstruction", "\"median\"", unknown);
    }
}
