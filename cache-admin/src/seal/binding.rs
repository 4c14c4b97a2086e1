//! What a sealed token is bound to, as one hash.

use aws_lc_rs::digest::{Context, SHA256};

use crate::CacheIdentity;

/// What a sealed token is bound to: fields in their order. Where one of them differs the token is one for
/// something else.
#[derive(Clone)]
pub struct Binding(Context);

impl Binding {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds a field; no two lists of fields give the same binding.
    #[must_use]
    pub fn with(mut self, field: &[u8]) -> Self {
        let length = u64::try_from(field.len()).unwrap_or(u64::MAX);
        self.0.update(&length.to_be_bytes());
        self.0.update(field);
        self
    }

    /// Adds a list as one field.
    #[must_use]
    pub fn with_list<F: AsRef<[u8]>>(self, fields: impl IntoIterator<Item = F>) -> Self {
        let list = fields
            .into_iter()
            .fold(Self::new(), |list, field| list.with(field.as_ref()));
        self.with(&list.digest())
    }

    /// Adds what never changes of a cache.
    pub(super) fn with_cache(self, cache: &CacheIdentity) -> Self {
        self.with_list(cache.fixed())
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.clone().finish().as_ref());
        hash
    }
}

impl Default for Binding {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_fields_are_told_apart_however_they_are_cut() {
        let of = |fields: &[&[u8]]| {
            fields
                .iter()
                .fold(Binding::new(), |binding, field| binding.with(field))
                .digest()
        };
        let lists: [&[&[u8]]; 6] = [&[], &[b""], &[b"", b""], &[b"ab"], &[b"a", b"b"], &[b"b", b"a"]];
        for (one, list) in lists.iter().enumerate() {
            for (two, other) in lists.iter().enumerate() {
                assert_eq!(of(list) == of(other), one == two);
            }
        }
        let nested = Binding::new().with_list([b"a", b"b"]).with(b"c").digest();
        let other = Binding::new().with_list([b"a"]).with(b"b").with(b"c").digest();
        assert_ne!(nested, other);
    }
}
