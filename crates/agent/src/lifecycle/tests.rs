//! Tables of what a pod does: events in, states and actions out.

mod job;

use super::events::MAX_EVENTS;
use super::*;
use expect_test::{Expect, expect};
use std::fmt::Write;

/// A pod under test: a clock that only the test moves, and a line for every step.
struct Script {
    state: PodState,
    ms: u64,
    /// What somebody has set the wall clock forward by.
    set_forward_s: i64,
    seen: String,
}

impl Script {
    fn new(policy: RestartPolicy, containers: &[&str]) -> Script {
        let rules = Rules {
            pod_name: "p".into(),
            pod_namespace: "ns".into(),
            pod_uid: "UID".into(),
            restart_policy: policy,
            grace_seconds: 30,
            containers: containers.iter().map(|c| rules_of(c)).collect(),
            ..Rules::default()
        };
        Script { state: PodState::new(rules), ms: 0, set_forward_s: 0, seen: String::new() }
    }

    /// A pod whose containers all run.
    fn running(policy: RestartPolicy, containers: &[&str]) -> Script {
        let mut script = Script::new(policy, containers);
        script.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady);
        for name in containers {
            script.send(started(name));
        }
        script.seen.clear();
        script
    }

    fn now(&self) -> Now {
        let wall = 1_000_000 + self.set_forward_s * 1000 + self.ms as i64;
        let wall = Timestamp::from_millisecond(wall).unwrap();
        Now { wall, uptime: Uptime(self.ms) }
    }

    fn send(&mut self, event: Event) -> &mut Script {
        let (state, actions) = step(self.state.clone(), event, self.now());
        self.state = state;
        for action in &actions {
            let line = match action {
                Action::StartContainer { name, attempt } => format!("start {name} {attempt}"),
                Action::Signal { name, kill } => format!("{} {name}", if *kill { "kill" } else { "term" }),
                Action::RemoveContainer { id } => format!("remove {id}"),
                Action::Probe { name, probe, .. } => format!("probe {name} {probe}"),
                Action::RunHook { name, hook, .. } => format!("hook {name} {hook:?}"),
                other => format!("{other:?}"),
            };
            writeln!(self.seen, "{}s {line}", self.ms / 1000).unwrap();
        }
        self
    }

    /// Moves the clock to the next deadline.
    fn wait(&mut self) -> &mut Script {
        let at = self.state.next_deadline().expect("nothing to wait for");
        self.ms = self.ms.max(at.0);
        self.send(Event::Tick)
    }

    fn pass(&mut self, seconds: u64) -> &mut Script {
        self.ms += seconds * 1000;
        self
    }

    fn note(&mut self) -> &mut Script {
        let states: Vec<String> = self.state.containers.iter().map(summary).collect();
        let phase = self.state.phase().as_str();
        writeln!(self.seen, "{}s {phase} {:?}: {}", self.ms / 1000, self.state.stage, states.join("; "))
            .unwrap();
        self
    }

    fn check(&mut self, expected: Expect) {
        expected.assert_eq(&self.seen);
    }
}

/// `name`, or `i:name` for an init container and `s:name` for a sidecar.
fn rules_of(text: &str) -> ContainerRules {
    match text.split_once(':') {
        Some(("i", name)) => ContainerRules { kind: Kind::Init, ..ContainerRules::main(name) },
        Some(("s", name)) => ContainerRules { kind: Kind::Sidecar, ..ContainerRules::main(name) },
        _ => ContainerRules::main(text),
    }
}

fn summary(c: &ContainerState) -> String {
    let now = match &c.current {
        Current::Waiting { reason, message: Some(message), .. } => format!("{reason} ({message})"),
        Current::Waiting { reason, .. } => reason.clone(),
        Current::Starting { reason, .. } => format!("starting/{reason}"),
        Current::Running { .. } => "running".into(),
        Current::Terminated { run } => format!("{} {}", run.reason, run.exit_code),
    };
    let last = c.last.as_ref().map(|l| format!(", last {} {}", l.reason, l.exit_code)).unwrap_or_default();
    format!("{} {now}{last}, restarts {}", c.name, c.restart_count())
}

fn started(name: &str) -> Event {
    Event::ContainerStarted {
        name: name.into(),
        id: format!("id-{name}"),
        image: "i".into(),
        image_id: "d".into(),
    }
}

fn exited(name: &str, code: i32) -> Event {
    Event::ContainerExited { name: name.into(), exit: Exit { code, ..Exit::default() } }
}

fn stop(grace: Option<u64>) -> Event {
    Event::Stop { grace_seconds: grace }
}

