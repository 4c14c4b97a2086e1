//! Reads the actors from TOML, field by field, so that an error names the line, the field and what it takes.
//!
//! What is in the file is never part of an error: somebody may have put a token where its hash belongs.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::{Datetime, Offset};

use super::actor::Prefixes;
use super::table::{Entry, KnownToken, Table, Twice};
use super::token::TokenHash;
use super::{AccessError, Actor, Scope, certificate};

const NAME_FORM: &str = "a name is 1 to 64 letters, digits, '.', '_' and '-'";
const HASH_FORM: &str = "must be sha256: and 64 hexadecimal digits, as cachectl token new prints it";
const TOKENS_FORM: &str =
    "must be a list of tables such as { hash = \"sha256:...\", not_after = 2030-01-01T00:00:00Z }";
const TIME_FORM: &str = "must be a time with its offset, such as 2030-01-01T00:00:00Z";
const CERTIFICATE_FORM: &str = "must be a name in a certificate, such as subject:CN=deploy,O=Example, dns:deploy.example, uri:spiffe://example/deploy or email:ops@example";
const PREFIXES_FORM: &str = "must be a list of literal prefixes such as [\"billing:\"]; [\"\"] is every key";

pub(super) fn table(text: &str) -> Result<Table, AccessError> {
    let reader = Reader { text };
    let parsed = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| reader.line(span.start));
        AccessError::new(line, "", "not valid TOML")
    })?;
    reader.table(parsed.get_ref())
}

struct Reader<'a> {
    text: &'a str,
}

/// A table of the file with the name by which it goes in errors.
struct Fields<'a, 'i> {
    table: &'a DeTable<'i>,
    path: String,
    line: usize,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    fn at<T>(&self, place: &Spanned<T>, field: &str, reason: impl Into<String>) -> AccessError {
        AccessError::new(Some(self.line(place.span().start)), field, reason)
    }

    fn table(&self, root: &DeTable<'_>) -> Result<Table, AccessError> {
        let root = Fields {
            table: root,
            path: String::new(),
            line: 1,
        };
        self.only(&root, &["actors"])?;
        let actors = self.fields(&root, "actors", "must be tables such as [actors.deploy]")?;
        let actors = actors.filter(|actors| !actors.table.is_empty());
        let actors =
            actors.ok_or_else(|| AccessError::new(None, "actors", "there is none; add [actors.NAME]"))?;
        let mut entries = Vec::new();
        let mut places = Vec::new();
        for (name, value) in actors.table {
            // What is no name may be anything, so it is not shown.
            if !is_name(name.get_ref()) {
                return Err(self.at(name, "actors", NAME_FORM));
            }
            let fields = self.as_fields(value, format!("actors.{}", name.get_ref()), "must be a table")?;
            entries.push(self.entry(name.get_ref(), &fields)?);
            places.push((fields.line, fields.path));
        }
        Table::new(entries).map_err(|twice| {
            let (index, field) = match twice {
                Twice::Token(index, number) => (index, format!("tokens[{number}].hash")),
                Twice::Certificate(index, number) => (index, format!("certificates[{number}]")),
            };
            let (line, path) = places.get(index).cloned().unwrap_or_default();
            AccessError::new(Some(line), format!("{path}.{field}"), "stands in the file twice")
        })
    }

    fn entry(&self, name: &str, fields: &Fields<'_, '_>) -> Result<Entry, AccessError> {
        self.only(fields, &["tokens", "certificates", "grants"])?;
        let entry = Entry {
            tokens: self.tokens(fields)?,
            certificates: self.certificates(fields)?,
            actor: Actor::new(name, self.grants(fields)?),
        };
        if entry.tokens.is_empty() && entry.certificates.is_empty() {
            let reason = "nobody can be this actor: add tokens or certificates";
            return Err(AccessError::new(Some(fields.line), &*fields.path, reason));
        }
        Ok(entry)
    }

    fn tokens(&self, actor: &Fields<'_, '_>) -> Result<Vec<KnownToken>, AccessError> {
        let mut tokens = Vec::new();
        for (number, value) in self.list(actor, "tokens", TOKENS_FORM)?.iter().enumerate() {
            let token = self.as_fields(value, format!("{}.tokens[{number}]", actor.path), TOKENS_FORM)?;
            self.only(&token, &["hash", "not_after"])?;
            let field = format!("{}.hash", token.path);
            let hash = token.table.get("hash");
            let hash = hash.ok_or_else(|| AccessError::new(Some(token.line), &*field, "is missing"))?;
            let known = hash.get_ref().as_str().and_then(TokenHash::read);
            let not_after = token.table.get("not_after").map(|value| {
                let time = value.get_ref().as_datetime().and_then(since_epoch);
                time.ok_or_else(|| self.at(value, &format!("{}.not_after", token.path), TIME_FORM))
            });
            tokens.push(KnownToken {
                hash: known.ok_or_else(|| self.at(hash, &field, HASH_FORM))?,
                not_after: not_after.transpose()?,
            });
        }
        Ok(tokens)
    }

