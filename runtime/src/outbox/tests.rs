//! Tests of the outbox: order, numbers, limits, and what a newer or foreign file does.

use super::*;
use crate::identity::JobId;
use redb::Database;

/// A folder of its own for one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sagitta-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("outbox.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn push(outbox: &Outbox, text: &str) -> u64 {
    outbox
        .push(Destination::Mqtt, Priority::Ordinary, "t", false, |seq| {
            format!("{text}{seq}").into_bytes()
        })
        .unwrap()
}

#[test]
fn rows_survive_a_reopen_and_numbers_go_on() {
    let folder = Folder::new("outbox-reopen");
    {
        let outbox = Outbox::open(&folder.file()).unwrap();
        assert_eq!([push(&outbox, "a"), push(&outbox, "b"), push(&outbox, "c")], [1, 2, 3]);
        outbox.remove(&[1, 3]).unwrap();
    }
    let outbox = Outbox::open(&folder.file()).unwrap();
    assert_eq!(*outbox.pushed().borrow(), 3);
    let left = outbox.pending(Destination::Mqtt, Priority::Ordinary, 0, 10).unwrap();
    let (topic, payload) = ("t".to_owned(), b"b2".to_vec());
    assert_eq!(left, [Message { seq: 2, retained: false, topic, payload }]);
    outbox.remove(&[2]).unwrap();
    assert_eq!(push(&outbox, "d"), 4, "an empty outbox does not begin again at 1");
}

#[test]
fn pending_is_in_order_above_a_number_and_limited() {
    let folder = Folder::new("outbox-pending");
    let outbox = Outbox::open(&folder.file()).unwrap();
    for seq in 1..=5 {
        assert_eq!(push(&outbox, "m"), seq);
    }
    let numbers = |after, limit| -> Vec<u64> {
        outbox
            .pending(Destination::Mqtt, Priority::Ordinary, after, limit)
            .unwrap()
            .iter()
            .map(|m| m.seq)
            .collect()
    };
    assert_eq!(numbers(1, 2), [2, 3]);
    assert_eq!(numbers(4, 9), [5]);
    assert_eq!(numbers(0, 0), [0; 0]);
    let backlog = outbox.backlog().unwrap();
    assert_eq!((backlog.messages, backlog.deliveries), (5, 0));
    assert!(backlog.oldest_age_ms.is_some());
}

#[test]
fn a_message_that_is_too_large_is_refused_and_leaves_no_gap() {
    let folder = Folder::new("outbox-large");
    let outbox = Outbox::open(&folder.file()).unwrap();
    let large = |_| vec![b' '; MAX_PAYLOAD_BYTES + 1];
    let refused = outbox.push(Destination::Mqtt, Priority::Ordinary, "t", false, large);
    assert!(matches!(refused, Err(OutboxError::TooLarge { bytes: 65_537 })));
    assert_eq!(push(&outbox, "next"), 1);
}

