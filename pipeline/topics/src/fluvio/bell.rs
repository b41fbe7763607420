//! What wakes a reader at the end of a partition.
//!
//! A stream of one byte at most is opened at the reader's offset. As soon as there are records, the SPU sends
//! that byte, and then nothing until it is told an offset anew. So one request a wait is all it costs, and
//! the records themselves come by the reads alone.

use std::sync::Arc;
use std::time::Duration;

use fluvio::Isolation;
use fluvio::dataplane::link::ErrorCode;
use fluvio_socket::AsyncResponse;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::link::{Failure, Link};
use crate::Offset;

/// How long the SPU may take to open a stream.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// Rings once when a partition's end is beyond the offset at which it was armed.
pub(super) struct Bell {
    link: Arc<Link>,
    stream: AsyncResponse<DefaultStreamFetchRequest>,
    /// The stream's number, which the first ring tells.
    id: Option<u32>,
    armed: bool,
}

impl Bell {
    /// A bell that is armed at the offset.
    pub(super) async fn hang(
        link: Arc<Link>,
        topic: &str,
        partition: u32,
        at: Offset,
    ) -> Result<Self, Failure> {
        let request = DefaultStreamFetchRequest::builder()
            .topic(topic)
            .partition(partition)
            .fetch_offset(at as i64)
            .max_bytes(1)
            .isolation(Isolation::ReadCommitted)
            .build()
            .map_err(|error| Failure(error.to_string()))?;
        let version = link.socket.lookup_version::<DefaultStreamFetchRequest>();
        let message = link.socket.new_request(request, version);
        let opening = timeout(OPEN_LIMIT, link.socket.create_stream(message, 10)).await;
        let stream = opening
            .map_err(|_| Failure("no stream could be opened in time".to_owned()))?
            .map_err(|error| Failure(error.to_string()))?;
        Ok(Self { link, stream, id: None, armed: true })
    }

    /// Arms it at the offset, if it has rung.
    pub(super) async fn arm(&mut self, at: Offset) -> Result<(), Failure> {
        let Some(session_id) = self.id.filter(|_| !self.armed) else { return Ok(()) };
        let offsets = vec![OffsetUpdate { offset: at as i64, session_id }];
        let response = self.link.call(UpdateOffsetsRequest { offsets }, OPEN_LIMIT).await?;
        match response.status.into_iter().find(|status| status.error != ErrorCode::None) {
            Some(status) => Err(Failure(status.error.to_string())),
            None => {
                self.armed = true;
                Ok(())
            }
        }
    }

    /// Waits until it rings. It may be dropped at any time.
    pub(super) async fn ring(&mut self) -> Result<(), Failure> {
        match self.stream.next().await {
            Some(Ok(response)) => {
                self.armed = false;
                self.id = Some(response.stream_id);
                match response.partition.error_code {
                    ErrorCode::None => Ok(()),
                    code => Err(Failure(code.to_string())),
                }
            }
            Some(Err(error)) => Err(Failure(error.to_string())),
            None => Err(Failure("the stream has ended".to_owned())),
        }
    }
}
