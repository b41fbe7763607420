//! The notification that wakes a reader at the end of a partition.
//!
//! The reader opens a stream of at most one byte at its offset. As soon as there are records, the SPU sends that
//! byte, and then nothing more until the stream is given a new offset. A wait therefore costs one request. The
//! records themselves are read by [`Topics::read`](crate::Topics::read) alone.

use std::sync::Arc;
use std::time::Duration;

use fluvio::Isolation;
use fluvio::dataplane::link::ErrorCode;
use fluvio_socket::AsyncResponse;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::link::{Link, LinkFailure};
use crate::Offset;

/// How long the SPU may take to open a stream.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// Notifies once when a partition's end is larger than the offset at which it was armed.
pub(super) struct AppendNotifier {
    link: Arc<Link>,
    stream: AsyncResponse<DefaultStreamFetchRequest>,
    /// The stream's number, which the first notification carries.
    id: Option<u32>,
    armed: bool,
}

impl AppendNotifier {
    /// Opens a notifier that is armed at the offset.
    pub(super) async fn hang(
        link: Arc<Link>,
        topic: &str,
        partition: u32,
        at: Offset,
    ) -> Result<Self, LinkFailure> {
        let request = DefaultStreamFetchRequest::builder()
            .topic(topic)
            .partition(partition)
            .fetch_offset(at as i64)
            .max_bytes(1)
            .isolation(Isolation::ReadCommitted)
            .build()?;
        let version = link.socket.lookup_version::<DefaultStreamFetchRequest>();
        let message = link.socket.new_request(request, version);
        let opening = timeout(OPEN_LIMIT, link.socket.create_stream(message, 10)).await;
        let stream = opening.map_err(|_| LinkFailure("no stream could be opened in time".to_owned()))??;
        Ok(Self { link, stream, id: None, armed: true })
    }

    /// Arms the notifier at the offset again, if it has notified.
    pub(super) async fn arm(&mut self, at: Offset) -> Result<(), LinkFailure> {
        let Some(session_id) = self.id.filter(|_| !self.armed) else { return Ok(()) };
        let offsets = vec![OffsetUpdate { offset: at as i64, session_id }];
        let response = self.link.call(UpdateOffsetsRequest { offsets }, OPEN_LIMIT).await?;
        if let Some(status) = response.status.into_iter().find(|status| status.error != ErrorCode::None) {
            return Err(status.error.into());
        }
        self.armed = true;
        Ok(())
    }

    /// Waits for the notification. The future may be dropped at any time.
    pub(super) async fn ring(&mut self) -> Result<(), LinkFailure> {
        let response = self.stream.next().await;
        let response = response.ok_or_else(|| LinkFailure("the stream has ended".to_owned()))??;
        self.armed = false;
        self.id = Some(response.stream_id);
        match response.partition.error_code {
            ErrorCode::None => Ok(()),
            code => Err(code.into()),
        }
    }
}
