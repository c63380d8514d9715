//! The site's local page.

pub mod views;
