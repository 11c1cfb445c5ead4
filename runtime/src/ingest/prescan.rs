//! The bounded pre-scan: walks the raw bytes of a data set before anything else may parse them.
//!
//! It is iterative, allocates nothing in proportion to what a length field claims, and reports tokens to its caller.
//! dicom-object 0.10 overflows its stack on nested sequences and allocates by declared length, so it is given only what
//! passed here (scanner-side section 3.2). What the values mean is left to [`super::header`] and `decode`.

use dicom_core::dictionary::DataDictionary;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use thiserror::Error;

/// Deepest nesting of sequences; the deepest standard object (SR apart) uses 6, vendors' private ones about 9.
pub const MAX_DEPTH: usize = 16;
/// Most elements of one data set; 520 frames of a Canon Enhanced MR hold 40 000.
pub const MAX_ELEMENTS: usize = 200_000;
/// Largest pixel data: [`kernels::volume::MAX_VOXELS`] is far beyond any slice, and this is the memory of one job.
pub const MAX_PIXEL_BYTES: usize = 512 << 20;
/// Largest value besides pixel data in an image: Siemens' CSA headers reach 200 KiB.
pub const MAX_VALUE_BYTES: usize = 8 << 20;

/// "Undefined" in a length field (PS3.5 7.1.1).
const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
pub const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// Why a data set was refused. Always the sender's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScanError {
    #[error("the data set ends inside an element")]
    Truncated,
    #[error("a length is larger than what surrounds it")]
    LengthPastEnd,
    #[error("an element is larger than {MAX_VALUE_BYTES} bytes")]
    ValueTooLarge,
    #[error("the pixel data are larger than {MAX_PIXEL_BYTES} bytes")]
    PixelsTooLarge,
    #[error("sequences are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("the data set holds more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    #[error("a value representation is not two capital letters")]
    BadRepresentation,
    #[error("an undefined length stands where none is allowed")]
    UndefinedLength,
    #[error("an item or delimiter stands where none is allowed")]
    Misplaced,
    #[error("the transfer syntax is not supported")]
    TransferSyntax,
}

/// How elements are encoded; both little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Explicit,
    Implicit,
}

impl Syntax {
    /// The encoding of the data set under a transfer syntax; encapsulated ones are explicit (PS3.5 A.4).
    pub fn of(transfer_syntax: &str) -> Result<Syntax, ScanError> {
        use dicom_dictionary_std::uids;
        match transfer_syntax {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Ok(Syntax::Implicit),
            uids::EXPLICIT_VR_LITTLE_ENDIAN | uids::RLE_LOSSLESS => Ok(Syntax::Explicit),
            // JPEG, JPEG-LS and JPEG 2000 families: readable as a data set; whether the pixels are is decided later.
            other if other.starts_with("1.2.840.10008.1.2.4.") => Ok(Syntax::Explicit),
            _ => Err(ScanError::TransferSyntax),
        }
    }
}

/// How much a value may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub value_bytes: usize,
}

impl Limits {
    pub const IMAGE: Limits = Limits { value_bytes: MAX_VALUE_BYTES };
    /// Objects stored and ignored: raw data hold their payload in one private element.
    pub const IGNORED: Limits = Limits { value_bytes: MAX_PIXEL_BYTES };
}

/// One step of the walk. Slices borrow from the scanned bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `vr` is `None` in implicit encoding.
    Value {
        tag: Tag,
        vr: Option<[u8; 2]>,
        value: &'a [u8],
    },
    /// `vr` is `UN` for a sequence whose writer did not know it (CP-246); its items are then in implicit encoding.
    OpenSequence {
        tag: Tag,
        vr: Option<[u8; 2]>,
    },
    OpenItem,
    CloseItem,
    CloseSequence,
    /// Encapsulated pixel data (PS3.5 A.4): fragments follow, the first is the offset table.
    OpenFragments {
        tag: Tag,
        vr: [u8; 2],
    },
    Fragment(&'a [u8]),
    CloseFragments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    Item,
    Fragments,
}

/// An open sequence, item or run of fragments.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    /// No byte from here on belongs to it; its own end when the length is defined.
    limit: usize,
    defined: bool,
    syntax: Syntax,
}