    fn certificates(&self, actor: &Fields<'_, '_>) -> Result<Vec<String>, AccessError> {
        let names = self.list(actor, "certificates", CERTIFICATE_FORM)?;
        let read = |(number, value): (usize, &Spanned<DeValue<'_>>)| {
            let name = value.get_ref().as_str().filter(|name| certificate::is_name(name));
            let field = format!("{}.certificates[{number}]", actor.path);
            name.map(str::to_owned)
                .ok_or_else(|| self.at(value, &field, CERTIFICATE_FORM))
        };
        names.iter().enumerate().map(read).collect()
    }

    fn grants(&self, actor: &Fields<'_, '_>) -> Result<BTreeMap<Scope, Prefixes>, AccessError> {
        let scopes = Scope::ALL.map(Scope::name);
        let Some(grants) = self.fields(actor, "grants", "must be a table of scopes and prefixes")? else {
            let reason = "is missing; it may be empty: grants = {}";
            return Err(AccessError::new(
                Some(actor.line),
                format!("{}.grants", actor.path),
                reason,
            ));
        };
        self.only(&grants, &scopes)?;
        let mut granted = BTreeMap::new();
        for scope in Scope::ALL {
            let Some(value) = grants.table.get(scope.name()) else {
                continue;
            };
            let field = format!("{}.{scope}", grants.path);
            let wrong = || self.at(value, &field, PREFIXES_FORM);
            let prefixes = value.get_ref().as_array().filter(|prefixes| !prefixes.is_empty());
            let prefixes = prefixes.ok_or_else(wrong)?.iter().map(|prefix| {
                let prefix = prefix.get_ref().as_str();
                prefix.map(|prefix| prefix.as_bytes().into()).ok_or_else(wrong)
            });
            granted.insert(scope, prefixes.collect::<Result<Prefixes, _>>()?);
        }
        Ok(granted)
    }

    /// Refuses fields that mean nothing.
    fn only(&self, fields: &Fields<'_, '_>, known: &[&str]) -> Result<(), AccessError> {
        match fields
            .table
            .keys()
            .find(|name| !known.contains(&&**name.get_ref()))
        {
            None => Ok(()),
            Some(unknown) => {
                let reason = format!("holds an unknown field; known are {}", known.join(", "));
                Err(self.at(unknown, &fields.path, reason))
            }
        }
    }

    fn fields<'a, 'i>(
        &self,
        within: &Fields<'a, 'i>,
        name: &str,
        form: &str,
    ) -> Result<Option<Fields<'a, 'i>>, AccessError> {
        let path = match &*within.path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let value = within.table.get(name);
        value.map(|value| self.as_fields(value, path, form)).transpose()
    }

    fn as_fields<'a, 'i>(
        &self,
        value: &'a Spanned<DeValue<'i>>,
        path: String,
        form: &str,
    ) -> Result<Fields<'a, 'i>, AccessError> {
        match value.get_ref().as_table() {
            None => Err(self.at(value, &path, form)),
            Some(table) => Ok(Fields {
                table,
                path,
                line: self.line(value.span().start),
            }),
        }
    }

    /// An absent list is empty.
    fn list<'a, 'i>(
        &self,
        within: &Fields<'a, 'i>,
        name: &str,
        form: &str,
    ) -> Result<&'a [Spanned<DeValue<'i>>], AccessError> {
        let Some(value) = within.table.get(name) else {
            return Ok(&[]);
        };
        let list = value.get_ref().as_array();
        let list = list.ok_or_else(|| self.at(value, &format!("{}.{name}", within.path), form))?;
        Ok(list)
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// The time since 1970-01-01 00:00 UTC; `None` where an offset is missing, or it is before that.
fn since_epoch(time: &Datetime) -> Option<Duration> {
    let (date, clock, offset) = (time.date?, time.time?, time.offset?);
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days of the proleptic Gregorian calendar, with years that begin in March.
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let seconds =
        i64::from(clock.hour) * 3_600 + i64::from(clock.minute) * 60 + i64::from(clock.second.unwrap_or(0));
    let seconds = (days - 719_468) * 86_400 + seconds - minutes * 60;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:30:15Z", Some(951_827_415)),
            ("2026-11-21T17:20:08+01:00", Some(1_795_278_008)),
            ("2024-03-01T00:00:00-00:30", Some(1_709_253_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-21T17:20:08", None),
            ("2026-11-21", None),
        ] {
            let time: Datetime = text.parse().unwrap();
            assert_eq!(since_epoch(&time).map(|time| time.as_secs()), seconds, "{text}");
        }
    }
}
