//! What a scanner's messages mean, one connection: configuration, header, parameters, images, end. Knows no sockets and no time.

use super::study::Study;
use super::wire::{Image, Message};
use serde_json::Value;
use thiserror::Error;

/// The first number for a series of ours: scanners count their own from 1.
const FIRST_RESULT: u16 = 1000;
/// How many series answer one.
pub const RESULT_SERIES: u16 = 4;

/// Messages in an order that is none: the peer's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OrderError {
    #[error("data came before a configuration and a header")]
    Early,
    #[error("a second configuration")]
    ConfiguredTwice,
}

/// What is to be done after a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A series is whole.
    Series(Whole),
    /// Readouts or waveforms came and are left out; told once.
    Skips,
    /// The scanner has said everything.
    Close,
}

/// The images of a series, in the order in which they came.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    pub images: Vec<Image>,
    pub study: Option<Study>,
    /// The images go back as they came, before the results.
    pub send_original: bool,
    /// The first of the numbers of the series that answer it.
    pub results: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Opened,
    Configured,
    Described,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    state: State,
    send_original: bool,
    skips: bool,
    study: Option<Study>,
    images: Vec<Image>,
    /// The next number for a series of ours.
    next_result: u16,
}

impl Default for Session {
    fn default() -> Session {
        Session {
            state: State::default(),
            send_original: false,
            skips: false,
            study: None,
            images: Vec::new(),
            next_result: FIRST_RESULT,
        }
    }
}

impl Session {
    /// Whether the scanner has not said yet what it wants.
    pub fn is_opening(&self) -> bool {
        self.state == State::Opened
    }

    pub fn on(&mut self, message: Message) -> Result<Vec<Event>, OrderError> {
        match (self.state, message) {
            // What is done is the same whatever the configuration is called.
            (State::Opened, Message::Config(_)) => self.state = State::Configured,
            (_, Message::Config(_)) => return Err(OrderError::ConfiguredTwice),
            // Everything else that matters of a header stands in every image; some clients send none that is XML.
            (State::Configured | State::Described, Message::Metadata(header)) => {
                self.study = Study::read(&header);
                self.state = State::Described;
            }
            (_, Message::Text(text)) => {
                self.send_original = send_original(&text).unwrap_or(self.send_original);
            }
            (State::Described, Message::Image(image)) => return Ok(self.image(*image)),
            (State::Described, Message::Skipped) => {
                let told = std::mem::replace(&mut self.skips, true);
                return Ok(if told { Vec::new() } else { vec![Event::Skips] });
            }
            (_, Message::Close) => {
                return Ok(self.series().into_iter().chain([Event::Close]).collect());
            }
            (_, Message::Metadata(_) | Message::Image(_) | Message::Skipped) => {
                return Err(OrderError::Early);
            }
        }
        Ok(Vec::new())
    }

    /// An image of another series ends the one before.
    fn image(&mut self, image: Image) -> Vec<Event> {
        let number = image.header.series();
        let ended = match self.images.first() {
            Some(first) if first.header.series() != number => self.series(),
            _ => None,
        };
        self.next_result = self.next_result.max(number.saturating_add(1));
        self.images.push(image);
        ended.into_iter().collect()
    }

    fn series(&mut self) -> Option<Event> {
        let images = std::mem::take(&mut self.images);
        if images.is_empty() {
            return None;
        }
        let results = self.next_result;
        self.next_result = results.saturating_add(RESULT_SERIES);
        let (study, send_original) = (self.study.clone(), self.send_original);
        Some(Event::Series(Whole { images, study, send_original, results }))
    }
}

/// Parameter `sendoriginal` of a TEXT, in any case of letters; values are often words. `None` where it does not say.
fn send_original(text: &str) -> Option<bool> {
    let said: Value = serde_json::from_str(text).ok()?;
    let parameters = said.get("parameters")?.as_object()?;
    let named = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("sendoriginal"));
    match named?.1 {
        Value::Bool(value) => Some(*value),
        Value::String(word) => Some(word.eq_ignore_ascii_case("true")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrd::header::{HEADER_BYTES, ImageHeader};

    fn image(series: u16) -> Message {
        let header = ImageHeader::new([0; HEADER_BYTES]).of_series(series);
        Message::Image(Box::new(Image { header, attributes: Vec::new(), pixels: Vec::new() }))
    }

    fn opened() -> Session {
        let mut session = Session::default();
        assert_eq!(session.on(Message::Config("sagitta".to_owned())), Ok(Vec::new()));
        assert_eq!(session.on(Message::Metadata("Dummy XML header".to_owned())), Ok(Vec::new()));
        session
    }

    /// How many images each series has that these events end, and its first result.
    fn ended(events: Vec<Event>) -> Vec<(usize, u16)> {
        let series = events.into_iter().filter_map(|event| match event {
            Event::Series(whole) => Some((whole.images.len(), whole.results)),
            _ => None,
        });
        series.collect()
    }

    #[test]
    fn a_series_ends_with_the_next_one_and_with_the_session() {
        let mut session = opened();
        assert!(
            session.on(image(1)).unwrap().is_empty() && session.on(image(1)).unwrap().is_empty()
        );
        assert_eq!(ended(session.on(image(2)).unwrap()), [(2, 1000)]);
        let last = session.on(Message::Close).unwrap();
        assert_eq!(last.last(), Some(&Event::Close));
        assert_eq!(ended(last), [(1, 1004)]);
        assert_eq!(opened().on(Message::Close), Ok(vec![Event::Close]));
    }

    #[test]
    fn a_number_of_the_scanner_is_never_ours() {
        let mut session = opened();
        session.on(image(2000)).unwrap();
        assert_eq!(ended(session.on(Message::Close).unwrap()), [(1, 2001)]);
    }

    #[test]
    fn originals_go_back_where_a_parameter_asks_for_them() {
        for (text, expected) in [
            ("{\"version\":\"1.1.0\",\"parameters\":{\"sendOriginal\":\"True\"}}", true),
            ("{\"parameters\":{\"sendoriginal\":true}}", true),
            ("{\"parameters\":{\"sendoriginal\":\"False\"}}", false),
            ("{\"parameters\":{}}", false),
            ("not JSON", false),
        ] {
            let mut session = opened();
            session.on(Message::Text(text.to_owned())).unwrap();
            session.on(image(1)).unwrap();
            let events = session.on(Message::Close).unwrap();
            let Event::Series(whole) = &events[0] else { panic!("{events:?}") };
            assert_eq!(whole.send_original, expected, "{text}");
        }
    }

    #[test]
    fn readouts_are_told_once_and_a_wrong_order_is_refused() {
        let mut session = opened();
        assert_eq!(session.on(Message::Skipped), Ok(vec![Event::Skips]));
        assert_eq!(session.on(Message::Skipped), Ok(Vec::new()));
        let config = || Message::Config(String::new());
        assert_eq!(session.on(config()), Err(OrderError::ConfiguredTwice));
        for message in [image(1), Message::Skipped, Message::Metadata(String::new())] {
            assert_eq!(Session::default().on(message), Err(OrderError::Early));
        }
        let mut configured = Session::default();
        configured.on(config()).unwrap();
        assert_eq!(configured.on(image(1)), Err(OrderError::Early));
        assert_eq!(Session::default().on(Message::Close), Ok(vec![Event::Close]));
    }
}
