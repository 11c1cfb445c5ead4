//! The simulator speaks the link: greeting, heartbeat and status through its real stdin and stdout.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use link::{FromSupervisor, PowerState, Reader, ToSupervisor, VERSION, encode};

#[test]
fn answers_over_its_uart() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_firmware"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let messages = [
        ToSupervisor::Hello { version: VERSION },
        ToSupervisor::Heartbeat { sequence: 41 },
        ToSupervisor::GetStatus,
    ];
    // Noise first: the link must find its place.
    stdin.write_all(&[0x55, 0xaa, 0x00]).unwrap();
    for message in messages {
        stdin.write_all(encode(&message).unwrap().as_bytes()).unwrap();
    }
    drop(stdin);
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    assert!(child.wait().unwrap().success());

    let mut reader = Reader::default();
    let answers: Vec<FromSupervisor> =
        out.iter().filter_map(|&byte| reader.push(byte)).map(Result::unwrap).collect();
    assert!(matches!(answers[0], FromSupervisor::Hello { version: VERSION, .. }), "{answers:?}");
    assert_eq!(answers[1], FromSupervisor::HeartbeatSeen { sequence: 41 });
    assert!(
        matches!(
            answers[2],
            FromSupervisor::Status { state: PowerState::Running, bad_frames: 1, .. }
        ),
        "{answers:?}"
    );
    assert_eq!(answers.len(), 3);
}
