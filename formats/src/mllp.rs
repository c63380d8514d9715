//! MLLP framing: `0x0B` message `0x1C 0x0D`, and nothing about sockets.
//!
//! Forgiving where senders are careless (bytes before a frame are skipped and counted, the CR after the end may be missing)
//! and never guessing: a frame is a message only when it began, ended, and fitted. Whatever the chunks bytes arrive in, the
//! same bytes give the same frames.

use std::collections::VecDeque;
use std::fmt;

use crate::hl7::{ErrorCode, Hl7Error, SegmentId};

const START: u8 = 0x0b;
const END: u8 = 0x1c;
const CARRIAGE_RETURN: u8 = 0x0d;

/// One thing the other side sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Framed {
    /// A whole frame, without its framing bytes.
    Message(Vec<u8>),
    /// A frame that is no message; `bytes` is what came of it, to be answered as best it can.
    Broken { reason: Broken, bytes: Vec<u8> },
    /// Bytes outside any frame, skipped. Said when a frame begins after them or the connection ends.
    Skipped { count: u64 },
}

/// Why a frame is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Another frame began before it ended.
    Restarted,
    /// It grew beyond the limit; its first bytes are kept, the rest up to the next frame is skipped without a count.
    TooLarge,
    /// There was nothing in it.
    Empty,
    /// The connection ended within it.
    Unfinished,
}

impl Broken {
    /// What to tell the sender, in an acknowledgement made from what can be salvaged of the bytes.
    pub fn refusal(self) -> Hl7Error {
        let (code, problem) = match self {
            Self::Restarted => (
                ErrorCode::SegmentSequence,
                "frame did not end before the next one began; send it again",
            ),
            Self::TooLarge => (ErrorCode::Internal, "frame is larger than the limit set here"),
            Self::Empty => (ErrorCode::SegmentSequence, "frame holds no message"),
            Self::Unfinished => (
                ErrorCode::SegmentSequence,
                "connection ended within the frame; send it again",
            ),
        };
        Hl7Error::segment(code, SegmentId::MSH, 1, problem)
    }
}

impl fmt::Debug for Framed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(bytes) => write!(f, "Message({} bytes)", bytes.len()),
            Self::Broken { reason, bytes } => write!(f, "Broken({reason:?}, {} bytes)", bytes.len()),
            Self::Skipped { count } => write!(f, "Skipped({count} bytes)"),
        }
    }
}

enum State {
    /// Outside a frame. `ended` right after its end byte, when one CR still belongs to it.
    Between {
        ended: bool,
    },
    Within,
    /// In a frame already reported as too large.
    Discarding,
}

/// Takes bytes as they arrive and gives frames. Poll until it gives nothing after every push: frames wait in memory.
pub struct Framer {
    frame_max_bytes: usize,
    state: State,
    frame: Vec<u8>,
    skipped: u64,
    ready: VecDeque<Framed>,
}

conceal_debug!(Framer);

impl Framer {
    /// Messages of up to `frame_max_bytes`; no more than that is held of one frame.
    pub fn new(frame_max_bytes: usize) -> Self {
        Self {
            frame_max_bytes,
            state: State::Between { ended: false },
            frame: Vec::new(),
            skipped: 0,
            ready: VecDeque::new(),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.take(*byte);
        }
    }

    /// The next frame, in the order they came.
    pub fn poll(&mut self) -> Option<Framed> {
        self.ready.pop_front()
    }

    /// Whether a frame has begun and not ended: what a read time-out should ask.
    pub fn is_within_frame(&self) -> bool {
        match self.state {
            State::Within | State::Discarding => true,
            State::Between { .. } => false,
        }
    }

    /// The connection ended: what was left over comes out of the next polls, and the framer is as new.
    pub fn finish(&mut self) {
        match std::mem::replace(&mut self.state, State::Between { ended: false }) {
            State::Within => self.give_broken(Broken::Unfinished),
            State::Discarding | State::Between { .. } => self.give_skipped(),
        }
    }

    fn take(&mut self, byte: u8) {
        match (&self.state, byte) {
            (State::Between { .. }, START) => {
                self.give_skipped();
                self.state = State::Within;
            }
            (State::Between { ended: true }, CARRIAGE_RETURN) => self.state = State::Between { ended: false },
            (State::Between { .. }, _) => {
                self.skipped += 1;
                self.state = State::Between { ended: false };
            }
            (State::Within, START) => self.give_broken(Broken::Restarted),
            (State::Within, END) => {
                self.give_frame();
                self.state = State::Between { ended: true };
            }
            (State::Within, _) if self.frame.len() == self.frame_max_bytes => {
                self.give_broken(Broken::TooLarge);
                self.state = State::Discarding;
            }
            (State::Within, _) => self.frame.push(byte),
            (State::Discarding, START) => self.state = State::Within,
            (State::Discarding, END) => self.state = State::Between { ended: true },
            (State::Discarding, _) => {}
        }
    }

    fn give_frame(&mut self) {
        if self.frame.is_empty() {
            return self.give_broken(Broken::Empty);
        }
        let message = std::mem::take(&mut self.frame);
        self.ready.push_back(Framed::Message(message));
    }

    fn give_broken(&mut self, reason: Broken) {
        let bytes = std::mem::take(&mut self.frame);
        self.ready.push_back(Framed::Broken { reason, bytes });
    }

