//! The cluster router.

use std::sync::Arc;

use cache_core::CacheError;
use cache_core::config::{Address, Startup, ValkeyConfig};

use crate::admin::TopologyView;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Dialer;
use crate::reply::Reply;

/// The cluster router.
#[derive(Debug)]
pub(crate) struct Cluster;

fn missing() -> CacheError {
    CacheError::Unsupported {
        detail: "the cluster router is not part of this build".into(),
    }
}

impl Cluster {
    pub(crate) async fn connect(
        _: &ValkeyConfig,
        _: Vec<Address>,
        _: Arc<Dialer>,
        _: Startup,
    ) -> Result<Arc<Self>, CacheError> {
        Err(missing())
    }
    pub(crate) async fn send(&self, _: &Command<'_>, _: Deadline) -> Result<Reply, CacheError> {
        Err(missing())
    }
    pub(crate) async fn send_batch(&self, _: &[Command<'_>], _: Deadline) -> Result<Vec<Reply>, CacheError> {
        Err(missing())
    }
    pub(crate) async fn ping(&self, _: Deadline) -> Result<(), CacheError> {
        Err(missing())
    }
    pub(crate) fn close(&self) {}
    pub(crate) async fn refresh(&self, _: Deadline) -> Result<(), CacheError> {
        Err(missing())
    }
    pub(crate) fn view(&self) -> TopologyView {
        TopologyView {
            cluster: true,
            epoch: None,
            nodes: Vec::new(),
            uncovered: Vec::new(),
        }
    }
}
