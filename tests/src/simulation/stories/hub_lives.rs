//! The hub's store goes back to an older copy, and agents bring what it lost.

use super::*;

pub(super) fn two_of_the_hubs_own_in_one_state(setup: Setup) -> Result<(), Failure> {
    let (mut world, _) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    let patients: Vec<RecordId> = (0..6).map(|_| world.new_record(PATIENT, site)).collect();
    for patient in &patients {
        world.write(A, *patient, PHONE, "602-555-0120")?;
    }
    world.exchange(0)?;
    world.copy_hub();
    // A state is read in the order of its ids, which are drawn: of six, some hold the later of the two first.
    let mut written = Vec::new();
    for patient in &patients {
        let phone = world.write(Writer::Hub, *patient, PHONE, "602-555-0121")?;
        let email = world.write(Writer::Hub, *patient, EMAIL, "ada@example.org")?;
        written.push((*patient, phone, email));
    }
    world.exchange(0)?;

    world.restore_hub()?;
    world.heal_and_check()?;

    for (patient, phone, email) in written {
        world.expect_live(patient, PHONE, &[phone])?;
        world.expect_live(patient, EMAIL, &[email])?;
    }
    Ok(())
}
