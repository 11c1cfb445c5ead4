//! Question and answer over the link: repeats what was lost, counts what was damaged, measures how long an answer takes.

use super::port::Port;
use link::{Command, FromSupervisor, ImageRequest, Reader, ToSupervisor, VERSION, Version, encode};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};
use thiserror::Error;

/// An answer takes 0.2 ms at the MCU and 22 ms on the wire; a busy host of ours may add some.
const ANSWER: Duration = Duration::from_millis(500);
/// Times a question is asked. Three lost in a row are no noise.
const TRIES: u32 = 3;
/// Round trips kept for the percentiles.
const ROUND_TRIPS: usize = 100;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum LineError {
    #[error("the port broke: {0}")]
    Port(#[from] io::Error),
    #[error("the supervisor does not answer")]
    Silent,
    #[error("the supervisor speaks version {}.{}, we speak {}.{}", .0.major, .0.minor, VERSION.major, VERSION.minor)]
    OtherVersion(Version),
    #[error("the supervisor does not know us: it started anew, or it takes the computer for off")]
    Unknown,
}

/// What was counted since the service started.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) bad_frames: u32,
    pub(super) unanswered: u32,
    round_trips: VecDeque<Duration>,
}

impl Figures {
    /// A percentile of the last round trips, in milliseconds.
    pub(super) fn round_trip_ms(&self, percent: usize) -> Option<f64> {
        let mut sorted: Vec<_> = self.round_trips.iter().collect();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?);
        // Hundredths are all the clock of a busy machine is worth.
        Some((sorted[at].as_secs_f64() * 1e5).round() / 100.0)
    }

    fn took(&mut self, time: Duration) {
        if self.round_trips.len() == ROUND_TRIPS {
            self.round_trips.pop_front();
        }
        self.round_trips.push_back(time);
    }
}

/// A port with a supervisor that greeted us.
#[derive(Debug)]
pub(super) struct Line<'a> {
    port: Port,
    reader: Reader,
    figures: &'a mut Figures,
    pub(super) peer: Version,
}

impl<'a> Line<'a> {
    /// Greets. A supervisor of another major version is an error that names it.
    pub(super) fn greet(port: Port, figures: &'a mut Figures) -> Result<Line<'a>, LineError> {
        let mut line = Line { port, reader: Reader::default(), figures, peer: VERSION };
        line.greet_again()?;
        Ok(line)
    }

    /// Greets a supervisor that may have started anew.
    pub(super) fn greet_again(&mut self) -> Result<(), LineError> {
        match self.ask(ToSupervisor::Hello { version: VERSION })? {
            FromSupervisor::Hello { version, .. } if VERSION.speaks(version) => {
                self.peer = version;
                Ok(())
            }
            FromSupervisor::Hello { version, .. } => Err(LineError::OtherVersion(version)),
            _ => Err(LineError::Unknown),
        }
    }

    pub(super) fn figures(&self) -> &Figures {
        self.figures
    }

    /// The answer to `question`.
    pub(super) fn ask(&mut self, question: ToSupervisor) -> Result<FromSupervisor, LineError> {
        let frame = encode(&question).expect("every question is shorter than a frame");
        for _ in 0..TRIES {
            let asked = Instant::now();
            let until = asked + ANSWER;
            match self.port.write(frame.as_bytes(), until) {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(error.into()),
                Err(_) => {}
                Ok(()) => {
                    if let Some(answer) = self.answer(question, until)? {
                        self.figures.took(asked.elapsed());
                        return Ok(answer);
                    }
                }
            }
            self.figures.unanswered += 1;
        }
        Err(LineError::Silent)
    }

    /// Does what `command` says; whether it was done.
    pub(super) fn tell(&mut self, command: Command) -> Result<bool, LineError> {
        Ok(self.ask(ToSupervisor::Command(command))? == FromSupervisor::Done)
    }

    /// Reads until an answer to `question` comes. Answers to earlier questions, which came too late, are passed over.
    fn answer(
        &mut self,
        question: ToSupervisor,
        until: Instant,
    ) -> Result<Option<FromSupervisor>, LineError> {
        let mut bytes = [0; link::MAX_FRAME];
        loop {
            let n = match self.port.read(&mut bytes, until) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let mut found = None;
            for byte in &bytes[..n] {
                match self.reader.push::<FromSupervisor>(*byte) {
                    Some(Ok(answer)) if answers(question, answer) => found = Some(answer),
                    Some(Ok(_)) | None => {}
                    Some(Err(_)) => {
                        self.figures.bad_frames = self.figures.bad_frames.saturating_add(1)
                    }
                }
            }
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}

/// Whether `answer` is one to `question`.
fn answers(question: ToSupervisor, answer: FromSupervisor) -> bool {
    use FromSupervisor as From;
    use ImageRequest as Request;
    use ToSupervisor as To;
    match (question, answer) {
        (_, From::Refused) => true,
        (To::Hello { .. }, From::Hello { .. }) => true,
        (To::Heartbeat { sequence }, From::HeartbeatSeen { sequence: seen }) => sequence == seen,
        (To::GetStatus, From::Status { .. }) => true,
        (To::GetClock, From::Clock { .. }) => true,
        (To::GetSensors, From::Sensors(_)) => true,
        (To::GetJournal { from }, From::Journal { sequence, .. }) => sequence >= from,
        (To::GetEntry { from }, From::Entry { sequence, .. }) => sequence >= from,
        (To::GetJournal { .. } | To::GetEntry { .. }, From::JournalEnd { .. }) => true,
        (To::Command(_), From::Done) => true,
        (To::Image(Request::Begin { .. } | Request::Chunk { .. }), From::ImageNext { .. }) => true,
        (To::Image(Request::Status | Request::Finish | Request::Confirm), From::Image(_)) => true,
        (To::Image(_), From::ImageRefused { .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_hundred() {
        let mut figures = Figures::default();
        assert_eq!(figures.round_trip_ms(50), None);
        (0..150).for_each(|ms| figures.took(Duration::from_millis(ms)));
        assert_eq!(
            (figures.round_trip_ms(50), figures.round_trip_ms(99)),
            (Some(100.0), Some(149.0))
        );
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let beat = ToSupervisor::Heartbeat { sequence: 7 };
        assert!(answers(beat, FromSupervisor::HeartbeatSeen { sequence: 7 }));
        assert!(!answers(beat, FromSupervisor::HeartbeatSeen { sequence: 6 }), "a late one");
        assert!(!answers(beat, FromSupervisor::Done));
        assert!(answers(beat, FromSupervisor::Refused));
    }
}