/// Walks `bytes` and calls `visit` with the number of open sequences and each token, in order.
pub fn walk<'a>(
    bytes: &'a [u8],
    syntax: Syntax,
    limits: Limits,
    visit: &mut dyn FnMut(usize, Token<'a>),
) -> Result<(), ScanError> {
    let mut walker = Walker { bytes, at: 0, syntax, limits, open: Vec::new(), elements: 0 };
    while let Some((depth, token)) = walker.step()? {
        visit(depth, token);
    }
    Ok(())
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    syntax: Syntax,
    limits: Limits,
    open: Vec<Frame>,
    elements: usize,
}

/// The header of an element.
struct Element {
    tag: Tag,
    vr: Option<[u8; 2]>,
    length: u32,
}

impl<'a> Walker<'a> {
    fn depth(&self) -> usize {
        self.open.iter().filter(|frame| frame.kind == Kind::Sequence).count()
    }

    fn limit(&self) -> usize {
        self.open.last().map_or(self.bytes.len(), |frame| frame.limit)
    }

    /// The next token with its depth; `None` at the end of a whole data set.
    fn step(&mut self) -> Result<Option<(usize, Token<'a>)>, ScanError> {
        let Some(&frame) = self.open.last() else {
            if self.at == self.bytes.len() {
                return Ok(None);
            }
            return self.element(self.syntax).map(Some);
        };
        if frame.defined && self.at == frame.limit {
            return Ok(Some(self.close()));
        }
        match frame.kind {
            Kind::Item => self.element(frame.syntax).map(Some),
            Kind::Sequence => self.item(frame).map(Some),
            Kind::Fragments => self.fragment().map(Some),
        }
    }

    fn close(&mut self) -> (usize, Token<'a>) {
        let token = match self.open.pop().map(|frame| frame.kind) {
            Some(Kind::Sequence) => Token::CloseSequence,
            Some(Kind::Item) => Token::CloseItem,
            Some(Kind::Fragments) | None => Token::CloseFragments,
        };
        (self.depth(), token)
    }

    fn element(&mut self, syntax: Syntax) -> Result<(usize, Token<'a>), ScanError> {
        let element = self.element_header(syntax)?;
        if element.tag == ITEM_END {
            let undefined_item =
                self.open.last().is_some_and(|f| f.kind == Kind::Item && !f.defined);
            if !undefined_item || element.length != 0 {
                return Err(ScanError::Misplaced);
            }
            return Ok(self.close());
        }
        if element.tag.group() == 0xFFFE {
            return Err(ScanError::Misplaced);
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(ScanError::TooManyElements);
        }
        let depth = self.depth();
        let tag = element.tag;
        let undefined = element.length == UNDEFINED;
        match (element.vr, undefined) {
            (Some(vr), true) if tag == PIXEL_DATA && (&vr == b"OB" || &vr == b"OW") => {
                self.open(Kind::Fragments, UNDEFINED, syntax)?;
                Ok((depth, Token::OpenFragments { tag, vr }))
            }
            // CP-246 (PS3.5 6.2.2 note 2): UN of undefined length is a sequence in implicit encoding.
            (Some(vr), true) if &vr == b"UN" => self.sequence(element, Syntax::Implicit),
            (Some(vr), _) if &vr == b"SQ" => self.sequence(element, syntax),
            (None, true) if tag != PIXEL_DATA => self.sequence(element, syntax),
            (None, false) if is_sequence(tag) => self.sequence(element, syntax),
            (_, true) => Err(ScanError::UndefinedLength),
            (vr, false) => {
                let value = self.take(element.length)?;
                self.check_size(tag, value.len(), depth)?;
                Ok((depth, Token::Value { tag, vr, value }))
            }
        }
    }

    fn check_size(&self, tag: Tag, bytes: usize, depth: usize) -> Result<(), ScanError> {
        if tag == PIXEL_DATA && depth == 0 {
            return if bytes > MAX_PIXEL_BYTES { Err(ScanError::PixelsTooLarge) } else { Ok(()) };
        }
        if bytes > self.limits.value_bytes {
            return Err(ScanError::ValueTooLarge);
        }
        Ok(())
    }

    fn sequence(
        &mut self,
        element: Element,
        syntax: Syntax,
    ) -> Result<(usize, Token<'a>), ScanError> {
        let depth = self.depth();
        if depth == MAX_DEPTH {
            return Err(ScanError::TooDeep);
        }
        self.open(Kind::Sequence, element.length, syntax)?;
        Ok((depth, Token::OpenSequence { tag: element.tag, vr: element.vr }))
    }

