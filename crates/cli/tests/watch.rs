//! `rhizome watch`, on mounts that the tests make.
#[path = "support/namespace.rs"]
mod namespace;
mod support;
#[path = "support/world.rs"]
mod world;

use namespace::Namespace;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use support::{is_root, rhizome, skipped};

/// A watch that runs, and what it has said.
struct Watch {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<Value>,
    notes: String,
}

impl Watch {
    /// Begins, and waits until it watches.
    fn begin(args: &[&str]) -> Watch {
        Watch::with(rhizome(&[&["watch", "-o", "json"], args].concat()))
    }

    fn with(mut command: Command) -> Watch {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut notes = String::new();
        while !notes.contains("propagation types") {
            assert_ne!(errors.read_line(&mut notes).unwrap(), 0, "{notes}");
        }
        std::thread::spawn(move || errors.read_to_end(&mut Vec::new()));
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Watch { child, lines, seen: Vec::new(), notes }
    }

    /// Whether the kernel tells, or the test is skipped.
    fn has_events(&self, name: &str) -> bool {
        let without = self.notes.contains("who mounted is not known");
        if without {
            skipped(name, self.notes.lines().next().unwrap());
        }
        !without
    }

    /// The next event of which this holds; others are kept in `seen`.
    fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no {what} among {:#?}", self.seen));
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&event["apiVersion"], &event["kind"]),
                (&"rhizome.dev/v1".into(), &"MountEvent".into())
            );
            if is_it(&event) {
                return event;
            }
            self.seen.push(event);
        }
    }

    fn mount(&mut self, action: &str, source: &str) -> Value {
        self.until(&format!("{action} of {source}"), |event| {
            event["action"] == action && event["origin"]["mount"]["source"] == source
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers of the namespaces of spots, sorted.
fn namespaces(spots: &Value) -> Vec<u64> {
    let number = |spot: &Value| spot["namespace"]["id"].as_u64().unwrap();
    let mut numbers: Vec<u64> = spots.as_array().unwrap().iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn sorted<const N: usize>(of: [&Namespace; N]) -> Vec<u64> {
    let mut numbers = of.map(Namespace::number).to_vec();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_mount_and_its_copies_are_one_event() {
    let name = "a_mount_and_its_copies_are_one_event";
    if !is_root(name) {
        return;
    }
    let mut a = Namespace::new();
    let (peer, slave, alone) = (a.copy("unchanged"), a.copy("slave"), a.copy("private"));
    a.run("mkdir /tmp/x /tmp/y /tmp/p");
    let mut watch = Watch::begin(&[]);
    if !watch.has_events(name) {
        return;
    }
    a.run("mount -t tmpfs came /tmp/x");
    let came = watch.mount("mount", "came");
    assert_eq!(came["origin"]["namespace"]["id"], a.number());
    assert_eq!(came["origin"]["mount"]["mount_point"], "/tmp/x");
    assert_eq!(namespaces(&came["receivers"]), sorted([&peer, &slave]));
    let missed = came["missed"].as_array().unwrap();
    assert_eq!(missed.len(), 1, "{came}");
    assert_eq!(
        (&missed[0]["namespace"]["id"], &missed[0]["why"]),
        (&alone.number().into(), &"private".into())
    );
    assert!(came["actor"]["pid"].as_u64().unwrap() > 1, "{came}");
    // A slave does not send.
    let mut slave = slave;
    slave.run("mount -t tmpfs below /tmp/y");
    let below = watch.mount("mount", "below");
    assert_eq!(below["origin"]["namespace"]["id"], slave.number());
    assert_eq!(namespaces(&below["receivers"]), [0; 0]);
    assert_eq!(below["missed"].as_array().unwrap().len(), 3);
    assert!(below["missed"].as_array().unwrap().iter().all(|missed| missed["why"] == "fromSlave"), "{below}");
    a.run("umount /tmp/x");
    let gone = watch.mount("unmount", "came");
    // Peers lose it at once, and who did it may have ended before it could be asked where it was.
    let origin = gone["origin"]["namespace"]["id"].as_u64().unwrap();
    assert!([a.number(), peer.number()].contains(&origin), "{gone}");
    let mut lost = namespaces(&gone["receivers"]);
    lost.push(origin);
    lost.sort_unstable();
    assert_eq!(lost, sorted([&a, &peer, &slave]));
    // Moved: neither made nor taken away.
    a.run("mount -t tmpfs private /tmp/p && mount --make-private /tmp/p && mkdir /tmp/p/one /tmp/p/two");
    a.run("mount -t tmpfs moves /tmp/p/one");
    // One that is moved before it could be read has only been mounted where it is now.
    watch.mount("mount", "moves");
    a.run("mount --move /tmp/p/one /tmp/p/two");
    let moved = watch.mount("move", "moves");
    assert_eq!(
        (&moved["movedFrom"], &moved["origin"]["mount"]["mount_point"]),
        (&"/tmp/p/one".into(), &"/tmp/p/two".into())
    );
    // The same file system at two places by one process is two events.
    a.run("mkdir /tmp/q /tmp/r && mount -t tmpfs twice /tmp/q && mount --bind /tmp/q /tmp/r");
    let first = watch.mount("mount", "twice");
    let second = watch.mount("mount", "twice");
    for (event, place) in [(first, "/tmp/q"), (second, "/tmp/r")] {
        assert_eq!(event["origin"]["mount"]["mount_point"], place);
        assert_eq!(namespaces(&event["receivers"]), sorted([&peer, &slave]));
    }
}

#[test]
fn namespaces_come_and_go_and_types_change() {
    let name = "namespaces_come_and_go_and_types_change";
    if !is_root(name) {
        return;
    }
    let mut a = Namespace::new();
    a.run("mkdir /tmp/x && mount -t tmpfs kind /tmp/x");
    let mut watch = Watch::begin(&["--interval", "1"]);
    if !watch.has_events(name) {
        return;
    }
    let mut b = a.copy("private");
    let number = b.number();
    let began = watch.until("begin", |event| event["event"] == "began" && event["namespace"]["id"] == number);
    assert!(began["mounts"].as_u64().unwrap() > 2);
    // From now on it is followed.
    b.run("mkdir /tmp/later && mount -t tmpfs later /tmp/later");
    assert_eq!(watch.mount("mount", "later")["origin"]["namespace"]["id"], number);
    a.run("mount --make-private /tmp/x");
    let changed = watch
        .until("change", |event| event["event"] == "changed" && event["spot"]["mount"]["source"] == "kind");
    assert_eq!(changed["fields"], serde_json::json!(["propagation"]));
    assert_eq!(changed["spot"]["namespace"]["id"], a.number());
    drop(b);
    watch.until("end", |event| event["event"] == "ended" && event["namespace"]["id"] == number);
}

/// As fast as one thread can, with two receivers: every mount is told, or counted, or it is said that some are lost.
#[test]
fn nothing_of_a_burst_is_lost_silently() {
    let name = "nothing_of_a_burst_is_lost_silently";
    if !is_root(name) {
        return;
    }
    const MOUNTS: u64 = 5_000;
    let mut watch = Watch::begin(&[]);
    if !watch.has_events(name) {
        return;
    }
    // A thread can leave for a namespace of its own, and take its mounts along when it ends.
    let burst = std::thread::spawn(|| {
        sys::mount::unshare_mounts().unwrap();
        let none: Option<&std::ffi::CStr> = None;
        let change =
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", change).unwrap();
        rustix::mount::mount("burst-base", "/tmp", "tmpfs", MountFlags::empty(), none).unwrap();
        rustix::mount::mount_change("/tmp", rustix::mount::MountPropagationFlags::SHARED).unwrap();
        for name in ["/tmp/a", "/tmp/b", "/tmp/c"] {
            std::fs::create_dir(name).unwrap();
        }
        // Long enough that it has been seen.
        std::thread::sleep(Duration::from_secs(4));
        rustix::mount::mount_bind("/tmp", "/tmp/b").unwrap();
        rustix::mount::mount_bind("/tmp", "/tmp/c").unwrap();
        let begin = Instant::now();
        for _ in 0..MOUNTS {
            rustix::mount::mount("burst", "/tmp/a", "tmpfs", MountFlags::empty(), none).unwrap();
            rustix::mount::unmount("/tmp/a", UnmountFlags::DETACH).unwrap();
        }
        rustix::mount::mount("burst-end", "/tmp/a", "tmpfs", MountFlags::empty(), none).unwrap();
        let rate = MOUNTS as f64 / begin.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(2));
        rate
    });
    watch.until("end of the burst", |event| {
        let spots = event["receivers"].as_array().into_iter().flatten().chain([&event["origin"]]);
        spots.into_iter().any(|spot| spot["mount"]["source"] == "burst-end")
    });
    let rate = burst.join().unwrap();
    let (mut told, mut brief, mut lost) = (0, 0, false);
    for event in &watch.seen {
        match event["event"].as_str().unwrap() {
            "mount" if event["action"] == "mount" && event["origin"]["mount"]["source"] == "burst" => {
                told += 1 + event["receivers"].as_array().unwrap().len() as u64;
            }
            "brief" => brief += event["mounts"].as_u64().unwrap(),
            "overflow" => lost = true,
            _ => {}
        }
    }
    // Each has copies at /tmp/b/a and /tmp/c/a.
    assert!(told + brief >= 3 * MOUNTS || lost, "told {told}, brief {brief} at {rate:.0} mounts/s");
}

/// As on a kernel without events: what came is found by reading, and it is said once what is missing.
#[test]
fn by_polling() {
    if !is_root("by_polling") {
        return;
    }
    let mut a = Namespace::new();
    let slave = a.copy("slave");
    a.run("mkdir /tmp/x");
    let mut watch = Watch::begin(&["--by-polling"]);
    assert_eq!(watch.notes.matches("who mounted is not known").count(), 1, "{}", watch.notes);
    a.run("mount -t tmpfs polled /tmp/x");
    let came = watch.mount("mount", "polled");
    assert!(came["actor"].is_null(), "{came}");
    assert_eq!(came["origin"]["namespace"]["id"], a.number());
    assert_eq!(namespaces(&came["receivers"]), sorted([&slave]));
    a.run("umount /tmp/x");
    watch.mount("unmount", "polled");
    // It does not keep a namespace that ends.
    let number = slave.number();
    drop(slave);
    watch.until("end", |event| event["event"] == "ended" && event["namespace"]["id"] == number);
}

/// What a pod has to do with, by its name; what it has nothing to do with is not told.
#[test]
fn of_one_pod() {
    let name = "of_one_pod";
    let Some(world) = world::World::isolated(name) else { return };
    let volume = world.volume();
    let volume = volume.display();
    world.start(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: sees}}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    \
         command: [sleep, '600']\n    volumeMounts: [{{name: v, mountPath: /home, mountPropagation: HostToContainer}}]\n  \
         volumes: [{{name: v, hostPath: {{path: '{volume}'}}}}]\n"
    ));
    let mut watch = Watch::with(world.command(&["watch", "-o", "json", "--pod", "sees"]));
    if !watch.has_events(name) {
        return;
    }
    let elsewhere = format!("{volume}-elsewhere");
    let ran = world.on_host(&format!(
        "mkdir {volume}/a {elsewhere} && mount -t tmpfs other {elsewhere} && mount -t tmpfs came {volume}/a"
    ));
    assert_eq!(ran.status, 0, "{ran:?}");
    let came = watch.mount("mount", "came");
    let receivers = came["receivers"].as_array().unwrap();
    assert_eq!(receivers.len(), 1, "{came}");
    assert_eq!(receivers[0]["namespace"]["name"], "sees");
    assert_eq!(receivers[0]["namespace"]["container"]["pod"]["name"], "sees");
    assert_eq!(receivers[0]["mount"]["mount_point"], "/home/a");
    assert!(
        watch.seen.iter().all(|event| event["origin"]["mount"]["source"] != "other"),
        "{:#?}",
        watch.seen
    );
    let ran = world.on_host(&format!("umount {volume}/a {elsewhere}"));
    assert_eq!(ran.status, 0, "{ran:?}");
    watch.mount("unmount", "came");
}
