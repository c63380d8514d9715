//! What every site may know of the organisation's staff: who somebody is and where they work. Nothing to sign in with is in
//! it; the staff record itself stays at its own site.

use sync_protocol::RecordId;
use uuid::Uuid;

const COLLEAGUES: Uuid = Uuid::from_u128(0x6d61_696e_7374_6179_8000_636f_6c6c_6501);

/// The id of what every site may know of one of the staff.
pub fn colleague_id(staff: RecordId) -> RecordId {
    RecordId(Uuid::new_v5(&COLLEAGUES, &staff.0).into_bytes())
}
