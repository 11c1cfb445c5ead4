//! Compares messages with the bytes they must always have, both ways.

use link::{Reader, encode};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn frozen<T>(cases: &[(T, &str)])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    for (message, golden) in cases {
        let frame = encode(message).expect("every message fits a frame");
        assert_eq!(hex(frame.as_bytes()), *golden, "{message:?}");
        let mut reader = Reader::default();
        let read: Vec<_> = frame.as_bytes().iter().filter_map(|&b| reader.push::<T>(b)).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref(), Ok(message));
    }
}
