//! The body of a multipart request (RFC 2046 section 5.1.1) in its parts. Sans-IO: bytes as they come in, pieces out; holds
//! no more of them than a delimiter, or the head of a part.
//!
//! Our own, because the libraries read on until a head has ended, however long it is.

use thiserror::Error;

/// Longest head of a part: a content type and perhaps a location.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// Longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;
const LINE_END: &[u8] = b"\r\n";

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A part begins.
    Begin,
    /// Bytes of the part.
    Bytes(Vec<u8>),
    /// The part is whole.
    End,
}

/// A body that is no multipart one. The sender's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MultipartError {
    #[error("the boundary is empty or longer than {MAX_BOUNDARY} characters")]
    Boundary,
    #[error("a part has a head of more than {MAX_HEAD_BYTES} bytes")]
    Head,
    #[error("a boundary is followed by something else than a part")]
    Delimiter,
    #[error("the body ends within a part")]
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Behind a boundary.
    Delimiter,
    Head,
    Body,
    /// Behind the last boundary.
    Epilogue,
}

/// See the module.
#[derive(Debug)]
pub struct Parts {
    /// The boundary as it stands between parts.
    delimiter: Vec<u8>,
    /// Not taken yet.
    rest: Vec<u8>,
    state: State,
}

impl Parts {
    pub fn new(boundary: &str) -> Result<Parts, MultipartError> {
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
            return Err(MultipartError::Boundary);
        }
        let delimiter = [LINE_END, b"--", boundary.as_bytes()].concat();
        // The first boundary has no line before it.
        Ok(Parts { delimiter, rest: LINE_END.to_vec(), state: State::Preamble })
    }

    /// What `bytes` complete.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, MultipartError> {
        self.rest.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while self.step(&mut pieces)? {}
        Ok(pieces)
    }

    /// The body is at its end.
    pub fn finish(self) -> Result<(), MultipartError> {
        if self.state == State::Epilogue { Ok(()) } else { Err(MultipartError::Cut) }
    }

    /// Whether there may be more to do without more bytes.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> Result<bool, MultipartError> {
        match self.state {
            State::Preamble => Ok(self.up_to_delimiter().1),
            State::Body => {
                let (bytes, ended) = self.up_to_delimiter();
                if !bytes.is_empty() {
                    pieces.push(Piece::Bytes(bytes));
                }
                if ended {
                    pieces.push(Piece::End);
                }
                Ok(ended)
            }
            State::Delimiter => self.behind_delimiter(),
            State::Head => self.head(pieces),
            State::Epilogue => {
                self.rest.clear();
                Ok(false)
            }
        }
    }

    /// What stands before the next delimiter, as far as it is sure, and whether the delimiter is there.
    fn up_to_delimiter(&mut self) -> (Vec<u8>, bool) {
        match find(&self.rest, &self.delimiter) {
            Some(at) => {
                let before = self.rest[..at].to_vec();
                self.rest.drain(..at + self.delimiter.len());
                self.state = State::Delimiter;
                (before, true)
            }
            None => {
                let sure = self.rest.len().saturating_sub(self.delimiter.len() - 1);
                (self.rest.drain(..sure).collect(), false)
            }
        }
    }

    /// Two dashes end the body; a line end, behind any blanks, begins a part.
    fn behind_delimiter(&mut self) -> Result<bool, MultipartError> {
        if self.rest.starts_with(b"--") {
            self.state = State::Epilogue;
            return Ok(true);
        }
        let blanks = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = &self.rest[blanks..];
        if blanks > MAX_HEAD_BYTES {
            Err(MultipartError::Head)
        } else if rest.starts_with(LINE_END) {
            // The line end stays: a part without a head has one more only.
            self.rest.drain(..blanks);
            self.state = State::Head;
            Ok(true)
        } else if LINE_END.starts_with(rest) || (blanks == 0 && rest == b"-") {
            Ok(false)
        } else {
            Err(MultipartError::Delimiter)
        }
    }

    /// Nothing in a head is needed: parts are DICOM files, or are found not to be.
    fn head(&mut self, pieces: &mut Vec<Piece>) -> Result<bool, MultipartError> {
        match find(&self.rest, b"\r\n\r\n") {
            Some(at) if at <= MAX_HEAD_BYTES => {
                self.rest.drain(..at + 2 * LINE_END.len());
                self.state = State::Body;
                pieces.push(Piece::Begin);
                Ok(true)
            }
            None if self.rest.len() <= MAX_HEAD_BYTES => Ok(false),
            _ => Err(MultipartError::Head),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"before\r\n--cut\r\nContent-Type: application/dicom\r\n\r\nfirst\r\n--cu\r\n--cut \t\r\n\r\n\
        sec\r\nond\r\n--cut--\r\nafter --cut";

    /// The parts of a body that comes in pieces of `length`.
    fn parts(body: &[u8], length: usize) -> Result<Vec<Vec<u8>>, MultipartError> {
        let mut reader = Parts::new("cut")?;
        let (mut parts, mut open) = (Vec::new(), None);
        for bytes in body.chunks(length) {
            for piece in reader.take(bytes)? {
                match piece {
                    Piece::Begin => assert_eq!(open.replace(Vec::new()), None),
                    Piece::Bytes(bytes) => open.as_mut().unwrap().extend(bytes),
                    Piece::End => parts.extend(open.take()),
                }
            }
        }
        reader.finish().map(|()| parts)
    }

    #[test]
    fn parts_are_the_same_however_the_bytes_come() {
        for length in 1..=BODY.len() {
            let found = parts(BODY, length).unwrap();
            assert_eq!(found, [&b"first\r\n--cu"[..], b"sec\r\nond"], "pieces of {length}");
        }
        assert_eq!(parts(b"--cut--", 3).unwrap(), [b""; 0]);
    }

    #[test]
    fn what_is_cut_or_wrong_is_told() {
        let whole = find(BODY, b"--cut--").unwrap() + 7;
        for length in 0..whole {
            assert_eq!(parts(&BODY[..length], 7).unwrap_err(), MultipartError::Cut, "{length}");
        }
        assert_eq!(parts(b"--cutter\r\n\r\n", 5).unwrap_err(), MultipartError::Delimiter);
        let long = [b"--cut\r\n", vec![b'x'; MAX_HEAD_BYTES + 9].as_slice()].concat();
        assert_eq!(parts(&long, 100).unwrap_err(), MultipartError::Head);
        let blank = [b"--cut", vec![b' '; MAX_HEAD_BYTES + 9].as_slice()].concat();
        assert_eq!(parts(&blank, 100).unwrap_err(), MultipartError::Head);
        assert_eq!(Parts::new("").err(), Some(MultipartError::Boundary));
        assert_eq!(Parts::new(&"x".repeat(71)).err(), Some(MultipartError::Boundary));
    }

    #[test]
    fn nothing_but_a_delimiter_is_held_back() {
        let mut reader = Parts::new("cut").unwrap();
        reader.take(b"--cut\r\n\r\n").unwrap();
        for _ in 0..100 {
            reader.take(&[7; 1000]).unwrap();
            assert!(reader.rest.len() < b"\r\n--cut".len());
        }
    }
}
