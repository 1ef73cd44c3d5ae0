//! Random requests over every path of the node's own OpenAPI document: no answer is 500, nothing that was acknowledged is
//! lost, and the node goes on. `RHIZOME_FUZZ_REQUESTS` says how many (1,500), `RHIZOME_FUZZ_SEED` which.
//!
//! No image is to be had by the names that are made up, so that no pod of these ever has a container, and no volume of them
//! is made.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::Node;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// xorshift64*: the same requests for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "kube-root-ca.crt", "UPPER", "x/../y"];
const TEXTS: [&str; 18] = [
    "",
    "a",
    "main",
    "default",
    "1Gi",
    "-1",
    "10m",
    "/tmp",
    "../..",
    "Always",
    "None",
    "Bidirectional",
    "TCP",
    "Exists",
    "ReadWriteOnce",
    "2020-01-01T00:00:00Z",
    "\u{0}\u{1b}[31m\u{202e}",
    "ß\u{1f980}",
];
const NUMBERS: [i64; 9] = [0, 1, -1, 2, 80, 65536, i32::MAX as i64, i64::MAX, i64::MIN];

struct Document {
    schemas: Map<String, Value>,
}

impl Document {
    /// A value of a schema, and now and then one that is none.
    fn value(&self, schema: &Value, name: &str, depth: usize, dice: &mut Dice) -> Value {
        if dice.one_in(60) {
            return [json!(null), json!([]), json!({}), json!("x"), json!(7), json!(true)][dice.below(6)]
                .clone();
        }
        if ["image", "reference"].contains(&name) {
            return json!(dice.of(&["localhost:1/none:1", "", "NOT A NAME"]));
        }
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        if let Some(reference) = reference {
            let target = &self.schemas[reference.rsplit('/').next().unwrap()];
            return self.value(target, name, depth, dice);
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[0].as_str().unwrap_or_default().to_owned(),
            kind => kind.as_str().unwrap_or_default().to_owned(),
        };
        match kind.as_str() {
            "object" => self.object(schema, depth, dice),
            "array" => {
                let count = if depth > 7 { 0 } else { dice.below(3) };
                (0..count).map(|_| self.value(&schema["items"], name, depth + 1, dice)).collect()
            }
            "integer" | "number" => json!(NUMBERS[dice.below(NUMBERS.len())]),
            "boolean" => json!(dice.one_in(2)),
            _ => match schema["enum"].as_array().filter(|_| !dice.one_in(5)) {
                Some(values) => values[dice.below(values.len())].clone(),
                None if dice.one_in(200) => json!("long".repeat(20_000)),
                None => json!(dice.of(&TEXTS)),
            },
        }
    }

    fn object(&self, schema: &Value, depth: usize, dice: &mut Dice) -> Value {
        let mut made = Map::new();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let needed = required.iter().any(|required| required == name);
            // Deep down only what has to be there, so that it ends.
            if needed && !dice.one_in(20) || depth < 8 && dice.one_in(3 + depth) {
                made.insert(name.clone(), self.value(property, name, depth + 1, dice));
            }
        }
        if schema["additionalProperties"].is_object() && depth < 8 {
            for _ in 0..dice.below(3) {
                let value = self.value(&schema["additionalProperties"], "", depth + 1, dice);
                made.insert(dice.of(&TEXTS).to_owned(), value);
            }
        }
        Value::Object(made)
    }
}

/// A path and a method of the document.
struct Operation {
    path: String,
    method: String,
    schema: Value,
    kind: Value,
}

fn operations(node: &Node) -> (Document, Vec<Operation>) {
    let get = |path: &str| -> Value {
        let (code, text) = node.request("GET", path, "", b"");
        assert_eq!(code, 200, "{path}");
        serde_json::from_str(&text).unwrap()
    };
    let (mut schemas, mut operations) = (Map::new(), Vec::new());
    for place in get("/openapi/v3")["paths"].as_object().unwrap().values() {
        let document = get(place["serverRelativeURL"].as_str().unwrap());
        schemas.extend(document["components"]["schemas"].as_object().unwrap().clone());
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let content = &operation["requestBody"]["content"]["application/json"]["schema"];
                operations.push(Operation {
                    path: path.clone(),
                    method: method.to_uppercase(),
                    schema: content.clone(),
                    kind: operation["x-kubernetes-group-version-kind"].clone(),
                });
            }
        }
    }
    (Document { schemas }, operations)
}

