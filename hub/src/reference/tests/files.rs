//! What is read of a file, before anything is written.

use super::*;

#[test]
fn a_broken_row_is_named_by_line_column_and_reason_and_never_quoted() {
    let said = refused(
        Set::Providers,
        "npi,name,specialty\n1234567890,\"Adams, Ada\",\n1234567893,,x\n1245319599,Brown,a,b\n,Cole,\n",
    );

    assert_eq!(
        said,
        "line 2, column npi: is not ten digits with a right check digit; line 3, column name: is empty; \
         line 4: has 4 cells where the first line names 3; \
         line 5, column npi: is empty, and so is ehr_id: one of them names the provider"
    );
    assert!(!said.contains("Adams"));
}

#[test]
fn the_same_key_twice_is_told_with_both_lines() {
    let said = refused(Set::Payers, "payer_id,name\nP1,One\nP2,Two\nP1,Three\n");

    assert_eq!(
        said,
        "line 4, column payer_id: is the same as on line 2: keep one of them"
    );
}

#[test]
fn columns_may_stand_in_any_order_behind_a_byte_order_mark_and_none_is_guessed_at() {
    let read = |text: &str| file(text).read(Set::Payers).is_ok();

    assert!(read("\u{feff}Name,PAYER_ID\r\nOne,P1\r\n\r\n"));
    assert_eq!(
        refused(Set::Payers, "payer_id,title\nP1,One\n"),
        "line 1: column 2 has no known name: the columns are payer_id, name, phone; \
         line 1, column name: is not among the columns that the first line names; line 2, column name: is empty"
    );
    assert_eq!(
        refused(Set::Payers, "payer_id,name,name\nP1,One,One\n"),
        "line 1, column name: is named twice"
    );
}

#[test]
fn a_list_without_rows_is_refused_before_it_ends_everything() {
    assert_eq!(refused(Set::Providers, "npi,name\n"), "line 1: the file has no row");
    assert_eq!(refused(Set::Payers, "payer_id,name\n\n"), "line 1: the file has no row");
}

#[test]
fn text_that_is_no_utf_8_and_cells_with_line_breaks_are_refused() {
    let latin = bytes(b"payer_id,name\nP1,Ren\xe9\n".to_vec());
    let said = latin.read(Set::Payers).map(|_| ()).unwrap_err();

    assert!(said.to_string().starts_with("line 2: is not UTF-8"), "{said}");
    assert!(refused(Set::Payers, "payer_id,name\nP1,\"One\ntwo\"\n").contains("line break"));
    assert!(refused(Set::Payers, &format!("payer_id,name\nP1,{}\n", "x".repeat(501))).contains("longer than 500"));
}

#[test]
fn only_so_many_broken_rows_are_told_and_the_rest_counted() {
    let rows = "1,Nobody\n".repeat(BROKEN_TOLD_MAX + 7);

    let said = refused(Set::Providers, &format!("npi,name\n{rows}"));

    // Each row but the first is broken twice: by its number, and for being there twice.
    assert!(
        said.ends_with(&format!("; and {} more", BROKEN_TOLD_MAX + 13)),
        "{said}"
    );
}

#[test]
fn a_check_digit_is_luhns_behind_the_prefix_of_health_applications() {
    assert!(rows::is_npi("1234567893") && rows::is_npi("1245319599"));
    for wrong in ["1234567890", "123456789", "12345678931", "3234567893", "12345678g3", ""] {
        assert!(!rows::is_npi(wrong), "{wrong}");
    }
}

fn codes(set: Set, text: &str) -> String {
    let Content::Codes(list) = file(text).read(set).unwrap().content else {
        panic!("no codes")
    };
    let packed = list.packed().unwrap();
    String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap()
}

pub(super) const ORDER: &str = "\
00001 J02     0 Acute pharyngitis                                            Acute pharyngitis
00002 J020    1 Streptococcal pharyngitis                                    Streptococcal pharyngitis
00003 S0990XA 1 Unspecified injury of head, initial encounter                Unspecified injury of head, initial encounter, at length
";

#[test]
fn the_order_file_and_the_file_of_codes_say_the_same_codes() {
    assert_eq!(
        codes(Set::IcdTenCm, ORDER),
        "J02.0\tu\tStreptococcal pharyngitis\n\
         S09.90XA\tu\tUnspecified injury of head, initial encounter, at length\nJ02\th\tAcute pharyngitis\n"
    );
    assert_eq!(
        codes(
            Set::IcdTenCm,
            "J020    Streptococcal pharyngitis\r\nR509    Fever, unspecified\r\n"
        ),
        "J02.0\tu\tStreptococcal pharyngitis\nR50.9\tu\tFever, unspecified\n"
    );
}

const TABULAR: &str = "<?xml version=\"1.0\"?>\n<ICD10CM.tabular><version>2026</version><chapter><name>1</name>\n\
    <desc>Chapter</desc><section id=\"S00-S09\"><desc>Head</desc><diag><name>S09</name><desc>Other injuries</desc>\n\
    <sevenChrDef><extension char=\"A\">initial encounter</extension><extension char=\"D\">later</extension></sevenChrDef>\n\
    <diag><name>S09.9</name><desc>Injury &amp; more</desc>\n<inclusionTerm><note>Not this</note></inclusionTerm></diag>\
    <diag><name>S09.8</name><desc>Other <b>x</b></desc></diag>\n</diag></section></chapter></ICD10CM.tabular>";

