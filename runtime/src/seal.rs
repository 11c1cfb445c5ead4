//! The seal of a report: an Ed25519 signature of the device over the report, which holds the digests of all that was read and
//! written. With it anybody who has the device's public key can tell, without the device, whether a file is what it made.
//!
//! Only reports are sealed, since they alone hold times: every other output stays a function of its source. The signature is
//! the last member of the JSON object. It covers `CONTEXT` and every byte of the file before the comma in front of it.

mod digest;
mod key;

pub use digest::{Covers, Digest, Digests, sha256};
pub use key::{DeviceKey, KeyError, PublicKey};

use crate::identity::hexadecimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// Signed in front of a report: a signature of it is none of anything else that the device's key may sign one day.
const CONTEXT: &str = "sagitta report v1\n";
/// Where the last member of a sealed report begins.
const MEMBER: &str = ",\n  \"signature\": ";
const END: &str = "\n}";

/// A signature, and the key to find in a trust store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// [`PublicKey::fingerprint`] of the device's key.
    pub key: String,
    /// 128 hexadecimal digits (RFC 8032 section 5.1.6).
    pub ed25519: String,
}

/// What a report says of its making; the rest of it is not needed to check a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Statement {
    pub series: SeriesName,
    pub software: String,
    pub engine: EngineName,
    pub models: Vec<ModelName>,
    pub configuration_sha256: String,
    /// Digests of what it was made from.
    pub inputs: Vec<Digest>,
    /// What was made: path from the folder of the report -> digest.
    pub files: BTreeMap<String, Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeriesName {
    pub name: String,
    pub generation: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EngineName {
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ModelName {
    pub name: String,
    pub version: String,
    pub weights_sha256: String,
}

/// Why a report proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    #[error("it is no report of Sagitta: {0}")]
    NotReport(String),
    #[error("it has no signature: a report of `sagitta segment` has none")]
    Unsigned,
    #[error("it was signed by key {0}, which is not among the trusted ones")]
    ForeignKey(String),
    #[error("it was changed after it was signed")]
    Changed,
}

/// Puts a signature into the text of a report, a JSON object in [`serde_json::to_string_pretty`]'s form.
pub fn sealed(report: &str, key: &DeviceKey) -> String {
    let body = report.strip_suffix(END).expect("a pretty JSON object with members");
    let signature = Signature {
        key: key.public().fingerprint(),
        ed25519: hexadecimal(&key.sign(&signed(body))),
    };
    format!("{body}{}", member(&signature))
}

/// Reads a report and checks its signature against the keys that are trusted.
pub fn open(report: &[u8], trusted: &[PublicKey]) -> Result<Statement, SealError> {
    let not_report = |error: serde_json::Error| SealError::NotReport(error.to_string());
    let statement: Statement = serde_json::from_slice(report).map_err(not_report)?;
    let text = std::str::from_utf8(report).map_err(|e| SealError::NotReport(e.to_string()))?;
    let at = text.rfind(MEMBER).ok_or(SealError::Unsigned)?;
    let (body, rest) = text.split_at(at);
    let last = rest[MEMBER.len()..].strip_suffix(END).unwrap_or_default();
    let signature: Signature = serde_json::from_str(last).map_err(|_| SealError::Changed)?;
    // No byte behind the signed ones may say anything else.
    if rest != member(&signature) {
        return Err(SealError::Changed);
    }
    let key = trusted.iter().find(|key| key.fingerprint() == signature.key);
    let key = key.ok_or(SealError::ForeignKey(signature.key))?;
    let bytes = key::bytes(&signature.ed25519).ok_or(SealError::Changed)?;
    match key.verifies(&signed(body), &bytes) {
        true => Ok(statement),
        false => Err(SealError::Changed),
    }
}

fn signed(body: &str) -> Vec<u8> {
    [CONTEXT, body].concat().into_bytes()
}

/// The end of a sealed report.
fn member(signature: &Signature) -> String {
    let text = serde_json::to_string_pretty(signature).expect("two strings");
    format!("{MEMBER}{}{END}", text.replace('\n', "\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As short as a report can be.
    const REPORT: &str = r#"{
  "series": {
    "name": "a",
    "generation": 1
  },
  "software": "Sagitta 0.1.0",
  "engine": {
    "name": "simd f32"
  },
  "models": [],
  "configuration_sha256": "00",
  "inputs": [],
  "files": {}
}"#;

    #[test]
    fn a_sealed_report_is_the_report_with_one_member_more_and_opens() {
        let key = DeviceKey::from_seed(&[7; 32]);
        let text = sealed(REPORT, &key);
        assert_eq!(text, sealed(REPORT, &key), "Ed25519 has no chance in it");
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["signature"]["key"], key.public().fingerprint());
        value.as_object_mut().unwrap().remove("signature");
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(REPORT).unwrap());
        assert_eq!(open(text.as_bytes(), &[key.public()]).unwrap().software, "Sagitta 0.1.0");
    }

    #[test]
    fn no_byte_of_a_sealed_report_can_be_changed_left_out_or_added() {
        let key = DeviceKey::from_seed(&[7; 32]);
        let (text, trusted) = (sealed(REPORT, &key).into_bytes(), [key.public()]);
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                assert!(open(&changed, &trusted).is_err(), "byte {at}, bit {bit}");
            }
            let shorter = [&text[..at], &text[at + 1..]].concat();
            assert!(open(&shorter, &trusted).is_err(), "without byte {at}");
            let longer = [&text[..at], b" ", &text[at..]].concat();
            assert!(open(&longer, &trusted).is_err(), "a blank at {at}");
        }
        assert!(open(&[text.as_slice(), b"\n"].concat(), &trusted).is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let [ours, theirs] = [7, 8].map(|seed| DeviceKey::from_seed(&[seed; 32]));
        let text = sealed(REPORT, &theirs);
        let foreign = SealError::ForeignKey(theirs.public().fingerprint());
        assert_eq!(open(text.as_bytes(), &[ours.public()]), Err(foreign));
        assert_eq!(open(REPORT.as_bytes(), &[ours.public()]), Err(SealError::Unsigned));
        assert!(matches!(open(b"{}", &[ours.public()]), Err(SealError::NotReport(_))));
        // A forger who writes the name of a trusted key below their own signature.
        let claimed = text.replace(&theirs.public().fingerprint(), &ours.public().fingerprint());
        assert_eq!(open(claimed.as_bytes(), &[ours.public()]), Err(SealError::Changed));
    }
}
