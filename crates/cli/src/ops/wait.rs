//! `rhizome wait`: until something holds of pods, in kubectl's words.

use crate::args::{self, For, Global};
use crate::exit::{Exit, Failure, Result};
use crate::jsonpath;
use crate::world::World;
use crate::{output, pods, report};
use agent::client::{Client, ClientError, PodRef};
use agent::record::{PodKey, RecordError};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How often to look where nobody tells: at pods without a supervisor, and at names.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits for each pod.
pub(crate) fn run(global: &Global, args: &args::Wait) -> Result {
    let world = World::open(global)?;
    let client = &world.client;
    let until = Instant::now() + args.timeout;
    let waits_for_names = matches!(args.until, For::Create | For::Delete);
    let mut keys = Vec::new();
    if args.all {
        let all = agent::record::list(client.root(), Some(pods::namespace(global)))?;
        keys.extend(all.into_iter().map(|(key, uid)| (key, Some(uid))));
    }
    let named = report::each(&args.pods, |name| {
        match pods::find(client, global, name) {
            Ok(pod) => keys.push((pod.key, Some(pod.uid))),
            Err(failure) if waits_for_names && failure.is::<ClientError>(is_missing) => {
                let name = crate::target::without_kind(name).to_owned();
                keys.push((PodKey { namespace: pods::namespace(global).to_owned(), name }, None));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    })?;
    let waited = report::each(&keys, |(key, uid)| {
        let pod = uid.clone().map(|uid| PodRef { key: key.clone(), uid });
        let met = match (&args.until, pod) {
            // Nobody would be told of what was never there.
            (For::Delete, None) => return Ok(()),
            (For::Delete, Some(pod)) => until_gone(client, &pod, until)?,
            (For::Create, _) => until_there(client, key, until)?,
            (what, Some(pod)) => until_holds(client, &pod, what, until)?,
            (_, None) => false,
        };
        match met {
            true => output::stdout(&format!("pod/{} condition met\n", key.name)),
            false => {
                Err(Failure::no(anyhow::anyhow!("timed out waiting for the condition on pods/{}", key.name)))
            }
        }
    })?;
    Ok(if named == Exit::YES { waited } else { named })
}

fn is_missing(error: &ClientError) -> bool {
    matches!(error, ClientError::NoPod { .. } | ClientError::Record(RecordError::NotFound { .. }))
}

fn until_gone(client: &Client, pod: &PodRef, until: Instant) -> Result<bool> {
    poll(until, || match client.get(&pod.key) {
        Ok(view) => Ok(view.pod.uid != pod.uid),
        Err(error) if is_missing(&error) => Ok(true),
        Err(error) => Err(error.into()),
    })
}

fn until_there(client: &Client, key: &PodKey, until: Instant) -> Result<bool> {
    poll(until, || match client.get(key) {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error.into()),
    })
}

fn poll(until: Instant, mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    loop {
        if is_so()? {
            return Ok(true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(left.min(PAUSE));
    }
}

/// The supervisor tells of every change; where there is none, the disk is looked at.
fn until_holds(client: &Client, pod: &PodRef, what: &For, until: Instant) -> Result<bool> {
    let record = client.view(pod)?.record;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let holds = |status: &agent::status_file::StatusFile| {
            let object = agent::status::pod_with_status(&record.pod, &status.state);
            serde_json::to_value(object).map_err(anyhow::Error::from).and_then(|pod| what.holds(&pod))
        };
        let status = client.wait_until(pod, Some(left), |status| holds(status).unwrap_or(true))?;
        if holds(&status).map_err(Failure::no)? {
            return Ok(true);
        }
        if until.saturating_duration_since(Instant::now()).is_zero() {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}

impl For {
    /// Whether it holds of a pod. Pure.
    fn holds(&self, pod: &Value) -> anyhow::Result<bool> {
        match self {
            For::Create => Ok(true),
            For::Delete => Ok(false),
            For::Condition(kind, value) => {
                let same = |condition: &Value, key: &str, wanted: &str| {
                    condition[key].as_str().is_some_and(|is| is.eq_ignore_ascii_case(wanted))
                };
                let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
                Ok(conditions.iter().any(|one| same(one, "type", kind) && same(one, "status", value)))
            }
            For::Path(path, value) => match (path.find(pod).as_slice(), value) {
                ([], _) => Ok(false),
                ([_, _, ..], Some(_)) => {
                    anyhow::bail!("given jsonpath expression matches more than one value")
                }
                ([found], Some(value)) => Ok(jsonpath::text(found) == *value),
                (_, None) => Ok(true),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_holds() {
        let pod = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "x", "status": "False"}]}});
        let holds = |text: &str| text.parse::<For>().unwrap().holds(&pod).map_err(|error| error.to_string());
        assert_eq!(holds("condition=ready"), Ok(true));
        assert_eq!(holds("condition=Ready=false"), Ok(false));
        assert_eq!(holds("condition=x=false"), Ok(true));
        assert_eq!(holds("jsonpath={.status.phase}=Running"), Ok(true));
        assert_eq!(holds("jsonpath={.status.none}"), Ok(false));
        assert_eq!(holds("jsonpath={.status.conditions[*].type}"), Ok(true));
        assert!(holds("jsonpath={.status.conditions[*].type}=Ready").is_err());
    }
}
