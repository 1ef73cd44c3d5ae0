//! `pods/NAME/log`: what a container wrote, as `agent`'s logs have it, once or as it comes.

use crate::error::{ApiError, Result, with_causes};
use crate::http::{Answer, Lines};
use crate::object::{self, Key, text};
use crate::query::Query;
use crate::server::Shared;
use crate::verbs::blocking;
use agent::Client;
use agent::client::{ClientError, log_is_over};
use agent::logs::{Follow, Followed, LogSource, Stream};
use agent::record::PodKey;
use jiff::{Timestamp, ToSpan};
use rustix::fd::OwnedFd;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe;

/// How long to sleep at most: for what wakes nobody.
const PAUSE: Duration = Duration::from_secs(1);

/// What of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Wanted {
    follow: bool,
    timestamps: bool,
    since: Option<Timestamp>,
    tail: Option<u64>,
    /// Bytes that are left to be sent.
    limit: Option<u64>,
    stream: Option<Stream>,
}

impl Wanted {
    fn of(query: &Query) -> Result<Wanted> {
        let positive = |name: &str, least: i64| match query.number(name)? {
            Some(number) if number < least => {
                let why = format!("must be greater than or equal to {least}");
                Err(ApiError::invalid_option("PodLogOptions", name, number, &why))
            }
            number => Ok(number.and_then(|number| u64::try_from(number).ok())),
        };
        let ago = query.number("sinceSeconds")?;
        let since_ago = ago.and_then(|ago| Timestamp::now().checked_sub(ago.seconds()).ok());
        let since_time = match query.text("sinceTime") {
            "" => None,
            time => Some(
                time.parse().map_err(|_| ApiError::bad_request(format!("sinceTime: {time:?} is no time")))?,
            ),
        };
        let stream = match query.text("stream") {
            "" | "All" => None,
            "Stdout" => Some(Stream::Stdout),
            "Stderr" => Some(Stream::Stderr),
            other => {
                return Err(ApiError::unsupported_option(
                    "PodLogOptions",
                    "stream",
                    other,
                    &["All", "Stderr", "Stdout"],
                ));
            }
        };
        Ok(Wanted {
            follow: query.truth("follow"),
            timestamps: query.truth("timestamps"),
            since: since_time.or(since_ago),
            tail: positive("tailLines", 0)?,
            limit: positive("limitBytes", 1)?,
            stream,
        })
    }
}

/// The container that a request is about: the one that it names, else the only one there is.
pub(crate) fn container(pod: &Value, asked: &str) -> Result<String> {
    let all =
        |list: &str| object::items(pod, list).iter().map(|c| text(c, "/name").to_owned()).collect::<Vec<_>>();
    let main = all("/spec/containers");
    let others = [all("/spec/initContainers"), all("/spec/ephemeralContainers")].concat();
    let name = text(pod, "/metadata/name");
    match (asked, main.as_slice()) {
        ("", [only]) => Ok(only.clone()),
        ("", _) => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            main.join(" ")
        ))),
        (asked, _) if main.iter().chain(&others).any(|container| container == asked) => Ok(asked.to_owned()),
        (asked, _) => Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}"))),
    }
}

/// Answers with the log.
pub(crate) async fn log(shared: &Arc<Shared>, key: &Key, query: &Query) -> Result<Answer> {
    let missing = || ApiError::not_found("pods", "", &key.name);
    let pod = shared.store.get(key).ok_or_else(missing)?.value();
    let container = container(&pod, query.text("container"))?;
    let wanted = Wanted::of(query)?;
    let (root, previous, tail) = (shared.root.clone(), query.truth("previous"), wanted.tail);
    let pod_key = PodKey { namespace: key.namespace.clone(), name: key.name.clone() };
    let reason = waiting_reason(&pod, &container);
    let begun = {
        let (container, pod_key) = (container.clone(), pod_key.clone());
        blocking(move || begin(&root, &pod_key, &container, previous, tail, reason.as_deref())).await?
    };
    let reader = Reader { shared: shared.clone(), pod: pod_key, container, wanted, at_line_start: true };
    Ok(Answer::stream("text/plain", move |lines| reader.run(begun, lines)))
}

/// Why a container waits, as the store has it: `agent` may not have the pod yet.
fn waiting_reason(pod: &Value, container: &str) -> Option<String> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let status = lists.iter().flat_map(|list| object::items(pod, list)).find(|s| s["name"] == container)?;
    Some(text(status, "/state/waiting/reason").to_owned()).filter(|reason| !reason.is_empty())
}

