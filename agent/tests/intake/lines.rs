//! What lines and senders do: nothing is unanswered, and nobody holds up anybody else.

use clinic::catalogue::{patient, visit};
use mainstay_agent::store::Outcome;

use super::*;

#[tokio::test]
async fn another_type_is_rejected_by_its_event_kept_and_listed() {
    let site = Site::open().await;

    let cancelled = site.send(&DOLORES.adt("A11", "1", &[])).await;
    let vaccine = site
        .send(&DOLORES.adt("A04", "2", &[]).replace("ADT^A04", "VXU^V04"))
        .await;

    for (answer, control) in [(cancelled, "1"), (vaccine, "2")] {
        assert!(answer.is("AR", control));
        assert_eq!((answer.error.as_str(), answer.location.as_str()), ("201", "MSH^1^9"));
    }
    let listed = site.messages(Some(Outcome::Rejected)).await;
    assert_eq!(
        listed.iter().map(|m| m.trigger.as_str()).collect::<Vec<_>>(),
        ["V04", "A11"]
    );
    assert!(site.original(&listed[0]).await.is_some());
    assert_eq!(site.changes().await, 0);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_refused_by_segment_and_field_and_kept() {
    let site = Site::open().await;
    let message = DOLORES.adt("A04", "1", &[]);

    let wrong_date = site.send(&message.replace(DOLORES.born, "19831399")).await;
    let nameless = site.send(&message.replace(DOLORES.name, "")).await;
    let blank_allergy = site.send(&DOLORES.adt("A04", "3", &["AL1|1|DA"])).await;

    assert_eq!(
        (wrong_date.code.as_str(), wrong_date.location.as_str()),
        ("AE", "PID^1^7")
    );
    assert_eq!((nameless.code.as_str(), nameless.location.as_str()), ("AE", "PID^1^5"));
    assert_eq!(
        (blank_allergy.code.as_str(), blank_allergy.location.as_str()),
        ("AE", "AL1^1^3")
    );
    assert!(!String::from_utf8(wrong_date.bytes).unwrap().contains("19831399"));
    let listed = site.messages(Some(Outcome::Error)).await;
    assert_eq!(listed.len(), 3);
    assert!(listed[2].error.as_deref().unwrap().starts_with("PID-7"));
    assert!(site.original(&listed[2]).await.is_some());
    assert_eq!(site.changes().await, 0);
}

#[tokio::test]
async fn garbage_and_empty_frames_are_answered_and_listed_once() {
    let site = Site::open().await;
    let mut sender = site.connect().await;

    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"",
        b"",
        b"\xff\xfe\x00\x01",
        b"MSH|^~\\&|A|B",
    ] {
        let answer = sender.send(bytes).await;
        assert!(matches!(answer.code.as_str(), "AE" | "AR"), "{answer:?}");
    }
    let after = sender.send(DOLORES.adt("A04", "1", &[]).as_bytes()).await;

    assert!(after.is("AA", "1"));
    assert_eq!(site.messages(Some(Outcome::Error)).await.len(), 4);
}

#[tokio::test]
async fn an_acknowledgement_is_kept_and_not_acknowledged() {
    let site = Site::open().await;
    let mut sender = site.connect().await;

    sender
        .bytes(b"\x0bMSH|^~\\&|A|B|C|D|2026||ACK|9|P|2.5\rMSA|AA|1\r\x1c\r")
        .await;
    let next = sender.send(DOLORES.adt("A04", "1", &[]).as_bytes()).await;

    assert!(next.is("AA", "1"));
    assert_eq!(site.messages(Some(Outcome::Rejected)).await.len(), 1);
}

