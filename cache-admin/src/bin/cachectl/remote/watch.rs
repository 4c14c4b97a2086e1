//! `cachectl top`: looks that a service makes, each from where the one before ended.

use cache_admin::Beat;
use serde::Deserialize;

use super::Client;
use super::client::encoded;
use crate::failure::Failure;

/// Looks through a service, which keeps nothing between them.
pub(crate) struct Watch<'a> {
    client: &'a Client,
    /// What the last look left behind.
    reading: Option<String>,
}

#[derive(Deserialize)]
struct Looked {
    #[serde(flatten)]
    beat: Beat,
    reading: String,
}

impl<'a> Watch<'a> {
    pub(super) const fn new(client: &'a Client) -> Self {
        Self {
            client,
            reading: None,
        }
    }

    pub(crate) async fn beat(&mut self) -> Result<Beat, Failure> {
        let looked = match self.look().await {
            // The service was started anew, or nobody looked for an hour: this is a first look.
            Err(failure) if self.reading.is_some() && failure.is_of_service("invalid-cursor") => {
                self.reading = None;
                self.look().await?
            }
            looked => looked?,
        };
        self.reading = Some(looked.reading);
        Ok(looked.beat)
    }

    async fn look(&self) -> Result<Looked, Failure> {
        let path = match &self.reading {
            Some(reading) => format!("/cache/pulse?since={}", encoded(reading.as_bytes())),
            None => "/cache/pulse".to_owned(),
        };
        self.client.get(&path).await
    }
}
