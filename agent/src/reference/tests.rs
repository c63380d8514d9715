//! Building and searching on a real encrypted store.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use clinic::code_set::{CodeEntry, CodeStanding};
use vault::DataKey;

use super::*;
use crate::store::{CodeSetStanding, Tuning, digest_of};

struct Site {
    store: Store,
    key: Arc<DataKey>,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(DataKey::generate().unwrap());
        let store = Store::create(folder.path(), key.clone(), Tuning::default()).unwrap();
        Site { store, key, folder }
    }

    async fn reopened(self) -> Site {
        self.store.shutdown().await;
        let store = Store::open(self.folder.path(), self.key.clone(), Tuning::default()).unwrap();
        Site { store, ..self }
    }

    /// Keeps a file as though it had been fetched.
    async fn fetched(&self, file: &[u8]) -> Hash {
        let digest = digest_of(file);
        let pieces: Vec<Vec<u8>> = file.chunks(PIECE_BYTES as usize).map(<[u8]>::to_vec).collect();
        let length = file.len() as u64;
        let kept = self.store.write(Priority::Sync, move |tx| {
            tx.set_content(digest, length, ContentStanding::Proven, 0)?;
            let mut place = 0;
            for piece in &pieces {
                tx.add_content_piece(digest, place, piece)?;
                place += piece.len() as u64;
            }
            Ok::<_, TxError>(())
        });
        kept.await.unwrap();
        digest
    }

    async fn build(&self, file: &[u8], version: &str, entries: u64) -> Result<(), Broken> {
        let one = set_named(self.fetched(file).await, file, version, entries);
        let codes = one.codes.clone().unwrap();
        build::build(&self.store, &one, &codes, &CancellationToken::new()).await
    }

    async fn search(&self, query: &str) -> Vec<String> {
        let query = query.to_owned();
        let found = self
            .store
            .read(move |tx| tx.search_codes("icd-10-cm", &query, 10))
            .await;
        found.unwrap().into_iter().map(|entry| entry.code).collect()
    }
}

