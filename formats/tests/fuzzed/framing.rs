//! What the fuzz target `mllp` does with its input; the ordinary properties do it too.

use formats::mllp::{Framed, Framer, encode};

const FRAME_MAX_BYTES: usize = 64;

/// The frames of any bytes, however they arrive: whole or in pieces, the same comes out, and no frame is larger than allowed.
/// The first byte says how long the pieces are.
pub(crate) fn frame_everything(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else {
        return;
    };
    let mut at_once = Framer::new(FRAME_MAX_BYTES);
    at_once.push(stream);
    at_once.finish();
    let at_once: Vec<Framed> = std::iter::from_fn(|| at_once.poll()).collect();

    let mut in_pieces = Vec::new();
    let mut framer = Framer::new(FRAME_MAX_BYTES);
    for piece in stream.chunks(usize::from(*piece) + 1) {
        framer.push(piece);
        in_pieces.extend(std::iter::from_fn(|| framer.poll()));
    }
    framer.finish();
    in_pieces.extend(std::iter::from_fn(|| framer.poll()));

    assert_eq!(in_pieces, at_once);
    for framed in at_once {
        if let Framed::Message(message) = framed {
            assert!(!message.is_empty() && message.len() <= FRAME_MAX_BYTES);
            framed_again(&message);
        }
    }
}

/// What came out of a frame goes into one again.
fn framed_again(message: &[u8]) {
    let mut framer = Framer::new(FRAME_MAX_BYTES);
    framer.push(&encode(message));
    assert_eq!(framer.poll(), Some(Framed::Message(message.to_vec())));
    assert_eq!(framer.poll(), None);
}
