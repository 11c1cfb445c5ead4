//! The small data sets of N-CREATE, N-SET, N-ACTION and N-EVENT-REPORT, always Implicit VR Little Endian: the one transfer
//! syntax that every peer must offer (PS3.5 10.1), and the only one we accept for their classes.

use crate::ingest::prescan::{self, Limits, ScanError, Syntax, Token};
use dicom_core::Tag;

/// What a data set is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'a> {
    /// An item of the innermost open sequence begins.
    Item,
    Value(Tag, &'a [u8]),
}

/// Calls `visit` with each node and the tags of the sequences it lies in, outermost first. Bounded as every
/// [pre-scan](prescan).
pub fn visit<'a>(
    bytes: &'a [u8],
    visit: &mut dyn FnMut(&[Tag], Node<'a>),
) -> Result<(), ScanError> {
    let mut open = Vec::new();
    prescan::walk(bytes, Syntax::Implicit, Limits::IMAGE, &mut |_, token| match token {
        Token::OpenSequence { tag, .. } => open.push(tag),
        Token::CloseSequence => drop(open.pop()),
        Token::OpenItem => visit(&open, Node::Item),
        Token::Value { tag, value, .. } => visit(&open, Node::Value(tag, value)),
        _ => {}
    })
}

/// A value as text without its padding; empty when it is not UTF-8.
pub fn text(value: &[u8]) -> String {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.trim_matches(|c: char| c == '\0' || c == ' ').to_owned()
}

/// A data set that is written; tags must ascend.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn uid(&mut self, tag: Tag, uid: &str) {
        let mut value = uid.as_bytes().to_vec();
        value.resize(value.len() + value.len() % 2, 0);
        self.element(tag, &value);
    }

    pub fn number(&mut self, tag: Tag, number: u16) {
        self.element(tag, &number.to_le_bytes());
    }

    pub fn sequence(&mut self, tag: Tag, items: impl Iterator<Item = Writer>) {
        /// (FFFE,E000) Item.
        const ITEM: Tag = Tag(0xFFFE, 0xE000);
        let mut value = Writer::default();
        items.for_each(|item| value.element(ITEM, &item.0));
        self.element(tag, &value.0);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn element(&mut self, tag: Tag, value: &[u8]) {
        self.0.extend_from_slice(&tag.group().to_le_bytes());
        self.0.extend_from_slice(&tag.element().to_le_bytes());
        self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.0.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn what_is_written_is_visited_with_its_sequences() {
        let item = |uid: &str| {
            let mut item = Writer::default();
            item.uid(tags::REFERENCED_SOP_INSTANCE_UID, uid);
            item.number(tags::FAILURE_REASON, 0x0112);
            item
        };
        let mut written = Writer::default();
        written.uid(tags::TRANSACTION_UID, "1.2.3");
        written.sequence(tags::FAILED_SOP_SEQUENCE, ["1.4", "1.5.6"].into_iter().map(item));
        let bytes = written.into_bytes();
        let mut seen = Vec::new();
        visit(&bytes, &mut |path, node| {
            seen.push(match node {
                Node::Item => format!("{} item", path.len()),
                Node::Value(tag, value) if tag == tags::FAILURE_REASON => format!("{value:?}"),
                Node::Value(_, value) => format!("{} {}", path.len(), text(value)),
            });
        })
        .unwrap();
        let reason = "[18, 1]";
        assert_eq!(seen, ["0 1.2.3", "1 item", "1 1.4", reason, "1 item", "1 1.5.6", reason]);
        assert!(visit(&bytes[..bytes.len() - 1], &mut |_, _| {}).is_err());
    }
}
