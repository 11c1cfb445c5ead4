//! One association over which objects are stored in turn, as they come.

use super::{Outgoing, Patience, Peer, StoreError};
use crate::objects::{OutputKind, TRANSFER_SYNTAX};
use crate::wire::requestor::Route;

/// An open association and what became of the objects so far.
pub struct Sending<'a> {
    peer: Peer<'a>,
    patience: Patience,
    objects: usize,
    /// What was left out; the first one is told.
    refused: usize,
    first: Option<StoreError>,
    /// Why no more can be sent.
    failed: Option<StoreError>,
}

impl std::fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sending({} objects)", self.objects)
    }
}

/// Nothing more can be sent over the association; [`Sending::end`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over;

impl<'a> Sending<'a> {
    /// Associates for objects of ours of these kinds, of which none needs to come.
    pub async fn open(
        name: &'a str,
        route: &Route,
        kinds: &[OutputKind],
    ) -> Result<Sending<'a>, StoreError> {
        let mut classes: Vec<_> =
            kinds.iter().map(|kind| (kind.sop_class(), TRANSFER_SYNTAX)).collect();
        classes.sort_unstable();
        classes.dedup();
        Ok(Sending::of(Peer::connect(name, route, &classes).await?, Patience::Again))
    }

    pub(super) fn of(peer: Peer<'a>, patience: Patience) -> Sending<'a> {
        Sending { peer, patience, objects: 0, refused: 0, first: None, failed: None }
    }

    /// Stores the next object and waits for the receiver's answer. One that it refuses for good keeps no other from it.
    pub async fn next(&mut self, object: Outgoing<'_>) -> Result<(), Over> {
        // Responses are awaited one by one, so a number that wraps is still unambiguous.
        let message_id = (self.objects % usize::from(u16::MAX)) as u16 + 1;
        self.objects += 1;
        match self.peer.store(message_id, object).await {
            Ok(()) => Ok(()),
            Err(error) if error.leaves_out(self.patience) => {
                self.refused += 1;
                self.first.get_or_insert(error);
                Ok(())
            }
            Err(error) => {
                self.failed = Some(error);
                Err(Over)
            }
        }
    }

    /// Ends the association. `Ok` means that the receiver confirmed every object.
    pub async fn end(self) -> Result<(), StoreError> {
        let Sending { peer, objects: of, refused, first, failed, .. } = self;
        let refusal = first.map(|first| match refused == of {
            true => first,
            false => StoreError::Partly { refused, of, first: Box::new(first) },
        });
        peer.close(failed.or(refusal).map_or(Ok(()), Err)).await
    }
}
