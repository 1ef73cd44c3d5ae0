//! The watcher while mounts come and go faster than it can read them, in a namespace that the test makes.

#[path = "../../cli/tests/support/namespace.rs"]
mod namespace;

use mount_table::node::event::{Action, What};
use namespace::Namespace;
use observe::{Names, Watcher};
use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// All is read again and again meanwhile: what readings and events both know is told once.
#[test]
fn readings_during_a_burst_tell_nothing_twice() {
    let name = "readings_during_a_burst_tell_nothing_twice";
    let skip = |why: &str| writeln!(std::io::stdout(), "SKIPPED: {name}: {why}").unwrap();
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    let mut a = Namespace::new();
    a.run("mkdir /tmp/stays /tmp/goes && for n in $(seq 200); do mkdir /tmp/stays/$n && mount -t tmpfs before /tmp/stays/$n; done");
    let mut watcher = Watcher::new(Names::default, Some(Duration::from_millis(50))).unwrap();
    if let Some(why) = watcher.without_events() {
        return skip(why);
    }
    a.run(
        "(for n in $(seq 300); do mount -t tmpfs burst-$n /tmp/goes; [ $((n % 3)) = 0 ] || umount /tmp/goes; done; \
         mount -t tmpfs burst-end /tmp/goes) &",
    );
    let mut told: HashMap<String, usize> = HashMap::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !told.contains_key("burst-end") {
        assert!(Instant::now() < deadline, "the end was not told: {told:?}");
        for event in watcher.next(Duration::from_secs(1)).unwrap() {
            let What::Mount(done) = &event.what else { continue };
            if done.origin.namespace.id.0 == a.number() && done.action == Action::Mount {
                *told.entry(done.origin.mount.source.clone()).or_default() += 1;
            }
        }
    }
    let twice: Vec<_> = told.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(!told.contains_key("before"), "{told:?}");
    // Those that stayed were there to be read.
    let stayed = (1..=300).filter(|n| n % 3 == 0);
    let missing: Vec<usize> = stayed.filter(|n| !told.contains_key(&format!("burst-{n}"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
