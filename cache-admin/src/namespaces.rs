//! Generations of namespaces: one step puts all old keys out of reach, and a purge gives back their memory.

use std::sync::Arc;

use cache_core::{CacheError, Keyspace, Pattern};
use cache_layers::{Generation, Generations, GenerationsConfig};
use cache_stack::Stack;
use serde::{Deserialize, Serialize};

use crate::{Counts, Engine, Options, Outcome, digits};

/// The namespaces of one cache.
#[derive(Clone, Debug)]
pub struct Namespaces {
    generations: Generations,
    /// The same below the guard.
    below: Generations,
    engine: Option<Engine>,
    prefix: String,
}

/// A namespace as it is typed: a service, and perhaps a tenant of it.
///
/// `billing` is [`Keyspace::new`], `billing/{acme}` is its [`tenant`](Keyspace::tenant) in one slot,
/// `billing/@acme` its [tenant over all slots](Keyspace::tenant_spread).
///
/// ```
/// use cache_admin::namespace;
///
/// assert_eq!(namespace("billing/{acme}")?.prefix(), "billing:v1:{acme}:");
/// assert_eq!(namespace("billing/@acme")?.prefix(), "billing:v1:@acme:");
/// # Ok::<(), cache_core::CacheError>(())
/// ```
///
/// # Errors
///
/// [`CacheError::InvalidInput`] for what is none of these.
pub fn namespace(text: &str) -> Result<Keyspace, CacheError> {
    let Some((service, tenant)) = text.split_once('/') else {
        return Keyspace::new(text);
    };
    let service = Keyspace::new(service)?;
    if let Some(tenant) = tenant.strip_prefix('@') {
        return service.tenant_spread(tenant);
    }
    let tagged = tenant
        .strip_prefix('{')
        .and_then(|tenant| tenant.strip_suffix('}'));
    match tagged {
        Some(tenant) => service.tenant(tenant),
        None => Err(CacheError::InvalidInput {
            argument: "namespace",
            reason: "must be SERVICE, SERVICE/{TENANT} for a tenant in one slot, or SERVICE/@TENANT for one \
                     that is spread over all"
                .into(),
        }),
    }
}

/// A namespace in its generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NamespaceState {
    /// What all of its keys begin with, whatever their generation.
    pub prefix: String,
    /// The number of its generation, as text in JSON: it is larger than what every reader of JSON takes as a number.
    /// Null where it has none so far.
    #[serde(with = "digits::maybe")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>, pattern = "^[0-9]{1,20}$"))]
    pub generation: Option<u64>,
    /// The pattern of the keys that can be reached now; null where it has no generation.
    pub pattern: Option<String>,
}

/// What a step to a new generation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Bumped {
    /// What all of the namespace's keys begin with, whatever their generation.
    pub prefix: String,
    /// The number of the new generation, as text in JSON.
    #[serde(with = "digits")]
    #[cfg_attr(feature = "http", schema(value_type = String, pattern = "^[0-9]{1,20}$"))]
    pub generation: u64,
    /// The number of the one before, whose keys nobody finds any more; as text in JSON.
    #[serde(with = "digits")]
    #[cfg_attr(feature = "http", schema(value_type = String, pattern = "^[0-9]{1,20}$"))]
    pub previous: u64,
    /// The pattern by which a purge gives back the memory of the old keys. They go with their lives, too.
    pub reclaim: String,
}

/// How much a purge would give back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Reclaimable {
    /// How many keys match.
    pub keys: u64,
    /// Whether every primary was asked.
    pub complete: bool,
}