/// Restarts, back-off, a deadline and a grace period go by the time that passes, whatever the wall clock is set to.
#[test]
fn a_wall_clock_that_jumps() {
    type Step = fn(&mut Script) -> &mut Script;
    let steps: [Step; 14] = [
        |s| s.send(Event::Begin),
        |s| s.send(Event::VolumesReady).send(Event::SandboxReady),
        |s| s.send(started("a")).send(started("b")),
        |s| s.pass(3).send(exited("a", 1)).note(),
        |s| s.send(started("a")).note(),
        |s| s.pass(3).send(exited("a", 1)).note(),
        |s| s.wait().note(),
        |s| s.send(started("a")).note(),
        |s| s.pass(1).send(Event::Tick).note(),
        |s| s.wait().note(),
        |s| s.send(Event::Tick).note(),
        |s| s.wait().note(),
        |s| s.send(exited("a", 137)).send(exited("b", 137)).note(),
        |s| s.send(Event::SandboxStopped).note(),
    ];
    let run = |jumps: &[i64]| {
        let mut script = Script::new(RestartPolicy::OnFailure, &["a", "b"]);
        script.state.rules.active_deadline_seconds = Some(600);
        for (step, jump) in steps.iter().zip(jumps.iter().cycle()) {
            script.set_forward_s = *jump;
            step(&mut script);
        }
        script.seen
    };
    let year = 365 * 24 * 3600;
    let usual = run(&[0]);
    assert!(
        usual.contains("CrashLoopBackOff") && usual.contains("term a") && usual.contains("kill a"),
        "{usual}"
    );
    for jumps in [&[10 * year, -20 * year, 0][..], &[-30 * year], &[1, 0], &[3600, -3600, 7200, 0, year]] {
        assert_eq!(run(jumps), usual, "{jumps:?}");
    }
}

#[test]
fn rules_of_exit_codes_go_before_the_policy() {
    for (all_but, codes, code, again) in [
        (false, vec![42], 42, true),
        (false, vec![42], 1, false),
        (true, vec![1, 2], 42, true),
        (true, vec![1], 1, false),
    ] {
        let mut s = Script::running(RestartPolicy::Never, &["a"]);
        s.state.rules.containers[0].restart_rules = vec![RestartRule { all_but, codes }];
        s.send(exited("a", code));
        assert_eq!(!s.state.container("a").unwrap().ended(), again, "{all_but} {code}");
    }
}

