//! The kinds of sources.

use tidegate_postgres::stored_enum;

stored_enum! {
    /// The kind of input that a source is.
    pub enum SourceKind {
        /// A file of the landing folder.
        File = "file",
        /// A file that was sent over HTTP.
        Upload = "upload",
        /// Rows that were sent over HTTP.
        Request = "request",
        /// Rows of a backup, or of another tool's Avro file.
        Restore = "restore",
    }
}