#[test]
fn a_newer_store_is_refused() {
    let folder = Folder::new("outbox-newer");
    {
        let database = Database::create(folder.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("version", STORE_VERSION + 1).unwrap();
        transaction.commit().unwrap();
    }
    let refused = Outbox::open(&folder.file());
    assert!(matches!(refused, Err(OutboxError::Newer { found: 2, .. })), "{refused:?}");
}

#[test]
fn a_file_that_is_no_outbox_is_named() {
    let folder = Folder::new("outbox-foreign");
    std::fs::write(folder.file(), b"hello").unwrap();
    let error = Outbox::open(&folder.file()).unwrap_err();
    assert!(error.to_string().contains("outbox.redb"), "{error}");
    assert_eq!(error.whose(), Move::Site);
}

/// One of several hand-overs of a job, in order.
fn handover(job: &JobId, recorded_ms: u64) -> Handover {
    Handover { job: job.clone(), generation: 1, recorded_ms }
}

#[test]
fn deliveries_wait_until_removed_and_a_new_one_replaces_the_old() {
    let folder = Folder::new("outbox-deliveries");
    let job = JobId::new(b"k", "1.2.3");
    let files = |name: &str| vec![PathBuf::from(name), PathBuf::from("sub/seg.dcm")];
    {
        let outbox = Outbox::open(&folder.file()).unwrap();
        let first = [("pacs", files("1.dcm")), ("console", files("2.dcm"))];
        outbox.record_deliveries(&handover(&job, 1), &first).unwrap();
        let under_way = outbox.pending_deliveries().unwrap();
        // The console is configured no more: what waits for it would keep the job from its end for ever.
        let again = [("pacs", files("3.dcm")), ("viewer", files("2.dcm"))];
        outbox.record_deliveries(&handover(&job, 2), &again).unwrap();
        let old = under_way.iter().find(|delivery| delivery.destination == "pacs").unwrap();
        assert!(!outbox.remove_delivery(old).unwrap(), "took out the one that replaced it");
        for wrong in ["/etc/passwd", "../x", ""] {
            let wanted = [("pacs", vec![PathBuf::from(wrong)])];
            let refused = outbox.record_deliveries(&handover(&job, 3), &wanted);
            assert!(matches!(refused, Err(OutboxError::Path)), "{wrong}");
        }
    }
    let outbox = Outbox::open(&folder.file()).unwrap();
    let pending = outbox.pending_deliveries().unwrap();
    assert_eq!(pending.len(), 2, "{pending:?}");
    let viewer = pending.iter().find(|delivery| delivery.destination == "viewer").unwrap();
    assert!(handover(&job, 2).recorded(viewer) && !handover(&job, 1).recorded(viewer));
    assert!(outbox.remove_delivery(viewer).unwrap());
    let left = outbox.pending_deliveries().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].destination.as_str(), &left[0].files), ("pacs", &files("3.dcm")));
    assert_eq!(outbox.backlog().unwrap().deliveries, 1);
}

#[test]
fn an_entry_and_its_mark_are_stored_together() {
    let folder = Folder::new("outbox-mark");
    let mark = JournalMark { sequence: 41, run: 3, at_ms: u64::from(u32::MAX) + 7 };
    {
        let outbox = Outbox::open(&folder.file()).unwrap();
        assert_eq!(outbox.journal_mark().unwrap(), None);
        push(&outbox, "a");
        let seq = outbox.push_entry(Destination::Mqtt, "j", mark, |seq| vec![seq as u8]).unwrap();
        assert_eq!((seq, *outbox.pushed().borrow()), (2, 2));
        let large = |_| vec![0; MAX_PAYLOAD_BYTES + 1];
        let next = JournalMark { sequence: 42, ..mark };
        assert!(outbox.push_entry(Destination::Mqtt, "j", next, large).is_err());
    }
    let outbox = Outbox::open(&folder.file()).unwrap();
    assert_eq!(outbox.journal_mark().unwrap(), Some(mark), "a refused message leaves no mark");
    assert_eq!(outbox.pending(Destination::Mqtt, Priority::Ordinary, 1, 10).unwrap()[0].topic, "j");
}

