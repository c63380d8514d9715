//! Writers' clocks. A writer tells with a push how its clocks stand beside the hub's; the hub notes with each change whose
//! time is wrong by that when it was written. Nothing is refused for its time.

use super::{HubError, HubLedger};
use crate::change::Header;
use crate::state::RecordState;
use crate::time::{BootClock, CLOCK_TOLERANCE_MS, ClockFact};

/// Keeps a writer's estimate. Of several of one boot the least counts.
pub(super) fn note_boot<L: HubLedger>(ledger: &mut L, clock: &BootClock) -> Result<(), HubError<L::Error>> {
    let before = ledger.boot_zero(clock.boot)?;
    if before.is_none_or(|zero_ms| clock.zero_ms < zero_ms) {
        ledger.set_boot_zero(clock.boot, clock.zero_ms)?;
    }
    Ok(())
}

/// Notes what is known of the clock behind a change that was just applied. `now`: how the clocks of whoever brings it stand.
pub(super) fn correct<L: HubLedger>(
    ledger: &mut L,
    state: &mut RecordState,
    header: &Header,
    now: Option<&BootClock>,
) -> Result<(), HubError<L::Error>> {
    let fact = match ledger.boot_zero(header.boot)? {
        Some(zero_ms) => {
            let written_ms = zero_ms.saturating_add(header.monotonic_ms);
            let is_wrong = written_ms.abs_diff(header.at.wall_ms) > CLOCK_TOLERANCE_MS;
            is_wrong.then_some(ClockFact::Corrected(written_ms))
        }
        // Of a start before this one: how wrong the clock was then, nobody knows. That it was wrong is seen where it still is,
        // and where it had shown what the hub's does not show yet.
        None => now
            .filter(|clock| clock.is_off() || clock.is_before(header.at))
            .map(|_| ClockFact::Suspect),
    };
    if let Some(fact) = fact {
        state.note_clock(header.change, fact);
    }
    Ok(())
}