/// What is there of the kinds that are nobody's but their makers': by kind and name, the uid.
fn kept(node: &Node) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for plural in [
        "configmaps",
        "secrets",
        "serviceaccounts",
        "persistentvolumes",
        "persistentvolumeclaims",
        "pods",
        "namespaces",
    ] {
        let (code, text) = node.request("GET", &format!("/api/v1/{plural}"), "", b"");
        assert_eq!(code, 200, "{plural}");
        let list: Value = serde_json::from_str(&text).unwrap();
        for item in list["items"].as_array().unwrap() {
            let metadata = &item["metadata"];
            // What is to go may be gone.
            if metadata.get("deletionTimestamp").is_none() {
                let name = format!("{plural}/{}/{}", metadata["namespace"], metadata["name"]);
                found.insert(name, metadata["uid"].as_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn body(document: &Document, operation: &Operation, name: &str, dice: &mut Dice) -> (String, Vec<u8>) {
    let mut object = document.value(&operation.schema, "", 0, dice);
    if object.is_object() && !dice.one_in(10) {
        let group = operation.kind["group"].as_str().unwrap_or_default();
        let version = operation.kind["version"].as_str().unwrap_or_default();
        object["kind"] = operation.kind["kind"].clone();
        object["apiVersion"] =
            if group.is_empty() { json!(version) } else { json!(format!("{group}/{version}")) };
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        object["metadata"]["name"] = json!(name);
        for field in ["namespace", "resourceVersion", "uid", "finalizers", "deletionTimestamp"] {
            if let Some(metadata) = object["metadata"].as_object_mut().filter(|_| !dice.one_in(20)) {
                metadata.remove(field);
            }
        }
    }
    let mut bytes = object.to_string().into_bytes();
    if dice.one_in(15) && !bytes.is_empty() {
        let at = dice.below(bytes.len());
        match dice.below(3) {
            0 => bytes.truncate(at),
            1 => bytes[at] = dice.below(256) as u8,
            _ => drop(bytes.splice(at..at, b"{\"".iter().copied())),
        }
    }
    let patches = [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/json-patch+json",
    ];
    let content_type = match operation.method.as_str() {
        "PATCH" => dice.of(&patches),
        _ if dice.one_in(10) => {
            dice.of(&["application/yaml", "application/vnd.kubernetes.protobuf", "text/html", ""])
        }
        _ => "application/json",
    };
    (format!("Content-Type: {content_type}\r\n"), bytes)
}

#[test]
fn no_request_does_harm() {
    let Some(mut node) = Node::start("no_request_does_harm") else { return };
    let number =
        |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (requests, seed) = (number("RHIZOME_FUZZ_REQUESTS", 1500), number("RHIZOME_FUZZ_SEED", 20_261_123));
    let (document, operations) = operations(&node);
    assert!(operations.len() > 40, "{}", operations.len());
    let mut dice = Dice(seed | 1);
    let mut codes = BTreeMap::<u16, usize>::new();
    for round in 0..requests {
        let operation = &operations[dice.below(operations.len())];
        let name = dice.of(&NAMES);
        // The namespace stays: what is in it is what must not be lost.
        let path =
            operation.path.replace("{namespace}", "default").replace("{name}", &name.replace('/', "%2F"));
        let options: BTreeSet<&str> = (0..dice.below(3))
            .map(|_| {
                dice.of(&[
                    "dryRun=All",
                    "dryRun=x",
                    "fieldValidation=Strict",
                    "fieldValidation=Ignore",
                    "limit=1",
                    "limit=-1",
                    "labelSelector=a%3Db",
                    "labelSelector=%28",
                    "fieldSelector=metadata.name%3Da",
                    "continue=x",
                    "pretty=true",
                    "gracePeriodSeconds=0",
                    "propagationPolicy=Orphan",
                    "resourceVersion=0",
                    "resourceVersionMatch=Exact",
                    "%ff=%00",
                ])
            })
            .collect();
        let query = options.into_iter().collect::<Vec<_>>().join("&");
        let (headers, bytes) = match operation.schema.is_null() {
            true => (String::new(), Vec::new()),
            false => body(&document, operation, name, &mut dice),
        };
        let (code, answer) = node.request(&operation.method, &format!("{path}?{query}"), &headers, &bytes);
        assert!(
            (200..500).contains(&code),
            "round {round} of seed {seed}: {} {path}?{query}: {code} {answer}\n{headers}{}",
            operation.method,
            String::from_utf8_lossy(&bytes)
        );
        *codes.entry(code).or_default() += 1;
    }
    // Both that much is accepted and that much is not.
    let accepted = codes.get(&201).copied().unwrap_or(0);
    assert!(accepted > 5 && codes.len() > 4, "{codes:?}");
    println!("{requests} requests of seed {seed}: {codes:?}");
    let before = kept(&node);
    let ended = node.end(rustix::process::Signal::KILL);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    node.run();
    let after = kept(&node);
    let lost: Vec<_> = before.iter().filter(|(name, uid)| after.get(*name) != Some(uid)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let _ = node.request("DELETE", "/api/v1/namespaces/default/pods?gracePeriodSeconds=0", "", b"");
}
