//! The token of Prometheus (RFC 6750, section 2.1): a scraper cannot log in, and needs no more than `/metrics`.

use crate::users::read_private;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Characters of a token, at least: 128 random bits in hexadecimal digits.
const LEAST: usize = 32;

/// What is remembered of a token: comparing digests tells by its duration nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// What is wrong with the token's file: the site's move.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("cannot read the token of /metrics in {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("others may read the token of /metrics in {path}: `chmod o= {path}`")]
    Open { path: PathBuf },
    #[error(
        "{path} holds no token: one line of at least {LEAST} letters and digits (`openssl rand -hex 32`)"
    )]
    Wrong { path: PathBuf },
}

impl Token {
    /// The token in a file that others cannot read.
    pub(super) fn read(path: &Path) -> Result<Token, TokenError> {
        let path = || path.to_owned();
        let text = match read_private(&path()) {
            Ok(Some(text)) => text,
            Ok(None) => return Err(TokenError::Open { path: path() }),
            Err(source) => return Err(TokenError::Read { path: path(), source }),
        };
        let token = text.trim_end_matches(['\r', '\n']);
        let plain = token.bytes().all(|b| b.is_ascii_graphic());
        match plain && token.len() >= LEAST {
            true => Ok(Token(Sha256::digest(token).into())),
            false => Err(TokenError::Wrong { path: path() }),
        }
    }

    /// Whether a request shows it.
    pub(super) fn is_shown(&self, request: &Request) -> bool {
        let header = request.headers().get(AUTHORIZATION);
        let shown = header.and_then(|header| header.as_bytes().strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| Sha256::digest(shown).as_slice() == self.0)
    }
}
