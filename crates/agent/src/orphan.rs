//! A pod whose supervisor is gone: what the last written state says, corrected by what is.

use crate::lifecycle::{Current, Event, Exit, Goal, Now, PodState, Stage, Uptime, step};
use crate::status_file::StatusFile;

/// A container's exit as the life cycle counts it.
pub(crate) fn exit_of(exit: &runtime::Exit) -> Exit {
    match exit.code {
        Some(code) => Exit { code, oom_killed: exit.oom_killed, message: None, unknown: false },
        None => Exit::unseen(),
    }
}

/// The state of a pod that nobody supervises. What has ended is ended, nothing waits for a restart that nobody would
/// do, and a pod of which nothing runs is done. Changes nothing.
///
/// # Errors
/// A container's record cannot be read.
pub(crate) fn as_it_is(
    dirs: &runtime::Dirs,
    file: StatusFile,
    boot_id: &str,
    now: Now,
) -> runtime::Result<StatusFile> {
    if file.state.done() || file.state.stage == Stage::New {
        return Ok(file);
    }
    let this_boot = file.boot_id == boot_id;
    let file = if this_boot { discovered(dirs, file, now)? } else { file };
    let ended = |id: &str| -> runtime::Result<Option<Exit>> {
        if !this_boot {
            return Ok(Some(Exit::unseen()));
        }
        match runtime::status(dirs, id) {
            Ok(record) if record.status == runtime::Status::Exited => {
                Ok(Some(record.exit.as_ref().map_or_else(Exit::unseen, exit_of)))
            }
            Ok(_) => Ok(None),
            Err(runtime::Error::NotFound { .. }) => Ok(Some(Exit::unseen())),
            Err(error) => Err(error),
        }
    };
    let mut exits = Vec::new();
    for container in file.state.containers.iter().filter(|c| c.running()) {
        if let Some(exit) = ended(&container.id)? {
            exits.push((container.name.clone(), exit));
        }
    }
    let sandbox_id = file.sandbox_id.clone().filter(|_| this_boot);
    Ok(StatusFile { state: abandoned(file.state, exits, now), sandbox_id, ..file })
}

/// With the containers that were started a moment before the supervisor was killed, which had not written that down.
///
/// # Errors
/// The sandbox' folder cannot be read.
pub(crate) fn discovered(
    dirs: &runtime::Dirs,
    mut file: StatusFile,
    now: Now,
) -> runtime::Result<StatusFile> {
    let starting = |state: &PodState, name: &str| {
        state.containers.iter().any(|c| c.name == name && matches!(c.current, Current::Starting { .. }))
    };
    let Some(sandbox) = &file.sandbox_id else { return Ok(file) };
    if !file.state.containers.iter().any(|c| starting(&file.state, &c.name)) {
        return Ok(file);
    }
    for id in runtime::list_containers_of(dirs, sandbox)? {
        // What is being removed meanwhile is not there.
        let Ok(record) = runtime::status(dirs, &id) else { continue };
        let name = record.config.name;
        if record.status == runtime::Status::Running && starting(&file.state, &name) {
            // Which image that was exactly is with the supervisor that has gone.
            let rules = file.state.rules.containers.iter().find(|rules| rules.name == name);
            let (image, image_id) = (rules.map(|r| r.image.clone()).unwrap_or_default(), String::new());
            let event = Event::ContainerStarted { name, id, image, image_id };
            file.state = step(file.state, event, now).0;
        }
    }
    Ok(file)
}

/// Starts that were ordered and never answered are to be ordered again.
pub(crate) fn resumed(mut state: PodState) -> PodState {
    for container in &mut state.containers {
        if let Current::Starting { reason, message } = &container.current {
            container.current =
                Current::Waiting { reason: reason.clone(), message: message.clone(), start_at: Uptime(0) };
        }
    }
    state
}

/// Pure: the state once nobody restarts, with these exits.
fn abandoned(mut state: PodState, exits: Vec<(String, Exit)>, now: Now) -> PodState {
    // Stopping is what a pod without a supervisor does: no restart follows an exit. The actions are nobody's.
    state.goal = Goal::Stop { kill_at: Uptime(u64::MAX) };
    state.job.told_to_end = true;
    let state = resumed(state);
    let events = exits.into_iter().map(|(name, exit)| Event::ContainerExited { name, exit });
    let state = events.chain([Event::Tick]).fold(state, |state, event| step(state, event, now).0);
    match state.stage {
        Stage::Ending => step(state, Event::SandboxStopped, now).0,
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{ContainerRules, Phase, RestartPolicy, Rules};
    use jiff::Timestamp;

    fn running(names: &[&str]) -> PodState {
        let containers = names.iter().map(|n| ContainerRules::main(n)).collect();
        let rules = Rules { containers, restart_policy: RestartPolicy::Always, ..Rules::default() };
        let started = |name: &&str| Event::ContainerStarted {
            name: (*name).to_owned(),
            id: (*name).to_owned(),
            image: String::new(),
            image_id: String::new(),
        };
        let begin = [Event::Begin, Event::VolumesReady, Event::SandboxReady];
        begin
            .into_iter()
            .chain(names.iter().map(started))
            .fold(PodState::new(rules), |s, e| step(s, e, now()).0)
    }

    fn now() -> Now {
        Now { wall: Timestamp::UNIX_EPOCH, uptime: Uptime(0) }
    }

    #[test]
    fn what_runs_goes_on_and_what_ended_is_not_restarted() {
        let state =
            abandoned(running(&["a", "b"]), vec![("a".into(), Exit { code: 3, ..Exit::default() })], now());
        assert!(!state.done());
        assert_eq!(state.phase(), Phase::Running);
        let Current::Terminated { run } = &state.containers[0].current else { panic!("not ended") };
        assert_eq!(run.exit_code, 3);
        assert!(state.containers[1].running());
    }

    #[test]
    fn a_pod_of_which_nothing_runs_is_done() {
        let state = abandoned(running(&["a"]), vec![("a".into(), Exit::unseen())], now());
        assert!(state.done());
        assert_eq!(state.phase(), Phase::Failed);
        assert_eq!(state.exit_code(), 137);
    }
}
