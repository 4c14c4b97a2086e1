//! A `cachectl` without the feature `aws` says so.

use cache_core::CacheError;

use super::Users;
use crate::commands::Ended;
use crate::output::Output;

#[expect(clippy::unused_async, reason = "as with the feature")]
pub(super) async fn run(_: Users, _: &mut Output) -> Ended {
    Err(CacheError::Unsupported {
        detail: "this cachectl was built without the feature aws, which --elasticache needs: build it with \
                 `cargo build -p cache-admin --features aws`"
            .into(),
    }
    .into())
}
