//! A path that streams lines: one at once that says how it is, and one each time that it is otherwise. Who reads slowly
//! gets the newest line and misses those between. It knows nothing of what the lines say.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What a path streams. Clones share the places of its followers.
#[derive(Debug, Clone)]
pub struct Lines {
    pub(super) path: &'static str,
    followers_max: usize,
    now: watch::Receiver<Bytes>,
    places: Arc<Semaphore>,
}

impl Lines {
    /// `now` holds the line to tell, with its line feed; an empty one is not known yet, and is waited for.
    #[must_use]
    pub fn new(path: &'static str, followers_max: usize, now: watch::Receiver<Bytes>) -> Self {
        Self { path, followers_max, now, places: Arc::new(Semaphore::new(followers_max)) }
    }

    pub(super) fn answer(&self) -> Response {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let why =
                format!("{} follow {} already, and no more may: end one\n", self.followers_max, self.path);
            return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        };
        let mut now = self.now.clone();
        // The line that is there is news to who comes.
        now.mark_changed();
        let body = Body::from_stream(futures::stream::unfold((now, place), next));
        ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
    }
}

/// The follower's place is free again when this ends or is dropped.
type Follower = (watch::Receiver<Bytes>, OwnedSemaphorePermit);

async fn next((mut now, place): Follower) -> Option<(Result<Bytes, Infallible>, Follower)> {
    loop {
        now.changed().await.ok()?;
        let line = now.borrow_and_update().clone();
        if !line.is_empty() {
            return Some((Ok(line), (now, place)));
        }
    }
}