    fn give_skipped(&mut self) {
        let count = std::mem::take(&mut self.skipped);
        if count > 0 {
            self.ready.push_back(Framed::Skipped { count });
        }
    }
}

/// One message as one frame. A message never holds `0x0B` or `0x1C`: the HL7 writer escapes them.
pub fn encode(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 3);
    frame.push(START);
    frame.extend_from_slice(message);
    frame.extend_from_slice(&[END, CARRIAGE_RETURN]);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frames(chunks: &[&[u8]], frame_max_bytes: usize) -> Vec<Framed> {
        let mut framer = Framer::new(frame_max_bytes);
        let mut frames = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            frames.extend(std::iter::from_fn(|| framer.poll()));
        }
        framer.finish();
        frames.extend(std::iter::from_fn(|| framer.poll()));
        frames
    }

    fn message(text: &[u8]) -> Framed {
        Framed::Message(text.to_vec())
    }

    fn broken(reason: Broken, text: &[u8]) -> Framed {
        Framed::Broken {
            reason,
            bytes: text.to_vec(),
        }
    }

    #[test]
    fn a_frame_is_a_message_without_its_framing_bytes() {
        assert_eq!(frames(&[b"\x0bMSH\rPID\r\x1c\r"], 64), [message(b"MSH\rPID\r")]);
    }

    #[test]
    fn a_missing_cr_after_the_end_does_not_hold_the_message_back() {
        let mut framer = Framer::new(64);

        framer.push(b"\x0bA\x1c");

        assert_eq!(framer.poll(), Some(message(b"A")));
        assert!(!framer.is_within_frame());
        framer.push(b"\x0bB\x1c\r");
        assert_eq!(framer.poll(), Some(message(b"B")));
    }

    #[test]
    fn bytes_outside_frames_are_skipped_and_counted() {
        let sent = b"noise\x0bA\x1c\r\r\n\x0bB\x1ctail";

        let got = frames(&[sent], 64);

        let skipped = |count| Framed::Skipped { count };
        assert_eq!(got, [skipped(5), message(b"A"), skipped(2), message(b"B"), skipped(4)]);
    }

    #[test]
    fn a_frame_that_begins_inside_another_breaks_the_first() {
        assert_eq!(
            frames(&[b"\x0bhalf\x0bB\x1c\r"], 64),
            [broken(Broken::Restarted, b"half"), message(b"B")]
        );
    }

    #[test]
    fn a_frame_beyond_the_limit_is_reported_once_and_the_next_one_read() {
        let got = frames(&[b"\x0b12345678\x1c\r\x0b1234\x1c\r\x0b12345\x0bB\x1c\r"], 4);

        let large = broken(Broken::TooLarge, b"1234");
        assert_eq!(got, [large.clone(), message(b"1234"), large, message(b"B")]);
    }

    #[test]
    fn an_empty_frame_is_no_message() {
        assert_eq!(frames(&[b"\x0b\x1c\r"], 64), [broken(Broken::Empty, b"")]);
    }

    #[test]
    fn a_connection_that_ends_within_a_frame_says_so() {
        assert_eq!(
            frames(&[b"\x0bA\x1c\r\x0bhal", b"f"], 64),
            [message(b"A"), broken(Broken::Unfinished, b"half")]
        );
    }

    #[test]
    fn debug_tells_sizes_and_no_content() {
        let shown = format!("{:?}", frames(&[b"\x0bDOE^JANE\x1c\r\x0bROE"], 64));

        assert_eq!(shown, "[Message(8 bytes), Broken(Unfinished, 3 bytes)]");
    }

    fn chunked(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
    }

    fn together(bytes: &[u8], cuts: &[prop::sample::Index], limit: usize) -> Vec<Framed> {
        let chunks = chunked(bytes, cuts);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        frames(&chunks, limit)
    }

    proptest! {
        #[test]
        fn every_message_comes_out_once_and_in_order(
            sent in vec(vec(any::<u8>().prop_filter("framing", |b| !matches!(b, 0x0b | 0x1c)), 1..40), 0..12),
            missing_cr in vec(any::<bool>(), 12),
            cuts in vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let mut bytes = Vec::new();
            for (text, missing) in sent.iter().zip(missing_cr) {
                bytes.extend(encode(text));
                if missing { bytes.pop(); }
            }

            let got = together(&bytes, &cuts, 64);

            prop_assert_eq!(got, sent.into_iter().map(Framed::Message).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_give_the_same_frames_in_any_chunks(
            bytes in vec(prop_oneof![Just(START), Just(END), Just(CARRIAGE_RETURN), any::<u8>()], 0..200),
            cuts in vec(any::<prop::sample::Index>(), 0..30),
        ) {
            prop_assert_eq!(together(&bytes, &cuts, 16), together(&bytes, &[], 16));
        }

        #[test]
        fn no_message_is_invented(
            bytes in vec(prop_oneof![Just(START), Just(END), Just(CARRIAGE_RETURN), any::<u8>()], 0..200),
        ) {
            for framed in together(&bytes, &[], 16) {
                if let Framed::Message(text) = framed {
                    let framed = [&[START][..], &text, &[END]].concat();
                    prop_assert!(bytes.windows(framed.len()).any(|window| window == framed));
                }
            }
        }
    }
}
