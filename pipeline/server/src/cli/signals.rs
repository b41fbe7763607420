//! Signals that stop a command.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Failure;

/// Does as [`stop`], with the message of a run.
pub(crate) fn stop_run() -> Result<CancellationToken, Failure> {
    stop("stopping: the batch in hand is finished first; once more ends at once")
}

/// Returns a token that the first SIGTERM or Ctrl-C cancels. That signal also prints `saying`. A second signal ends the
/// process at once.
pub(crate) fn stop(saying: &'static str) -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Under a file-size limit, SIGXFSZ must not end the process: the write fails instead, and is retried.
    let mut file_size = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
    let token = stop.clone();
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = file_size.recv() => continue,
            }
            signals += 1;
            if signals > 1 {
                std::process::exit(130);
            }
            info!("{saying}");
            token.cancel();
        }
    });
    Ok(stop)
}
