//! What the page fetches, embedded in the program: nothing comes from outside.
//!
//! Serve each under `/assets/{name}` with its content type, `cache-control: public, max-age=31536000, immutable`. The addresses in the
//! pages carry a digest of the three files, so a new version of the program is fetched anew.

use std::sync::LazyLock;

pub struct Asset {
    pub name: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

pub const ASSETS: [Asset; 3] = [
    Asset {
        name: "mainstay.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../../assets/mainstay.css"),
    },
    Asset {
        name: "mainstay.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../../assets/mainstay.js"),
    },
    Asset {
        name: "icons.svg",
        content_type: "image/svg+xml",
        bytes: include_bytes!("../../../assets/icons.svg"),
    },
];

pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

static STYLE_URL: LazyLock<String> = LazyLock::new(|| versioned("mainstay.css"));
static SCRIPT_URL: LazyLock<String> = LazyLock::new(|| versioned("mainstay.js"));
static ICONS_URL: LazyLock<String> = LazyLock::new(|| versioned("icons.svg"));

pub(super) fn style_url() -> &'static str {
    &STYLE_URL
}

pub(super) fn script_url() -> &'static str {
    &SCRIPT_URL
}

pub(super) fn icons_url() -> &'static str {
    &ICONS_URL
}

fn versioned(name: &str) -> String {
    format!(
        "/assets/{name}?v={:016x}",
        digest(ASSETS.iter().flat_map(|asset| asset.bytes))
    )
}

/// FNV-1a. It tells versions apart; it protects nothing.
fn digest<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
