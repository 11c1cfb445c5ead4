//! What identifies a result: the software, model and engine that made it, and the series it was made from.

use hmac::{Hmac, Mac};
use pipeline::{InstanceCard, PatchCard};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What made a result. Every output carries it, and UIDs are a function of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// `Sagitta 0.1.0`.
    pub software: String,
    /// The semantic net.
    pub model: String,
    pub model_version: String,
    /// SHA-256 of the weights, lower-case hexadecimal.
    pub weights_sha256: String,
    /// The instance net; `None` where the classical stage told the vertebrae apart alone.
    pub instance: Option<NetName>,
    /// The patch net; `None` where nobody looks for lesions.
    pub patches: Option<NetName>,
    /// Engine and precision, `simd f32`: the instruction set does not enter, results are equal to the bit on all.
    pub engine: String,
    /// SHA-256 of the configuration values that can change a result.
    pub configuration_sha256: String,
    /// 1 for the first result of a series; counts up when late images make a new one.
    pub generation: u32,
    /// The result of another series that this one takes the place of.
    pub supersedes: Option<Superseded>,
}

impl Provenance {
    /// Whether somebody may have an earlier result that this one takes the place of.
    pub fn is_revision(&self) -> bool {
        self.generation > 1 || self.supersedes.is_some()
    }
}

/// A result of a less corrected image of the same acquisition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    pub job: JobId,
    pub generation: u32,
    /// Of its source.
    pub series_number: Option<i64>,
}

/// A net by name, version and the SHA-256 of its weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetName {
    pub model: String,
    pub version: String,
    pub weights_sha256: String,
}

impl NetName {
    pub fn of(card: &InstanceCard) -> NetName {
        NetName {
            model: card.name.clone(),
            version: card.version.clone(),
            weights_sha256: card.weights_sha256.clone(),
        }
    }

    pub fn of_patches(card: &PatchCard) -> NetName {
        NetName {
            model: card.name.clone(),
            version: card.version.clone(),
            weights_sha256: card.weights_sha256.clone(),
        }
    }
}

/// A job's name outside this device: HMAC-SHA-256 of the Series Instance UID under the site's key, 20 base-32 characters. The
/// only form in which a series is named in logs, topics and pages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct JobId(String);

impl JobId {
    const LENGTH: usize = 20;

    pub fn new(site_key: &[u8], series_instance_uid: &str) -> JobId {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(site_key).expect("HMAC takes a key of any length");
        mac.update(series_instance_uid.as_bytes());
        JobId(base32(&mac.finalize().into_bytes())[..JobId::LENGTH].to_owned())
    }

    /// Reads a job id written earlier; `None` for any other text, so that no other text can travel as one.
    pub fn parse(text: &str) -> Option<JobId> {
        let digits = text.len() == JobId::LENGTH && text.bytes().all(|b| DIGITS.contains(&b));
        digits.then(|| JobId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<JobId, &'static str> {
        JobId::parse(&text).ok_or("a job id is 20 characters of a-z and 2-7")
    }
}

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a study's frame of reference is called on this device's disk: 20 base-32 characters, as a [`JobId`] for a series.
pub fn frame_id(site_key: &[u8], study_instance_uid: &str, frame_of_reference_uid: &str) -> String {
    // A blank is in no UID: no two pairs are one text.
    JobId::new(site_key, &format!("{study_instance_uid} {frame_of_reference_uid}")).0
}

/// SHA-256 of the configuration values that can change a result, as `key=value`; lower-case hexadecimal.
pub fn configuration_sha256(values: &[(&str, &str)]) -> String {
    let mut hash = Sha256::new();
    for (key, value) in values {
        hash.update(format!("{key}={value}\n"));
    }
    hexadecimal(&hash.finalize())
}

/// Bytes as small hexadecimal digits: how digests, keys and signatures are written.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// RFC 4648 base 32, lower case, without padding.
fn base32(bytes: &[u8]) -> String {
    let bit = |n: usize| bytes.get(n / 8).map_or(0, |b| b >> (7 - n % 8) & 1);
    (0..bytes.len() * 8)
        .step_by(5)
        .map(|n| DIGITS[(n..n + 5).fold(0, |v, m| v << 1 | usize::from(bit(m)))] as char)
        .collect()
}

/// A UID under 2.25 (PS3.5 B.2) that is a function of what it names: the same parts give the same UID.
pub fn derived_uid(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut uuid = [0u8; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80; // version 8: custom (RFC 9562)
    uuid[8] = uuid[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_ids_hide_the_uid_and_depend_on_the_key() {
        let id = JobId::new(b"site", "1.2.3");
        assert_eq!(id.as_str().len(), 20);
        assert_eq!(id, JobId::new(b"site", "1.2.3"));
        assert_ne!(id, JobId::new(b"other", "1.2.3"));
        assert_eq!(JobId::parse(id.as_str()), Some(id));
        assert_eq!(JobId::parse("1.2.840.113619.2.55."), None);
        assert!(serde_json::from_str::<JobId>("\"DOE^JOHN\"").is_err());
    }

    #[test]
    fn base32_is_rfc_4648() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
    }

    #[test]
    fn derived_uids_are_valid_and_depend_on_every_part() {
        let uid = derived_uid(&["a", "b"]);
        assert!(uid.len() <= 64 && uid.starts_with("2.25."));
        assert_eq!(uid, derived_uid(&["a", "b"]));
        assert_ne!(uid, derived_uid(&["ab", ""]));
    }
}
