//! Messages cut out of bytes, in whatever pieces they come.

use super::header::{DataType, HEADER_BYTES, ImageHeader};
use super::wire::{
    Image, Level, MAX_ATTRIBUTE_BYTES, MAX_PIXEL_BYTES, MAX_TEXT_BYTES, Message, Reader, WireError,
    close, log_line,
};

/// An image of 4 x 3 unsigned 16-bit samples with attributes of five bytes, the last a NUL.
fn image() -> Image {
    let mut header = [7; HEADER_BYTES];
    header[2..4].copy_from_slice(&1u16.to_le_bytes());
    for (at, value) in [(16, 4u16), (18, 3), (20, 1), (34, 1), (124, 1), (128, 9)] {
        header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    let header = ImageHeader::new(header);
    Image { header, attributes: b"<a/>\0".to_vec(), pixels: (0..24).collect() }
}

/// Every kind of message behind one another.
fn stream() -> (Vec<u8>, Vec<Message>) {
    let text = |id: u16, words: &str| {
        let mut bytes = id.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(words.len() as u32 + 1).to_le_bytes());
        bytes.extend_from_slice(words.as_bytes());
        bytes.push(0);
        bytes
    };
    let mut file = 1u16.to_le_bytes().to_vec();
    file.extend_from_slice(b"sagitta");
    file.resize(2 + 1024, 0);
    // Two samples of three channels and one dimension; four samples of two channels.
    let mut readout = 1008u16.to_le_bytes().to_vec();
    readout.resize(2 + 340, 0);
    for (at, value) in [(34, 2u8), (38, 3), (176, 1)] {
        readout[2 + at] = value;
    }
    readout.resize(2 + 340 + 4 * 2 * (1 + 2 * 3), 0xee);
    let mut waveform = 1026u16.to_le_bytes().to_vec();
    waveform.resize(2 + 40, 0);
    (waveform[2 + 28], waveform[2 + 30]) = (4, 2);
    waveform.resize(2 + 40 + 4 * 4 * 2, 0xee);
    let parts = [
        (file, Message::Config("sagitta".to_owned())),
        (text(2, "{}"), Message::Config("{}".to_owned())),
        (text(3, "Dummy XML header"), Message::Metadata("Dummy XML header".to_owned())),
        (text(5, "{\"parameters\":{}}"), Message::Text("{\"parameters\":{}}".to_owned())),
        (readout, Message::Skipped),
        (image().bytes(), Message::Image(Box::new(image()))),
        (waveform, Message::Skipped),
        (close(), Message::Close),
    ];
    let (bytes, messages): (Vec<Vec<u8>>, Vec<Message>) = parts.into_iter().unzip();
    (bytes.concat(), messages)
}

#[test]
fn messages_come_whole_whatever_pieces_the_bytes_come_in() {
    let (bytes, expected) = stream();
    for size in [1, 2, 3, 7, 64, 1000, bytes.len()] {
        let (mut reader, mut messages) = (Reader::default(), Vec::new());
        for piece in bytes.chunks(size) {
            reader.feed(piece);
            while let Some(message) = reader.message().unwrap() {
                messages.push(message);
            }
        }
        assert_eq!(messages, expected, "pieces of {size}");
        assert!(!reader.is_within() && reader.wanted() == 0, "nothing is under way");
    }
}

#[test]
fn the_size_of_a_message_is_known_from_its_header() {
    let bytes = image().bytes();
    let mut reader = Reader::default();
    reader.feed(&bytes[..2 + HEADER_BYTES + 8]);
    assert_eq!(reader.message(), Ok(None));
    assert_eq!((reader.wanted(), image().message_bytes()), (bytes.len(), bytes.len()));
}

#[test]
fn what_is_unknown_or_too_large_is_refused_before_it_comes() {
    let after = |bytes: &[u8]| {
        let mut reader = Reader::default();
        reader.feed(bytes);
        reader.message().expect_err("must be refused")
    };
    assert_eq!(after(&4711u16.to_le_bytes()), WireError::Unknown(4711));
    for id in [1001u16, 1007, 1009, 1021] {
        assert_eq!(after(&id.to_le_bytes()), WireError::Deprecated(id));
    }
    let long = [[5, 0].as_slice(), &(MAX_TEXT_BYTES as u32 + 1).to_le_bytes()].concat();
    assert_eq!(after(&long), WireError::Text(MAX_TEXT_BYTES + 1));
    let with = |at: usize, value: u16| {
        let mut bytes = image().bytes();
        bytes[2 + at..4 + at].copy_from_slice(&value.to_le_bytes());
        bytes.truncate(2 + HEADER_BYTES + 8);
        bytes
    };
    assert_eq!(after(&with(16, 0xffff)), WireError::Matrix([0xffff, 3, 1]));
    assert_eq!(after(&with(18, 0)), WireError::Matrix([4, 0, 1]));
    assert_eq!(after(&with(34, 0)), WireError::Channels(0));
    assert_eq!(after(&with(2, 9)), WireError::DataType(9));
    let mut many = with(16, 4096);
    many[2 + 18..2 + 22].copy_from_slice(&[0, 0x10, 0, 0x10]);
    assert!(matches!(after(&many), WireError::Samples(bytes) if bytes > MAX_PIXEL_BYTES as u64));
    let mut attributes = with(16, 4);
    attributes[2 + HEADER_BYTES + 7] = 0x80;
    assert_eq!(after(&attributes), WireError::Attributes(1 << 63 | 5));
    assert!((1 << 63 | 5) > MAX_ATTRIBUTE_BYTES as u64);
    let mut readout = 1008u16.to_le_bytes().to_vec();
    readout.resize(2 + 340, 0xff);
    assert!(matches!(after(&readout), WireError::Samples(_)));
}

#[test]
fn a_log_line_has_its_level_in_eight_characters_and_a_nul() {
    let bytes = log_line(Level::Error, "no");
    assert_eq!(bytes, b"\x05\0\x0b\0\0\0ERROR   no\0");
}

#[test]
fn a_header_changes_only_where_it_is_told() {
    let header = image().header;
    let colour = header.clone().in_colour().of_series(1000).with_attribute_bytes(77);
    assert_eq!((colour.data_type(), colour.channels()), (Some(DataType::U16), 3));
    assert_eq!((colour.series(), colour.attribute_bytes()), (1000, 77));
    assert!(header.is_magnitude() && !colour.is_magnitude());
    let changed = header.bytes().iter().zip(colour.bytes()).filter(|(a, b)| a != b).count();
    assert!(changed <= 8, "{changed} bytes");
    let plane = header.of_plane(600, 500, [60.0, 50.0, 4.0]);
    assert_eq!((plane.matrix(), plane.field_of_view()), ([600, 500, 1], [60.0, 50.0, 4.0]));
}
