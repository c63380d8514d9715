//! Bookings and merges: what is sent to the hub for one site reaches that site and no other, what is sent to a site
//! reaches the hub, and a number that was merged away goes on finding its patient.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tests::hl7_peer::{Acknowledgement, RawMllp, send_with_mllp_send};
use tests::house::{Target, agrees};
use tests::page::Page;
use tests::people::{AUTHORITY, CLINIC_DAY, Person, adt_a04, oru_r01};
use tests::process::{Program, Running};
use tests::until;

use crate::world::{World, count, patient_page, until_shown};

const ANSWERED: Duration = Duration::from_secs(5);
const EXCHANGED: Duration = Duration::from_secs(60);
const STARTED: Duration = Duration::from_secs(30);

/// A booking of this person in two hours, sent `minute` minutes after the first message of it.
fn siu(event: &str, person: &Person, control_id: &str, place: &str, minute: i64) -> String {
    let at = |moved: SignedDuration| (Timestamp::now() + moved).strftime("%Y%m%d%H%M%S+0000").to_string();
    let sent = at(SignedDuration::from_mins(minute));
    let starts = at(SignedDuration::from_hours(2));
    let Person {
        family,
        given,
        birth_date,
        mrn,
        ..
    } = person;
    let born = birth_date.replace('-', "");
    format!(
        "MSH|^~\\&|SCHEDULING|{AUTHORITY}|MAINSTAY|{AUTHORITY}|{sent}||SIU^{event}^SIU_S12|{control_id}|P|2.5.1||||||UNICODE UTF-8\r\
         SCH||B-{mrn}^{AUTHORITY}|||||^Follow-up\r\
         PID|1||{mrn}^^^{AUTHORITY}^MR||{family}^{given}||{born}\r\
         RGS|1\rAIS|1||99213^Office visit|{starts}|||20|min\rAIL|1||EXAM^1^^{place}\r"
    )
}

/// Two sites at one hub that takes HL7 itself.
struct Region {
    world: World,
    hub_mllp: SocketAddr,
    other: Running,
    other_desk: Page,
}

impl Region {
    async fn open() -> Result<Region> {
        let mut world = World::open(Target::Person).await?;
        let hub_mllp = SocketAddr::from((Ipv4Addr::LOCALHOST, tests::free_port()?));
        let verb = [
            "site",
            "add",
            "Lakeside",
            "--zone",
            "America/Chicago",
            "--ehr",
            "person",
            "--json",
        ];
        let added = world.hub.answer(&verb).await?;
        let site = added["site"].as_str().context("the hub named no site")?.to_owned();
        let passphrase = world.folder().join("lakeside-passphrase");
        std::fs::write(&passphrase, "lakeside-4711-lakeside")?;
        let file = passphrase.to_str().context("the folder's name is not UTF-8")?;
        let staff = [
            "staff",
            "add",
            "ines",
            "--name",
            "Castro, Ines",
            "--role",
            "lead",
            "--site",
            &site,
        ];
        world
            .hub
            .answer(&[&staff[..], &["--passphrase-file", file, "--json"]].concat())
            .await?;
        let token = world.hub.answer(&["token", "--site", &site, "--json"]).await?;
        let token = token["token"].as_str().context("the hub gave no token")?.to_owned();

        let config = world.hub.program.home().join("hub.toml");
        let mut text = std::fs::read_to_string(&config)?;
        text.push_str(&format!(
            "\n[mllp]\nlisten = \"{hub_mllp}\"\n\n[mllp.sites]\n\"{AUTHORITY} CLINIC\" = \"{}\"\nLAKE = \"{site}\"\n",
            world.site_name
        ));
        std::fs::write(&config, text)?;
        world.hub.stop().await?;
        world.hub.start().await?;

        let home = world.folder().join("lakeside");
        std::fs::create_dir_all(&home)?;
        std::fs::write(
            home.join("agent.toml"),
            "[page]\nlisten = \"127.0.0.1:0\"\n\n[mllp]\nlisten = \"127.0.0.1:0\"\n",
        )?;
        let program = Program::new(&world.binaries.agent, &home);
        program.answer(&["enrol", "--json"], Some(&token)).await?;
        let other = program.run_until_ready(STARTED).await?;
        let url = other.ready("page")?.to_owned();
        // Wrong sign-ins are counted and lock a login out, so the credential is waited for, not tried for.
        until(EXCHANGED, "the sign-in to have reached Lakeside", async || {
            Ok(agrees(&program.answer(&["status", "--json"], None).await?).then_some(()))
        })
        .await?;
        let mut other_desk = Page::at(&url)?;
        other_desk.sign_in("ines", "lakeside-4711-lakeside").await?;
        Ok(Region {
            world,
            hub_mllp,
            other,
            other_desk,
        })
    }

    async fn to_hub(&self, message: &str) -> Result<Acknowledgement> {
        let mut peer = RawMllp::connect(self.hub_mllp).await?;
        Ok(peer.send(message.as_bytes(), ANSWERED).await?.0)
    }

    async fn messages(&self) -> Result<Vec<Value>> {
        let listed = self.world.hub.answer(&["message", "list", "--all", "--json"]).await?;
        Ok(listed["messages"].as_array().context("no list of messages")?.clone())
    }
}

