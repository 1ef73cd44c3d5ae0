//! What every SARIF log of ours (OASIS SARIF 2.1.0) has: one run of one tool, with its rules.

use serde_json::{Value, json};

/// A rule, `page` being Markdown.
pub(crate) fn rule(id: &str, [summary, what, why, instead]: [&str; 4], page: &str) -> Value {
    json!({
        "id": id,
        "shortDescription": { "text": summary },
        "fullDescription": { "text": what },
        "help": { "text": format!("{why} {instead}"), "markdown": page },
    })
}

/// A log of one run, `version` being Rhizome's; `column_kind` where results have columns.
pub(crate) fn log(version: &str, rules: Vec<Value>, column_kind: Option<&str>, results: Vec<Value>) -> Value {
    let mut run = json!({ "tool": { "driver": { "name": "rhizome", "version": version, "rules": rules } } });
    if let Some(kind) = column_kind {
        run["columnKind"] = kind.into();
    }
    run["results"] = results.into();
    json!({ "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run] })
}

#[cfg(test)]
pub(crate) mod check {
    //! What the schema of SARIF 2.1.0 (`sarif-schema-2.1.0.json` of OASIS) says of the objects that our logs have.

    use serde_json::Value;

    /// The properties of each: `!` is required, `[]` a list, then the sort of object; others are not allowed.
    const OBJECTS: [(&str, &str); 18] = [
        ("log", "$schema !version !runs[]:run"),
        ("run", "!tool:tool columnKind results[]:result"),
        ("tool", "!driver:component"),
        ("component", "!name version rules[]:rule"),
        (
            "rule",
            "!id shortDescription:text fullDescription:text help:text defaultConfiguration:configuration",
        ),
        ("text", "!text markdown"),
        ("configuration", "level"),
        (
            "result",
            "!message:message ruleId ruleIndex level locations[]:location fixes[]:fix properties:anything",
        ),
        ("fix", "description:message !artifactChanges[]:change"),
        ("change", "!artifactLocation:artifact !replacements[]:replacement"),
        ("replacement", "!deletedRegion:region insertedContent:content"),
        ("content", "text"),
        ("message", "text"),
        ("location", "physicalLocation:physical logicalLocations[]:logical"),
        ("physical", "artifactLocation:artifact region:region"),
        ("artifact", "uri"),
        ("region", "startLine startColumn endLine endColumn byteOffset byteLength"),
        ("logical", "fullyQualifiedName kind"),
    ];

    /// Panics unless it is a log as the schema has it, whose results name rules that are there.
    pub(crate) fn check_log(log: &Value) {
        check_object(log, "log");
        assert_eq!(log["version"], "2.1.0");
        for run in log["runs"].as_array().unwrap() {
            let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
            let unique: std::collections::BTreeSet<_> =
                rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
            assert_eq!(unique.len(), rules.len());
            for result in run["results"].as_array().unwrap() {
                let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
                assert_eq!(rules[index]["id"], result["ruleId"]);
            }
        }
    }

    fn check_object(object: &Value, sort: &str) {
        if sort == "anything" {
            return assert!(object.is_object(), "{object}");
        }
        let (_, properties) = OBJECTS.iter().find(|(name, _)| *name == sort).unwrap();
        let known: Vec<(bool, &str, bool, &str)> = properties
            .split(' ')
            .map(|word| {
                let (name, sort) = word.split_once(':').unwrap_or((word, ""));
                let bare = name.trim_start_matches('!');
                (name.starts_with('!'), bare.trim_end_matches("[]"), bare.ends_with("[]"), sort)
            })
            .collect();
        let object = object.as_object().unwrap_or_else(|| panic!("{sort}: {object}"));
        for (required, name, ..) in &known {
            assert!(!required || object.contains_key(*name), "{sort} has no {name}: {object:?}");
        }
        for (name, value) in object {
            let (.., list, sort) =
                known.iter().find(|known| known.1 == name).unwrap_or_else(|| panic!("{sort}: {name}"));
            match (list, *sort) {
                (true, sort) => value.as_array().unwrap().iter().for_each(|each| check_object(each, sort)),
                (false, "") => check_value(name, value),
                (false, sort) => check_object(value, sort),
            }
        }
    }

    fn check_value(name: &str, value: &Value) {
        let number_from = |least: u64| value.as_u64().is_some_and(|number| number >= least);
        let good = match name {
            "ruleIndex" | "byteOffset" | "byteLength" => number_from(0),
            "startLine" | "startColumn" | "endLine" | "endColumn" => number_from(1),
            "level" => ["none", "note", "warning", "error"].iter().any(|level| value == level),
            "columnKind" => value == "utf16CodeUnits" || value == "unicodeCodePoints",
            "uri" => value.as_str().is_some_and(|uri| uri.bytes().all(|byte| byte.is_ascii_graphic())),
            _ => value.is_string(),
        };
        assert!(good, "{name}: {value}");
    }

    #[test]
    #[should_panic(expected = "result has no message")]
    fn what_is_missing_is_seen() {
        check_object(&serde_json::json!({"ruleId": "x"}), "result");
    }
}
