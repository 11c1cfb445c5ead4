//! Signed texts: JSON Web Signatures in compact form (RFC 7515 section 7.1), with Ed25519 and nothing else (RFC 8037 section
//! 3.1). What is signed is the order's business.

use crate::seal::PublicKey;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest token: an order has some 300 characters.
const MAX_BYTES: usize = 4096;
/// The header that we write.
const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;

/// Why a text proves nothing. Anybody can send such texts: nothing of them is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenFault {
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("it is no signed text in compact form")]
    Form,
    #[error("it is not signed with EdDSA")]
    Algorithm,
    #[error("no key that is listed has signed it")]
    Signature,
}

/// The place of the key among `keys` that has signed a token, and the bytes it has signed.
pub fn open(token: &[u8], keys: &[PublicKey]) -> Result<(usize, Vec<u8>), TokenFault> {
    if token.len() > MAX_BYTES {
        return Err(TokenFault::TooLong);
    }
    let text = std::str::from_utf8(token).map_err(|_| TokenFault::Form)?.trim_end();
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Form)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenFault::Form)?;
    is_ours(&decoded(header)?)?;
    let (payload, signature) = (decoded(payload)?, decoded(signature)?);
    let by = keys.iter().position(|key| key.verifies(signed.as_bytes(), &signature));
    Ok((by.ok_or(TokenFault::Signature)?, payload))
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenFault> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Form)
}

/// The one algorithm, whatever else a header says; what it calls critical we do not understand (RFC 7515 section 4.1.11).
fn is_ours(header: &[u8]) -> Result<(), TokenFault> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        crit: Option<serde_json::Value>,
    }
    let header: Header = serde_json::from_slice(header).map_err(|_| TokenFault::Form)?;
    match header.alg == "EdDSA" && header.crit.is_none() {
        true => Ok(()),
        false => Err(TokenFault::Algorithm),
    }
}

/// A private key that cannot be used: the move of whoever signs.
#[derive(Debug, Error)]
pub enum SigningKeyError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is no private key: a PEM file with an Ed25519 key is wanted, as `openssl genpkey -algorithm ed25519` makes it"
    )]
    NotKey { path: PathBuf },
}

/// The private key of somebody who signs.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A PEM file with a PKCS #8 key (RFC 8410 section 7), with or without its public half.
    pub fn read(path: &Path) -> Result<SigningKey, SigningKeyError> {
        let text = std::fs::read(path)
            .map_err(|source| SigningKeyError::Read { path: path.to_owned(), source })?;
        let pair = PrivatePkcs8KeyDer::from_pem_slice(&text).ok().and_then(|der| {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok()
        });
        pair.map(SigningKey).ok_or_else(|| SigningKeyError::NotKey { path: path.to_owned() })
    }

    pub fn sign(&self, payload: &[u8]) -> String {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(HEADER.as_bytes()), encode(payload));
        let signature = encode(self.0.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::DeviceKey;
    use ring::signature::KeyPair;

    /// Key, payload and token of RFC 8037 appendix A.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn key(seed: u8) -> SigningKey {
        SigningKey(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn public(key: &SigningKey) -> PublicKey {
        PublicKey::from_bytes(key.0.public_key().as_ref().try_into().unwrap())
    }

    #[test]
    fn the_example_of_the_standard_opens() {
        let keys = [public(&key(1)), DeviceKey::from_seed(&SEED).public()];
        let opened = open(TOKEN.as_bytes(), &keys).unwrap();
        assert_eq!(opened, (1, b"Example of Ed25519 signing".to_vec()));
    }

    #[test]
    fn no_character_can_be_changed() {
        let key = key(7);
        let (token, keys) = (key.sign(br#"{"order":1}"#), [public(&key)]);
        assert_eq!(open(token.as_bytes(), &keys), Ok((0, br#"{"order":1}"#.to_vec())));
        assert!(open(format!("{token}\n").as_bytes(), &keys).is_ok(), "a line of a file");
        for at in 0..token.len() {
            for other in [b'A', b'.', b'-', b'=', 0xff] {
                let mut changed = token.clone().into_bytes();
                if std::mem::replace(&mut changed[at], other) != other {
                    open(&changed, &keys).unwrap_err();
                }
            }
            open(&token.as_bytes()[..at], &keys).unwrap_err();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (ours, theirs) = (key(7), key(8));
        let keys = [public(&ours)];
        assert_eq!(open(theirs.sign(b"{}").as_bytes(), &keys), Err(TokenFault::Signature));
        assert_eq!(open(&[b'a'; MAX_BYTES + 1], &keys), Err(TokenFault::TooLong));
        assert_eq!(open(b"drain", &keys), Err(TokenFault::Form));
        // Without a signature, signed with a shared secret, and with an extension.
        for header in
            [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"EdDSA","crit":["exp"]}"#]
        {
            let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
            let signed = format!("{}.{}", encode(header), encode("{}"));
            let signature = BASE64_URL_SAFE_NO_PAD.encode(ours.0.sign(signed.as_bytes()));
            let token = format!("{signed}.{signature}");
            assert_eq!(open(token.as_bytes(), &keys), Err(TokenFault::Algorithm), "{header}");
        }
    }
}
