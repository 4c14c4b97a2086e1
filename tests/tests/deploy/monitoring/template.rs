//! Texts with metrics and attributes in backquotes, and the same with the names that Prometheus has for them.

use anyhow::{Context as _, Result, ensure};

use super::catalogue::{Catalogue, Instrument};

/// The parts of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Puts Prometheus' names in the place of those in backquotes. Names and values that do not exist are refused.
pub(super) fn fill(template: &str, catalogue: &Catalogue) -> Result<String> {
    let mut filled = String::new();
    for line in template.lines() {
        let line = fill_line(line, catalogue).with_context(|| line.trim().to_owned())?;
        filled.push_str(&line);
        filled.push('\n');
    }
    Ok(filled)
}

fn fill_line(line: &str, catalogue: &Catalogue) -> Result<String> {
    let mut filled = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('`') {
        filled.push_str(before);
        let (name, after) = after.split_once('`').context("a backquote without its pair")?;
        filled.push_str(&catalogue.resolve(name)?);
        let is_histogram = catalogue
            .metric(name)
            .is_some_and(|metric| metric.instrument == Instrument::Histogram);
        ensure!(
            is_histogram == PARTS.iter().any(|part| after.starts_with(part)),
            "`{name}`: histograms, and no other metrics, are followed by _bucket, _sum or _count"
        );
        let matcher = ["=~\"", "!~\"", "!=\"", "=\""];
        if let Some(values) = matcher.iter().find_map(|start| after.strip_prefix(start)) {
            let (values, _) = values.split_once('"').context("a quote without its pair")?;
            catalogue.check_values(name, values)?;
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The names in backquotes.
pub(super) fn names(template: &str) -> impl Iterator<Item = &str> {
    template.split('`').skip(1).step_by(2)
}

#[test]
fn names_are_put_in_place_and_wrong_ones_are_refused() -> Result<()> {
    let catalogue = Catalogue::of(
        "| `a.calls` | counter | `{call}` | `a.kind` | Calls. |\n\
         | `a.size` | up-down counter | `By` |  | Bytes. |\n\
         | `a.time` | histogram | `s` |  | Time. |\n\
         | `a.kind` | `one`, `two` | what kind |\n",
    )?;
    let fill = |template| fill(template, &catalogue);
    assert_eq!(
        fill("sum by (`a.kind`) (rate(`a.calls`{`a.kind`=~\"one|two\"}[5m]))")?,
        "sum by (a_kind) (rate(a_calls_total{a_kind=~\"one|two\"}[5m]))\n"
    );
    assert_eq!(
        fill("`a.size` / `a.time`_count")?,
        "a_size_bytes / a_time_seconds_count\n"
    );
    for wrong in [
        "`a.call`",
        "`a.calls`{`a.kind`=\"three\"}",
        "`a.time`",
        "`a.calls`_sum",
        "`a.calls",
    ] {
        let error = fill(wrong).unwrap_err();
        assert!(error.to_string().contains(wrong), "{error:#}");
    }
    Ok(())
}
