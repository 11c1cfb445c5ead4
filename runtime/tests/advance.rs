//! Objects that go out before their delivery is recorded: sent once where all were acknowledged, sent again where not.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "objects/fixture.rs"]
mod fixture;
#[path = "objects/receiver.rs"]
mod receiver;
mod support;

use fixture::{Form, objects};
use receiver::Receiver;
use sagitta::health::{Health, Part};
use sagitta::outbox::Handover;
use sagitta::publish::advance::{Advance, Door};
use sagitta::publish::deliveries::{Deliveries, Recipient};
use std::path::PathBuf;
use std::sync::Arc;
use support::{board, job, wait_for};
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_the_record_is_not_sent_again() {
    let (data, console) = (fixture::Folder::new(), fixture::Folder::new());
    // Every object that is stored makes a file of its own, one that comes twice makes two.
    let receiver = Receiver::start(&console, &["--unique-filenames"]);
    receiver.ready().await;
    let stored = || std::fs::read_dir(console.path()).unwrap().count();
    let (board, outbox) = board(data.path());
    let results = data.path().join("results");
    let deliveries = Deliveries::new(&outbox, &board, &results);
    let (_stop, stopped) = watch::channel(false);
    let destinations = [(receiver.destination.clone(), Door::default())];
    let [(to, door)] = &destinations;
    let hand = Health::new().hand(Part::Deliveries);
    let route = to.route(None).unwrap();
    let recipient = Recipient { number: 1, name: to.name.clone(), route, door: door.clone() };
    deliveries.start(recipient, hand, stopped).unwrap();

    let made: Vec<_> = objects(Form::Classic).into_iter().map(Arc::new).collect();
    let (made, last) = (&made[..made.len() - 1], &made[made.len() - 1]);
    let file = |name: &str| PathBuf::from("job/1").join(name);
    let mut files = Vec::new();
    std::fs::create_dir_all(results.join("job/1")).unwrap();
    for object in made {
        files.push(file(&object.file_name));
        std::fs::write(results.join(files.last().unwrap()), &object.bytes).unwrap();
    }
    let settled = || outbox.pending_deliveries().unwrap().is_empty().then_some(());
    let mut expected = 0;
    // The record names another hand-over: that of a run after a kill. Or an object more than was made in advance.
    for (round, recorded_ms, more, again) in
        [(1, 1, false, false), (2, 7, false, true), (3, 3, true, true)]
    {
        let handover = Handover { job: job("1.2.3"), generation: 1, recorded_ms: round };
        let record = Handover { recorded_ms, ..handover.clone() };
        // The thread may still be on its way to its door.
        let advance = wait_for("a destination with nothing to do", || {
            let mut advance = Advance::new(&destinations, &results, handover.clone());
            (advance.open() == 1).then_some(advance)
        });
        made.iter().for_each(|object| advance.send(object, &results.join(file(&object.file_name))));
        drop(advance);
        expected += made.len();
        wait_for("the objects sent in advance", || (stored() == expected).then_some(()));
        let mut recorded = files.clone();
        if more {
            recorded.push(file(&last.file_name));
            std::fs::write(results.join(file(&last.file_name)), &last.bytes).unwrap();
        }
        outbox.record_deliveries(&record, &[(to.name.as_str(), recorded.clone())]).unwrap();
        wait_for("the delivery", settled);
        expected += if again { recorded.len() } else { 0 };
        assert_eq!(stored(), expected, "round {round}");
    }
}
