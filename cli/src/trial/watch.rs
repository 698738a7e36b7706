//! Ctrl-C, for everything that waits.

use crate::failure::Failure;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether the person has had enough.
#[derive(Debug, Clone)]
pub(crate) struct Interrupted {
    receiver: watch::Receiver<bool>,
    /// Keeps the channel open.
    _sender: Arc<watch::Sender<bool>>,
}

impl Interrupted {
    /// Listens from now on: Ctrl-C no longer ends the process by itself.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::fault("signals cannot be listened to").cause(e.to_string());
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (sender, receiver) = watch::channel(false);
        let sender = Arc::new(sender);
        let told = sender.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let _ = told.send(true);
        });
        Ok(Self { receiver, _sender: sender })
    }

    /// Whether it has happened.
    pub(crate) fn is_set(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Waits until it happens.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.receiver.clone();
        // The sender lives as long as this.
        let _ = receiver.wait_for(|set| *set).await;
    }
}
