//! What a Pod of a Job does: its tries, its turn, and when it is over.

use super::*;
use manifest::workloads::JobTerms;

fn of_job(policy: RestartPolicy, terms: JobTerms) -> Script {
    let mut s = Script::new(policy, &["a"]);
    s.state.rules.job = Some(terms);
    s
}

fn terms(backoff_limit: u32) -> JobTerms {
    JobTerms { pods: 1, parallelism: 1, backoff_limit, ..JobTerms::default() }
}

/// One try of a pod that is to fail.
fn try_once(s: &mut Script) {
    s.send(Event::VolumesReady).send(Event::SandboxReady).send(started("a")).pass(1).send(exited("a", 3));
}

#[test]
fn a_pod_that_fails_is_started_again_until_the_limit_is_passed() {
    let mut s = of_job(RestartPolicy::Never, terms(2));
    s.send(Event::Begin);
    for _ in 0..2 {
        try_once(&mut s);
        s.send(Event::SandboxStopped).note().wait();
    }
    try_once(&mut s);
    s.send(Event::SandboxStopped).note();
    assert_eq!((s.state.done(), s.state.exit_code()), (true, 3));
    assert_eq!(s.state.verdict.as_ref().unwrap().reason, "BackoffLimitExceeded");
    assert_eq!(s.state.job.failures, 3);
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start a 0
        1s remove id-a
        1s StopSandbox
        1s Pending Again { retry_at: Uptime(11000) }: a Error 3, restarts 0
        11s SetUpVolumes
        11s RunSandbox
        11s start a 1
        12s remove id-a
        12s StopSandbox
        12s Pending Again { retry_at: Uptime(32000) }: a Error 3, last Error 3, restarts 1
        32s SetUpVolumes
        32s RunSandbox
        32s start a 2
        33s remove id-a
        33s StopSandbox
        33s Failed Done: a Error 3, last Error 3, restarts 2
    "#]]);
}

#[test]
fn a_second_try_that_ends_well_is_the_jobs_end() {
    let mut s = of_job(RestartPolicy::Never, terms(6));
    s.send(Event::Begin);
    try_once(&mut s);
    s.send(Event::SandboxStopped).wait();
    s.send(Event::VolumesReady).send(Event::SandboxReady).send(started("a"));
    s.send(exited("a", 0)).send(Event::SandboxStopped);
    assert_eq!((s.state.done(), s.state.phase(), s.state.exit_code()), (true, Phase::Succeeded, 0));
}

#[test]
fn restarts_of_containers_are_counted_too() {
    let mut s = of_job(RestartPolicy::OnFailure, terms(1));
    s.send(Event::Begin);
    try_once(&mut s);
    s.note().send(started("a")).send(exited("a", 4)).send(Event::SandboxStopped).note();
    assert_eq!((s.state.done(), s.state.exit_code()), (true, 4));
    s.check(expect![[r#"
        0s SetUpVolumes
        0s RunSandbox
        0s start a 0
        1s remove id-a
        1s start a 1
        1s Running Containers: a starting/ContainerCreating, last Error 3, restarts 0
        1s remove id-a
        1s StopSandbox
        1s Failed Done: a Error 4, restarts 1
    "#]]);
}

#[test]
fn failures_of_other_pods_end_it_unless_each_has_its_own_limit() {
    for per_pod in [false, true] {
        let mut s = of_job(RestartPolicy::Never, JobTerms { limit_is_per_pod: per_pod, ..terms(1) });
        s.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady).send(started("a"));
        s.send(Event::OthersFailed { times: 1 });
        assert_eq!(s.state.goal, Goal::Run);
        s.send(Event::OthersFailed { times: 2 });
        assert_eq!(s.state.goal != Goal::Run, !per_pod);
    }
}

#[test]
fn a_pod_waits_for_its_turn_and_is_overdue_with_its_job() {
    let mut s =
        of_job(RestartPolicy::Never, JobTerms { pods: 3, active_deadline_seconds: Some(60), ..terms(6) });
    s.send(Event::Begin).send(Event::Turn { has_come: false }).note().wait();
    s.send(Event::Turn { has_come: true });
    try_once(&mut s);
    s.send(Event::SandboxStopped).wait();
    s.send(Event::VolumesReady).send(Event::SandboxReady).send(started("a"));
    assert_eq!(s.state.next_deadline(), Some(Uptime(60_000)), "counted from the first begin");
    s.wait().send(exited("a", 143)).send(Event::SandboxStopped).note();
    assert_eq!(s.state.verdict.as_ref().unwrap().message, "Job was active longer than specified deadline");
    s.check(expect![[r#"
        0s AskForTurn
        0s Pending Queued { ask_at: Some(Uptime(500)) }: a ContainerCreating, restarts 0
        0s AskForTurn
        0s SetUpVolumes
        0s RunSandbox
        0s start a 0
        1s remove id-a
        1s StopSandbox
        11s SetUpVolumes
        11s RunSandbox
        11s start a 1
        60s term a
        60s remove id-a
        60s StopSandbox
        60s Failed Done: a Error 143, last Error 3, restarts 1
    "#]]);
}

#[test]
fn whoever_is_told_to_end_is_not_tried_again() {
    let mut waiting = of_job(RestartPolicy::Never, terms(6));
    waiting.send(Event::Begin);
    try_once(&mut waiting);
    waiting.send(Event::SandboxStopped).send(stop(None)).send(Event::SandboxStopped);
    let mut queued = of_job(RestartPolicy::Never, JobTerms { pods: 3, ..terms(6) });
    queued.send(Event::Begin).send(stop(None)).send(Event::Turn { has_come: true });
    queued.send(Event::SandboxStopped);
    let mut running = of_job(RestartPolicy::Never, terms(6));
    running.send(Event::Begin).send(Event::VolumesReady).send(Event::SandboxReady).send(started("a"));
    running.send(stop(None)).send(exited("a", 143)).send(Event::SandboxStopped);
    for s in [waiting, queued, running] {
        assert!(s.state.done() && s.state.phase() == Phase::Failed, "{:?}", s.state);
    }
}
