//! The supervisor's own image from the host's side: which one runs, and another one in its place.
//!
//! The supervisor judges: it takes no image that its vendor did not sign, tries a new one once and goes back to the old one
//! by itself. Here it is sent, awaited and, when it answers as it should, confirmed.

use super::line::{Figures, Line, LineError};
use super::port::Port;
use link::image::{Image, images};
use link::{
    CHUNK, Chunk, FromSupervisor, ImageRefusal, ImageRequest, ImageStatus, Slot, ToSupervisor,
    Verdict, Version,
};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use thiserror::Error;

/// From the end of the sending until an image runs that says what came of it: the supervisor's limit for a trial (two minutes),
/// its watchdog and two starts.
const VERDICT: Duration = Duration::from_secs(150);
/// Between two looks meanwhile.
const LOOK: Duration = Duration::from_millis(500);
/// Chunks are sent at most so often as the image has, and this many times: a line that loses more is no line.
const PATIENCE: usize = 4;

/// Why there is no new image, or no word of the one that runs.
#[derive(Debug, Error)]
pub enum ImageError {
    #[error(transparent)]
    Line(LineError),
    /// The service, or another command of ours.
    #[error("another program holds the line to the supervisor")]
    Held,
    #[error("the supervisor speaks version {}.{} of the link, which knows no images", .0.major, .0.minor)]
    TooOldLink(Version),
    #[error("it is no update for a supervisor, or not all of one")]
    NotUpdate,
    #[error("the supervisor's image is for board {theirs:#06x}, this one is for {ours:#06x}")]
    OtherBoard { theirs: u32, ours: u32 },
    #[error("the supervisor refused it: {}", reason(*.0))]
    Refused(ImageRefusal),
    #[error("it did not prove itself: the supervisor has taken the image before it again")]
    NotConfirmed,
    #[error("nothing was heard of the supervisor since it started anew")]
    Lost,
}

impl From<LineError> for ImageError {
    fn from(error: LineError) -> ImageError {
        match error {
            LineError::Port(port) if port.kind() == io::ErrorKind::ResourceBusy => ImageError::Held,
            error => ImageError::Line(error),
        }
    }
}

/// A refusal in words.
fn reason(why: ImageRefusal) -> &'static str {
    match why {
        ImageRefusal::OnTrial => "another image is on trial, for at most two minutes",
        ImageRefusal::NotBegun => "it started anew in the middle",
        ImageRefusal::Incomplete => "bytes are missing",
        ImageRefusal::Length => "it does not fit a slot",
        ImageRefusal::TooOld => "it is older than the oldest version that may run",
        ImageRefusal::NotImage => "it is no image, or another one than was announced",
        ImageRefusal::OtherBoard => "it is for another board",
        ImageRefusal::OtherSlot => "it is for the other slot",
        ImageRefusal::Signature => "its vendor did not sign it",
        ImageRefusal::Damaged => "its program is not the one that was signed",
        ImageRefusal::Flash => "its flash did not take it",
    }
}

/// What the supervisor at `port` says of its images.
pub fn status(port: &Path) -> Result<ImageStatus, ImageError> {
    let mut figures = Figures::default();
    ask_status(&mut greet(port, &mut figures)?)
}

/// Sends the image of the update `file` that is for the slot that does not run, waits for its start, and confirms it.
pub fn update(port: &Path, file: &[u8]) -> Result<ImageStatus, ImageError> {
    let images = images(file).ok_or(ImageError::NotUpdate)?;
    let mut figures = Figures::default();
    let mut line = greet(port, &mut figures)?;
    let before = ask_status(&mut line)?;
    let image = match before.running {
        Slot::A => images[1],
        Slot::B => images[0],
    };
    let (theirs, ours) = (before.board, image.header.board);
    if theirs != ours {
        return Err(ImageError::OtherBoard { theirs, ours });
    }
    send(&mut line, &image)?;
    let after = verdict(&mut line, &before)?;
    match after.last {
        Verdict::Refused(why) => return Err(ImageError::Refused(why)),
        _ if !after.on_trial => return Err(ImageError::NotConfirmed),
        _ => {}
    }
    // What this image is for: a link that answers, and senses.
    line.ask(ToSupervisor::GetStatus)?;
    if !matches!(line.ask(ToSupervisor::GetSensors)?, FromSupervisor::Sensors(_)) {
        return Err(ImageError::Lost);
    }
    ask(&mut line, ImageRequest::Confirm)
}

