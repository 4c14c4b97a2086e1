//! Recomputes a token as the service does, without the code that issues it.
//!
//! Nothing is taken from the token but its time: every other parameter is what the service expects, so a token
//! for another user, cache, region or kind of cache differs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::{digest, hmac};

/// How long a token can be used, and how far ahead its clock may be.
const VALID: Duration = Duration::from_secs(900);
const SKEW: Duration = Duration::from_secs(300);

/// What the service knows.
#[derive(Clone)]
pub(crate) struct Verifier {
    pub(crate) user: String,
    pub(crate) cache: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) serverless: bool,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: Option<String>,
}

impl Verifier {
    /// Accepts `token` for `user` at the time `now`; else says what is wrong with it.
    pub(crate) fn check(&self, user: &str, token: &str, now: SystemTime) -> Result<Token> {
        ensure!(user == self.user, "the user is {user}");
        let (cache, query) = token.split_once("/?").context("no query")?;
        let mut parameters: Vec<&str> = query.split('&').collect();
        parameters.sort_unstable();
        let time = parameters
            .iter()
            .find_map(|parameter| parameter.strip_prefix("X-Amz-Date="))
            .context("no time")?;
        let issued = seconds(time)?;
        let now = now.duration_since(UNIX_EPOCH)?;
        ensure!(now <= issued + VALID, "expired");
        ensure!(now + SKEW >= issued, "from the future");
        let expected = self.parameters(time);
        if cache != self.cache || parameters != expected {
            bail!("not the token that was expected");
        }
        Ok(Token {
            text: token.to_owned(),
            issued,
        })
    }

    /// The parameters of the valid token of that time, sorted, the signature among them.
    fn parameters(&self, time: &str) -> Vec<String> {
        let day = &time[..8];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let mut parameters = vec![
            "Action=connect".to_owned(),
            format!("User={}", encoded(&self.user)),
            "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned(),
            format!(
                "X-Amz-Credential={}",
                encoded(&format!("{}/{scope}", self.access_key))
            ),
            format!("X-Amz-Date={time}"),
            format!("X-Amz-Expires={}", VALID.as_secs()),
            "X-Amz-SignedHeaders=host".to_owned(),
        ];
        if self.serverless {
            parameters.push("ResourceType=ServerlessCache".to_owned());
        }
        if let Some(token) = &self.session_token {
            parameters.push(format!("X-Amz-Security-Token={}", encoded(token)));
        }
        parameters.sort_unstable();
        let request = format!(
            "GET\n/\n{}\nhost:{}\n\nhost\n{}",
            parameters.join("&"),
            self.cache,
            hash(b"")
        );
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(request.as_bytes()));
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, &self.region, &self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        parameters.push(format!("X-Amz-Signature={}", hex(&mac(&key, to_sign.as_bytes()))));
        parameters.sort_unstable();
        parameters
    }
}

/// A valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Since 1970.
    pub(crate) issued: Duration,
}

impl Token {
    /// Whether it can still be used.
    pub(crate) fn is_valid(&self, now: SystemTime) -> bool {
        now.duration_since(UNIX_EPOCH)
            .is_ok_and(|now| now <= self.issued + VALID)
    }
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, data).as_ref().to_vec()
}

fn hash(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// The seconds since 1970 of a time such as `20260102T030405Z`.
fn seconds(time: &str) -> Result<Duration> {
    let is_time = time.len() == 16 && time.is_ascii() && &time[8..9] == "T" && &time[15..] == "Z";
    ensure!(is_time, "not a time: {time}");
    let number = |part: &str| -> Result<i64> { Ok(part.parse()?) };
    let (year, month, day) = (number(&time[..4])?, number(&time[4..6])?, number(&time[6..8])?);
    let (hour, minute, second) = (
        number(&time[9..11])?,
        number(&time[11..13])?,
        number(&time[13..15])?,
    );
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Ok(Duration::from_secs(u64::try_from(seconds)?))
}

#[test]
fn times_are_read() {
    for (time, expected) in [
        ("19700101T000000Z", 0),
        ("20240229T235959Z", 1_709_251_199),
        ("20260102T030405Z", 1_767_323_045),
        ("20261129T120000Z", 1_795_953_600),
    ] {
        assert_eq!(seconds(time).unwrap(), Duration::from_secs(expected), "{time}");
    }
    assert!(seconds("2026-01-02").is_err());
}

#[test]
fn tokens_that_botocore_made_are_valid_and_no_other_is() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    let vectors = vectors["tokens"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap().to_owned();
        let verifier = Verifier {
            user: text("user"),
            cache: text("cache"),
            region: text("region"),
            service: "elasticache".to_owned(),
            serverless: vector["serverless"].as_bool().unwrap(),
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: vector["session_token"].as_str().map(str::to_owned),
        };
        let (user, token) = (text("user"), text("auth_token"));
        let refused = |verifier: &Verifier, token: &str, now| verifier.check(&user, token, now).is_err();
        assert!(!refused(&verifier, &token, now));
        assert!(!refused(&verifier, &token, now + VALID));
        assert!(refused(&verifier, &token, now + VALID + Duration::from_secs(1)));
        assert!(refused(&verifier, &token, now - SKEW - Duration::from_secs(1)));
        assert!(verifier.check("another", &token, now).is_err());
        let mut other = token.clone();
        let last = if other.pop() == Some('0') { '1' } else { '0' };
        other.push(last);
        assert!(refused(&verifier, &other, now));
        assert!(refused(
            &verifier,
            &token.replace("Expires=900", "Expires=9000"),
            now
        ));
        let change = |change: fn(&mut Verifier)| {
            let mut verifier = verifier.clone();
            change(&mut verifier);
            verifier
        };
        for verifier in [
            change(|expected| expected.cache = "other".to_owned()),
            change(|expected| expected.region = "eu-central-1".to_owned()),
            change(|expected| expected.serverless = !expected.serverless),
            change(|expected| expected.service = "memorydb".to_owned()),
            change(|expected| expected.secret_key.push('x')),
        ] {
            assert!(refused(&verifier, &token, now));
        }
    }
}