#[test]
fn the_tabular_list_is_written_out_with_its_seventh_characters() {
    let mut version = None;
    let mut findings = Findings::default();
    icd_ten::read(TABULAR.as_bytes(), &mut version, &mut findings);

    assert_eq!(version.as_deref(), Some("2026"));
    assert_eq!(
        codes(Set::IcdTenCm, TABULAR),
        "S09.8XXD\tu\tOther, later\nS09.8XXA\tu\tOther, initial encounter\nS09.9XXD\tu\tInjury & more, later\n\
         S09.9XXA\tu\tInjury & more, initial encounter\nS09.8\th\tOther\nS09\th\tOther injuries\nS09.9\th\tInjury & more\n"
    );
}

#[test]
fn a_packed_list_is_unpacked_and_a_damaged_one_refused() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(ORDER.as_bytes()).unwrap();
    let packed = gz.finish().unwrap();

    assert!(bytes(packed.clone()).read(Set::IcdTenCm).is_ok());
    let cut = bytes(packed[..packed.len() / 2].to_vec()).read(Set::IcdTenCm);
    assert!(cut.map(|_| ()).unwrap_err().to_string().contains("damaged or cut off"));
}

#[test]
fn lists_of_codes_that_are_not_what_they_should_be_are_refused() {
    for (text, reason) in [
        ("A00-A09\r\n", "line 1, column code: is no code of ICD-10-CM"),
        (
            "A00\r\nA000\r\n",
            "line 1, column text: is not there: this is the bare list",
        ),
        (
            "J020    One\nJ020    Two\n",
            "line 2, column code: is the same as on line 1",
        ),
        ("00001 J02     7 Acute pharyngitis\n", "column flag: is neither 0 nor 1"),
        ("<a><b></a>", "is no well-formed XML"),
        ("<ICD10CM.tabular><chapter>", "it was cut off"),
        ("<ICD10CM.tabular/>", "has no code"),
        ("", "has no code"),
    ] {
        let said = refused(Set::IcdTenCm, text);
        assert!(said.contains(reason), "{text:?}: {said}");
    }
    for (text, reason) in [
        ("{\"resourceType\":\"Patient\"}", "resourceType: is not CodeSystem"),
        (
            "{\"resourceType\":\"CodeSystem\",\"url\":\"http://x/colours\"}",
            "url: is not of a code system for cvx",
        ),
        (
            "{\"resourceType\":\"CodeSystem\",\"url\":\"http://x/cvx\",\"content\":\"fragment\"}",
            "is not complete",
        ),
        ("{\n\"resourceType\":", "line 2: is no FHIR CodeSystem"),
        ("03|MMR\n", "line 1: has fewer than five columns"),
        ("03|MMR|measles||Sometimes\n", "column status"),
        ("code,text\n03,\n", "line 2, column text: is empty"),
    ] {
        let said = refused(Set::Cvx, text);
        assert!(said.contains(reason), "{text:?}: {said}");
    }
}

#[test]
fn vaccines_come_as_a_code_system_or_as_cdcs_text() {
    let system = "{\"resourceType\":\"CodeSystem\",\"url\":\"http://hl7.org/fhir/sid/cvx\",\"content\":\"complete\",\
        \"version\":\"9\",\"concept\":[{\"code\":\"01\",\"display\":\"DTP\",\"property\":[{\"code\":\"status\",\
        \"valueCode\":\"deprecated\"}]},{\"code\":\"03\",\"display\":\"MMR\"}]}";

    assert_eq!(codes(Set::Cvx, system), "03\tu\tMMR\n01\tr\tDTP\n");
    assert_eq!(
        codes(Set::Cvx, "3 |MMR |measles vaccine ||Active |1\n01|DTP|||Inactive\n"),
        "03\tu\tmeasles vaccine\n01\tr\tDTP\n"
    );
}

/// The full official lists, which do not ship: `MAINSTAY_CORPUS_DIR` names a folder with `codes/` in it.
#[test]
fn the_full_official_lists_are_read_whole() {
    let Some(folder) = std::env::var_os("MAINSTAY_CORPUS_DIR") else {
        println!("MAINSTAY_CORPUS_DIR is not set: the official lists were not read");
        return;
    };
    let folder = Path::new(&folder).join("codes");
    let begun = std::time::Instant::now();
    let tabular = File::open(Set::IcdTenCm, &folder.join("icd10cm-tabular-2026-04.xml.gz")).unwrap();
    let read = tabular.read(Set::IcdTenCm).unwrap();
    let Content::Codes(list) = read.content else {
        panic!("no codes")
    };
    let packed = list.packed().unwrap();
    println!(
        "{} codes, {} bytes packed, in {:?}",
        list.len(),
        packed.len(),
        begun.elapsed()
    );

    let bare = std::fs::read_to_string(folder.join("icd10cm-code-list-2026-04.txt")).unwrap();
    let official = bare
        .lines()
        .map(str::trim)
        .filter(|line| (3..=7).contains(&line.len()) && !line.contains('-'));
    let missing: Vec<&str> = official.filter(|code| !list.has_bare(code)).collect();
    assert!(
        missing.is_empty(),
        "{} codes of the official list are missing: {:?}",
        missing.len(),
        &missing[..20.min(missing.len())]
    );

    for (set, name) in [
        (Set::Cvx, "CodeSystem-v2-0292.json"),
        (Set::PlaceOfService, "CodeSystem-service-place.json"),
    ] {
        File::open(set, &folder.join(name)).unwrap().read(set).unwrap();
    }
    let bare = File::open(Set::IcdTenCm, &folder.join("icd10cm-code-list-2026-04.txt")).unwrap();
    assert!(bare.read(Set::IcdTenCm).is_err());
}