    /// Inside a sequence: an item, or the delimiter of an undefined length.
    fn item(&mut self, sequence: Frame) -> Result<(usize, Token<'a>), ScanError> {
        let (tag, length) = self.item_header()?;
        match tag {
            ITEM => {
                self.elements += 1;
                if self.elements > MAX_ELEMENTS {
                    return Err(ScanError::TooManyElements);
                }
                self.open(Kind::Item, length, sequence.syntax)?;
                Ok((self.depth(), Token::OpenItem))
            }
            SEQUENCE_END if !sequence.defined && length == 0 => Ok(self.close()),
            _ => Err(ScanError::Misplaced),
        }
    }

    fn fragment(&mut self) -> Result<(usize, Token<'a>), ScanError> {
        let (tag, length) = self.item_header()?;
        match tag {
            ITEM if length == UNDEFINED => Err(ScanError::UndefinedLength),
            ITEM => {
                self.elements += 1;
                if self.elements > MAX_ELEMENTS {
                    return Err(ScanError::TooManyElements);
                }
                let value = self.take(length)?;
                if value.len() > MAX_PIXEL_BYTES {
                    return Err(ScanError::PixelsTooLarge);
                }
                Ok((self.depth(), Token::Fragment(value)))
            }
            SEQUENCE_END if length == 0 => Ok(self.close()),
            _ => Err(ScanError::Misplaced),
        }
    }

    fn open(&mut self, kind: Kind, length: u32, syntax: Syntax) -> Result<(), ScanError> {
        let limit = self.limit();
        let defined = length != UNDEFINED;
        let limit = match defined {
            true if length as usize > limit - self.at => return Err(ScanError::LengthPastEnd),
            true => self.at + length as usize,
            false => limit,
        };
        self.open.push(Frame { kind, limit, defined, syntax });
        Ok(())
    }

    fn element_header(&mut self, syntax: Syntax) -> Result<Element, ScanError> {
        let tag = self.tag()?;
        if tag.group() == 0xFFFE || syntax == Syntax::Implicit {
            return Ok(Element { tag, vr: None, length: self.u32()? });
        }
        let vr = self.array::<2>()?;
        if !vr.iter().all(u8::is_ascii_uppercase) {
            return Err(ScanError::BadRepresentation);
        }
        let length = if has_short_length(&vr) {
            u32::from(u16::from_le_bytes(self.array()?))
        } else {
            self.array::<2>()?; // reserved
            self.u32()?
        };
        Ok(Element { tag, vr: Some(vr), length })
    }

    fn item_header(&mut self) -> Result<(Tag, u32), ScanError> {
        Ok((self.tag()?, self.u32()?))
    }

