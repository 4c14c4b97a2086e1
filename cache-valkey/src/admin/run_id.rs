//! The run id of a server, which changes with every restart.

use cache_core::CacheError;

use super::Primary;
use crate::command::Command;
use crate::error::accept;
use crate::reply::Reply;

impl Primary {
    /// The id that the server chose when it started (`run_id` of `INFO`). A new id means that it was restarted.
    /// `None` if the user may not ask, or the server does not report it.
    ///
    /// # Errors
    ///
    /// As any call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn run_id(&self) -> Result<Option<String>, CacheError> {
        let info = Command::read("INFO").arg("SERVER");
        let mut replies = self.ask(&[&info]).await?.into_iter();
        let reply = match accept(replies.next().unwrap_or(Reply::Nil), "INFO") {
            Err(CacheError::Denied { .. }) => return Ok(None),
            reply => reply?,
        };
        Ok(reply.as_text().and_then(run_id_of))
    }
}

fn run_id_of(info: &str) -> Option<String> {
    let id = info.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_id_is_read_from_its_info_line() {
        let info = "# Server\r\nserver_name:valkey\r\nrun_id:0123abcd\r\ntcp_port:6379\r\n";
        assert_eq!(run_id_of(info).as_deref(), Some("0123abcd"));
        assert_eq!(run_id_of("# Server\r\n"), None);
    }
}
