//! Who may have an association, and how many: the allow list of the site (`[[dicom.peer]]`). Titles alone are no
//! authentication: a peer is its title, its address and, with TLS, its certificate. Pure but for the count of places.

use super::negotiate::Rejection;
use crate::tls::certificate::Certificate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A peer of the allow list. What is absent does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// What it calls itself.
    pub calling_ae: String,
    /// An address or a network: `10.1.2.3`, `10.1.2.0/24`, `fd00::/8`.
    #[serde(default)]
    pub address: Option<Network>,
    /// The common name of its certificate's subject.
    #[serde(default)]
    pub certificate_name: Option<String>,
    /// SHA-256 of its certificate, 64 hexadecimal digits.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
    /// `host:port` where its storage commitment reports go; with TLS where the listener has it. Without it they go over its
    /// own associations.
    #[serde(default)]
    pub report_to: Option<String>,
    /// Instead of `max_associations_per_peer` of `[dicom]`.
    #[serde(default)]
    pub max_associations: Option<usize>,
}

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        let wrong = || format!("{text:?} is neither an address nor a network like 10.1.2.0/24");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| wrong())?;
        if prefix > bits { Err(wrong()) } else { Ok(Network { address, prefix }) }
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        format!("{}/{}", network.address, network.prefix)
    }
}

impl Network {
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.prefix
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.prefix
            }
            _ => false,
        }
    }
}

/// Who is at the other end of a connection, as far as the network tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub address: IpAddr,
    /// With TLS; it was found good.
    pub certificate: Option<Certificate>,
}

impl Peer {
    fn is_told_by_more_than_its_title(&self) -> bool {
        let certificate = self.certificate_name.is_some() || self.certificate_sha256.is_some();
        self.address.is_some() || certificate
    }

    /// What of the caller is not this peer's.
    fn differs(&self, caller: &Caller) -> Option<&'static str> {
        let shown = caller.certificate.as_ref();
        let name = shown.and_then(|shown| shown.common_name.as_ref());
        let fingerprint = shown.map(|shown| shown.fingerprint.as_str());
        let wanted = self.certificate_sha256.as_deref();
        let is_shown = |wanted| fingerprint.is_some_and(|shown| shown.eq_ignore_ascii_case(wanted));
        if self.address.is_some_and(|network| !network.holds(caller.address)) {
            Some("the address is not the one of this calling AE title")
        } else if self.certificate_name.is_some() && self.certificate_name.as_ref() != name {
            Some("the certificate has another name than this peer's")
        } else if !wanted.is_none_or(is_shown) {
            Some("the certificate is not the one of this peer")
        } else {
            None
        }
    }
}

/// Whose places are counted together: a peer of the list, or without a list all that comes from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Peer(usize),
    Address(IpAddr),
}

/// The allow list and the places that are taken.
#[derive(Debug)]
pub struct Register {
    peers: Vec<Peer>,
    total: usize,
    per_peer: usize,
    taken: Mutex<HashMap<Who, usize>>,
}

/// A place in the register; free again when dropped.
#[derive(Debug)]
pub struct Place {
    register: Arc<Register>,
    who: Who,
}

impl Register {
    pub fn new(peers: Vec<Peer>, total: usize, per_peer: usize) -> Register {
        Register { peers, total, per_peer, taken: Mutex::new(HashMap::new()) }
    }

    /// A place for who calls itself `calling_ae`; without a list everybody is welcome. Who has no title to say (`None`:
    /// DICOMweb) is a peer that has an address or a certificate of its own.
    pub fn enter(
        self: &Arc<Self>,
        caller: &Caller,
        calling_ae: Option<&str>,
    ) -> Result<Place, Rejection> {
        let who = self.identify(caller, calling_ae.map(str::trim))?;
        let limit = match who {
            Who::Peer(n) => self.peers[n].max_associations.unwrap_or(self.per_peer),
            Who::Address(_) => self.per_peer,
        };
        let mut taken = self.taken();
        if taken.values().sum::<usize>() >= self.total {
            return Err(Rejection::Full("all places are taken"));
        }
        let count = taken.entry(who).or_default();
        if *count >= limit {
            return Err(Rejection::Full("all places of this peer are taken"));
        }
        *count += 1;
        Ok(Place { register: Arc::clone(self), who })
    }