    fn tag(&mut self) -> Result<Tag, ScanError> {
        let [a, b, c, d] = self.array()?;
        Ok(Tag(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
    }

    fn u32(&mut self) -> Result<u32, ScanError> {
        self.array().map(u32::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ScanError> {
        let end = self.at + N;
        if end > self.limit() {
            return Err(ScanError::Truncated);
        }
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[self.at..end]);
        self.at = end;
        Ok(out)
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], ScanError> {
        let left = self.limit() - self.at;
        if length as usize > left {
            return Err(ScanError::LengthPastEnd);
        }
        let value = &self.bytes[self.at..self.at + length as usize];
        self.at += length as usize;
        Ok(value)
    }
}

/// Representations with a 16-bit length field (PS3.5 table 7.1-2); all others, also ones not yet invented, have 32 bits.
pub fn has_short_length(vr: &[u8; 2]) -> bool {
    matches!(
        vr,
        b"AE"
            | b"AS"
            | b"AT"
            | b"CS"
            | b"DA"
            | b"DS"
            | b"DT"
            | b"FD"
            | b"FL"
            | b"IS"
            | b"LO"
            | b"LT"
            | b"PN"
            | b"SH"
            | b"SL"
            | b"SS"
            | b"ST"
            | b"TM"
            | b"UI"
            | b"UL"
            | b"US"
    )
}

/// Whether implicit encoding holds a sequence under this tag. dicom-object decides by the same dictionary, so what it
/// descends into was walked here.
fn is_sequence(tag: Tag) -> bool {
    StandardDataDictionary.by_tag(tag).is_some_and(|entry| entry.vr.exact() == Some(VR::SQ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An explicit element with a 32-bit length.
    fn long(tag: (u16, u16), vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
        let mut out = item(tag, 0);
        out.truncate(4);
        out.extend_from_slice(vr);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(value);
        out
    }

    fn item(tag: (u16, u16), length: u32) -> Vec<u8> {
        let mut out = tag.0.to_le_bytes().to_vec();
        out.extend_from_slice(&tag.1.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out
    }

    fn scan(bytes: &[u8]) -> Result<usize, ScanError> {
        let mut tokens = 0;
        walk(bytes, Syntax::Explicit, Limits::IMAGE, &mut |_, _| tokens += 1)?;
        Ok(tokens)
    }

    fn nested(levels: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..levels {
            out.extend(long((0x40, 0xA730), b"SQ", UNDEFINED, b""));
            out.extend(item((0xFFFE, 0xE000), UNDEFINED));
        }
        for _ in 0..levels {
            out.extend(item((0xFFFE, 0xE00D), 0));
            out.extend(item((0xFFFE, 0xE0DD), 0));
        }
        out
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(scan(&nested(MAX_DEPTH)), Ok(4 * MAX_DEPTH));
        assert_eq!(scan(&nested(MAX_DEPTH + 1)), Err(ScanError::TooDeep));
    }

    #[test]
    fn lengths_are_believed_only_within_what_is_there() {
        assert_eq!(
            scan(&long((9, 0x1001), b"UN", 0xFFFF_FFFE, b"abc")),
            Err(ScanError::LengthPastEnd)
        );
        let mut sequence = long((8, 0x1140), b"SQ", 8, b"");
        sequence.extend(item((0xFFFE, 0xE000), 100));
        sequence.extend([0; 100]);
        assert_eq!(scan(&sequence), Err(ScanError::LengthPastEnd), "an item beyond its sequence");
        assert_eq!(scan(&item((8, 8), 0)[..3]), Err(ScanError::Truncated));
        let large = vec![0; MAX_VALUE_BYTES + 2];
        assert_eq!(
            scan(&long((9, 0x1001), b"OB", large.len() as u32, &large)),
            Err(ScanError::ValueTooLarge)
        );
        assert_eq!(scan(&long((0x7FE0, 0x10), b"OW", large.len() as u32, &large)), Ok(1));
    }

    #[test]
    fn an_unknown_sequence_is_walked_in_implicit_encoding() {
        let mut bytes = long((0x2001, 0x105F), b"UN", UNDEFINED, b"");
        bytes.extend(item((0xFFFE, 0xE000), UNDEFINED));
        bytes.extend(item((8, 0x60), 2));
        bytes.extend(b"MR");
        bytes.extend(item((0xFFFE, 0xE00D), 0));
        bytes.extend(item((0xFFFE, 0xE0DD), 0));
        bytes.extend(b"\x28\x00\x10\x00US\x02\x00\x10\x00");
        assert_eq!(scan(&bytes), Ok(6));
    }

    #[test]
    fn delimiters_out_of_place_and_strange_representations_are_refused() {
        assert_eq!(scan(&item((0xFFFE, 0xE00D), 0)), Err(ScanError::Misplaced));
        assert_eq!(scan(b"\x08\x00\x60\x00??\x02\x00MR"), Err(ScanError::BadRepresentation));
        assert_eq!(scan(&long((8, 0x70), b"OB", UNDEFINED, b"")), Err(ScanError::UndefinedLength));
        let mut fragments = long((0x7FE0, 0x10), b"OB", UNDEFINED, b"");
        fragments.extend(item((0xFFFE, 0xE000), 0));
        assert_eq!(scan(&fragments), Err(ScanError::Truncated), "no delimiter");
        fragments.extend(item((0xFFFE, 0xE0DD), 0));
        assert_eq!(scan(&fragments), Ok(3));
    }

    #[test]
    fn every_prefix_of_a_data_set_ends_without_panic() {
        let bytes = nested(3);
        for end in 0..bytes.len() {
            assert!(scan(&bytes[..end]).is_err() || end == 0);
        }
    }
}