#[test]
fn a_pod_that_completes() {
    let mut s = Script::new(RestartPolicy::Never, &["a", "b"]);
    s.note().send(Event::Begin).note().send(Event::VolumesReady).send(Event::SandboxReady).note();
    s.send(started("a")).note().send(started("b")).note();
    s.pass(1).send(exited("a", 0)).note().send(exited("b", 3)).note().send(Event::SandboxStopped).note();
    assert_eq!(s.state.exit_code(), 3);
    s.check(expect![[r#"
        0s Pending New: a ContainerCreating, restarts 0; b ContainerCreating, restarts 0
        0s SetUpVolumes
        0s Pending Volumes { retry_at: None, delay_ms: 500 }: a ContainerCreating, restarts 0; b ContainerCreating, restarts 0
        0s RunSandbox
        0s start a 0
        0s start b 0
        0s Pending Containers: a starting/ContainerCreating, restarts 0; b starting/ContainerCreating, restarts 0
        0s Pending Containers: a running, restarts 0; b starting/ContainerCreating, restarts 0
        0s Running Containers: a running, restarts 0; b running, restarts 0
        1s remove id-a
        1s Running Containers: a Completed 0, restarts 0; b running, restarts 0
        1s remove id-b
        1s StopSandbox
        1s Failed Ending: a Completed 0, restarts 0; b Error 3, restarts 0
        1s Failed Done: a Completed 0, restarts 0; b Error 3, restarts 0
    "#]]);
}

#[test]
fn restarts_back_off_as_the_kubelets() {
    let mut s = Script::running(RestartPolicy::Always, &["a"]);
    for _ in 0..8 {
        s.send(exited("a", 1)).note();
        if s.state.next_deadline().is_some() {
            s.wait();
        }
        s.send(started("a"));
    }
    s.check(expect![[r#"
        0s remove id-a
        0s start a 1
        0s Running Containers: a starting/ContainerCreating, last Error 1, restarts 0
        0s remove id-a
        0s Running Containers: a CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(UID)), last Error 1, restarts 1
        10s start a 2
        10s remove id-a
        10s Running Containers: a CrashLoopBackOff (back-off 20s restarting failed container=a pod=p_ns(UID)), last Error 1, restarts 2
        30s start a 3
        30s remove id-a
        30s Running Containers: a CrashLoopBackOff (back-off 40s restarting failed container=a pod=p_ns(UID)), last Error 1, restarts 3
        70s start a 4
        70s remove id-a
        70s Running Containers: a CrashLoopBackOff (back-off 1m20s restarting failed container=a pod=p_ns(UID)), last Error 1, restarts 4
        150s start a 5
        150s remove id-a
        150s Running Containers: a CrashLoopBackOff (back-off 2m40s restarting failed container=a pod=p_ns(UID)), last Error 1, restarts 5
        310s start a 6
        310s remove id-a
        310s Running Containers: a CrashLoopBackOff (back-off 5m0s restarting failed container=a pod=p_ns(UID)), last Error 1, restarts 6
        610s start a 7
        610s remove id-a
        610s Running Containers: a CrashLoopBackOff (back-off 5m0s restarting failed container=a pod=p_ns(UID)), last Error 1, restarts 7
        910s start a 8
    "#]]);
}

#[test]
fn ten_minutes_of_running_are_forgiven() {
    let mut s = Script::running(RestartPolicy::Always, &["a"]);
    s.send(exited("a", 1)).send(started("a")).send(exited("a", 1)).wait().send(started("a"));
    s.seen.clear();
    s.pass(600).send(exited("a", 0)).note().wait().send(started("a"));
    s.pass(601).send(exited("a", 0)).note();
    s.check(expect![[r#"
        610s remove id-a
        610s Running Containers: a CrashLoopBackOff (back-off 20s restarting failed container=a pod=p_ns(UID)), last Completed 0, restarts 2
        630s start a 3
        1231s remove id-a
        1231s start a 4
        1231s Running Containers: a starting/ContainerCreating, last Completed 0, restarts 3
    "#]]);
}

#[test]
fn on_failure_restarts_a_failure_only() {
    let mut s = Script::running(RestartPolicy::OnFailure, &["a", "b"]);
    s.send(exited("a", 0)).send(exited("b", 1)).note().send(started("b")).send(exited("b", 0)).note();
    s.check(expect![[r#"
        0s remove id-a
        0s remove id-b
        0s start b 1
        0s Running Containers: a Completed 0, restarts 0; b starting/ContainerCreating, last Error 1, restarts 0
        0s remove id-b
        0s StopSandbox
        0s Succeeded Ending: a Completed 0, restarts 0; b Completed 0, last Error 1, restarts 1
    "#]]);
}

#[test]
fn stop_asks_waits_and_kills() {
    let mut s = Script::running(RestartPolicy::Always, &["a", "b"]);
    s.send(stop(None)).note().pass(1).send(exited("a", 143)).wait().note().send(exited("b", 137)).note();
    s.send(Event::SandboxStopped).note();
    s.check(expect![[r#"
        0s term a
        0s term b
        0s Running Containers: a running, restarts 0; b running, restarts 0
        1s remove id-a
        30s kill b
        30s Running Containers: a Error 143, restarts 0; b running, restarts 0
        30s remove id-b
        30s StopSandbox
        30s Failed Ending: a Error 143, restarts 0; b Error 137, restarts 0
        30s Failed Done: a Error 143, restarts 0; b Error 137, restarts 0
    "#]]);
}

#[test]
fn a_second_stop_shortens_the_grace_and_never_lengthens_it() {
    let mut s = Script::running(RestartPolicy::Always, &["a"]);
    s.send(stop(Some(10))).send(stop(Some(60)));
    assert_eq!(s.state.next_deadline(), Some(Uptime(10_000)));
    s.pass(1).send(stop(Some(0)));
    s.check(expect![[r#"
        0s term a
        1s kill a
    "#]]);
    assert_eq!(s.state.next_deadline(), None);
}

#[test]
fn stop_ends_what_waits_and_what_is_just_starting() {
    let mut s = Script::running(RestartPolicy::Always, &["a", "b", "c"]);
    s.send(exited("a", 1)).send(started("a")).send(exited("a", 2)).send(exited("b", 1));
    s.seen.clear();
    s.send(stop(None)).note().send(started("b")).note();
    s.check(expect![[r#"
        0s term c
        0s Running Containers: a Error 2, restarts 1; b starting/ContainerCreating, last Error 1, restarts 0; c running, restarts 0
        0s term b
        0s Running Containers: a Error 2, restarts 1; b running, last Error 1, restarts 1; c running, restarts 0
    "#]]);
}

#[test]
fn stop_before_anything_ran() {
    for events in
        [vec![], vec![Event::VolumesReady], vec![Event::VolumesFailed { message: "m".into(), hint: None }]]
    {
        let mut s = Script::new(RestartPolicy::Always, &["a"]);
        s.send(Event::Begin);
        for event in events {
            s.send(event);
        }
        s.seen.clear();
        s.send(stop(None)).note();
        s.check(expect![[r#"
            0s StopSandbox
            0s Failed Ending: a ContainerStatusUnknown 137, restarts 0
        "#]]);
    }
}

#[test]
fn volumes_and_sandbox_are_tried_again() {
    let mut s = Script::new(RestartPolicy::Always, &["a"]);
    let failed = || Event::VolumesFailed {
        message: "hostPath type check failed: /x is not a file".into(),
        hint: None,
    };
    s.send(Event::Begin).send(failed()).wait().send(failed()).wait().send(Event::VolumesReady);
    s.send(Event::SandboxFailed { message: "no".into(), hint: None }).wait().send(Event::SandboxReady);
    let event = s.state.events.iter().find(|e| e.reason == "FailedMount").unwrap();
    assert_eq!(event.count, 2);
    assert_eq!(s.ms, 500 + 1000 + 500);
    s.check(expect![[r#"
        0s SetUpVolumes
        0s SetUpVolumes
        1s SetUpVolumes
        1s RunSandbox
        2s RunSandbox
        2s start a 0
    "#]]);
}

#[test]
fn what_cannot_be_made_is_tried_again_and_is_no_restart() {
    let mut s = Script::new(RestartPolicy::Never, &["a"]);
    s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady);
    let refused =
        |why| Event::ContainerNotCreated { name: "a".into(), why, message: "text".into(), hint: None };
    s.send(refused(NotCreated::ErrImageNeverPull)).note().wait();
    s.send(refused(NotCreated::CreateContainerConfigError)).note().wait().send(started("a")).note();
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start a 0
        0s Pending Containers: a ErrImageNeverPull (text), restarts 0
        10s start a 0
        10s Pending Containers: a CreateContainerConfigError (text), restarts 0
        30s start a 0
        30s Running Containers: a running, restarts 0
    "#]]);
    assert!(s.state.events.iter().any(|e| e.message == "Error: ErrImageNeverPull"));
}

#[test]
fn what_cannot_be_executed_is_a_failed_run() {
    let not_started = || Event::ContainerNotStarted {
        name: "a".into(),
        id: "id-a".into(),
        image: "i".into(),
        image_id: "d".into(),
        code: 128,
        message: "exec: \"/nosuch\": no such file or directory".into(),
        hint: None,
    };
    for policy in [RestartPolicy::Always, RestartPolicy::Never] {
        let mut s = Script::new(policy, &["a"]);
        s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady);
        s.seen.clear();
        s.send(not_started()).send(not_started()).note();
        match policy {
            RestartPolicy::Never => s.check(expect![[r#"
                0s remove id-a
                0s StopSandbox
                0s remove id-a
                0s Failed Ending: a StartError 128, restarts 1
            "#]]),
            _ => s.check(expect![[r#"
                0s remove id-a
                0s start a 1
                0s remove id-a
                0s Running Containers: a RunContainerError (exec: "/nosuch": no such file or directory), last StartError 128, restarts 1
            "#]]),
        }
    }
}

#[test]
fn reasons_of_an_exit() {
    let table = [
        (Exit { code: 0, ..Exit::default() }, "Completed"),
        (Exit { code: 5, ..Exit::default() }, "Error"),
        (Exit { code: 137, oom_killed: true, ..Exit::default() }, "OOMKilled"),
        (Exit::unseen(), "ContainerStatusUnknown"),
    ];
    for (exit, reason) in table {
        let mut s = Script::running(RestartPolicy::Never, &["a"]);
        s.send(Event::ContainerExited { name: "a".into(), exit });
        let Current::Terminated { run } = &s.state.containers[0].current else { panic!("not ended") };
        assert_eq!(run.reason, reason);
    }
}

#[test]
fn a_done_pod_can_be_begun_again_and_counts_on() {
    let mut s = Script::running(RestartPolicy::Never, &["a"]);
    s.send(exited("a", 4)).send(Event::SandboxStopped);
    s.seen.clear();
    s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady).note().send(started("a")).note();
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start a 1
        0s Pending Containers: a starting/ContainerCreating, last Error 4, restarts 0
        0s Running Containers: a running, last Error 4, restarts 1
    "#]]);
}

#[test]
fn conditions_keep_the_time_of_their_last_change() {
    let mut s = Script::running(RestartPolicy::Always, &["a"]);
    let since = |s: &Script, kind: &str| {
        s.state
            .conditions
            .iter()
            .find(|c| c.kind == kind)
            .map(|c| (c.holds, c.since.as_second() - 1000))
            .unwrap()
    };
    s.pass(5).send(Event::Tick);
    assert_eq!(since(&s, "Ready"), (true, 0));
    s.send(exited("a", 1));
    assert_eq!(since(&s, "Ready"), (false, 5));
    assert_eq!(since(&s, "PodReadyToStartContainers"), (true, 0));
}

#[test]
fn events_are_bounded() {
    let mut s = Script::running(RestartPolicy::Always, &["a"]);
    for n in 0..1000 {
        s.send(Event::Warning { reason: "R".into(), message: n.to_string(), hint: None });
    }
    assert_eq!(s.state.events.len(), MAX_EVENTS);
}

/// Any order of events leaves a pod that can still be stopped, and never starts a container that is not ended.
#[test]
fn no_order_of_events_breaks_the_machine() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..2000 {
        let policy =
            [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][random(3) as usize];
        let shapes: [&[&str]; 3] = [&["a", "b"], &["i:a", "b"], &["s:a", "b"]];
        let mut s = Script::new(policy, shapes[random(3) as usize]);
        for _ in 0..random(40) {
            let name = ["a", "b"][random(2) as usize];
            let before = s.state.clone();
            let event = match random(11) {
                0 => Event::Begin,
                1 => Event::VolumesReady,
                2 => Event::VolumesFailed { message: "m".into(), hint: None },
                3 => Event::SandboxReady,
                4 => Event::SandboxFailed { message: "m".into(), hint: None },
                5 => started(name),
                6 => Event::ContainerNotCreated {
                    name: name.into(),
                    why: NotCreated::CreateContainerError,
                    message: "m".into(),
                    hint: None,
                },
                7 => exited(name, random(3) as i32),
                8 => stop(Some(random(3))),
                9 => Event::SandboxStopped,
                _ => {
                    s.pass(random(700));
                    Event::Tick
                }
            };
            let (state, actions) = step(before.clone(), event, s.now());
            for action in &actions {
                if let Action::StartContainer { name, .. } = action {
                    assert_eq!(state.goal, Goal::Run);
                    assert!(matches!(state.container(name).unwrap().current, Current::Starting { .. }));
                }
            }
            s.state = state;
        }
        s.send(stop(Some(0)));
        for name in ["a", "b"] {
            if matches!(s.state.container(name).unwrap().current, Current::Starting { .. }) {
                s.send(started(name));
            }
            s.send(exited(name, 0));
        }
        s.send(Event::SandboxStopped);
        assert!(matches!(s.state.stage, Stage::Done | Stage::New), "{:?}", s.state);
    }
}

/// A pod whose sandbox runs.
fn ready(policy: RestartPolicy, containers: &[&str]) -> Script {
    let mut script = Script::new(policy, containers);
    script.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady);
    script
}

#[test]
fn init_containers_run_one_after_the_other() {
    let mut s = ready(RestartPolicy::Always, &["i:i", "i:j", "a"]);
    assert_eq!(s.state.next_deadline(), None, "what must wait for others is no reason to wake");
    s.note().send(started("i")).note().send(exited("i", 0)).send(started("j")).send(exited("j", 0)).note();
    s.send(started("a")).note();
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start i 0
        0s Pending Containers: i starting/PodInitializing, restarts 0; j PodInitializing, restarts 0; a PodInitializing, restarts 0
        0s Pending Containers: i running, restarts 0; j PodInitializing, restarts 0; a PodInitializing, restarts 0
        0s remove id-i
        0s start j 0
        0s remove id-j
        0s start a 0
        0s Pending Containers: i Completed 0, restarts 0; j Completed 0, restarts 0; a starting/PodInitializing, restarts 0
        0s Running Containers: i Completed 0, restarts 0; j Completed 0, restarts 0; a running, restarts 0
    "#]]);
}

#[test]
fn an_init_container_that_fails_is_tried_again_unless_never() {
    let mut s = ready(RestartPolicy::Always, &["i:i", "a"]);
    s.send(started("i")).send(exited("i", 4)).send(started("i")).send(exited("i", 4)).note().wait().note();
    s.seen.push_str("never\n");
    let mut never = ready(RestartPolicy::Never, &["i:i", "a"]);
    never.seen = std::mem::take(&mut s.seen);
    never.send(started("i")).send(exited("i", 4)).note().send(Event::SandboxStopped).note();
    assert_eq!(never.state.exit_code(), 4);
    never.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start i 0
        0s remove id-i
        0s start i 1
        0s remove id-i
        0s Pending Containers: i CrashLoopBackOff (back-off 10s restarting failed container=i pod=p_ns(UID)), last Error 4, restarts 1; a PodInitializing, restarts 0
        10s start i 2
        10s Pending Containers: i starting/CrashLoopBackOff, last Error 4, restarts 1; a PodInitializing, restarts 0
        never
        0s remove id-i
        0s StopSandbox
        0s Failed Ending: i Error 4, restarts 0; a PodInitializing, restarts 0
        0s Failed Done: i Error 4, restarts 0; a PodInitializing, restarts 0
    "#]]);
}

#[test]
fn sidecars_begin_in_their_turn_and_end_last_in_reverse() {
    let mut s = ready(RestartPolicy::Never, &["s:s", "i:i", "s:t", "a"]);
    s.send(started("s")).send(started("i")).send(exited("i", 0)).send(started("t")).send(started("a"));
    s.note().pass(1).send(exited("a", 0)).note().pass(1).send(exited("t", 143)).note();
    s.pass(1).send(exited("s", 143)).send(Event::SandboxStopped).note();
    assert_eq!(s.state.exit_code(), 0, "how a sidecar ends says nothing of the pod");
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start s 0
        0s start i 0
        0s remove id-i
        0s start t 0
        0s start a 0
        0s Running Containers: s running, restarts 0; i Completed 0, restarts 0; t running, restarts 0; a running, restarts 0
        1s remove id-a
        1s term t
        1s Running Containers: s running, restarts 0; i Completed 0, restarts 0; t running, restarts 0; a Completed 0, restarts 0
        2s remove id-t
        2s term s
        2s Running Containers: s running, restarts 0; i Completed 0, restarts 0; t Error 143, restarts 0; a Completed 0, restarts 0
        3s remove id-s
        3s StopSandbox
        3s Succeeded Done: s Error 143, restarts 0; i Completed 0, restarts 0; t Error 143, restarts 0; a Completed 0, restarts 0
    "#]]);
}

#[test]
fn a_sidecar_is_restarted_whatever_the_policy_and_rewinds_nothing() {
    let mut s = ready(RestartPolicy::Never, &["s:s", "i:i", "a"]);
    s.send(started("s")).send(started("i")).send(exited("s", 0)).note().send(exited("i", 0)).note();
    s.send(started("a")).send(started("s")).send(exited("s", 1)).note();
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start s 0
        0s start i 0
        0s remove id-s
        0s start s 1
        0s Pending Containers: s starting/PodInitializing, last Completed 0, restarts 0; i running, restarts 0; a PodInitializing, restarts 0
        0s remove id-i
        0s start a 0
        0s Pending Containers: s starting/PodInitializing, last Completed 0, restarts 0; i Completed 0, restarts 0; a starting/PodInitializing, restarts 0
        0s remove id-s
        0s Running Containers: s CrashLoopBackOff (back-off 10s restarting failed container=s pod=p_ns(UID)), last Error 1, restarts 1; i Completed 0, restarts 0; a running, restarts 0
    "#]]);
}

#[test]
fn sidecars_share_the_grace_period_and_get_two_seconds_at_least() {
    let mut s = ready(RestartPolicy::Always, &["s:s", "a"]);
    s.send(started("s")).send(started("a"));
    s.seen.clear();
    s.send(stop(Some(10))).wait().note().wait().note();
    s.send(exited("a", 137)).send(exited("s", 137)).note();
    s.check(expect![[r#"
        0s term a
        10s term s
        10s kill a
        10s Running Containers: s running, restarts 0; a running, restarts 0
        12s kill s
        12s Running Containers: s running, restarts 0; a running, restarts 0
        12s remove id-a
        12s remove id-s
        12s StopSandbox
        12s Failed Ending: s Error 137, restarts 0; a Error 137, restarts 0
    "#]]);
}

#[test]
fn a_stop_while_init_containers_run() {
    let mut s = ready(RestartPolicy::Always, &["s:s", "i:i", "i:j", "a"]);
    s.send(started("s")).send(started("i"));
    s.seen.clear();
    s.send(stop(None)).note().send(exited("i", 143)).note().send(exited("s", 0)).note();
    s.send(Event::SandboxStopped).note();
    s.check(expect![[r#"
        0s term i
        0s Pending Containers: s running, restarts 0; i running, restarts 0; j PodInitializing, restarts 0; a PodInitializing, restarts 0
        0s remove id-i
        0s term s
        0s Pending Containers: s running, restarts 0; i Error 143, restarts 0; j PodInitializing, restarts 0; a PodInitializing, restarts 0
        0s remove id-s
        0s StopSandbox
        0s Failed Ending: s Completed 0, restarts 0; i Error 143, restarts 0; j PodInitializing, restarts 0; a PodInitializing, restarts 0
        0s Failed Done: s Completed 0, restarts 0; i Error 143, restarts 0; j PodInitializing, restarts 0; a PodInitializing, restarts 0
    "#]]);
}

fn probe(period: u64, failures: u32) -> Option<ProbeRules> {
    Some(ProbeRules {
        initial_delay_seconds: 0,
        period_seconds: period,
        success_threshold: 1,
        failure_threshold: failures,
        grace_seconds: None,
    })
}

/// A pod of one container with these rules, whose program runs.
fn probed(policy: RestartPolicy, change: impl FnOnce(&mut ContainerRules)) -> Script {
    let mut s = Script::new(policy, &["a"]);
    change(&mut s.state.rules.containers[0]);
    s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady);
    s.seen.clear();
    s.send(started("a"));
    s
}

fn found(s: &Script, probe: ProbeKind, outcome: Outcome) -> Event {
    Event::Probed { name: "a".into(), attempt: s.state.containers[0].made, probe, outcome }
}

fn failure() -> Outcome {
    Outcome::Failure("no\n".into())
}

impl Script {
    /// The answer to a probe.
    fn says(&mut self, probe: ProbeKind, outcome: Outcome) -> &mut Script {
        let event = found(self, probe, outcome);
        self.send(event)
    }

    fn ready(&self) -> (bool, bool) {
        (self.state.containers[0].is_started(), self.state.containers[0].is_ready())
    }

    fn told(&self) -> Vec<String> {
        let told = self
            .state
            .events
            .iter()
            .filter(|e| !["Scheduled", "Pulled", "Created", "Started"].contains(&e.reason.as_str()));
        told.map(|e| format!("{} x{}: {}", e.reason, e.count, e.message)).collect()
    }
}

#[test]
fn a_readiness_probe_has_its_period_and_its_thresholds() {
    let mut s = probed(RestartPolicy::Always, |rules| {
        rules.readiness =
            probe(10, 2).map(|rules| ProbeRules { initial_delay_seconds: 5, success_threshold: 2, ..rules });
    });
    assert_eq!((s.state.next_deadline(), s.ready()), (Some(Uptime(5_000)), (true, false)));
    s.wait().says(ProbeKind::Readiness, Outcome::Success);
    assert_eq!(s.ready(), (true, false), "one success of two");
    s.wait().says(ProbeKind::Readiness, Outcome::Success);
    assert_eq!(s.ready(), (true, true));
    s.wait().says(ProbeKind::Readiness, failure());
    assert_eq!(s.ready(), (true, true), "one failure of two");
    s.wait();
    assert_eq!(s.state.next_deadline(), None, "while one is under way no other is due");
    s.pass(25).says(ProbeKind::Readiness, failure());
    assert_eq!(s.ready(), (true, false));
    s.check(expect![[r#"
        5s probe a Readiness
        15s probe a Readiness
        25s probe a Readiness
        35s probe a Readiness
        60s probe a Readiness
    "#]]);
    assert_eq!(s.told(), ["Unhealthy x2: Readiness probe failed: no\n"]);
}

#[test]
fn liveness_ends_a_container_and_its_policy_says_what_then() {
    for policy in [RestartPolicy::Always, RestartPolicy::Never] {
        let mut s = probed(policy, |rules| {
            rules.liveness = probe(10, 3).map(|rules| ProbeRules { grace_seconds: Some(4), ..rules });
        });
        s.says(ProbeKind::Liveness, failure()).wait().says(ProbeKind::Liveness, Outcome::Success).wait();
        s.says(ProbeKind::Liveness, failure()).wait().says(ProbeKind::Liveness, failure()).wait();
        s.says(ProbeKind::Liveness, Outcome::Error("e".into())).wait().says(ProbeKind::Liveness, failure());
        s.wait().send(exited("a", 137)).note();
        let killing = match policy {
            RestartPolicy::Never => "Killing x1: Container a failed liveness probe",
            _ => "Killing x1: Container a failed liveness probe, will be restarted",
        };
        let expected = [
            "Unhealthy x1: Liveness probe errored and resulted in unknown state: e",
            "Unhealthy x4: Liveness probe failed: no\n",
            killing,
        ];
        assert_eq!(s.told(), expected);
        match policy {
            RestartPolicy::Never => assert_eq!(s.state.phase(), Phase::Failed),
            _ => s.check(expect![[r#"
                0s probe a Liveness
                10s probe a Liveness
                20s probe a Liveness
                30s probe a Liveness
                40s probe a Liveness
                50s probe a Liveness
                50s term a
                54s kill a
                54s remove id-a
                54s start a 1
                54s Running Containers: a starting/ContainerCreating, last Error 137, restarts 0
            "#]]),
        }
    }
}

#[test]
fn the_startup_probe_goes_first() {
    let mut s = probed(RestartPolicy::Always, |rules| {
        (rules.startup, rules.readiness, rules.liveness) = (probe(1, 3), probe(10, 3), probe(10, 1));
    });
    s.says(ProbeKind::Startup, failure()).wait();
    assert_eq!(s.ready(), (false, false));
    s.says(ProbeKind::Startup, Outcome::Success);
    assert_eq!(s.ready(), (true, false));
    s.says(ProbeKind::Readiness, Outcome::Success).says(ProbeKind::Liveness, failure());
    // What belongs to an earlier run says nothing.
    let late = found(&s, ProbeKind::Readiness, failure());
    s.send(exited("a", 143)).send(started("a")).send(late).note();
    for _ in 0..2 {
        s.says(ProbeKind::Startup, failure()).wait();
    }
    s.says(ProbeKind::Startup, failure());
    s.check(expect![[r#"
        0s probe a Startup
        1s probe a Startup
        1s probe a Readiness
        1s probe a Liveness
        1s term a
        1s remove id-a
        1s start a 1
        1s probe a Startup
        1s Running Containers: a running, last Error 143, restarts 1
        2s probe a Startup
        3s probe a Startup
        3s term a
    "#]]);
    assert_eq!(s.told().last().unwrap(), "Killing x1: Container a failed startup probe, will be restarted");
}

#[test]
fn a_sidecar_with_a_startup_probe_holds_the_others_up() {
    let mut s = Script::new(RestartPolicy::Never, &["s:a", "b"]);
    s.state.rules.containers[0].startup = probe(1, 3);
    s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady).send(started("a")).note();
    s.says(ProbeKind::Startup, Outcome::Success).note();
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start a 0
        0s probe a Startup
        0s Pending Containers: a running, restarts 0; b PodInitializing, restarts 0
        0s start b 0
        0s Pending Containers: a running, restarts 0; b starting/PodInitializing, restarts 0
    "#]]);
}

fn done(hook: HookKind, failure: Option<&str>) -> Event {
    Event::HookDone { name: "a".into(), attempt: 1, hook, failure: failure.map(str::to_owned) }
}

#[test]
fn a_container_is_not_up_before_its_post_start_hook() {
    let mut s = probed(RestartPolicy::Always, |rules| {
        (rules.post_start, rules.readiness) = (true, probe(10, 1));
    });
    assert_eq!((s.state.phase(), s.ready(), s.state.next_deadline()), (Phase::Pending, (false, false), None));
    s.send(done(HookKind::PostStart, None)).says(ProbeKind::Readiness, Outcome::Success);
    assert_eq!((s.state.phase(), s.ready()), (Phase::Running, (true, true)));
    s.check(expect![[r#"
        0s hook a PostStart
        0s probe a Readiness
    "#]]);
    let mut s = probed(RestartPolicy::Always, |rules| rules.post_start = true);
    s.send(done(HookKind::PostStart, Some("why"))).send(exited("a", 143)).note();
    s.check(expect![[r#"
        0s hook a PostStart
        0s term a
        0s remove id-a
        0s start a 1
        0s Running Containers: a starting/ContainerCreating, last Error 143, restarts 0
    "#]]);
    assert_eq!(s.told(), ["FailedPostStartHook x1: PostStartHook failed", "Killing x1: FailedPostStartHook"]);
}

#[test]
fn a_pre_stop_hook_has_its_time_of_the_grace_period() {
    let with_hook = || probed(RestartPolicy::Always, |rules| rules.pre_stop = true);
    let mut s = with_hook();
    s.send(stop(Some(10))).pass(3).send(done(HookKind::PreStop, Some("why"))).wait().send(exited("a", 137));
    assert_eq!(s.told(), ["Killing x1: Stopping container a", "FailedPreStopHook x1: PreStopHook failed"]);
    s.check(expect![[r#"
        0s hook a PreStop
        3s term a
        10s kill a
        10s remove id-a
        10s StopSandbox
    "#]]);
    let mut s = with_hook();
    s.send(stop(Some(10))).wait().wait();
    s.check(expect![[r#"
        0s hook a PreStop
        10s term a
        12s kill a
    "#]]);
    let mut s = with_hook();
    s.send(stop(Some(10))).pass(1).send(stop(Some(0)));
    s.check(expect![[r#"
        0s hook a PreStop
        1s kill a
    "#]]);
    let mut s = with_hook();
    s.send(stop(Some(0)));
    s.check(expect![[r#"
        0s kill a
    "#]]);
}

/// What another supervisor reads of a state is what this one has, but for what it does itself.
#[test]
fn hooks_and_probes_are_begun_anew_by_another_supervisor() {
    let mut s = probed(RestartPolicy::Always, |rules| {
        (rules.post_start, rules.readiness) = (true, probe(10, 1));
    });
    let again = |s: &mut Script| {
        s.state = serde_json::from_str(&serde_json::to_string(&s.state).unwrap()).unwrap();
        s.send(Event::Tick);
    };
    again(&mut s);
    s.send(done(HookKind::PostStart, None)).says(ProbeKind::Readiness, Outcome::Success);
    again(&mut s);
    assert_eq!(s.ready(), (true, true));
    s.check(expect![[r#"
        0s hook a PostStart
        0s hook a PostStart
        0s probe a Readiness
        0s probe a Readiness
    "#]]);
}

#[test]
fn a_pod_that_is_there_too_long_has_failed() {
    for containers in [&["a"][..], &["i:a", "b"]] {
        let mut s = Script::new(RestartPolicy::Always, containers);
        s.state.rules.active_deadline_seconds = Some(60);
        s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady).send(started("a"));
        s.seen.clear();
        assert_eq!(s.state.next_deadline(), Some(Uptime(60_000)));
        s.pass(5).send(exited("a", 1)).send(started("a")).wait();
        assert_ne!(s.state.phase(), Phase::Failed, "while it still ends");
        s.send(exited("a", 0)).send(Event::SandboxStopped).note();
        let verdict = s.state.verdict.clone().unwrap();
        assert_eq!((verdict.reason.as_str(), s.state.phase()), ("DeadlineExceeded", Phase::Failed));
        assert!(
            s.seen
                .starts_with("5s remove id-a\n5s start a 1\n60s term a\n60s remove id-a\n60s StopSandbox\n"),
            "{}",
            s.seen
        );
        s.send(Event::Begin);
        assert_eq!((s.state.verdict.clone(), s.state.phase()), (None, Phase::Pending));
    }
}

#[test]
fn an_evicted_pod_has_a_second() {
    let mut s = Script::running(RestartPolicy::Always, &["a", "b"]);
    s.send(exited("b", 1)).send(started("b")).send(exited("b", 1));
    s.seen.clear();
    s.send(Event::Evict { message: "too much. ".into() }).send(Event::Evict { message: "again".into() });
    s.wait().send(exited("a", 137)).send(Event::SandboxStopped).note();
    s.check(expect![[r#"
        0s term a
        1s kill a
        1s remove id-a
        1s StopSandbox
        1s Failed Done: a Error 137, restarts 0; b Error 1, restarts 1
    "#]]);
    let told = s.told();
    assert_eq!(
        told.iter().filter(|line| line.starts_with("Evicted")).collect::<Vec<_>>(),
        ["Evicted x1: too much. "]
    );
    assert!(s.state.conditions.iter().any(|c| c.kind == DISRUPTION_TARGET && c.holds));
}

#[test]
fn a_readiness_gate_that_nobody_opens() {
    let mut s = Script::new(RestartPolicy::Always, &["a"]);
    s.state.rules.readiness_gates = vec!["example.org/gate".into()];
    s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady).send(started("a"));
    let holds = |kind: &str| s.state.conditions.iter().find(|c| c.kind == kind).unwrap().holds;
    assert_eq!((holds("ContainersReady"), holds("Ready")), (true, false));
}

#[test]
fn an_ephemeral_container_runs_once_and_nothing_depends_on_it() {
    let mut s = ready(RestartPolicy::Always, &["i:i", "a"]);
    s.seen.clear();
    let rules = ContainerRules { kind: Kind::Ephemeral, ..ContainerRules::main("e") };
    // Also while init containers are at work.
    s.send(Event::Added { rules: Box::new(rules.clone()) }).send(started("e")).note();
    s.send(started("i")).send(exited("i", 0)).send(started("a")).send(exited("e", 3)).note();
    let other = ContainerRules { name: "f".into(), ..rules };
    s.send(Event::Added { rules: Box::new(other) }).send(started("f")).send(stop(None)).note();
    s.send(exited("a", 0)).send(exited("f", 1)).send(Event::SandboxStopped).note();
    assert_eq!(s.state.exit_code(), 0);
    s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady);
    s.check(expect![[r#"
        0s start e 0
        0s Pending Containers: i starting/PodInitializing, restarts 0; a PodInitializing, restarts 0; e running, restarts 0
        0s remove id-i
        0s start a 0
        0s remove id-e
        0s Running Containers: i Completed 0, restarts 0; a running, restarts 0; e Error 3, restarts 0
        0s start f 0
        0s term a
        0s term f
        0s Running Containers: i Completed 0, restarts 0; a running, restarts 0; e Error 3, restarts 0; f running, restarts 0
        0s remove id-a
        0s remove id-f
        0s StopSandbox
        0s Succeeded Done: i Completed 0, restarts 0; a Completed 0, restarts 0; e Error 3, restarts 0; f Error 1, restarts 0
        0s SetUpVolumes
        0s RunSandbox
        0s start i 1
    "#]]);
}
