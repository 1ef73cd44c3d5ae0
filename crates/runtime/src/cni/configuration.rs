//! Network configurations: which file counts, and what of it is understood.

use super::{NetworkError, Places};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::path::Path;

/// The specification's versions that are spoken, the newest last. Before 0.3.0 a plugin's answer has another form.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One network: plugins that are called one after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Its name.
    pub name: String,
    /// The specification's version that its plugins are spoken to in.
    pub version: String,
    /// Whether its plugins are not to be asked to CHECK.
    #[serde(default)]
    pub check_disabled: bool,
    /// What each plugin is configured with, as it is in the file.
    pub(super) plugins: Vec<Map<String, Value>>,
}

impl Configuration {
    /// Whether its plugins have CHECK: the specification has it since 0.4.0.
    pub(super) fn can_check(&self) -> bool {
        !self.check_disabled && !self.version.starts_with("0.3.")
    }

    /// Whether a plugin takes a capability.
    #[must_use]
    pub fn has_capability(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| takes(plugin, name))
    }
}

/// Whether a plugin's configuration asks for a capability.
pub(super) fn takes(plugin: &Map<String, Value>, capability: &str) -> bool {
    plugin.get("capabilities").and_then(|all| all.get(capability)) == Some(&Value::Bool(true))
}

/// The network that pods of this machine are wired to: the first file by name that ends in `.conflist`, `.conf` or
/// `.json`; none where there is no such file, or no folder.
///
/// # Errors
/// The folder or that file cannot be read, or is not a network configuration.
pub fn find_configuration(places: &Places) -> Result<Option<Configuration>, NetworkError> {
    let folder = &places.configurations;
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| NetworkError::Unreadable { path, source }
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(unreadable(folder)(error)),
    };
    let ends = |path: &Path| {
        path.extension().is_some_and(|end| ["conflist", "conf", "json"].iter().any(|known| end == *known))
    };
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| ends(path) && path.is_file());
    let Some(path) = files.min() else { return Ok(None) };
    let text = read_bounded(&path).map_err(unreadable(&path))?;
    let is_list = path.extension().is_some_and(|end| end == "conflist");
    parse_configuration(&text, is_list)
        .map(Some)
        .map_err(|reason| NetworkError::Configuration { path: path.clone(), reason })
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

/// A list of plugins, or one plugin's configuration, which is a list of one.
fn parse_configuration(text: &[u8], is_list: bool) -> Result<Configuration, String> {
    let whole: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let name = whole.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_name(&name) {
        return Err(format!("name: {name:?} is no network's name"));
    }
    let version = version_of(&whole)?;
    let check_disabled = match whole.get("disableCheck") {
        None => false,
        // Some write it as a string, which libcni takes.
        Some(said) => {
            said.as_bool().or_else(|| said.as_str()?.to_lowercase().parse().ok()).ok_or("disableCheck")?
        }
    };
    let plugins = match is_list {
        true => whole.get("plugins").and_then(Value::as_array).cloned().ok_or("it has no list of plugins")?,
        false => vec![Value::Object(whole)],
    };
    if plugins.is_empty() {
        return Err("its list of plugins is empty".to_owned());
    }
    let plugin = |(index, plugin): (usize, Value)| match plugin {
        Value::Object(plugin) if plugin.get("type").and_then(Value::as_str).is_some_and(is_name) => {
            Ok(plugin)
        }
        _ => Err(format!("plugins[{index}].type: it is no plugin's name")),
    };
    let plugins = plugins.into_iter().enumerate().map(plugin).collect::<Result<_, _>>()?;
    Ok(Configuration { name, version, check_disabled, plugins })
}