/// How many patients the desk finds by these words.
async fn found(desk: &mut Page, words: &str) -> Result<usize> {
    Ok(desk
        .find(words)
        .await?
        .attributes("a[href^='/patients/']", "href")
        .len())
}

#[tokio::test]
async fn a_booking_sent_to_the_hub_reaches_the_site_that_it_is_for_and_no_other() -> Result<()> {
    let mut region = Region::open().await?;
    let mut desk = region.world.desk().await?;
    let (here, there) = (&CLINIC_DAY[0], &CLINIC_DAY[1]);
    let ours = format!("{AUTHORITY} CLINIC");
    let file = region
        .world
        .message_file("siu.hl7", &siu("S12", here, "H-1", &ours, 0))?;

    let answered = send_with_mllp_send(region.hub_mllp, &file).await?;
    let lake = region.to_hub(&siu("S12", there, "H-2", "Lake", 0)).await?;

    assert_eq!(
        (answered[0].code(), answered[0].answers(), lake.code()),
        ("AA", "H-1", "AA")
    );
    until(EXCHANGED, "the booked patient to be at the site", async || {
        Ok((found(&mut desk, here.mrn).await? == 1).then_some(()))
    })
    .await?;
    let other_desk = &mut region.other_desk;
    until(EXCHANGED, "the other one to be at the other", async || {
        Ok((found(other_desk, there.mrn).await? == 1).then_some(()))
    })
    .await?;
    region.world.until_agreed().await?;
    assert_eq!(found(&mut desk, there.mrn).await?, 0);
    assert_eq!(found(&mut region.other_desk, here.mrn).await?, 0);
    region.other.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_hub_answers_a_repeat_alike_and_refuses_a_place_it_does_not_know() -> Result<()> {
    let mut region = Region::open().await?;
    let person = &CLINIC_DAY[2];
    let booked = siu("S12", person, "H-3", "LAKE", 0);

    let first = region.to_hub(&booked).await?;
    let cancelled = region.to_hub(&siu("S15", person, "H-4", "LAKE", 1)).await?;
    let again = region.to_hub(&booked).await?;
    let unknown = region.to_hub(&siu("S12", person, "H-5", "ELSEWHERE", 0)).await?;
    let result = region.to_hub(&oru_r01(person, "H-6", "101")).await?;

    assert_eq!((first.code(), cancelled.code()), ("AA", "AA"));
    assert_eq!(again, first);
    assert_eq!((unknown.code(), unknown.field("ERR", 2)), ("AE", "AIL^1^3"));
    assert_eq!(
        (result.code(), result.field("ERR", 3).split('^').next()),
        ("AR", Some("201"))
    );
    let listed = region.messages().await?;
    let outcomes: Vec<_> = listed.iter().rev().map(|message| message["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["taken", "taken", "not-readable", "not-taken"].map(Some));
    let looked_at = region.world.hub.answer(&["message", "list", "--json"]).await?;
    assert_eq!(looked_at["messages"].as_array().map(Vec::len), Some(2));
    assert!(!looked_at.to_string().contains(person.family), "it shows content");
    region.other.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_booking_sent_to_a_site_reaches_the_hub() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let person = &CLINIC_DAY[3];
    let file = world.message_file("siu.hl7", &siu("S12", person, "S-1", "ANY", 0))?;

    let answered = send_with_mllp_send(world.mllp()?, &file).await?;
    let mut peer = RawMllp::connect(world.mllp()?).await?;
    let (cancelled, _) = peer
        .send(siu("S15", person, "S-2", "ANY", 1).as_bytes(), ANSWERED)
        .await?;

    assert_eq!((answered[0].code(), cancelled.code()), ("AA", "AA"));
    world.until_agreed().await?;
    let known = world.hub.answer(&["patient", "find", person.mrn, "--json"]).await?;
    ensure!(
        known["patients"].as_array().map(Vec::len) == Some(1),
        "the hub knows {known}"
    );
    Ok(())
}

#[tokio::test]
async fn a_result_with_a_number_that_was_merged_away_is_on_the_patient() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[4];
    let mut peer = RawMllp::connect(world.mllp()?).await?;
    let registered = peer.send(adt_a04(person, "M-1").as_bytes(), ANSWERED).await?.0;
    let page = patient_page(&mut desk, person.mrn).await?;
    let merge = adt_a04(person, "M-2").replace("ADT^A04^ADT_A01", "ADT^A40^ADT_A39");
    let merge = format!("{merge}MRG|OLD-88^^^{AUTHORITY}^MR\r");

    let merged = peer.send(merge.as_bytes(), ANSWERED).await?.0;
    let old = oru_r01(person, "M-3", "117").replace(person.mrn, "OLD-88");
    let result = peer.send(old.as_bytes(), ANSWERED).await?.0;

    assert_eq!([registered.code(), merged.code(), result.code()], ["AA", "AA", "AA"]);
    until_shown(&mut desk, &page.path, "117", Duration::from_secs(1)).await?;
    assert_eq!(count(&world.status().await?, "/unmatched")?, 0);
    Ok(())
}
