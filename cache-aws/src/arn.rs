//! Parses ARNs.
//!
//! Not in here: what the resource of a service looks like.

/// A parsed ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    /// The rest, such as `secret:NAME` or `key/ID`.
    pub(crate) resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Parses `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`; `None` if a part is missing.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts[..] else {
            return None;
        };
        let is_word = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
        [partition, service, region, account, resource]
            .into_iter()
            .all(is_word)
            .then_some(Self {
                service,
                region,
                resource,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arn_is_parsed() {
        let arn = Arn::parse("arn:aws-cn:secretsmanager:cn-north-1:111122223333:secret:/app/x-AbCdEf");
        assert_eq!(
            arn,
            Some(Arn {
                service: "secretsmanager",
                region: "cn-north-1",
                resource: "secret:/app/x-AbCdEf"
            })
        );
        for text in ["", "app/x", "arn:aws:kms:eu-west-2:1", "arn:aws:kms::1:key/x"] {
            assert_eq!(Arn::parse(text), None, "{text}");
        }
    }
}
