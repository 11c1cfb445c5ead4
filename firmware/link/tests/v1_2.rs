//! The exact bytes of every message that version 1.2 appended. Never edited, as `v1.rs`.

mod frozen;

use frozen::frozen;
use link::ImageRequest::{Begin, Confirm, Finish, Status};
use link::ToSupervisor::Image;
use link::{
    CHUNK, Chunk, FromSupervisor, ImageRefusal, ImageRequest, ImageStatus, Slot, ToSupervisor,
    Verdict, Version,
};

#[test]
fn to_supervisor() {
    let longest: Vec<u8> = (0..CHUNK as u8).collect();
    let chunk = |offset, bytes: &[u8]| {
        Image(ImageRequest::Chunk { offset, bytes: Chunk::new(bytes).unwrap() })
    };
    frozen(&[
        (ToSupervisor::Hello { version: Version { major: 1, minor: 2 } }, "01070102fa4bfd9200"),
        (Image(Status), "0208056ab4756c00"),
        (Image(Begin { version: 7, length: 24_000 }), "0b080107c0bb0131446aba00"),
        (chunk(300, &[1, 0, 2]), "070802ac02030106021bd5600300"),
        (
            chunk(u32::MAX, &longest),
            "090802ffffffff0f70740102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f77263b2600",
        ),
        (Image(Finish), "0708039e47257f00"),
        (Image(Confirm), "0708047523efab00"),
    ]);
}

#[test]
fn from_supervisor() {
    let refused = |why| FromSupervisor::ImageRefused { why };
    frozen(&[
        (FromSupervisor::ImageNext { offset: 24_000 }, "090bc0bb01da56567000"),
        (status(Slot::A, Verdict::Open), "040a8607040701050519f1c3bb00"),
        (status(Slot::B, Verdict::Confirmed), "0d0a86070107010501b61db97100"),
        (status(Slot::B, Verdict::NotConfirmed), "0d0a8607010701050242eee96200"),
        (
            status(Slot::B, Verdict::Refused(ImageRefusal::Signature)),
            "0e0a86070107010503084c17246b00",
        ),
        (status(Slot::B, Verdict::Rescued), "0d0a86070107010504aa09484400"),
        (refused(ImageRefusal::OnTrial), "020c05b6d5ff2200"),
        (refused(ImageRefusal::NotBegun), "070c01b55694d000"),
        (refused(ImageRefusal::Incomplete), "070c0241a5c4c300"),
        (refused(ImageRefusal::Length), "070c034226af3100"),
        (refused(ImageRefusal::TooOld), "070c04a94265e500"),
        (refused(ImageRefusal::NotImage), "070c05aac10e1700"),
        (refused(ImageRefusal::OtherBoard), "070c065e325e0400"),
        (refused(ImageRefusal::OtherSlot), "070c075db135f600"),
        (refused(ImageRefusal::Signature), "070c08798d26a800"),
        (refused(ImageRefusal::Damaged), "070c097a0e4d5a00"),
        (refused(ImageRefusal::Flash), "070c0a8efd1d4900"),
    ]);
}

#[test]
fn a_chunk_beyond_the_bound_is_no_message() {
    assert_eq!(Chunk::new(&[0; CHUNK + 1]), None);
    #[derive(serde::Serialize)]
    struct Longer<'a>(u8, u8, u32, &'a [u8]);
    // One byte more than a chunk, with the tags of one and a short offset: it fits a frame and is still none.
    let frame = link::encode(&Longer(8, 2, 0, &[1; CHUNK + 1])).unwrap();
    let mut reader = link::Reader::default();
    let read: Vec<_> =
        frame.as_bytes().iter().filter_map(|byte| reader.push::<ToSupervisor>(*byte)).collect();
    assert_eq!(read, [Err(link::FrameError::Damaged)]);
}

fn status(running: Slot, last: Verdict) -> FromSupervisor {
    FromSupervisor::Image(ImageStatus {
        board: 0x0386,
        running,
        version: 7,
        on_trial: true,
        oldest: 5,
        last,
    })
}
