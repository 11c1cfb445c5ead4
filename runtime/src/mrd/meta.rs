//! The attributes of an MRD image: names with values, in order, as `ismrmrdMeta` XML. What is not known here is kept: a scanner
//! finds its own again in what comes back (`IceMiniHead` and many more).

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesRef, Event};

/// Names with their values.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Meta(Vec<(String, Vec<String>)>);

impl std::fmt::Debug for Meta {
    /// Values may be patient data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Meta {
    /// Reads XML with or without a NUL behind it; no XML at all is no attributes. `None` where it is broken.
    pub fn read(bytes: &[u8]) -> Option<Meta> {
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let mut reader = Reader::from_str(std::str::from_utf8(&bytes[..end]).ok()?);
        let (mut meta, mut name, mut values) = (Meta::default(), String::new(), Vec::new());
        let mut text = String::new();
        loop {
            match reader.read_event().ok()? {
                Event::Eof => return Some(meta),
                Event::Start(_) => text.clear(),
                Event::Empty(tag) if tag.name().as_ref() == "value" => values.push(String::new()),
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::CData(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => text.push_str(&resolved(&reference)?),
                Event::End(tag) => match tag.name().as_ref() {
                    "name" => name = std::mem::take(&mut text),
                    "value" => values.push(std::mem::take(&mut text)),
                    "meta" => {
                        meta.0.push((std::mem::take(&mut name), std::mem::take(&mut values)));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// The XML, without a NUL.
    pub fn write(&self) -> Vec<u8> {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ismrmrdMeta>\n");
        for (name, values) in &self.0 {
            xml.push_str(&format!("<meta><name>{}</name>", escape(name)));
            for value in values {
                xml.push_str(&format!("<value>{}</value>", escape(value)));
            }
            xml.push_str("</meta>\n");
        }
        xml.push_str("</ismrmrdMeta>\n");
        xml.into_bytes()
    }

    pub fn values(&self, name: &str) -> Option<&[String]> {
        let entry = self.0.iter().find(|(known, _)| known == name);
        entry.map(|(_, values)| values.as_slice())
    }

    /// Three numbers, as directions are written; `None` for anything else.
    pub fn triple(&self, name: &str) -> Option<[f64; 3]> {
        let numbers: Option<Vec<f64>> =
            self.values(name)?.iter().map(|value| value.trim().parse().ok()).collect();
        numbers?.try_into().ok()
    }

    /// Puts `values` in the place of all that had this name.
    pub fn set<T: ToString>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        self.remove(|known| known == name);
        let values = values.into_iter().map(|value| value.to_string()).collect();
        self.0.push((name.to_owned(), values));
    }

    pub fn remove(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| !is_gone(name));
    }
}

/// The text that a reference stands for. Entities of a document type are none: they can be made to grow without end.
fn resolved(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref().ok()? {
        Some(character) => Some(character.to_string()),
        None => resolve_predefined_entity(&reference.xml10_content()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_again() {
        let xml = "<?xml version='1.0'?>\n<ismrmrdMeta>\n <meta><name>DataRole</name><value>Image</value></meta>\
             <meta>\n<name>A &amp; &#66;</name>\n<value>1 &lt; 2</value><value/><value><![CDATA[<x>]]></value></meta>\
             <meta><name>IceMiniHead</name><value>PFhQPg==</value></meta></ismrmrdMeta>\n\0";
        let meta = Meta::read(xml.as_bytes()).unwrap();
        assert_eq!(meta.values("A & B").unwrap(), ["1 < 2", "", "<x>"]);
        assert_eq!(meta.values("IceMiniHead").unwrap(), ["PFhQPg=="]);
        assert_eq!(Meta::read(&meta.write()).unwrap(), meta);
        assert_eq!(Meta::read(b"").unwrap(), Meta::default());
    }

    #[test]
    fn values_are_replaced_and_numbers_read() {
        let mut meta = Meta::default();
        meta.set("ImageRowDir", ["0.0", " 1", "-2e-1"]);
        assert_eq!(meta.triple("ImageRowDir"), Some([0.0, 1.0, -0.2]));
        meta.set("ImageRowDir", [1, 2]);
        assert_eq!((meta.triple("ImageRowDir"), meta.triple("ImageColumnDir")), (None, None));
        meta.remove(|name| name.starts_with("Image"));
        assert_eq!(meta, Meta::default());
    }

    #[test]
    fn broken_xml_and_growing_entities_are_no_attributes() {
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>\
             <ismrmrdMeta><meta><name>&b;</name></meta></ismrmrdMeta>";
        for xml in ["<ismrmrdMeta><meta></ismrmrdMeta>", "<a", bomb] {
            assert_eq!(Meta::read(xml.as_bytes()), None, "{xml}");
        }
        assert_eq!(Meta::read(&[0xff, 0xfe]), None);
        let deep = "<a>".repeat(100_000);
        assert!(Meta::read(deep.as_bytes()).is_none_or(|meta| meta == Meta::default()));
    }
}
