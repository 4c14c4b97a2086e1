//! What a server's main thread does with its time.

use anyhow::{Context as _, Result};
use cache_core::clock::{self, Instant};
use tests::Server;

/// A server's main thread from one moment on.
pub(crate) struct Usage<'a> {
    server: &'a Server,
    began: Instant,
    worked: f64,
    waited: f64,
}

/// What it did with its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Of all the time, that in which it worked.
    pub(crate) busy: f64,
    /// And that in which it had work and the machine gave it no core.
    pub(crate) starved: f64,
}

impl<'a> Usage<'a> {
    pub(crate) async fn start(server: &'a Server) -> Result<Self> {
        Ok(Self {
            worked: worked(server).await?,
            waited: waited(server),
            began: clock::now(),
            server,
        })
    }

    pub(crate) async fn stop(self) -> Result<Share> {
        let time = self.began.elapsed().as_secs_f64();
        let waited = waited(self.server) - self.waited;
        Ok(Share {
            busy: (worked(self.server).await? - self.worked) / time,
            starved: waited / time,
        })
    }
}

/// Seconds that the main thread has worked.
async fn worked(server: &Server) -> Result<f64> {
    let mut seconds = 0.0;
    for field in ["used_cpu_user_main_thread", "used_cpu_sys_main_thread"] {
        seconds += server.info(field).await?.parse::<f64>().context(field)?;
    }
    Ok(seconds)
}

/// Seconds that the main thread stood in line for a core; 0 where the system does not tell.
fn waited(server: &Server) -> f64 {
    let id = server.process_id();
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/schedstat")).unwrap_or_default();
    let nanos: Option<f64> = text
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|text| text.parse().ok());
    nanos.unwrap_or(0.0) / 1e9
}
