//! Cancelling an attempt from outside: its lease was lost, it was cleared, or the server drains.

use tokio::sync::watch;

/// Makes a pair: the handle cancels, the other half is given to [`run`](crate::run).
pub fn cancellation() -> (CancelHandle, Cancel) {
    let (sender, receiver) = watch::channel(None);
    (CancelHandle(sender), Cancel(Some(receiver)))
}

/// Cancels attempts. Dropping it cancels nothing.
#[derive(Clone, Debug)]
pub struct CancelHandle(watch::Sender<Option<String>>);

impl CancelHandle {
    /// Ends every attempt that was given the other half; `why` goes into their reports. The first reason stays.
    pub fn cancel(&self, why: impl Into<String>) {
        let why = why.into();
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(why);
            }
            first
        });
    }
}

/// Tells an attempt that it was cancelled. Clones tell several attempts at once.
#[derive(Clone, Debug)]
pub struct Cancel(Option<watch::Receiver<Option<String>>>);

impl Cancel {
    /// One that is never cancelled.
    pub fn never() -> Self {
        Self(None)
    }

    /// Waits for the cancellation and returns its reason; for ever if there will be none.
    pub async fn cancelled(&mut self) -> String {
        if let Some(receiver) = &mut self.0
            && let Ok(reason) = receiver.wait_for(Option::is_some).await
        {
            return reason.clone().unwrap_or_default();
        }
        std::future::pending().await
    }
}
