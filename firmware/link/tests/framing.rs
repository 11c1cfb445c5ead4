//! What the reader must survive: every one-bit error, cut frames, noise, floods.

use link::{Frame, FrameError, MAX_FRAME, Reader, ToSupervisor, VERSION, encode};

fn read(reader: &mut Reader, bytes: &[u8]) -> Vec<Result<ToSupervisor, FrameError>> {
    bytes.iter().filter_map(|&byte| reader.push(byte)).collect()
}

fn beat(sequence: u32) -> (ToSupervisor, Frame) {
    let message = ToSupervisor::Heartbeat { sequence };
    (message, encode(&message).expect("a heartbeat fits a frame"))
}

#[test]
fn messages_with_zeros_survive_the_round_trip() {
    let mut reader = Reader::default();
    for sequence in [0, 1, 0x7f, 0x80, 0x0001_0000, 0xff00_ff00, u32::MAX] {
        let (message, frame) = beat(sequence);
        assert_eq!(read(&mut reader, frame.as_bytes()), [Ok(message)]);
    }
}

#[test]
fn no_one_bit_error_is_accepted_and_the_next_frame_is_read() {
    let (good, frame) = beat(0x0102_0304);
    let mut reader = Reader::default();
    for bit in 0..frame.as_bytes().len() * 8 {
        let mut bytes = frame.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A damaged delimiter joins the next frame to this one: the delimiter after it ends both.
        bytes.push(0);
        let seen = read(&mut reader, &bytes);
        assert!(!seen.is_empty(), "bit {bit}");
        assert!(seen.iter().all(Result::is_err), "bit {bit}: {seen:?}");
        assert_eq!(read(&mut reader, frame.as_bytes()), [Ok(good)], "after bit {bit}");
    }
}

#[test]
fn cut_frames_are_refused_and_the_next_is_read() {
    let (good, frame) = beat(7);
    for cut in 1..frame.as_bytes().len() - 1 {
        let mut reader = Reader::default();
        let mut bytes = frame.as_bytes()[..cut].to_vec();
        bytes.push(0);
        bytes.extend_from_slice(frame.as_bytes());
        assert_eq!(read(&mut reader, &bytes), [Err(FrameError::Damaged), Ok(good)], "cut {cut}");
    }
}

#[test]
fn a_flood_without_delimiter_is_one_error() {
    let (good, frame) = beat(7);
    let mut reader = Reader::default();
    let mut bytes = vec![0x55; 10 * MAX_FRAME];
    bytes.push(0);
    bytes.extend_from_slice(frame.as_bytes());
    assert_eq!(read(&mut reader, &bytes), [Err(FrameError::TooLong), Ok(good)]);
}

#[test]
fn bytes_after_a_message_are_an_error() {
    #[derive(serde::Serialize)]
    struct Longer(ToSupervisor, u8);
    let frame = encode(&Longer(ToSupervisor::Hello { version: VERSION }, 9)).unwrap();
    assert_eq!(read(&mut Reader::default(), frame.as_bytes()), [Err(FrameError::Damaged)]);
}

#[test]
fn a_message_beyond_the_bound_is_not_encoded() {
    assert_eq!(encode(&[1u8; 32].as_slice()).map(|f| f.as_bytes().len()), Ok(1 + 32 + 4 + 2));
    assert_eq!(encode(&[[1u8; 32]; 4]), Err(FrameError::TooLong));
}

/// Random bytes from a fixed seed: nothing is accepted by chance, nothing panics.
#[test]
fn noise_is_never_a_message() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut reader = Reader::default();
    for _ in 0..1_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if let Some(Ok(message)) = reader.push::<ToSupervisor>((state >> 32) as u8) {
            panic!("noise read as {message:?}");
        }
    }
}
