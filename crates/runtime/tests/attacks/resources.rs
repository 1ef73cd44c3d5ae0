//! Processes without end, and processes that do not want to end.

use crate::support::{World, finish, shell, usual};
use manifest::cri::PodSandboxConfig;
use runtime::Sandbox;
use runtime::cgroup::{Cgroup, Hierarchies};
use std::time::{Duration, Instant};

const PIDS_MAX: u64 = 64;

/// A pod reaches its limit and no more, its neighbour does not notice, and it ends when it is told to.
pub(crate) fn forks(world: &World) {
    let config = PodSandboxConfig { pids_limit: Some(PIDS_MAX), ..world.pod_config(usual()) };
    let hierarchies = Hierarchies::read().expect("hierarchies");
    let cgroup = Cgroup::at(&hierarchies, &world.cgroup_parent).expect("cgroup");
    // A shell that cannot fork ends, so the first process does nothing but stay.
    let stay = |bomb: &str| shell(&format!("({bomb}) 2>/dev/null & exec sleep 1000"));
    // One that fills the pod and keeps it full, and one that comes and goes as fast as it can.
    let fills = stay("while :; do setsid sleep 1000 & done");
    let churns = stay("trap '' TERM HUP INT; bomb() { bomb | bomb & }; while :; do bomb; done");
    for (bomb, fills) in [(&fills, true), (&churns, false), (&fills, true)] {
        let pod = Sandbox::run(&world.dirs, config.clone()).expect("sandbox");
        let mut neighbour = world.start(&pod, &shell("sleep 1000"));
        let mut container = world.start(&pod, bomb);
        let count = || cgroup.pids().expect("pids").len();
        let deadline = Instant::now() + Duration::from_secs(60);
        // The shell that found it full is gone.
        while fills && count() < PIDS_MAX as usize - 1 {
            assert!(Instant::now() < deadline, "only {} processes", count());
            std::thread::sleep(Duration::from_millis(20));
        }
        for _ in 0..50 {
            assert!(count() <= PIDS_MAX as usize);
            std::thread::sleep(Duration::from_millis(2));
        }
        let begin = Instant::now();
        for container in [&mut container, &mut neighbour] {
            runtime::stop_container(&world.dirs, &container.id, Duration::from_millis(100)).expect("stop");
            container.wait().expect("wait");
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
        world.remove(pod);
    }
}

/// Every signal ignored, processes in sessions of their own, and children that come again.
pub(crate) fn ignores_signals(world: &World) {
    let pod = world.usual_pod();
    for _ in 0..5 {
        let script = "trap '' 1 2 3 6 10 12 13 14 15 17 18 20 21 22; \
            for i in 1 2 3; do setsid sh -c 'trap \"\" 1 2 3 15; while :; do sleep 1000; done' & done; \
            echo ready; while :; do sleep 1000; done";
        let mut container = world.start(&pod, &shell(script));
        let runtime::Io::Pipes { stdout, .. } = &container.io else { panic!("a terminal") };
        rustix::io::read(stdout, &mut [0u8; 16]).expect("read");
        let begin = Instant::now();
        let by_itself = runtime::stop_container(&world.dirs, &container.id, Duration::from_millis(200));
        assert!(!by_itself.expect("stop"), "it was killed");
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert_eq!(finish(&mut container).exit.signal, Some(9));
        let hierarchies = Hierarchies::read().expect("hierarchies");
        let cgroup = Cgroup::at(&hierarchies, &container.record().cgroup).expect("cgroup");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !cgroup.pids().expect("pids").is_empty() {
            assert!(Instant::now() < deadline, "{:?} outlive it", cgroup.pids());
            std::thread::sleep(Duration::from_millis(5));
        }
        runtime::remove_container(&world.dirs, &container.id).expect("remove");
    }
    world.remove(pod);
}
