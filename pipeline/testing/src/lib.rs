//! What the tests of several crates share. Only `dev-dependencies` name this crate.
//!
//! # Layout
//!
//! * [`conformance`]: what the contracts of sinks and topics promise, as tests that every implementation passes.
//! * [`company`]: the pipeline of `examples/company`, with its files and views.
//! * `postgres`, with the feature of that name: an empty database for each test.
//! * `tls`, with the feature of that name: certificates, and what a server needs to answer TLS.
//! * `store`, with the feature of that name: a pipeline's store in such a database.
//!
//! # A test for each row of a table
//!
//! [`rows!`] makes a test of each row of a table, so that a row that fails has a name of its own.

pub mod conformance;
pub mod company;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "store")]
pub mod store;

/// Makes an asynchronous test of each row: `name: arguments` calls the function with the arguments.
///
/// ```ignore
/// tidegate_testing::rows! { asserts_that_a_file_is_refused:
///     a_zip_archive: ("named.csv", b"PK\x03\x04"),
///     an_empty_file: ("plain.csv", b""),
/// }
/// ```
#[macro_export]
macro_rules! rows {
    ($check:path: $($name:ident: ($($argument:expr),* $(,)?)),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                $check($($argument),*).await;
            }
        )+
    };
}
