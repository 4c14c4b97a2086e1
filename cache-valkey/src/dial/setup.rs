//! Prepares a new connection for its mode: tracking, database, reads from a replica.

use cache_core::credentials::Credentials;
use cache_core::{CacheError, ConfigError};

use super::{Dialed, Dialer, Mode, ServerHello};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::accept;
use crate::reply::Reply;
use crate::tracking::{Tracking, TrackingResponse};
use crate::wire::{Connection, Negotiated};

impl Dialer {
    /// Prepares a connection for its mode: tracking, database, reads from a replica.
    pub(super) async fn prepare(
        &self,
        connection: Connection,
        negotiated: Negotiated,
        mode: Mode,
        credentials: Option<&Credentials>,
        deadline: Deadline,
    ) -> Result<Dialed, CacheError> {
        let db = i64::from(self.db);
        let hello = Command::read("HELLO").int(3);
        let select = Command::read("SELECT").int(db);
        let readonly = Command::read("READONLY");
        let (server_hello, has_pushes) = match &negotiated {
            Negotiated::Resp3(reply) => (ServerHello::read(reply), true),
            Negotiated::Resp2 => (ServerHello::default(), false),
        };
        let requests = match mode {
            Mode::Primary if has_pushes => self.feed.tracking().requests(),
            _ => Vec::new(),
        };
        // The tracking commands come first, because the last one affects the command after it.
        let mut setup: Vec<_> = requests.iter().collect();
        if !requests.is_empty() {
            setup.push(&hello);
        }
        let setup_from = setup.len();
        if db != 0 {
            setup.push(&select);
        }
        if mode == Mode::Replica {
            setup.push(&readonly);
        }
        let mut replies = connection.send_batch(&setup, deadline).await?.into_iter();
        let tracking_replies = replies.by_ref().take(setup_from).take(requests.len()).collect();
        let tracking = match (mode, has_pushes) {
            (Mode::Primary, false) if *self.feed.tracking() != Tracking::Off => {
                TrackingResponse::Refused(NO_PUSHES.to_owned())
            }
            _ => tracking_response(tracking_replies)?,
        };
        let replies = replies.skip(setup_from - requests.len());
        for (command, reply) in setup[setup_from..].iter().zip(replies) {
            self.check_setup_reply(command, reply)?;
        }
        Ok(Dialed {
            connection,
            server_hello,
            has_pushes,
            valid_for: credentials.and_then(|known| known.valid_for),
            tracking,
        })
    }

    fn check_setup_reply(&self, command: &Command<'_>, reply: Reply) -> Result<(), CacheError> {
        match (command.name(), reply) {
            ("SELECT", Reply::Error(error)) if error.code == "ERR" => {
                let why = if error.detail.contains("not allowed in cluster mode") {
                    "the servers of this cluster have one database only; leave it out, or use Valkey from 9.0 with \
                     cluster-databases"
                        .to_owned()
                } else {
                    let detail = &error.detail;
                    format!(
                        "the server has no database {}: {detail}; check its settings databases and cluster-databases",
                        self.db
                    )
                };
                Err(CacheError::Config(ConfigError::one("CACHE_DB", why)))
            }
            // Outside of a cluster READONLY is unknown, and replicas serve reads without it.
            ("READONLY", Reply::Error(error)) if error.code == "ERR" => Ok(()),
            (name, reply) => accept(reply, name).map(drop),
        }
    }
}

/// Why a server that speaks RESP2 reports no changes of keys.
const NO_PUSHES: &str = "the server, or a proxy before it, does not know HELLO: it speaks RESP2, which has no invalidation \
                         messages";

/// Reads the replies to the tracking request. A server that is not ready may track later, so that fails the
/// connection instead of counting as a refusal.
fn tracking_response(replies: Vec<Reply>) -> Result<TrackingResponse, CacheError> {
    let mut response = TrackingResponse::NotRequested;
    for reply in replies {
        match accept(reply, "CLIENT TRACKING") {
            Ok(_) => response = TrackingResponse::Accepted,
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => return Ok(TrackingResponse::Refused(error.to_string())),
        }
    }
    Ok(response)
}
