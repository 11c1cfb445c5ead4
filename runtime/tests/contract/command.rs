//! Commands and replies: the claims that we sign fit their schema, and what else fits it is read.

use super::{check, job, schema};
use sagitta::commands::order::{Asked, Claims, Order};
use sagitta::messages::{CommandReply, Name, OrderFault, OrderKind, Outcome};
use serde_json::{Value, json};

pub(crate) fn replies() -> Vec<CommandReply> {
    let failed = |fault| Outcome::from(Err(fault));
    let outcomes = [Outcome::Done, Outcome::Interrupted].into_iter();
    let outcomes = outcomes.chain(OrderFault::ALL.map(failed));
    let orders = OrderKind::ALL.map(Some).into_iter().chain([None]).cycle();
    let (command, operator) = (Name::new("a-1").unwrap(), Name::new("fleet").unwrap());
    let reply = |(outcome, order)| {
        let (command, operator) = (command.clone(), operator.clone());
        CommandReply { command, operator, order, outcome }
    };
    outcomes.zip(orders).map(reply).collect()
}

fn orders() -> Vec<Order> {
    let job = job("1.2.3");
    vec![
        Order::SelfTest {},
        Order::Drain {},
        Order::Resume {},
        Order::Resend { job: job.clone(), destination: None },
        Order::Resend { job: job.clone(), destination: Some("PACS".to_owned()) },
        Order::Reprocess { job: job.clone() },
        Order::Cancel { job },
    ]
}

fn claims(order: impl serde::Serialize) -> Value {
    let (jti, aud) = (Name::new("a-1").unwrap(), "north/mr1".to_owned());
    serde_json::to_value(Claims { jti, aud, iat: 1_795_000_000, exp: 1_795_000_060, order })
        .unwrap()
}

#[test]
fn every_command_fits_its_schema_and_is_read_as_it_was_signed() {
    for order in orders() {
        let claims = claims(&order);
        check(&schema("command"), &claims, "command").unwrap();
        let asked: Asked = serde_json::from_value(claims).unwrap();
        assert_eq!(asked.order("north/mr1", 1_795_000_001), Ok(order));
    }
}

#[test]
fn what_does_not_fit_the_schema_is_no_order() {
    for order in [
        json!({"kind": "drain", "job": job("1.2.3")}),
        json!({"kind": "cancel", "job": job("1.2.3"), "destination": "PACS"}),
        json!({"kind": "resend"}),
        json!({"kind": "reprocess", "job": "1.2.840.113619.2.55.3"}),
        json!({"kind": "format_disk"}),
        json!({}),
    ] {
        let claims = claims(&order);
        assert!(check(&schema("command"), &claims, "command").is_err(), "{order}");
        let asked: Asked = serde_json::from_value(claims).unwrap();
        let read = asked.order("north/mr1", 1_795_000_001);
        assert_eq!(read, Err(OrderFault::UnknownOrder), "{order}");
    }
}

/// Frozen, as `bytes_of_version_1`.
#[test]
fn bytes_of_replies_in_version_1() {
    let text = |reply: &CommandReply| serde_json::to_string(reply).unwrap();
    let replies = replies();
    let begin = r#"{"command":"a-1","operator":"fleet","order":"#;
    assert_eq!(text(&replies[0]), format!(r#"{begin}"self_test","outcome":"done"}}"#));
    assert_eq!(text(&replies[1]), format!(r#"{begin}"drain","outcome":"interrupted"}}"#));
    assert_eq!(
        text(&replies[2]),
        format!(
            r#"{begin}"resume","outcome":"failed","reason":"wrong_device","move":"peer","action":"name this device: SITE/DEVICE, as in the topic"}}"#
        )
    );
}