fn set_named(digest: Hash, file: &[u8], version: &str, entries: u64) -> Named {
    Named {
        digest,
        bytes: file.len() as u64,
        codes: Some(NamedCodes {
            name: "icd-10-cm".to_owned(),
            version: version.to_owned(),
            entries,
        }),
    }
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(20).unwrap();
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

const SMALL: &str = "J02.0\tu\tStreptococcal pharyngitis\nJ02.9\tu\tAcute pharyngitis, unspecified\n\
    J02.8\tu\tAcute pharyngitis due to other specified organisms\nU07.1\tu\tCOVID-19\nJ02\th\tAcute pharyngitis\n";

#[tokio::test]
async fn codes_are_found_by_their_beginning_and_by_the_beginnings_of_words_in_any_order() {
    let site = Site::new();
    site.build(&packed(SMALL), "2026", 5).await.unwrap();

    assert_eq!(site.search("J02").await, ["J02", "J02.0", "J02.8", "J02.9"]);
    assert_eq!(site.search("j029").await, ["J02.9"]);
    assert_eq!(site.search("J02.9").await, ["J02.9"]);
    assert_eq!(site.search("acute pharyn").await, ["J02.9", "J02.8", "J02"]);
    assert_eq!(site.search("PHARYNG ac").await, ["J02.9", "J02.8", "J02"]);
    assert_eq!(site.search("covid-19").await, ["U07.1"]);
    assert_eq!(site.search("j02 unspec").await, ["J02.9"]);
    for nothing in ["", "  ", "\"", "*", "acute AND", "x y z", "-", "NEAR(a b)", "' OR 1"] {
        assert!(site.search(nothing).await.is_empty(), "{nothing:?}");
    }
}

#[tokio::test]
async fn a_new_version_takes_the_old_ones_place_and_the_old_one_goes() {
    let site = Site::new();
    site.build(&packed(SMALL), "2026", 5).await.unwrap();

    site.build(&packed("R50.9\tu\tFever, unspecified\n"), "2027", 1)
        .await
        .unwrap();

    assert!(site.search("pharyn").await.is_empty());
    assert_eq!(site.search("fever").await, ["R50.9"]);
    let sets = site.store.read(|tx| tx.code_sets()).await.unwrap();
    assert_eq!(sets.len(), 1);
    assert_eq!(
        (sets[0].version.as_str(), sets[0].standing),
        ("2027", CodeSetStanding::Searched)
    );
    let contents = site.store.read(|tx| tx.contents()).await.unwrap();
    assert!(contents.iter().any(|content| content.here == 0));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_and_the_old_version_is_still_searched() {
    let site = Site::new();
    site.build(&packed(SMALL), "2026", 5).await.unwrap();

    for (file, entries, why) in [
        (packed("R50.9\tu\tFever\n"), 2, "another number of codes"),
        (packed("R50.9 Fever\n"), 1, "no code"),
        (packed("R50.9\tu\tFever"), 1, "no code"),
        (b"not packed at all".to_vec(), 1, "cannot be unpacked"),
        (packed(&"x".repeat(5_000)), 1, "no code"),
    ] {
        let refused = site.build(&file, "2027", entries).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{why}: {refused}");
        assert_eq!(site.search("J02.9").await, ["J02.9"]);
    }
}

#[tokio::test]
async fn building_that_was_cut_off_goes_on_where_it_was() {
    let site = Site::new();
    let text: String = (0..500)
        .map(|n| format!("A{n:04}\tu\tSample condition number {n}\n"))
        .collect();
    let file = packed(&text);
    let digest = site.fetched(&file).await;
    let first: Vec<CodeEntry> = text
        .lines()
        .take(137)
        .map(|line| CodeEntry::parse(line).unwrap())
        .collect();
    let begun = site.store.write(Priority::Sync, move |tx| {
        let set = tx.begin_code_set("icd-10-cm", digest, "2026")?;
        tx.add_codes(set, 0, &first)
    });
    begun.await.unwrap();

    let site = site.reopened().await;
    assert!(site.search("condition").await.is_empty());
    site.build(&file, "2026", 500).await.unwrap();

    let built = site
        .store
        .read(|tx| tx.codes_built(tx.code_sets()?[0].id))
        .await
        .unwrap();
    assert_eq!(built, 500);
    assert_eq!(site.search("number 499").await, ["A0499"]);
    assert_eq!(site.search("A0136").await, ["A0136"]);
}

#[tokio::test]
async fn what_no_record_names_any_more_is_cleared_away() {
    let site = Site::new();
    let file = packed(SMALL);
    let digest = site.fetched(&file).await;
    let begun = site
        .store
        .write(Priority::Sync, move |tx| tx.begin_code_set("icd-10-cm", digest, "2026"));
    begun.await.unwrap();
    let (contents, sets) = site
        .store
        .read(|tx| Ok((tx.contents()?, tx.code_sets()?)))
        .await
        .unwrap();

    build::clear_away(&site.store, &[], &contents, &sets, &CancellationToken::new())
        .await
        .unwrap();

    let left = site.store.read(move |tx| {
        Ok((
            tx.contents()?.len(),
            tx.code_sets()?.len(),
            tx.content_piece(digest, 0)?,
        ))
    });
    assert_eq!(left.await.unwrap(), (0, 0, None));
}

/// Words that texts are made of; some are in very many of them.
const WORDS: [&str; 12] = [
    "fracture",
    "unspecified",
    "acute",
    "encounter",
    "left",
    "right",
    "initial",
    "injury",
    "chronic",
    "displaced",
    "tendon",
    "pharyngitis",
];

fn many(count: usize) -> String {
    let word = |n: usize, by: usize| WORDS[(n / by + n) % WORDS.len()];
    let line = |n: usize| {
        let letter = char::from(b'A' + (n / 4_000) as u8);
        format!(
            "{letter}{:02}.{:03}\tu\t{} {} of {} part {n}\n",
            n / 1_000 % 100,
            n % 1_000,
            word(n, 1),
            word(n, 7),
            word(n, 49)
        )
    };
    (0..count).map(line).collect()
}

#[tokio::test]
async fn a_hundred_thousand_codes_are_searched_quickly_and_built_without_holding_up_the_desk() {
    const CODES: usize = 100_000;
    let site = Site::new();
    let file = packed(&many(CODES));
    let store = site.store.clone();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let desk = tokio::spawn(async move {
        let mut waits = Vec::new();
        while !stopped.is_cancelled() {
            let began = Instant::now();
            store
                .write(Priority::Desk, |tx| tx.set_meta("desk", b"1"))
                .await
                .unwrap();
            waits.push(began.elapsed());
            sleep(Duration::from_millis(7)).await;
        }
        waits.sort();
        waits
    });

    let began = Instant::now();
    site.build(&file, "2026", CODES as u64).await.unwrap();
    let built_in = began.elapsed();
    stop.cancel();
    let waits = desk.await.unwrap();

    let of_waits = |part: usize| waits[(waits.len() - 1) * part / 100];
    println!(
        "built in {built_in:?}; {} desk writes meanwhile: half within {:?}, 99 of 100 within {:?}, worst {:?}",
        waits.len(),
        of_waits(50),
        of_waits(99),
        of_waits(100)
    );
    let mut worst = Duration::ZERO;
    for query in [
        "a",
        "A0",
        "A01.5",
        "acu",
        "acute frac",
        "f",
        "u i e",
        "tendon 4",
        "part",
        "nothing such",
        "99999",
    ] {
        let began = Instant::now();
        let found = site.search(query).await.len();
        worst = worst.max(began.elapsed());
        println!("{query:?}: {found} shown in {:?}", began.elapsed());
    }
    // Promised are 20 ms; a debug build on a busy machine is given five times that.
    assert!(worst < Duration::from_millis(100), "{worst:?}");
}

#[test]
fn every_standing_has_a_letter_of_its_own() {
    let letters = CodeStanding::ALL.map(CodeStanding::letter);

    assert_eq!(letters, ['u', 'h', 'r']);
}