/// The newest of `cniVersions` that is spoken here, else `cniVersion`.
fn version_of(whole: &Map<String, Value>) -> Result<String, String> {
    let listed = whole.get("cniVersions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let single = whole.get("cniVersion").and_then(Value::as_str);
    let said: Vec<&str> = listed.iter().filter_map(Value::as_str).chain(single).collect();
    let spoken = VERSIONS.iter().rev().find(|version| said.contains(version));
    spoken.map(|version| (*version).to_owned()).ok_or_else(|| {
        let said = if said.is_empty() { "none, which means 0.1.0".to_owned() } else { said.join(", ") };
        format!("cniVersion: {said}; spoken here are {}", VERSIONS.join(", "))
    })
}

/// What the specification lets a network, and a file name lets a plugin, be called.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration, String> {
        parse_configuration(text.as_bytes(), true)
    }

    #[test]
    fn the_first_file_by_name_counts() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { configurations: folder.path().to_owned(), plugins: Vec::new() };
        assert_eq!(find_configuration(&places).unwrap(), None);
        std::fs::write(folder.path().join("00-not-this.txt"), "?").unwrap();
        std::fs::create_dir(folder.path().join("00-folder.conf")).unwrap();
        std::fs::write(folder.path().join("20.conflist"), "?").unwrap();
        std::fs::write(folder.path().join("10.conf"), r#"{"cniVersion":"0.4.0","name":"one","type":"ptp"}"#)
            .unwrap();
        let found = find_configuration(&places).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.plugins.len()), ("one", 1));
        std::fs::write(folder.path().join("05.json"), "{").unwrap();
        let error = find_configuration(&places).unwrap_err();
        assert!(error.to_string().contains("05.json is not valid: EOF while parsing"), "{error}");
        let nowhere = Places { configurations: folder.path().join("no"), plugins: Vec::new() };
        assert_eq!(find_configuration(&nowhere).unwrap(), None);
    }

    #[test]
    fn what_is_no_configuration_is_said() {
        let cases = [
            ("[]", "invalid type"),
            (r#"{"cniVersion":"1.0.0","plugins":[{"type":"a"}]}"#, "name: \"\" is no network's name"),
            (r#"{"cniVersion":"1.0.0","name":"a/b","plugins":[{"type":"a"}]}"#, "is no network's name"),
            (r#"{"cniVersion":"1.0.0","name":"n","plugins":[]}"#, "empty"),
            (r#"{"cniVersion":"1.0.0","name":"n"}"#, "no list of plugins"),
            (r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"../sh"}]}"#, "plugins[0].type"),
            (r#"{"cniVersion":"1.0.0","name":"n","plugins":["bridge"]}"#, "plugins[0].type"),
            (
                r#"{"name":"n","plugins":[{"type":"a"}]}"#,
                "cniVersion: none, which means 0.1.0; spoken here are 0.3.0",
            ),
            (r#"{"cniVersion":"9.0.0","name":"n","plugins":[{"type":"a"}]}"#, "cniVersion: 9.0.0; spoken"),
            (
                r#"{"cniVersion":"1.0.0","name":"n","disableCheck":"x","plugins":[{"type":"a"}]}"#,
                "disableCheck",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_newest_version_that_both_speak_is_taken() {
        let version = |versions: &str| {
            let text = format!(r#"{{"cniVersion":"0.4.0",{versions}"name":"n","plugins":[{{"type":"a"}}]}}"#);
            parse(&text).unwrap().version
        };
        assert_eq!(version(""), "0.4.0");
        assert_eq!(version(r#""cniVersions":["0.3.1","1.1.0","2.0.0"],"#), "1.1.0");
    }

    #[test]
    fn check_is_asked_of_who_has_it() {
        let can = |more: &str| {
            let text = format!(
                r#"{{{more},"name":"n","plugins":[{{"type":"a","capabilities":{{"portMappings":true}}}}]}}"#
            );
            let parsed = parse(&text).unwrap();
            assert!(parsed.has_capability("portMappings") && !parsed.has_capability("mac"));
            parsed.can_check()
        };
        assert!(can(r#""cniVersion":"0.4.0""#) && !can(r#""cniVersion":"0.3.1""#));
        assert!(!can(r#""cniVersion":"1.0.0","disableCheck":true"#));
        assert!(!can(r#""cniVersion":"1.0.0","disableCheck":"True""#));
    }
}