fn begin(
    root: &agent::Root,
    pod: &PodKey,
    container: &str,
    previous: bool,
    tail: Option<u64>,
    reason: Option<&str>,
) -> Result<Follow> {
    let waiting = |reason: &str| {
        let why = match reason {
            "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image",
            "InvalidImageName" => "image can't be pulled",
            reason => reason,
        };
        ApiError::bad_request(format!(
            "container {container:?} in pod {:?} is waiting to start: {why}",
            pod.name
        ))
    };
    let none_before = || {
        let name = &pod.name;
        ApiError::bad_request(format!(
            "previous terminated container {container:?} in pod {name:?} not found"
        ))
    };
    let internal = |error: ClientError| ApiError::internal(with_causes(&error));
    let client = Client::open(root).map_err(internal)?;
    let source: LogSource = match client.get(pod).and_then(|view| view.log_source(container, previous)) {
        Ok(source) => source,
        Err(ClientError::NoPrevious { .. }) => return Err(none_before()),
        Err(ClientError::WaitingToStart { reason: known, .. }) => {
            return Err(waiting(reason.unwrap_or(&known)));
        }
        // Not handed over yet.
        Err(ClientError::NoPod { .. } | ClientError::Record(_)) if previous => return Err(none_before()),
        Err(ClientError::NoPod { .. } | ClientError::Record(_)) => {
            return Err(waiting(reason.unwrap_or("ContainerCreating")));
        }
        Err(error) => return Err(internal(error)),
    };
    let follow = match tail {
        Some(lines) => Follow::last(root, vec![source], lines).map_err(ApiError::internal)?,
        None => Follow::new(root, vec![source]),
    };
    // As the kubelet: the log of one run, also when it is followed.
    Ok(follow.of_one_run())
}

struct Reader {
    shared: Arc<Shared>,
    pod: PodKey,
    container: String,
    wanted: Wanted,
    at_line_start: bool,
}

impl Reader {
    async fn run(mut self, mut follow: Follow, mut lines: Lines) {
        let wake = wake(&follow);
        loop {
            let (shared, pod, container) = (self.shared.clone(), self.pod.clone(), self.container.clone());
            let follows = self.wanted.follow;
            // The status first: when that says that nothing more comes, all that came is in the file.
            let read = tokio::task::spawn_blocking(move || {
                let over = !follows || is_over(&shared.root, &pod, &container);
                (follow.read(), over, follow)
            });
            let Ok((Ok(records), over, again)) = read.await else { return };
            follow = again;
            if records.is_empty() && over {
                return;
            }
            let idle = records.is_empty();
            let (bytes, full) = self.bytes(&records);
            if !bytes.is_empty() && lines.send(bytes).await.is_none() || full {
                return;
            }
            if idle {
                tokio::select! {
                    () = woken(wake.as_ref()) => {}
                    () = tokio::time::sleep(PAUSE) => {}
                    () = lines.closed() => return,
                    () = self.shared.ended() => return,
                }
            }
        }
    }

    /// What the client gets of these records, and whether that is all that it wanted.
    fn bytes(&mut self, records: &[Followed]) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        for Followed { line, .. } in records {
            let early = self.wanted.since.is_some_and(|since| line.time < since);
            let other = self.wanted.stream.is_some_and(|stream| line.stream != stream);
            if early || other {
                continue;
            }
            if self.at_line_start && self.wanted.timestamps {
                bytes.extend_from_slice(line.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes());
            }
            bytes.extend_from_slice(&line.content);
            if line.whole {
                bytes.push(b'\n');
            }
            self.at_line_start = line.whole;
        }
        let Some(limit) = &mut self.wanted.limit else { return (bytes, false) };
        bytes.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
        *limit -= bytes.len() as u64;
        (bytes, *limit == 0)
    }
}

/// Whether nothing more comes to a container's log: it has ended for good, or its pod is not to be had any more.
pub(crate) fn is_over(root: &agent::Root, pod: &PodKey, container: &str) -> bool {
    let view = Client::open(root).and_then(|client| client.get(pod));
    view.map_or(true, |view| log_is_over(view.state(), container))
}

/// Wakes when a log grows, where the machine has that to give.
pub(crate) fn wake(follow: &Follow) -> Option<pipe::Receiver> {
    let copy: OwnedFd = rustix::io::fcntl_dupfd_cloexec(follow.wake_fd()?, 3).ok()?;
    pipe::Receiver::from_owned_fd_unchecked(copy).ok()
}

/// Waits for it; for ever where there is none.
pub(crate) async fn woken(wake: Option<&pipe::Receiver>) {
    let Some(wake) = wake else { return std::future::pending().await };
    if wake.readable().await.is_err() {
        return std::future::pending().await;
    }
    // That something has changed is all that matters; what has is found by reading.
    let mut news = [0; 4096];
    let _ = wake.try_read(&mut news);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_read_and_refused() {
        let wanted =
            Wanted::of(&Query::parse("follow=true&tailLines=2&limitBytes=10&timestamps=1&stream=Stdout"))
                .unwrap();
        assert!(wanted.follow && wanted.timestamps);
        assert_eq!((wanted.tail, wanted.limit, wanted.stream), (Some(2), Some(10), Some(Stream::Stdout)));
        for bad in ["tailLines=-1", "limitBytes=0", "sinceTime=yesterday", "stream=Foo", "tailLines=x"] {
            assert!(Wanted::of(&Query::parse(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_container_is_named_or_the_only_one() {
        let pod = |names: &[&str]| {
            let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"metadata": {"name": "two"}, "spec": {"containers": containers}})
        };
        assert_eq!(container(&pod(&["main"]), "").unwrap(), "main");
        let refused = |pod: &Value, asked: &str| container(pod, asked).unwrap_err().message().to_owned();
        assert_eq!(
            refused(&pod(&["c1", "c2"]), ""),
            "a container name must be specified for pod two, choose one of: [c1 c2]"
        );
        assert_eq!(refused(&pod(&["c1"]), "x"), "container x is not valid for pod two");
    }
}
