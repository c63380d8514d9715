//! Any bytes as a header and a payload, one after the other. What is read must be written and read again as the same, and
//! be what the first format takes it for.

use sync_protocol::{Header, Payload};

use crate::first::model;
use crate::first::today;

pub(crate) fn run(input: &[u8]) {
    header(input);
    payload(input);
}

fn header(bytes: &[u8]) {
    let first = model::Header::parse(bytes);
    let Ok(header) = Header::parse(bytes) else {
        assert!(first.is_err(), "the first reader took a header that today's refuses");
        return;
    };

    let canonical = header.to_bytes();
    assert_eq!(Header::parse(&canonical).as_ref(), Ok(&header));
    assert_eq!(first, Ok(today::header(&header)));
    assert_eq!(today::header(&header).to_bytes(), canonical);
}

fn payload(bytes: &[u8]) {
    let first = model::Payload::parse(bytes);
    let Ok(payload) = Payload::parse(bytes) else {
        assert!(first.is_err(), "the first reader took a payload that today's refuses");
        return;
    };

    let canonical = payload.to_bytes();
    assert_eq!(Payload::parse(&canonical).as_ref(), Ok(&payload));
    assert_eq!(first, Ok(today::payload(&payload)));
    assert_eq!(today::payload(&payload).to_bytes(), canonical);
}
