//! ADD, CHECK and DEL of a whole network: its plugins one after another, each with the result of the one before it.

use super::answer;
use super::configuration::takes;
use super::protocol::{Call, find};
use super::record::{Held, Record};
use super::{Configuration, INTERFACE, NetworkError, Places, PluginError, Verb};
use crate::fault;
use crate::state::{Dirs, check_id};
use manifest::cri::PodSandboxConfig;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Wires a sandbox's network namespace, which is at the path `namespace` until this returns. The pod's addresses.
///
/// # Errors
/// A plugin is missing or has failed; what was done is undone, as far as that could be ([`NetworkError::SetUp`]).
pub fn attach(
    dirs: &Dirs,
    sandbox: &str,
    config: &PodSandboxConfig,
    configuration: Configuration,
    places: &Places,
    namespace: &str,
) -> Result<Vec<IpAddr>, NetworkError> {
    let (pod, ports) = (config.metadata.clone(), config.port_mappings.clone());
    let mut record = Record::new(sandbox, pod, configuration, places.plugins.clone(), ports, namespace);
    let failed = |source| NetworkError::SetUp { sandbox: sandbox.to_owned(), source: Box::new(source) };
    // Before anything is done: a plugin that is missing could not undo it either.
    for plugin in &record.configuration.plugins {
        find(&record.plugins, name_of(plugin)).map_err(failed)?;
    }
    let held = Held::make(dirs, sandbox)?;
    held.write(&record)?;
    let added = match add_all(&mut record) {
        Ok(()) => held.write(&record),
        Err(source) => Err(failed(source)),
    };
    let Err(error) = added else {
        return Ok(record.result.as_ref().map(answer::addresses).unwrap_or_default());
    };
    // As libcni has it, plugins that were never called are told to DEL too.
    let undone = delete_all(&record, namespace).map_err(|source| destroy(&held, sandbox, source));
    if let Err(left) = undone.and_then(|()| held.forget()) {
        tracing::warn!(sandbox, error = %left, "a network that could not be set up left something; its removal tries again");
    }
    Err(error)
}

fn destroy(held: &Held, sandbox: &str, source: PluginError) -> NetworkError {
    NetworkError::Destroy {
        sandbox: sandbox.to_owned(),
        source: Box::new(source),
        record: held.folder.clone(),
    }
}

/// Asks the plugins whether a sandbox's network is as it was set up. Nothing to ask is no error.
///
/// # Errors
/// One says that it is not.
pub fn check(dirs: &Dirs, sandbox: &str, namespace: &str) -> Result<(), NetworkError> {
    let Some(held) = Held::find(dirs, sandbox)? else { return Ok(()) };
    let Some(record) = held.read()?.filter(|r| r.result.is_some() && r.configuration.can_check()) else {
        return Ok(());
    };
    let failed = |source| NetworkError::Check { sandbox: sandbox.to_owned(), source: Box::new(source) };
    record.configuration.plugins.iter().try_for_each(|plugin| {
        let previous = previous_at(&record, namespace);
        call(&record, plugin, Verb::Check, previous, namespace).map(drop).map_err(failed)
    })
}

/// Gives back what a sandbox's network has. It can be done again, and for what was never begun.
///
/// `namespace` is where the sandbox's network namespace is; none where nothing holds it any more.
///
/// # Errors
/// A plugin is missing or has failed; the others have done their part. The record stays.
pub fn detach(dirs: &Dirs, sandbox: &str, namespace: Option<&str>) -> Result<(), NetworkError> {
    if check_id("sandbox", sandbox).is_err() {
        return Ok(());
    }
    let Some(held) = Held::find(dirs, sandbox)? else { return Ok(()) };
    if let Some(record) = held.read()? {
        let deleted = delete_all(&record, namespace.unwrap_or_default());
        deleted.map_err(|source| destroy(&held, sandbox, source))?;
    }
    point("network.forget", &held)?;
    held.forget()
}

fn add_all(record: &mut Record) -> Result<(), PluginError> {
    let mut previous = None;
    for plugin in &record.configuration.plugins {
        step("network.add", record, plugin, Verb::Add)?;
        previous = call(record, plugin, Verb::Add, previous, &record.namespace)?;
    }
    record.result = previous;
    Ok(())
}

fn name_of(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// In the other order; each is called, also after one that has failed.
fn delete_all(record: &Record, namespace: &str) -> Result<(), PluginError> {
    let mut failed = Ok(());
    for plugin in record.configuration.plugins.iter().rev() {
        let previous = previous_at(record, namespace);
        let deleted = step("network.delete", record, plugin, Verb::Delete)
            .and_then(|()| call(record, plugin, Verb::Delete, previous, namespace));
        failed = failed.and(deleted.map(drop));
    }
    failed
}

/// The result that is on record, with the namespace where it is now.
fn previous_at(record: &Record, namespace: &str) -> Option<Value> {
    record.result.clone().map(|result| answer::moved(result, &record.namespace, namespace))
}

fn call(
    record: &Record,
    plugin: &Map<String, Value>,
    verb: Verb,
    previous: Option<Value>,
    namespace: &str,
) -> Result<Option<Value>, PluginError> {
    let name = &record.configuration.name;
    let args = args(record);
    let call = Call {
        verb,
        sandbox: &record.sandbox,
        namespace,
        interface: INTERFACE,
        args: &args,
        folders: &record.plugins,
    };
    call.run(name, &told(record, plugin, previous), verb.timeout())
}

/// What a plugin is configured with: its own, the network's name and version, what it takes of what the pod asks for,
/// and the result of the one before it.
fn told(record: &Record, plugin: &Map<String, Value>, previous: Option<Value>) -> Value {
    let mut told = plugin.clone();
    told.insert("name".into(), record.configuration.name.as_str().into());
    told.insert("cniVersion".into(), record.configuration.version.as_str().into());
    if !record.port_mappings.is_empty() && takes(plugin, "portMappings") {
        let mapping = |mapping: &manifest::cri::PortMapping| {
            json!({
                "hostPort": mapping.host_port,
                "containerPort": mapping.container_port,
                "protocol": mapping.protocol.to_lowercase(),
                "hostIP": mapping.host_ip,
            })
        };
        let mappings: Vec<Value> = record.port_mappings.iter().map(mapping).collect();
        told.insert("runtimeConfig".into(), json!({"portMappings": mappings}));
    }
    if let Some(previous) = previous {
        told.insert("prevResult".into(), previous);
    }
    Value::Object(told)
}

/// `CNI_ARGS` as CRI runtimes have them. Names and uids were validated, and have neither `;` nor `=`.
fn args(record: &Record) -> String {
    let pod = &record.pod;
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        plain(&pod.namespace),
        plain(&pod.name),
        record.sandbox,
        plain(&pod.uid)
    )
}

/// Without what would end a value: a record that was made by hand must not say more than it may.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_alphanumeric() || ['-', '.', '_'].contains(c)).collect()
}

fn point(name: &'static str, held: &Held) -> Result<(), NetworkError> {
    fault::point(name).map_err(|errno| NetworkError::record("write", &held.folder)(errno.into()))
}

fn step(
    name: &'static str,
    record: &Record,
    plugin: &Map<String, Value>,
    verb: Verb,
) -> Result<(), PluginError> {
    fault::point(name).map_err(|errno| PluginError::Failed {
        plugin: name_of(plugin).to_owned(),
        network: record.configuration.name.clone(),
        verb: verb.in_words(),
        reason: std::io::Error::from(errno).to_string(),
    })
}
