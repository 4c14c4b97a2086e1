//! Combines the results of a call with one result per key: those that a layer has itself, and those of the client
//! inside.

use cache_core::CacheError;

/// A result for each position, or `None` if the client inside provides it.
pub(crate) type Known<T> = Vec<Option<Result<T, CacheError>>>;

/// Prepares each of `items` for the client inside. An item that fails has its result already.
pub(crate) fn prepare<I, P, T>(
    items: impl ExactSizeIterator<Item = I>,
    mut prepare: impl FnMut(I) -> Result<P, CacheError>,
) -> (Vec<P>, Known<T>) {
    let (mut prepared, mut known) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for item in items {
        match prepare(item) {
            Ok(item) => {
                prepared.push(item);
                known.push(None);
            }
            Err(error) => known.push(Some(Err(error))),
        }
    }
    (prepared, known)
}

/// Fills the unknown positions, in order, with the answers of the client inside.
pub(crate) fn fill<T>(known: Known<T>, answers: Vec<Result<T, CacheError>>) -> Vec<Result<T, CacheError>> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Err(missing()));
    known
        .into_iter()
        .map(|result| result.unwrap_or_else(&mut next))
        .collect()
}

/// The error for a client that broke the contract. No key may get the answer of another one because of that.
pub(crate) fn missing() -> CacheError {
    CacheError::Corrupt {
        detail: "the client inside gave fewer results than it was asked for".into(),
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_take_the_places_that_are_not_known() {
        let refuse_b = |key: &'static str| {
            if key == "b" {
                Err(CacheError::Closed)
            } else {
                Ok(key)
            }
        };
        let (prepared, known) = prepare::<_, _, u8>(["a", "b", "c", "d"].into_iter(), refuse_b);
        assert_eq!(prepared, ["a", "c", "d"]);
        let results = fill(known, vec![Ok(1), Err(CacheError::Miss)]);
        assert!(matches!(
            &results[..],
            [
                Ok(1),
                Err(CacheError::Closed),
                Err(CacheError::Miss),
                Err(CacheError::Corrupt { .. })
            ]
        ));
    }
}
