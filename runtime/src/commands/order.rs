//! What a token orders: its claims (RFC 7519 section 4.1), and whether they hold here and now.

use crate::identity::JobId;
use crate::messages::{Name, OrderFault, OrderKind};
use crate::registry::Model;
use serde::{Deserialize, Serialize};

/// Longest validity: who signs is at hand. Ids are remembered for so long.
pub const MAX_VALIDITY_S: u64 = 3600;
/// By how much two clocks may differ.
pub const LEEWAY_S: u64 = 30;

/// An order and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    SelfTest {},
    Drain {},
    Resume {},
    /// To one destination of the configuration, or to all.
    Resend {
        job: JobId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination: Option<String>,
    },
    Reprocess {
        job: JobId,
    },
    Cancel {
        job: JobId,
    },
    /// None where no model is named.
    ModelShadow {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Model>,
    },
    ModelPromote {
        model: Model,
    },
    ModelRollback {},
    Restart {},
}

impl Order {
    pub fn kind(&self) -> OrderKind {
        match self {
            Order::SelfTest {} => OrderKind::SelfTest,
            Order::Drain {} => OrderKind::Drain,
            Order::Resume {} => OrderKind::Resume,
            Order::Resend { .. } => OrderKind::Resend,
            Order::Reprocess { .. } => OrderKind::Reprocess,
            Order::Cancel { .. } => OrderKind::Cancel,
            Order::ModelShadow { .. } => OrderKind::ModelShadow,
            Order::ModelPromote { .. } => OrderKind::ModelPromote,
            Order::ModelRollback {} => OrderKind::ModelRollback,
            Order::Restart {} => OrderKind::Restart,
        }
    }

    pub fn job(&self) -> Option<&JobId> {
        match self {
            Order::Resend { job, .. } | Order::Reprocess { job } | Order::Cancel { job } => {
                Some(job)
            }
            Order::SelfTest {}
            | Order::Drain {}
            | Order::Resume {}
            | Order::ModelShadow { .. }
            | Order::ModelPromote { .. }
            | Order::ModelRollback {}
            | Order::Restart {} => None,
        }
    }
}

/// What an operator signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims<O> {
    /// The id, of the sender's choice: each is good once.
    pub jti: Name,
    /// `SITE/DEVICE`.
    pub aud: String,
    /// From when to when it is good, seconds since 1970.
    pub iat: u64,
    pub exp: u64,
    pub order: O,
}

/// Claims whose order may be one of another version.
pub type Asked = Claims<serde_json::Value>;

impl Asked {
    /// The order's word, where it is one of ours.
    pub fn kind(&self) -> Option<OrderKind> {
        serde_json::from_value(self.order.get("kind")?.clone()).ok()
    }

    /// The order, if it holds for this device at this time.
    pub fn order(&self, device: &str, now_s: u64) -> Result<Order, OrderFault> {
        if self.aud != device {
            return Err(OrderFault::WrongDevice);
        }
        if self.exp.saturating_sub(self.iat) > MAX_VALIDITY_S {
            return Err(OrderFault::ValidTooLong);
        }
        if now_s.saturating_add(LEEWAY_S) < self.iat {
            return Err(OrderFault::NotYetValid);
        }
        if now_s >= self.exp.saturating_add(LEEWAY_S) {
            return Err(OrderFault::Expired);
        }
        serde_json::from_value(self.order.clone()).map_err(|_| OrderFault::UnknownOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_795_000_000;

    fn asked(change: impl FnOnce(&mut serde_json::Value)) -> Asked {
        let mut claims = json!({
            "jti": "a-1", "aud": "north/mr1", "iat": NOW, "exp": NOW + 60,
            "order": {"kind": "resend", "job": "nwbvvvbbijtioowjsy6a", "destination": "pacs"},
        });
        change(&mut claims);
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn an_order_holds_for_its_device_in_its_time() {
        let order = asked(|_| {}).order("north/mr1", NOW).unwrap();
        assert_eq!(order.kind(), OrderKind::Resend);
        assert_eq!(order.job().unwrap().as_str(), "nwbvvvbbijtioowjsy6a");
        let at = |now| asked(|_| {}).order("north/mr1", now);
        assert_eq!(asked(|_| {}).order("north/mr2", NOW), Err(OrderFault::WrongDevice));
        assert!(at(NOW - LEEWAY_S).is_ok() && at(NOW + 60 + LEEWAY_S - 1).is_ok());
        assert_eq!(at(NOW - LEEWAY_S - 1), Err(OrderFault::NotYetValid));
        assert_eq!(at(NOW + 60 + LEEWAY_S), Err(OrderFault::Expired));
        let exp = |exp: u64| asked(|claims| claims["exp"] = exp.into()).order("north/mr1", NOW);
        assert!(exp(NOW + MAX_VALIDITY_S).is_ok());
        assert_eq!(exp(NOW + MAX_VALIDITY_S + 1), Err(OrderFault::ValidTooLong));
        assert_eq!(exp(0), Err(OrderFault::Expired));
        let forever = asked(|claims| (claims["iat"], claims["exp"]) = (0.into(), u64::MAX.into()));
        assert_eq!(forever.order("north/mr1", NOW), Err(OrderFault::ValidTooLong));
    }

    #[test]
    fn an_order_of_another_version_or_with_a_slip_of_the_pen_is_none() {
        for (order, known) in [
            (json!({"kind": "format_disk"}), false),
            (json!({"kind": "resend", "job": "nwbvvvbbijtioowjsy6a", "destinaton": "pacs"}), true),
            (json!({"kind": "cancel", "job": "1.2.840.113619"}), true),
            (json!({"kind": "drain", "until": 5}), true),
            (json!("drain"), false),
        ] {
            let asked = asked(|claims| claims["order"] = order.clone());
            assert_eq!(asked.order("north/mr1", NOW), Err(OrderFault::UnknownOrder), "{order}");
            assert_eq!(asked.kind().is_some(), known, "{order}");
        }
    }

    #[test]
    fn every_order_is_read_as_it_is_written() {
        let job = JobId::new(b"key", "1.2.3");
        let orders = [
            Order::SelfTest {},
            Order::Drain {},
            Order::Resume {},
            Order::Resend { job: job.clone(), destination: None },
            Order::Reprocess { job: job.clone() },
            Order::Cancel { job },
            Order::ModelShadow { model: None },
            Order::ModelPromote { model: Model::BuiltIn },
            Order::ModelRollback {},
            Order::Restart {},
        ];
        for (order, kind) in orders.iter().zip(OrderKind::ALL) {
            let written = serde_json::to_value(order).unwrap();
            assert_eq!(written["kind"], kind.name());
            assert_eq!(order.kind(), kind);
            assert_eq!(serde_json::from_value::<Order>(written).unwrap(), *order);
        }
    }
}