#[tokio::test]
async fn whoever_asks_for_enhanced_mode_or_silence_is_answered_in_original_mode() {
    let site = Site::open().await;
    for (control, asked) in [("1", "AL|AL"), ("2", "NE|NE"), ("3", "AL|NE"), ("4", "|ER")] {
        let message = DOLORES
            .adt("A08", control, &[])
            .replace("|P|2.5.1", &format!("|P|2.5.1|||{asked}"));

        let answer = site.send(&message).await;

        assert!(answer.is("AA", control), "{asked}: {answer:?}");
    }
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_answered_and_the_next_one_read() {
    let site = Site::open().await;
    let mut sender = site.connect().await;
    let huge = DOLORES.adt("A04", "1", &[&format!("NTE|1||{}", "x".repeat(2 * 1024 * 1024))]);

    let refused = sender.send(huge.as_bytes()).await;
    let next = sender.send(DOLORES.adt("A04", "2", &[]).as_bytes()).await;

    assert!(refused.is("AR", "1"), "{refused:?}");
    assert!(next.is("AA", "2"));
    assert_eq!(site.messages(Some(Outcome::Error)).await.len(), 1);
}

#[tokio::test]
async fn a_sender_that_dribbles_is_waited_for() {
    let site = Site::open().await;
    let mut sender = site.connect().await;
    let message = DOLORES.adt("A04", "1", &[]);
    let framed = [b"\x0b", message.as_bytes(), b"\x1c\r"].concat();

    for chunk in framed.chunks(7) {
        sender.bytes(chunk).await;
        tokio::task::yield_now().await;
    }

    assert!(sender.answer().await.is("AA", "1"));
}

#[tokio::test]
async fn half_a_frame_of_which_nothing_more_comes_is_answered_and_hung_up_on() {
    let site = Site::with(MllpConfig {
        idle_secs: 1,
        ..MllpConfig::default()
    })
    .await;
    let mut sender = site.connect().await;

    sender
        .bytes(b"\x0bMSH|^~\\&|A|B|C|D|2026||ADT^A04|half|P|2.5\rPID|1||")
        .await;
    let answer = sender.answer().await;

    assert!(answer.is("AE", "half"));
    assert!(sender.is_hung_up_on().await);
}

#[tokio::test]
async fn a_sender_that_goes_within_a_frame_leaves_half_of_it_listed_and_nothing_done() {
    let site = Site::open().await;
    let mut sender = site.connect().await;

    sender
        .bytes(b"\x0bMSH|^~\\&|A|B|C|D|2026||ADT^A04|half|P|2.5\rPID|1||")
        .await;
    sender.stream.shutdown().await.unwrap();
    let answer = sender.answer().await;

    assert!(answer.is("AE", "half"));
    assert_eq!(site.messages(Some(Outcome::Error)).await.len(), 1);
    assert_eq!(site.changes().await, 0);
}

#[tokio::test]
async fn sixteen_senders_at_once_are_each_answered_and_each_kept() {
    let site = Arc::new(Site::open().await);

    let sending: Vec<_> = (0..16)
        .map(|n| {
            let site = site.clone();
            tokio::spawn(async move {
                let number = format!("9{n:03}^^^RIVERSIDE^MR");
                let control = format!("C{n}");
                let message = DOLORES.adt("A04", &control, &[]).replace(DOLORES.number, &number);
                let mut sender = site.connect().await;
                let first = sender.send(message.as_bytes()).await;
                let again = sender.send(message.as_bytes()).await;
                first.is("AA", &control) && first == again
            })
        })
        .collect();
    for sent in sending {
        assert!(sent.await.unwrap());
    }

    assert_eq!(site.of_kind(patient::KIND).await.len(), 16);
    assert_eq!(site.of_kind(visit::KIND).await.len(), 16);
    assert_eq!(site.messages(None).await.len(), 16);
}

#[tokio::test]
async fn the_same_message_from_sixteen_connections_at_once_has_its_effect_once() {
    let site = Arc::new(Site::open().await);
    let message = Arc::new(DOLORES.adt("A04", "1", &[]));

    let sending: Vec<_> = (0..16)
        .map(|_| {
            let (site, message) = (site.clone(), message.clone());
            tokio::spawn(async move { site.send(&message).await })
        })
        .collect();
    let mut answers = Vec::new();
    for sent in sending {
        answers.push(sent.await.unwrap());
    }

    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(site.of_kind(visit::KIND).await.len(), 1);
}

#[tokio::test]
async fn one_connection_too_many_is_hung_up_on_and_the_others_serve() {
    let site = Site::with(MllpConfig {
        connections_max: 1,
        ..MllpConfig::default()
    })
    .await;
    let mut first = site.connect().await;
    assert!(first.send(DOLORES.adt("A04", "1", &[]).as_bytes()).await.is("AA", "1"));

    let mut second = site.connect().await;

    assert!(second.is_hung_up_on().await);
    assert!(first.send(SEAMUS.adt("A04", "2", &[]).as_bytes()).await.is("AA", "2"));
}

#[tokio::test]
async fn told_to_stop_it_ends_idle_connections_and_takes_no_more() {
    let site = Site::open().await;
    let mut sender = site.connect().await;
    assert!(sender.send(DOLORES.adt("A04", "1", &[]).as_bytes()).await.is("AA", "1"));

    site.stop.cancel();
    tokio::time::timeout(PATIENCE, site.served).await.unwrap().unwrap();

    assert!(sender.is_hung_up_on().await);
    assert!(TcpStream::connect(site.address).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_claimed() {
    let site = Site::open().await;
    let mut sender = site.connect().await;
    assert!(sender.send(DOLORES.adt("A04", "1", &[]).as_bytes()).await.is("AA", "1"));
    site.store.shutdown().await;

    let answer = sender.send(SEAMUS.adt("A04", "2", &[]).as_bytes()).await;

    assert!(answer.is("AR", "2"));
    assert_eq!(answer.error, "207");
}

#[tokio::test]
async fn a_message_that_the_clinic_cannot_take_is_kept_listed_and_not_taken_for_done() {
    let site = Site::open().await;
    site.write(|tx| Ok(tx.remove_meta(SITE)?)).await;
    let message = DOLORES.adt("A04", "1", &[]);

    let first = site.send(&message).await;
    let again = site.send(&message).await;

    assert!(first.is("AE", "1"));
    assert_eq!((first.error.as_str(), &first), ("207", &again));
    let listed = site.messages(Some(Outcome::Error)).await;
    assert_eq!(listed.len(), 1);
    assert!(site.original(&listed[0]).await.is_some());
    assert_eq!(site.changes().await, 0);
}

#[tokio::test]
async fn a_message_with_any_byte_wrong_or_cut_anywhere_is_answered() {
    let site = Site::open().await;
    let mut sender = site.connect().await;
    let whole = DOLORES
        .adt("A04", "1", &["AL1|1|DA|^Penicillin|SV", "IN1|1|HMO^Blue|7|Cascade"])
        .into_bytes();

    for at in (0..whole.len()).step_by(5) {
        let mut wrong = whole.clone();
        wrong[at] = b"|^~\\&\r\x00\xff\""[at % 9];
        for bytes in [&wrong[..], &whole[..at]] {
            let answer = sender.send(bytes).await;
            assert!(matches!(answer.code.as_str(), "AA" | "AE" | "AR"), "{at}: {answer:?}");
        }
    }
}