impl Namespaces {
    /// The namespaces of the cache behind `stack`.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        Self {
            generations: Generations::new(stack.client.clone(), GenerationsConfig::default()),
            below: Generations::new(Arc::clone(stack.strict()), GenerationsConfig::default()),
            engine: Engine::of(&stack.foundation).ok(),
            prefix: stack.key_prefix().to_owned(),
        }
    }

    /// The generation of `namespace`, asked anew; none is begun.
    ///
    /// # Errors
    ///
    /// As a read; [`CacheError::Corrupt`] where something else stands at the counter's place.
    pub async fn show(&self, namespace: &Keyspace) -> Result<NamespaceState, CacheError> {
        // A guard that passes over errors would say that there is none.
        let generation = self.below.existing(namespace).await?;
        Ok(NamespaceState {
            prefix: namespace.prefix(),
            generation: generation.as_ref().map(Generation::number),
            pattern: generation.map(|generation| generation.keys().pattern_all().to_string()),
        })
    }

    /// Steps `namespace` to a new generation: all of its old keys are out of reach, at once and however many
    /// there are. Processes notice within the near life of their [`Generations`], by default 1 second.
    ///
    /// # Errors
    ///
    /// As an increment. After an error whose outcome is unknown the step may have been made; to make another does
    /// no harm.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the step may or may not have been made.
    pub async fn bump(&self, namespace: &Keyspace) -> Result<Bumped, CacheError> {
        let new = self.generations.bump(namespace).await?;
        Ok(Bumped {
            prefix: namespace.prefix(),
            generation: new.number(),
            previous: new.number().saturating_sub(1),
            reclaim: new.previous().pattern_all().to_string(),
        })
    }

    /// How many keys match the pattern `reclaim` of a [`Bumped`]: counted over all primaries, which takes a while
    /// where there are many keys, or looked up in one slot for a tenant's.
    ///
    /// # Errors
    ///
    /// Where nobody could be asked.
    pub async fn reclaimable(&self, reclaim: &str, options: &Options) -> Result<Reclaimable, CacheError> {
        let engine = self.engine.as_ref().ok_or_else(|| CacheError::Unsupported {
            detail: "this backend's keys cannot be counted".into(),
        })?;
        let pattern = Pattern::new(reclaim)?.within(&self.prefix)?;
        let report = engine.count(&pattern, 0, options).await.report;
        if let Outcome::Failed { error } = &report.outcome {
            return Err(error.clone());
        }
        let Counts { matched, .. } = report.total();
        Ok(Reclaimable {
            keys: matched,
            complete: matches!(report.outcome, Outcome::Complete),
        })
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{CacheConfig, Ttl};

    use super::*;

    #[tokio::test]
    async fn a_bump_says_which_keys_a_purge_gives_back() {
        let config = CacheConfig::builder().key_prefix("shop:").build().unwrap();
        let stack = cache_stack::assemble(&config).await.unwrap();
        let namespaces = Namespaces::new(&stack);
        let acme = namespace("billing/{acme}").unwrap();
        // To look begins nothing.
        assert_eq!(namespaces.show(&acme).await.unwrap().generation, None);
        assert_eq!(
            stack
                .client
                .exists(&["billing:v1:{acme}:#generation"])
                .await
                .unwrap(),
            0
        );

        let first = namespaces.bump(&acme).await.unwrap();
        for number in 0..3 {
            let key = acme.generation(first.generation).key([number.to_string()]);
            stack.client.set(&key, "x".into(), Ttl::Forever).await.unwrap();
        }
        let second = namespaces.bump(&acme).await.unwrap();
        assert_eq!(second.previous, first.generation);
        let options = Options::default();
        let found = namespaces.reclaimable(&second.reclaim, &options);
        assert_eq!(
            found.await.unwrap(),
            Reclaimable {
                keys: 3,
                complete: true
            }
        );
        let state = namespaces.show(&acme).await.unwrap();
        assert_eq!(state.generation, Some(second.generation));
        assert_eq!(
            state.pattern.unwrap(),
            format!("billing:v1:{{acme}}:+{}:*", second.generation)
        );
    }

    #[test]
    fn the_number_of_a_generation_is_text_in_json() {
        // Beyond 2^53, where a number would lose its last digits in many readers.
        let bumped = Bumped {
            prefix: "billing:v1:".into(),
            generation: 1_882_492_328_148_861_415,
            previous: 1_882_492_328_148_861_414,
            reclaim: "billing:v1:+1882492328148861414:*".into(),
        };
        let json = serde_json::to_value(&bumped).unwrap();
        assert_eq!(json["generation"], "1882492328148861415");
        assert_eq!(json["previous"], "1882492328148861414");
        assert_eq!(serde_json::from_value::<Bumped>(json).unwrap(), bumped);
        for generation in [Some(u64::MAX), None] {
            let state = NamespaceState {
                prefix: "billing:v1:".into(),
                generation,
                pattern: None,
            };
            let json = serde_json::to_value(&state).unwrap();
            assert_eq!(
                json["generation"].as_str(),
                generation.map(|_| "18446744073709551615")
            );
            assert_eq!(serde_json::from_value::<NamespaceState>(json).unwrap(), state);
        }
    }

    #[test]
    fn a_namespace_is_a_service_and_perhaps_a_tenant() {
        assert_eq!(namespace("billing").unwrap().prefix(), "billing:v1:");
        for wrong in [
            "",
            "billing/acme",
            "billing/",
            "billing/{}",
            "billing/@",
            "/@acme",
        ] {
            assert!(namespace(wrong).is_err(), "{wrong}");
        }
    }
}