    fn identify(&self, caller: &Caller, calling_ae: Option<&str>) -> Result<Who, Rejection> {
        if self.peers.is_empty() {
            return Ok(Who::Address(caller.address));
        }
        let mut reason = match calling_ae {
            Some(_) => "no peer of the list has this calling AE title",
            None => "no peer of the list has this address or certificate",
        };
        for (n, peer) in self.peers.iter().enumerate() {
            let named = match calling_ae {
                Some(title) => peer.calling_ae.trim() == title,
                None => peer.is_told_by_more_than_its_title(),
            };
            match peer.differs(caller) {
                None if named => return Ok(Who::Peer(n)),
                Some(difference) if named && calling_ae.is_some() => reason = difference,
                _ => {}
            }
        }
        Err(Rejection::Calling(reason))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Who, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.register.taken();
        if let Some(count) = taken.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(calling_ae: &str, address: Option<&str>) -> Peer {
        let address = address.map(|text| Network::try_from(text.to_owned()).unwrap());
        Peer {
            calling_ae: calling_ae.to_owned(),
            address,
            certificate_name: None,
            certificate_sha256: None,
            report_to: None,
            max_associations: None,
        }
    }

    fn caller(address: &str) -> Caller {
        Caller { address: address.parse().unwrap(), certificate: None }
    }

    #[test]
    fn networks_hold_what_shares_their_prefix() {
        let holds = |network: &str, address: &str| {
            Network::try_from(network.to_owned()).unwrap().holds(address.parse().unwrap())
        };
        assert!(holds("10.1.2.0/24", "10.1.2.255") && !holds("10.1.2.0/24", "10.1.3.0"));
        assert!(holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.2"));
        assert!(holds("0.0.0.0/0", "255.1.1.1") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1"));
        for wrong in ["", "10.1.2", "10.1.2.0/33", "::/129", "10.1.2.0/x", "host"] {
            assert!(Network::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_title_a_foreign_address_and_a_foreign_certificate_are_told_apart() {
        let secured = Peer {
            certificate_name: Some("mr3".to_owned()),
            certificate_sha256: Some("AB".to_owned()),
            ..peer("MR3", None)
        };
        let list = vec![peer("MR1", Some("10.0.0.1")), peer("MR1", Some("10.0.0.2")), secured];
        let register = Arc::new(Register::new(list, 9, 9));
        let enter =
            |address, title| register.enter(&caller(address), Some(title)).map(|place| place.who);
        assert_eq!(enter("10.0.0.1", "MR1 ").unwrap(), Who::Peer(0));
        assert_eq!(enter("10.0.0.2", "MR1").unwrap(), Who::Peer(1));
        let refused = |address, title| match enter(address, title) {
            Err(Rejection::Calling(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert!(refused("10.0.0.1", "MR2").contains("no peer"));
        assert!(refused("10.0.0.3", "MR1").contains("address"));
        assert!(refused("10.0.0.3", "MR3").contains("another name"));
        let shown = |name: &str, fingerprint: &str| {
            let certificate = Certificate {
                not_after: 0,
                common_name: Some(name.to_owned()),
                fingerprint: fingerprint.to_owned(),
            };
            register.enter(&Caller { certificate: Some(certificate), ..caller("::1") }, Some("MR3"))
        };
        assert_eq!(shown("mr3", "ab").unwrap().who, Who::Peer(2));
        assert!(shown("mr4", "ab").is_err() && shown("mr3", "cd").is_err());
    }

    #[test]
    fn who_says_no_title_must_be_told_by_something_else() {
        let list = vec![peer("MR1", None), peer("ROUTER", Some("10.0.0.1"))];
        let register = Arc::new(Register::new(list, 9, 9));
        let enter = |address| register.enter(&caller(address), None).map(|place| place.who);
        assert_eq!(enter("10.0.0.1").unwrap(), Who::Peer(1));
        assert!(
            matches!(enter("10.0.0.2"), Err(Rejection::Calling(text)) if text.contains("address"))
        );
        let open = Arc::new(Register::new(Vec::new(), 9, 9));
        assert!(open.enter(&caller("10.0.0.2"), None).is_ok());
    }

    #[test]
    fn places_are_counted_by_peer_and_in_total_and_come_back() {
        let few = Peer { max_associations: Some(1), ..peer("MR1", None) };
        let register = Arc::new(Register::new(vec![few, peer("MR2", None)], 3, 2));
        let enter = |title| register.enter(&caller("::1"), Some(title));
        let first = enter("MR1").unwrap();
        assert!(matches!(enter("MR1"), Err(Rejection::Full(text)) if text.contains("peer")));
        let second = enter("MR2").unwrap();
        let _third = enter("MR2").unwrap();
        assert!(matches!(enter("MR2"), Err(Rejection::Full("all places are taken"))));
        drop(first);
        assert!(matches!(enter("MR2"), Err(Rejection::Full(text)) if text.contains("peer")));
        drop(second);
        assert!(enter("MR1").is_ok() && enter("MR2").is_ok());
    }
}
