//! What we tell of a certificate: until when it is valid, for whom, its fingerprint. Reads the few fields it needs from the
//! DER of X.509 (RFC 5280 section 4.1); whether a certificate is to be believed is rustls' business.

use crate::identity::hexadecimal;
use sha2::{Digest, Sha256};

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The optional version in front of the serial number.
const EXPLICIT_0: u8 = 0xA0;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const DAY_S: i64 = 86_400;

/// A certificate, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Seconds since 1970 of its last valid second.
    pub not_after: i64,
    /// The common name of its subject.
    pub common_name: Option<String>,
    /// SHA-256 of its DER in small hexadecimal digits, as `openssl x509 -fingerprint -sha256` prints it without colons.
    pub fingerprint: String,
}

/// Reads a certificate; `None` when it is not one.
pub fn read(der: &[u8]) -> Option<Certificate> {
    let (_, certificate, _) = element(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, body, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let mut rest = body;
    let (tag, _, after) = element(rest)?;
    if tag == EXPLICIT_0 {
        rest = after;
    }
    // Serial number, signature algorithm, issuer.
    for expected in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = expect(expected, rest)?.1;
    }
    let (validity, rest) = expect(SEQUENCE, rest)?;
    let (subject, _) = expect(SEQUENCE, rest)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    let digest = Sha256::digest(der);
    Some(Certificate {
        not_after: time(tag, text)?,
        common_name: common_name(subject),
        fingerprint: hexadecimal(&digest),
    })
}

/// Tag, content and what follows of the element that `bytes` begins with (definite lengths, as DER has them).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (digits.iter().fold(0, |sum, &digit| sum << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Content of the next element, which must have this tag, and what follows.
fn expect(expected: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == expected).then_some((content, rest))
}

/// The last common name of a distinguished name: a sequence of sets of (type, value).
fn common_name(mut name: &[u8]) -> Option<String> {
    let mut found = None;
    while let Some((SET, mut set, rest)) = element(name) {
        name = rest;
        while let Some((SEQUENCE, pair, rest)) = element(set) {
            set = rest;
            let Some((OBJECT_IDENTIFIER, kind, value)) = element(pair) else { continue };
            if kind == COMMON_NAME
                && let Some((_, text, _)) = element(value)
            {
                found = std::str::from_utf8(text).ok().map(str::to_owned);
            }
        }
    }
    found
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5) in seconds since 1970.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let pair = |n: usize| rest[2 * n..2 * n + 2].parse::<i64>().ok();
    let (month, day) = (pair(0)?, pair(1)?);
    Some(days(year, month, day) * DAY_S + pair(2)? * 3600 + pair(3)? * 60 + pair(4)?)
}

/// Day number from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms", days_from_civil).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_seconds_since_1970() {
        // Reference values: `date -u -d "..." +%s`.
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "261121044249Z", 1_795_236_169),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (GENERALIZED_TIME, "20000229000000Z", 951_782_400),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(time(tag, text.as_bytes()), Some(seconds), "{text}");
        }
        for wrong in ["", "Z", "26112104424Z", "2611210442xxZ", "261121044249"] {
            assert_eq!(time(UTC_TIME, wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn no_truncated_element_is_read_past_its_end() {
        let pair = [SEQUENCE, 4, INTEGER, 2, 1, 1];
        assert_eq!(element(&pair), Some((SEQUENCE, &pair[2..], &[][..])));
        for length in 0..pair.len() {
            assert_eq!(element(&pair[..length]), None, "{length}");
        }
        assert_eq!(element(&[SEQUENCE, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), None);
        assert_eq!(element(&[SEQUENCE, 0x80, 0, 0]), None, "indefinite lengths are no DER");
        assert_eq!(read(&pair), None);
    }
}
