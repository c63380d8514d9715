//! The page through its own door, on a real store.
