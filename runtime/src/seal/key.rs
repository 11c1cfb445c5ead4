//! The key of a device, and the public half of it that others keep. Public keys are PEM files with a SubjectPublicKeyInfo
//! (RFC 8410): other programs, `openssl pkeyutl` for one, read them too.

use crate::secret;
use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the seed in the data folder.
const FILE_NAME: &str = "device.key";
/// Bytes of a public key (RFC 8032 section 5.1.5).
const PUBLIC_BYTES: usize = 32;
/// DER in front of the 32 bytes: SEQUENCE { SEQUENCE { OID 1.3.101.112 } BIT STRING } (RFC 8410 section 4).
const INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Digits of a fingerprint: enough to find a key, and to compare two over the telephone; not what a proof rests on.
const FINGERPRINT_DIGITS: usize = 16;
/// What a new key in place of a lost one would do.
const LOSS: &str = "reports signed by a new one are foreign wherever the old one is trusted";

/// The key that signs what this device makes.
pub struct DeviceKey(Ed25519KeyPair);

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceKey({})", self.public().fingerprint())
    }
}

impl DeviceKey {
    /// The key of the data folder, made at the first start.
    pub fn keep(data: &Path) -> anyhow::Result<DeviceKey> {
        Ok(DeviceKey::from_seed(&secret::keep(data, FILE_NAME, LOSS)?))
    }

    /// The key of the data folder of a service that has run there.
    pub fn read(data: &Path) -> anyhow::Result<DeviceKey> {
        let none = || {
            let folder = data.display();
            format!("there is no key in {folder} yet: the service makes it at its first start")
        };
        Ok(DeviceKey::from_seed(&secret::read(data, FILE_NAME, LOSS)?.with_context(none)?))
    }

    pub(crate) fn from_seed(seed: &[u8; secret::BYTES]) -> DeviceKey {
        DeviceKey(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("a public key of Ed25519"))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// Why a public key cannot be used: the move of whoever installed it.
#[derive(Debug, Error)]
pub enum KeyError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is no public key: a PEM file with an Ed25519 key is wanted, as `sagitta key` and `openssl pkey -pubout` print it"
    )]
    NotKey { path: PathBuf },
}

/// The public half of a device's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

impl PublicKey {
    pub fn read(path: &Path) -> Result<PublicKey, KeyError> {
        let text = std::fs::read(path)
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        PublicKey::from_pem(&text).ok_or_else(|| KeyError::NotKey { path: path.to_owned() })
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: [u8; PUBLIC_BYTES]) -> PublicKey {
        PublicKey(bytes)
    }

    fn from_pem(text: &[u8]) -> Option<PublicKey> {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(text).ok()?;
        let bytes = info.as_ref().strip_prefix(INFO.as_slice())?;
        bytes.try_into().ok().map(PublicKey)
    }

    pub fn to_pem(&self) -> String {
        let text = BASE64_STANDARD.encode([INFO.as_slice(), &self.0].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// The first digits of the SHA-256 of the key.
    pub fn fingerprint(&self) -> String {
        super::sha256(&self.0)[..FINGERPRINT_DIGITS].to_owned()
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// The bytes of small hexadecimal digits; `None` for any other text.
pub(super) fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::hexadecimal;

    #[test]
    fn keys_and_signatures_are_those_of_rfc_8032() {
        // Section 7.1, test 2.
        let seed =
            bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = DeviceKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(
            hexadecimal(&key.public().0),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        assert_eq!(
            hexadecimal(&key.sign(&[0x72])),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn a_public_key_is_the_pem_of_rfc_8410() {
        // Section 10.1.
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                   -----END PUBLIC KEY-----\n";
        let key = PublicKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(
            hexadecimal(&key.0),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
        );
        assert_eq!(key.to_pem(), pem);
        assert_eq!(PublicKey::from_pem(b"no key"), None);
        assert_eq!(PublicKey::from_pem(pem.replace("VwAyEA", "VuAyEA").as_bytes()), None, "X25519");
        assert_eq!([bytes("0g"), bytes("0"), bytes("0A")], [None, None, None]);
    }
}