fn greet<'a>(port: &Path, figures: &'a mut Figures) -> Result<Line<'a>, ImageError> {
    let line = Line::greet(Port::open(port).map_err(LineError::from)?, figures)?;
    match line.peer.minor {
        0 | 1 => Err(ImageError::TooOldLink(line.peer)),
        _ => Ok(line),
    }
}

fn ask_status(line: &mut Line<'_>) -> Result<ImageStatus, ImageError> {
    ask(line, ImageRequest::Status)
}

/// A request whose answer is the status.
fn ask(line: &mut Line<'_>, request: ImageRequest) -> Result<ImageStatus, ImageError> {
    match line.ask(ToSupervisor::Image(request))? {
        FromSupervisor::Image(status) => Ok(status),
        FromSupervisor::ImageRefused { why } => Err(ImageError::Refused(why)),
        _ => Err(LineError::Unknown.into()),
    }
}

/// A request whose answer is where to go on.
fn ask_next(line: &mut Line<'_>, request: ImageRequest) -> Result<usize, ImageError> {
    match line.ask(ToSupervisor::Image(request))? {
        FromSupervisor::ImageNext { offset } => Ok(offset as usize),
        FromSupervisor::ImageRefused { why } => Err(ImageError::Refused(why)),
        _ => Err(LineError::Unknown.into()),
    }
}

fn send(line: &mut Line<'_>, image: &Image<'_>) -> Result<(), ImageError> {
    let (version, length) = (image.header.version, image.header.total());
    let mut next = ask_next(line, ImageRequest::Begin { version, length })?;
    for _ in 0..PATIENCE * image.bytes.len().div_ceil(CHUNK) {
        let rest = image.bytes.get(next..).unwrap_or_default();
        if rest.is_empty() {
            ask(line, ImageRequest::Finish)?;
            return Ok(());
        }
        let bytes = Chunk::new(&rest[..rest.len().min(CHUNK)]).expect("no more than a chunk");
        next = ask_next(line, ImageRequest::Chunk { offset: next as u32, bytes })?;
    }
    Err(LineError::Silent.into())
}

/// Waits until something has come of the image: it is on trial, or the one before runs again and says why.
fn verdict(line: &mut Line<'_>, before: &ImageStatus) -> Result<ImageStatus, ImageError> {
    let until = Instant::now() + VERDICT;
    while Instant::now() < until {
        std::thread::sleep(LOOK);
        match line.greet_again().map_err(ImageError::from).and_then(|()| ask_status(line)) {
            Ok(after) if after.running != before.running => return Ok(after),
            // The old image, before its end.
            Ok(after) if after.last == Verdict::Open => {}
            Ok(after) => return Ok(after),
            // It is starting, or the new one hangs.
            Err(ImageError::Line(LineError::Silent | LineError::Unknown)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ImageError::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use link::{Reader, ResetCause, VERSION, encode};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    /// A supervisor of link 1.1: greets, and refuses what it cannot know.
    fn answer_as_1_1(listener: &UnixListener) {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut reader, mut byte) = (Reader::default(), [0]);
        while stream.read(&mut byte).unwrap() == 1 {
            let answer = match reader.push::<ToSupervisor>(byte[0]) {
                None => continue,
                Some(Ok(ToSupervisor::Hello { .. })) => FromSupervisor::Hello {
                    version: Version { minor: 1, ..VERSION },
                    reset_cause: ResetCause::PowerOn,
                },
                Some(other) => panic!("it cannot read {other:?}"),
            };
            stream.write_all(encode(&answer).unwrap().as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_supervisor_of_1_1_is_not_asked_about_images() {
        let path = std::env::temp_dir().join(format!("sagitta-mcu-1-1-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let supervisor = std::thread::spawn(move || answer_as_1_1(&listener));
        let error = status(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(error, ImageError::TooOldLink(version) if version.minor == 1), "{error}");
        supervisor.join().unwrap();
    }

    #[test]
    fn what_is_no_update_never_reaches_the_line() {
        let nowhere = Path::new("/nonexistent");
        assert!(matches!(update(nowhere, b"no update"), Err(ImageError::NotUpdate)));
    }
}
