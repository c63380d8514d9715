//! The disk fills up while the clinic works: new writes are refused by name, reading goes on, nothing confirmed is lost.

use anyhow::Result;
use tests::house::{House, Target};
use tests::page::Arrival;
use tests::people::CLINIC_DAY;
use tests::process::Binaries;
use tests::small_disk::SmallDisk;

use crate::world::arrive;

const DISK_MEGABYTES: u32 = 24;

#[tokio::test]
async fn on_a_full_disk_new_writes_are_refused_and_nothing_confirmed_is_lost() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("mainstay-test-").tempdir()?;
    let Some(disk) = SmallDisk::mount(&folder.path().join("agent"), DISK_MEGABYTES)? else {
        return Ok(());
    };
    let mut house = House::open(folder.path(), Binaries::find()?, Target::Person).await?;
    let mut desk = house.desk().await?;
    house.line.cut().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;

    disk.fill()?;
    let mut confirmed = vec![CLINIC_DAY[0]];
    let mut refusal = None;
    for person in &CLINIC_DAY[1..] {
        let name = person.last_first();
        let arrival = Arrival {
            name: &name,
            birth_date: person.birth_date,
            reason: person.reason,
            phone: Some(person.phone),
        };
        let answered = desk.arrive_new(arrival).await?;
        if answered.status >= 400 {
            refusal = Some(answered.text());
            break;
        }
        confirmed.push(*person);
    }
    let read_while_full = desk.open("/board").await?;
    disk.make_room()?;
    house.agent.kill9().await?;
    house.agent.start().await?;
    let mut desk = house.desk().await?;
    let board = desk.open("/board").await?.text();

    let refusal = refusal.expect("every write was confirmed on a full disk");
    assert!(
        refusal.contains("disk") || refusal.contains("space"),
        "the refusal does not name the disk: {refusal}"
    );
    assert_eq!(read_while_full.status, 200);
    for person in &confirmed {
        assert!(
            read_while_full.text().contains(person.family),
            "{} could not be read",
            person.family
        );
        assert!(
            board.contains(person.family),
            "{} was confirmed and is lost",
            person.family
        );
    }
    arrive(&mut desk, &CLINIC_DAY[15]).await?;
    house.line.restore().await?;
    house.until_agreed().await?;
    house.close().await
}
