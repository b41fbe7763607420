//! What is asked of a running pipeline, such as restores and reloads.

use tidegate_postgres::stored_enum;

stored_enum! {
    /// The state of what a pipeline was asked for.
    pub enum TaskState {
        /// It waits for the pipeline.
        Asked = "asked",
        /// It has become sources.
        Entered = "entered",
        /// It was refused.
        Failed = "failed",
    }
}
