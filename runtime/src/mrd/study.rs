//! What the header of an MRD session (`ismrmrdHeader` XML) says of study and frame of reference: whose levels a series may share.

use super::header::ImageHeader;
use crate::identity::frame_id;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Study and frame of reference, where the header names both. Patient data: [`std::fmt::Debug`] leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Study {
    study: String,
    frame: String,
}

impl std::fmt::Debug for Study {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Study")
    }
}

impl Study {
    /// Reads the header; `None` where it is no XML, as some clients send, or does not name both.
    pub fn read(xml: &str) -> Option<Study> {
        let mut reader = Reader::from_str(xml.trim_end_matches('\0'));
        let (mut study, mut frame, mut text) = (None, None, String::new());
        loop {
            match reader.read_event().ok()? {
                Event::Eof => break,
                Event::Start(_) => text.clear(),
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::End(tag) => match tag.local_name().as_ref() {
                    "studyInstanceUID" => study = Some(std::mem::take(&mut text)),
                    "frameOfReferenceUID" => frame = Some(std::mem::take(&mut text)),
                    _ => {}
                },
                _ => {}
            }
        }
        let named = |uid: Option<String>| {
            uid.map(|uid| uid.trim().to_owned()).filter(|uid| !uid.is_empty())
        };
        Some(Study { study: named(study)?, frame: named(frame)? })
    }

    /// What the frame of reference of an image is called on this disk. Positions are those of one place of the table, and not
    /// those of DICOM: another place, and a series that came by DICOM, are another frame.
    pub fn frame_of(&self, header: &ImageHeader, site_key: &[u8]) -> String {
        let table = header.table_position().map(|mm| mm.round() as i64);
        frame_id(site_key, &self.study, &format!("mrd {} {table:?}", self.frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrd::header::HEADER_BYTES;

    fn header(study: &str, frame: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\"><studyInformation>\
             {study}</studyInformation><measurementInformation><patientPosition>HFS</patientPosition>\
             {frame}</measurementInformation></ismrmrdHeader>\0"
        )
    }

    #[test]
    fn study_and_frame_are_read_where_both_are_named() {
        let study = "<studyInstanceUID> 1.2 </studyInstanceUID>";
        let frame = "<frameOfReferenceUID>1.3</frameOfReferenceUID>";
        let read = Study::read(&header(study, frame)).unwrap();
        assert_eq!((read.study.as_str(), read.frame.as_str()), ("1.2", "1.3"));
        assert!(!format!("{read:?}").contains("1.2"));
        for text in [&header(study, ""), &header("", frame), "Dummy XML header", "<a>", ""] {
            assert_eq!(Study::read(text), None, "{text}");
        }
        let mut bytes = [0; HEADER_BYTES];
        let here = read.frame_of(&ImageHeader::new(bytes), b"key");
        bytes[84..88].copy_from_slice(&250.0f32.to_le_bytes());
        assert_ne!(read.frame_of(&ImageHeader::new(bytes), b"key"), here, "the table moved");
        assert_ne!(frame_id(b"key", "1.2", "1.3"), here, "not that of DICOM");
    }
}
