//! A source that is generated, as a C library: the test `plugin` calls it as Arroyo does.

// What the plugin's macro makes of the function has no documentation, and a name that is not mangled.
#![allow(missing_docs, unsafe_code)]

include!("../tests/generated/accept.rs");
