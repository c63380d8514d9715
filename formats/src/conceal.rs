//! `Debug` that names a type and keeps quiet about what is in it.

/// Implements `Debug` for types that carry content, printing the type's name alone.
macro_rules! conceal_debug {
    ($($name:ty),+ $(,)?) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}
