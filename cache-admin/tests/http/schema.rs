//! As much of JSON Schema as the description uses, to hold answers against it.

use serde_json::Value;

/// What in `value` is not as `schema` says; nothing where all is.
pub(crate) fn wrong(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return match target {
            Some(target) => wrong(document, target, value, at),
            None => vec![format!("{at}: {reference} is nowhere")],
        };
    }
    let mut found = Vec::new();
    let fits = |schema: &Value| wrong(document, schema, value, at).is_empty();
    let list = |name: &str| schema[name].as_array().map(Vec::as_slice).unwrap_or_default();
    for part in list("allOf") {
        found.extend(wrong(document, part, value, at));
    }
    let one = list("oneOf");
    let fitting = one.iter().filter(|part| fits(part)).count();
    if !one.is_empty() && fitting != 1 {
        found.push(format!("{at}: {fitting} of oneOf fit: {value}"));
    }
    let any = list("anyOf");
    if !any.is_empty() && !any.iter().any(fits) {
        found.push(format!("{at}: none of anyOf fits: {value}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_of(value, name)) {
        found.push(format!("{at}: no {types:?}: {value}"));
        return found;
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        found.push(format!("{at}: not one of {values:?}: {value}"));
    }
    if let (Some(number), Some(least)) = (value.as_f64(), schema["minimum"].as_f64())
        && number < least
    {
        found.push(format!("{at}: less than {least}: {number}"));
    }
    if let (Some(number), Some(most)) = (value.as_f64(), schema["maximum"].as_f64())
        && number > most
    {
        found.push(format!("{at}: more than {most}: {number}"));
    }
    if let Some(items) = value.as_array() {
        for (index, item) in items.iter().enumerate() {
            found.extend(wrong(document, &schema["items"], item, &format!("{at}[{index}]")));
        }
    }
    if let Some(members) = value.as_object() {
        for name in list("required").iter().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                found.push(format!("{at}: lacks {name}"));
            }
        }
        for (name, member) in members {
            let known = &schema["properties"][name];
            if !known.is_null() {
                found.extend(wrong(document, known, member, &format!("{at}.{name}")));
            } else if schema["additionalProperties"] == false {
                found.push(format!("{at}: has {name}, which is not described"));
            }
        }
    }
    found
}

/// All members that a schema describes, also by way of others.
pub(crate) fn described(document: &Value, schema: &Value) -> Vec<String> {
    let target = schema["$ref"]
        .as_str()
        .and_then(|to| document.pointer(to.trim_start_matches('#')));
    let schema = target.unwrap_or(schema);
    let mut names: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    for several in ["allOf", "anyOf", "oneOf"] {
        for part in schema[several].as_array().into_iter().flatten() {
            names.extend(described(document, part));
        }
    }
    names
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn the_comparison_sees_what_is_wrong() {
    let document = serde_json::json!({ "a": { "type": "object", "required": ["n"],
        "properties": { "n": { "type": ["integer", "null"], "maximum": 3 } }, "additionalProperties": false } });
    let schema = serde_json::json!({ "$ref": "#/a" });
    let check = |value: Value| wrong(&document, &schema, &value, "").len();
    assert_eq!(check(serde_json::json!({ "n": 3 })), 0);
    assert_eq!(check(serde_json::json!({ "n": null })), 0);
    for bad in [
        serde_json::json!({}),
        serde_json::json!({ "n": "3" }),
        serde_json::json!({ "n": 4 }),
        serde_json::json!({ "n": 1, "m": 1 }),
        serde_json::json!([]),
    ] {
        assert_eq!(check(bad.clone()), 1, "{bad}");
    }
}
