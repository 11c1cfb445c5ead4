//! The public part of a data set as a dicom-object, and its pixel data as slices of the received bytes.
//!
//! Private elements are left out while the bytes are walked: dicom-object 0.10 misreads private sequences of unknown
//! representation (CP-246), results must not carry a vendor's private data, and nothing here needs them. Pixel data are
//! left out too, because [`super::pixels`] reads them in place.

use crate::ingest::prescan::{self, Limits, PIXEL_DATA, Syntax, Token, has_short_length};
use dicom_core::{Tag, VR};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries;

const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// Pixel data as they are in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoded<'a> {
    Native(&'a [u8]),
    /// Without the offset table.
    Fragments(Vec<&'a [u8]>),
}

/// A data set in two parts.
#[derive(Debug)]
pub(super) struct Public<'a> {
    pub(super) header: InMemDicomObject,
    pub(super) pixels: Option<Encoded<'a>>,
}

/// Splits a data set. The error says what is wrong with it and holds no value of it.
pub(super) fn split<'a>(data_set: &'a [u8], transfer_syntax: &str) -> Result<Public<'a>, String> {
    let syntax = Syntax::of(transfer_syntax).map_err(|e| e.to_string())?;
    let mut splitter =
        Splitter { syntax, out: Vec::new(), skip: None, fragments: None, pixels: None };
    prescan::walk(data_set, syntax, Limits::IMAGE, &mut |depth, token| splitter.take(depth, token))
        .map_err(|e| e.to_string())?;
    let entry = match syntax {
        Syntax::Explicit => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        Syntax::Implicit => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
    };
    // dicom-object's own message may quote a value: it is not passed on.
    let header = InMemDicomObject::read_dataset_with_ts(splitter.out.as_slice(), &entry)
        .map_err(|_| "an element has a value that cannot be read".to_owned())?;
    Ok(Public { header, pixels: splitter.pixels })
}

/// Writes the public elements again, in the same encoding; sequences and items get undefined lengths.
struct Splitter<'a> {
    syntax: Syntax,
    out: Vec<u8>,
    /// Inside a sequence that is left out, which opened at this depth.
    skip: Option<usize>,
    fragments: Option<Vec<&'a [u8]>>,
    pixels: Option<Encoded<'a>>,
}

impl<'a> Splitter<'a> {
    fn take(&mut self, depth: usize, token: Token<'a>) {
        if let Some(outer) = self.skip {
            if depth == outer && token == Token::CloseSequence {
                self.skip = None;
            }
            return;
        }
        match token {
            Token::Value { tag: PIXEL_DATA, value, .. } if depth == 0 => {
                self.pixels = Some(Encoded::Native(value));
            }
            Token::Value { tag, vr, value } if is_public(tag) => self.value(tag, vr, value),
            Token::Value { .. } => {}
            Token::OpenSequence { tag, vr } => {
                if !is_public(tag) || vr.as_ref().is_some_and(|vr| vr == b"UN") {
                    self.skip = Some(depth);
                } else {
                    self.element_header(tag, vr.map(|_| *b"SQ"), UNDEFINED);
                }
            }
            Token::OpenItem => self.delimiter(ITEM, UNDEFINED),
            Token::CloseItem => self.delimiter(ITEM_END, 0),
            Token::CloseSequence => self.delimiter(SEQUENCE_END, 0),
            Token::OpenFragments { .. } => self.fragments = (depth == 0).then(Vec::new),
            Token::Fragment(bytes) => {
                if let Some(fragments) = &mut self.fragments {
                    fragments.push(bytes);
                }
            }
            Token::CloseFragments => {
                if let Some(fragments) = self.fragments.take() {
                    let frames = fragments.into_iter().skip(1).collect();
                    self.pixels = Some(Encoded::Fragments(frames));
                }
            }
        }
    }

    fn value(&mut self, tag: Tag, vr: Option<[u8; 2]>, value: &[u8]) {
        // A representation this version of dicom-object does not know is kept as bytes.
        let vr = vr.map(|vr| if VR::from_binary(vr).is_some() { vr } else { *b"UN" });
        self.element_header(tag, vr, value.len() as u32);
        self.out.extend_from_slice(value);
    }

    fn element_header(&mut self, tag: Tag, vr: Option<[u8; 2]>, length: u32) {
        self.tag(tag);
        match (self.syntax, vr) {
            (Syntax::Explicit, Some(vr)) => {
                self.out.extend_from_slice(&vr);
                if has_short_length(&vr) {
                    self.out.extend_from_slice(&(length as u16).to_le_bytes());
                    return;
                }
                self.out.extend_from_slice(&[0, 0]);
            }
            // Implicit, where nothing stands between tag and length. (An explicit data set has no element without
            // representation but inside the sequences that are skipped.)
            (Syntax::Implicit, _) | (Syntax::Explicit, None) => {}
        }
        self.out.extend_from_slice(&length.to_le_bytes());
    }

    fn delimiter(&mut self, tag: Tag, length: u32) {
        self.tag(tag);
        self.out.extend_from_slice(&length.to_le_bytes());
    }

    fn tag(&mut self, tag: Tag) {
        self.out.extend_from_slice(&tag.group().to_le_bytes());
        self.out.extend_from_slice(&tag.element().to_le_bytes());
    }
}

/// Elements a reader of the data set needs: no private ones, no group lengths (they would be wrong now), no command or
/// file meta groups, no trailing padding.
fn is_public(tag: Tag) -> bool {
    tag.group().is_multiple_of(2)
        && tag.group() >= 0x0008
        && tag.group() != 0xFFFC
        && tag.element() != 0
}
