//! What plugins answer: results (`Result` of the specification, from 0.3.0 on) and errors. Pure.

use serde_json::Value;
use std::net::IpAddr;

/// A result, or why it is none.
pub(super) fn parse_result(text: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match value.is_object() {
        true => Ok(value),
        false => Err("it is no object".to_owned()),
    }
}

/// The words of an error: its message and its details; none if it is no error.
pub(super) fn parse_error(text: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let word = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let message = word("msg")?;
    Some(word("details").map_or_else(|| message.to_owned(), |details| format!("{message}; {details}")))
}

/// The addresses of the pod in a result: those of devices in its namespace, or of which nothing is said. The first is of
/// IPv4 where there is one, as CRI runtimes have it.
pub(super) fn addresses(result: &Value) -> Vec<IpAddr> {
    let outside = |address: &Value| {
        let device = address["interface"].as_u64().and_then(|index| usize::try_from(index).ok());
        let sandbox = device.map(|index| &result["interfaces"][index]["sandbox"]);
        sandbox.is_some_and(|sandbox| sandbox.as_str().unwrap_or_default().is_empty())
    };
    let all = result["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    let inside = all.iter().filter(|address| !outside(address));
    let text = |address: &Value| address["address"].as_str()?.split('/').next()?.parse().ok();
    let mut found: Vec<IpAddr> = inside.filter_map(text).collect();
    if let Some(first) = found.iter().position(IpAddr::is_ipv4) {
        found[..=first].rotate_right(1);
    }
    found
}

/// The same result with the namespace by the path that it has now: plugins look for their devices by it.
pub(super) fn moved(mut result: Value, from: &str, to: &str) -> Value {
    for device in result["interfaces"].as_array_mut().into_iter().flatten() {
        if !from.is_empty() && device["sandbox"] == from {
            device["sandbox"] = to.into();
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pods_addresses_are_those_in_its_namespace_the_first_of_ipv4() {
        let result = json!({
            "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/proc/1/fd/3"}],
            "ips": [
                {"address": "10.0.0.1/24", "interface": 0},
                {"address": "fd00::2/64", "interface": 1},
                {"address": "10.0.0.2/24", "interface": 1},
                {"address": "10.0.1.2/24"},
                {"address": "nonsense", "interface": 1},
            ],
        });
        let found: Vec<String> = addresses(&result).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2", "fd00::2", "10.0.1.2"]);
        for other in [json!({}), json!({"ips": 3}), json!({"ips": [3, {"address": 4}]})] {
            assert!(addresses(&other).is_empty(), "{other}");
        }
    }

    #[test]
    fn a_namespace_that_is_elsewhere_now_is_found_again() {
        let result = json!({"interfaces": [{"name": "v"}, {"name": "eth0", "sandbox": "a"}]});
        assert_eq!(moved(result.clone(), "a", "b")["interfaces"][1]["sandbox"], "b");
        assert_eq!(moved(json!({"interfaces": [{"sandbox": ""}]}), "", "b")["interfaces"][0]["sandbox"], "");
        assert_eq!(moved(json!({}), "a", "b")["interfaces"], json!(null));
    }

    #[test]
    fn errors_have_words() {
        assert_eq!(parse_error(br#"{"code":1,"msg":"no"}"#).as_deref(), Some("no"));
        assert_eq!(parse_error(br#"{"code":1,"msg":""}"#), None);
        assert_eq!(parse_error(b"[]"), None);
    }
}