#[test]
fn an_end_is_told_with_all_its_messages_or_not_at_all_and_then_only_once() {
    let folder = Folder::new("outbox-end");
    let (job, payload) = (JobId::new(b"k", "1.2.3"), |seq: u64| seq.to_string().into_bytes());
    let large = |_| vec![b' '; MAX_PAYLOAD_BYTES + 1];
    {
        let outbox = Outbox::open(&folder.file()).unwrap();
        assert!(!outbox.is_untold(&job, 1).unwrap(), "nothing was handed over");
        outbox.record_deliveries(&handover(&job, 1), &[]).unwrap();
        let whole: [Draft<'_>; 2] =
            [("result".to_owned(), &payload), ("status".to_owned(), &large)];
        outbox.push_end(Destination::Mqtt, &job, 1, &whole).unwrap_err();
    }
    let outbox = Outbox::open(&folder.file()).unwrap();
    assert!(outbox.is_untold(&job, 1).unwrap() && !outbox.is_untold(&job, 2).unwrap());
    assert_eq!(outbox.backlog().unwrap().messages, 0, "half an end was told");
    let whole: [Draft<'_>; 2] = [("result".to_owned(), &payload), ("status".to_owned(), &payload)];
    outbox.push_end(Destination::Mqtt, &job, 1, &whole).unwrap();
    assert!(!outbox.is_untold(&job, 1).unwrap());
    let told = outbox.pending(Destination::Mqtt, Priority::Ordinary, 0, 9).unwrap();
    let told: Vec<_> = told.iter().map(|m| (m.topic.as_str(), m.payload.as_slice())).collect();
    assert_eq!(told, [("result", &b"1"[..]), ("status", b"2")]);
    assert_eq!(*outbox.pushed().borrow(), 2, "who waits for messages is told of them");
    // A newer generation is at work: the end of the older one leaves its note alone.
    outbox.record_deliveries(&Handover { generation: 2, ..handover(&job, 2) }, &[]).unwrap();
    outbox.push_end(Destination::Mqtt, &job, 1, &whole).unwrap();
    assert!(outbox.is_untold(&job, 2).unwrap());
}

#[test]
fn events_have_no_gap_over_a_reopen_and_come_with_what_they_are_about_or_not_at_all() {
    let folder = Folder::new("outbox-events");
    let event = |outbox: &Outbox, about: Option<Draft<'_>>| {
        let payload = |seq, number| format!("{seq}/{number}").into_bytes();
        outbox.push_event(Destination::Mqtt, about, "event", payload)
    };
    {
        let outbox = Outbox::open(&folder.file()).unwrap();
        assert_eq!(push(&outbox, "m"), 1);
        assert_eq!(event(&outbox, None).unwrap(), 1);
        let large = |_: u64| vec![b' '; MAX_PAYLOAD_BYTES + 1];
        assert!(event(&outbox, Some(("alarm".to_owned(), &large))).is_err());
    }
    let outbox = Outbox::open(&folder.file()).unwrap();
    let alarm = |seq: u64| format!("{seq}").into_bytes();
    assert_eq!(event(&outbox, Some(("alarm".to_owned(), &alarm))).unwrap(), 2);
    assert_eq!(*outbox.pushed().borrow(), 4);
    let seen = |priority| -> Vec<(String, bool, String)> {
        let rows = outbox.pending(Destination::Mqtt, priority, 1, 9).unwrap().into_iter();
        let text = |payload| String::from_utf8(payload).unwrap();
        rows.map(|row| (row.topic, row.retained, text(row.payload))).collect()
    };
    let row =
        |topic: &str, retained, payload: &str| (topic.to_owned(), retained, payload.to_owned());
    let events = [row("event", false, "2/1"), row("event", false, "4/2")];
    assert_eq!(seen(Priority::Ordinary), events, "events stay in order");
    assert_eq!(seen(Priority::Urgent), [row("alarm", true, "3")]);
}

#[test]
fn urgent_messages_are_a_row_of_their_own_and_leave_it_when_they_are_confirmed() {
    let folder = Folder::new("outbox-urgent");
    let urgent = |outbox: &Outbox| {
        let payload = |seq: u64| seq.to_string().into_bytes();
        outbox.push(Destination::Mqtt, Priority::Urgent, "u", true, payload)
    };
    let numbers = |outbox: &Outbox, priority, after, limit| -> Vec<u64> {
        let rows = outbox.pending(Destination::Mqtt, priority, after, limit).unwrap();
        rows.iter().map(|row| row.seq).collect()
    };
    {
        let outbox = Outbox::open(&folder.file()).unwrap();
        assert_eq!([1, 2, 3].map(|_| push(&outbox, "m")), [1, 2, 3]);
        assert_eq!(
            [urgent(&outbox).unwrap(), push(&outbox, "m"), urgent(&outbox).unwrap()],
            [4, 5, 6]
        );
    }
    let outbox = Outbox::open(&folder.file()).unwrap();
    assert_eq!(numbers(&outbox, Priority::Urgent, 0, 9), [4, 6]);
    assert_eq!(numbers(&outbox, Priority::Urgent, 0, 1), [4]);
    assert_eq!(numbers(&outbox, Priority::Urgent, 4, 9), [6]);
    assert_eq!(numbers(&outbox, Priority::Ordinary, 0, 9), [1, 2, 3, 5]);
    assert_eq!(numbers(&outbox, Priority::Ordinary, 3, 1), [5]);
    outbox.remove(&[1, 2, 3, 4]).unwrap();
    assert_eq!(numbers(&outbox, Priority::Urgent, 0, 9), [6]);
    assert_eq!(numbers(&outbox, Priority::Ordinary, 0, 9), [5]);
}

#[test]
fn a_full_outbox_still_takes_what_is_urgent() {
    let folder = Folder::new("outbox-full");
    let outbox = Outbox::open(&folder.file()).unwrap();
    let bytes = |outbox: &Outbox| {
        let read = |transaction: &redb::ReadTransaction| {
            Ok(transaction.open_table(META)?.get(BYTES)?.unwrap().value())
        };
        outbox.store.read(read).unwrap()
    };
    let pushed = push(&outbox, "four");
    assert_eq!(bytes(&outbox), 1 + 5, "topic `t` and payload `four1`");
    // As if the rest of a quarter of a gigabyte were there.
    let fill = |transaction: &WriteTransaction| {
        transaction.open_table(META)?.insert(BYTES, MAX_BYTES)?;
        Ok(())
    };
    outbox.store.write(fill).unwrap();
    let refused = outbox.push(Destination::Mqtt, Priority::Ordinary, "t", false, |_| vec![b'x']);
    assert!(matches!(refused, Err(OutboxError::Full { messages: 1, bytes: MAX_BYTES })));
    outbox.push(Destination::Mqtt, Priority::Urgent, "t", true, |_| vec![b'x']).unwrap();
    assert_eq!(bytes(&outbox), MAX_BYTES + 2);
    outbox.remove(&[pushed]).unwrap();
    assert_eq!(bytes(&outbox), MAX_BYTES - 4);
    push(&outbox, "room again");
}

#[test]
fn a_command_is_begun_once_until_it_expires_and_forgotten_only_when_it_is_answered() {
    let folder = Folder::new("outbox-commands");
    let (now, soon) = (now_ms(), now_ms() + 3_600_000);
    {
        let outbox = Outbox::open(&folder.file()).unwrap();
        assert_eq!(outbox.begin_command("a", soon, "about a").unwrap(), Begun::Now);
        assert_eq!(outbox.begin_command("b", now - 1, "about b").unwrap(), Begun::Now);
        outbox.push_reply(Destination::Mqtt, "a", "r", |seq| vec![seq as u8]).unwrap();
    }
    let outbox = Outbox::open(&folder.file()).unwrap();
    assert_eq!(outbox.begin_command("a", soon, "").unwrap(), Begun::Before, "over a restart");
    let left = vec![("b".to_owned(), "about b".to_owned())];
    assert_eq!(outbox.unanswered_commands().unwrap(), left, "expired, and not answered");
    outbox.push_reply(Destination::Mqtt, "b", "r", |seq| vec![seq as u8]).unwrap();
    assert_eq!(outbox.unanswered_commands().unwrap(), []);
    assert_eq!(outbox.begin_command("b", soon, "").unwrap(), Begun::Now, "it is long forgotten");
    let replies = outbox.pending(Destination::Mqtt, Priority::Urgent, 0, 9).unwrap();
    assert_eq!(replies.len(), 2, "who waits for a reply does not wait for what came before");
}

#[test]
fn nothing_is_delivered_of_a_cancelled_generation_until_it_is_wanted_again() {
    let folder = Folder::new("outbox-cancelled");
    let job = JobId::new(b"k", "1.2.3");
    let files = |name: &str| vec![PathBuf::from(name)];
    let outbox = Outbox::open(&folder.file()).unwrap();
    outbox.record_deliveries(&handover(&job, 1), &[("pacs", files("a"))]).unwrap();
    outbox.cancel(&job, 1).unwrap();
    assert!(outbox.is_cancelled(&job, 1).unwrap() && !outbox.is_cancelled(&job, 2).unwrap());
    assert_eq!(outbox.pending_deliveries().unwrap(), []);
    let again = outbox.record_deliveries(&handover(&job, 2), &[("pacs", files("a"))]);
    assert!(matches!(again, Err(OutboxError::Cancelled)));
    let late = Handover { generation: 2, ..handover(&job, 3) };
    outbox.record_deliveries(&late, &[("pacs", files("b"))]).unwrap();
    outbox.forget_cancelled(&job).unwrap();
    outbox.record_deliveries(&handover(&job, 4), &[("pacs", files("a"))]).unwrap();
    // What waits already stays, what does not is added.
    outbox.record_again(&job, &[("pacs", files("c")), ("console", files("c"))]).unwrap();
    let waiting = outbox.pending_deliveries().unwrap().into_iter();
    let mut waiting: Vec<_> = waiting.map(|to| (to.destination, to.files)).collect();
    waiting.sort();
    assert_eq!(waiting, [("console".to_owned(), files("c")), ("pacs".to_owned(), files("a"))]);
}
