//! Which messages are on their way in one connection: pure bookkeeping between our rows and the client's packet ids.

use std::collections::{HashMap, VecDeque};

/// Messages on their way at once: enough to hide a round trip of a few milliseconds at some thousand messages a
/// second, small enough that a lost connection repeats little.
pub(super) const WINDOW: usize = 32;

/// Something handed to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Birth or farewell: not in the outbox.
    State,
    /// The outbox row of this number.
    Row(u64),
}

/// The window of one connection. The client sends in the order in which it was handed messages, so the n-th outgoing
/// packet is the n-th message; acknowledgements name packet ids.
#[derive(Debug, Default)]
pub(super) struct Window {
    handed: VecDeque<Sent>,
    in_flight: HashMap<u16, Sent>,
}

impl Window {
    /// How many messages may be handed over now.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.handed.len() + self.in_flight.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.handed.is_empty() && self.in_flight.is_empty()
    }

    /// A message was handed to the client.
    pub(super) fn hand(&mut self, sent: Sent) {
        self.handed.push_back(sent);
    }

    /// The client wrote its next message under this packet id.
    pub(super) fn outgoing(&mut self, packet_id: u16) {
        if let Some(sent) = self.handed.pop_front() {
            self.in_flight.insert(packet_id, sent);
        }
    }

    /// The broker acknowledged this packet id; what that was. `None` for an id that is not on its way.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<Sent> {
        self.in_flight.remove(&packet_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ids_find_their_rows_in_any_order_of_acknowledgement() {
        let mut window = Window::default();
        window.hand(Sent::State);
        window.hand(Sent::Row(7));
        window.hand(Sent::Row(9));
        assert_eq!(window.room(), WINDOW - 3);
        (1..=3).for_each(|id| window.outgoing(id));
        assert_eq!(window.acknowledged(3), Some(Sent::Row(9)));
        assert_eq!(window.acknowledged(3), None, "acknowledged twice");
        assert_eq!(window.acknowledged(1), Some(Sent::State));
        assert_eq!(window.acknowledged(2), Some(Sent::Row(7)));
        assert!(window.is_empty());
        assert_eq!(window.room(), WINDOW);
    }

    #[test]
    fn a_full_window_has_no_room() {
        let mut window = Window::default();
        (1..=WINDOW as u64).for_each(|seq| window.hand(Sent::Row(seq)));
        assert_eq!(window.room(), 0);
        window.outgoing(1);
        assert_eq!(window.room(), 0, "on its way still counts");
    }
}
